"""Sonopaint Mini as ComfyUI's own MODEL, CLIP and VAE, so that every other node treats it like any model."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import comfy.clip_model
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models_base
import comfy.utils
import torch

from sonoconvert.checkpoints import ldm
from sonoconvert.checkpoints.files import read_tensors
from sonoconvert.errors import SonopaintError
from sonopaint.models.inpaint import INPAINT_FILE
from sonopaint.models.plain_vae import PlainVAE
from sonopaint_comfyui.mini_inpaint import MiniModel, adapt


def load_mini(folder: Path) -> tuple[Any, comfy.sd.CLIP, MiniVAE]:
    """(MODEL, CLIP, VAE) of a Mini folder; SonopaintError for a damaged one."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8-sig"))
        unet_config, text_config, vae_config = config["unet"], config["text_encoder"], config["vae"]
    except (OSError, KeyError, ValueError) as error:
        raise SonopaintError(f"{folder} holds no readable Mini (config.json: {error}).") from error
    vae = MiniVAE(vae_config, read_tensors(folder / "vae.safetensors"))
    model = _model(folder / "unet.safetensors", unet_config, config["scheduler"], vae)
    clip = _clip(folder, text_config)
    return model, clip, vae


# The U-Net ----------------------------------------------------------------------------------------------


class MiniLatent(comfy.latent_formats.LatentFormat):
    """Mini's latents: their scale, and how they look while a sampler works."""

    def __init__(self, scale_factor: float, vae: MiniVAE) -> None:
        self.scale_factor = scale_factor
        self._vae = vae
        self._factors: tuple[list[list[float]], list[float]] | None = None

    @property
    def latent_rgb_factors(self) -> list[list[float]]:
        return self._fitted()[0]

    @property
    def latent_rgb_factors_bias(self) -> list[float]:
        return self._fitted()[1]

    def _fitted(self) -> tuple[list[list[float]], list[float]]:
        if self._factors is None:
            self._factors = preview_factors(self._vae.first_stage_model, self.scale_factor)
        return self._factors


def preview_factors(vae: PlainVAE, scale: float) -> tuple[list[list[float]], list[float]]:
    """Least squares: the brightness of an 8 × 8 cell from its four latents, on a smooth random picture.

    Returns ([4][3] factors, [3] bias) for scaled latents and colours in −1 … 1, as ComfyUI's previews want.
    """
    parameter = next(vae.parameters())
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, 1, 16, 40, generator=generator) ** 2
    image = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear").expand(-1, 3, -1, -1)
    with torch.no_grad():
        latents = vae.encode((image * 2 - 1).to(parameter)).float().cpu() * scale
    cells = torch.nn.functional.avg_pool2d(image[:, :1] * 2 - 1, 8)
    known = torch.cat([latents.movedim(1, -1).reshape(-1, 4), torch.ones(cells.numel(), 1)], dim=1)
    solution = torch.linalg.lstsq(known, cells.reshape(-1, 1)).solution[:, 0].tolist()
    return [[factor] * 3 for factor in solution[:4]], [solution[4]] * 3


class MiniConfig(comfy.supported_models_base.BASE):
    """How ComfyUI builds and saves Mini's U-Net; it is never guessed from a file."""

    unet_extra_config: dict[str, Any] = {}
    memory_usage_factor = 1.0

    def process_clip_state_dict_for_saving(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        return comfy.utils.state_dict_prefix_replace(state_dict, {"clip_l.": "cond_stage_model."})


class StudioNoise(comfy.model_sampling.EPS):
    """Noise as Sonopaint's own samplers start with it: σ times the noise at full strength, too.

    ComfyUI scales it by √(1 + σ²) there, which is 0.2 % more for Mini; then the same seed would not give the
    same sound as in Studio.
    """

    def noise_scaling(self, sigma: Any, noise: Any, latent_image: Any, max_denoise: bool = False) -> Any:
        return super().noise_scaling(sigma, noise, latent_image, max_denoise=False)


def comfy_unet_config(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of ComfyUI's UNetModel for those of diffusers' UNet2DConditionModel."""
    channels, layers = config["block_out_channels"], config["layers_per_block"]
    down = [int(kind.startswith("CrossAttn")) for kind in config["down_block_types"]]
    up = [int(kind.startswith("CrossAttn")) for kind in config["up_block_types"]]
    return {
        "image_size": 32,
        "in_channels": config["in_channels"],
        "out_channels": config["out_channels"],
        "model_channels": channels[0],
        "channel_mult": [width // channels[0] for width in channels],
        "num_res_blocks": [layers] * len(channels),
        "transformer_depth": [attends for attends in down for _ in range(layers)],
        # Taken from the end, deepest level first.
        "transformer_depth_output": [attends for attends in reversed(up) for _ in range(layers + 1)],
        "transformer_depth_middle": 1,
        "context_dim": config["cross_attention_dim"],
        "num_heads": config["attention_head_dim"],
        "num_head_channels": -1,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": False,
        "adm_in_channels": None,
        "use_temporal_attention": False,
        "legacy": False,
    }


def _model(file: Path, config: dict[str, Any], scheduler: dict[str, Any], vae: MiniVAE) -> Any:
    tensors = read_tensors(file)
    state = ldm.unet_to_ldm(tensors, config)

    management = comfy.model_management
    parameters = sum(tensor.numel() for tensor in tensors.values())
    load_device = management.get_torch_device()
    model_config = MiniConfig(comfy_unet_config(config))
    model_config.latent_format = MiniLatent(vae.scale, vae)
    dtype = management.unet_dtype(
        model_params=parameters, supported_dtypes=model_config.supported_inference_dtypes
    )
    cast = management.unet_manual_cast(dtype, load_device, model_config.supported_inference_dtypes)
    model_config.set_inference_dtype(dtype, cast)
    model_config.sampling_settings = {
        "linear_start": scheduler["beta_start"],
        "linear_end": scheduler["beta_end"],
        "timesteps": scheduler["num_train_timesteps"],
    }
    kinds = comfy.model_base.ModelType
    if scheduler.get("prediction_type") == "sample":
        raise SonopaintError(
            f"{file} predicts the sound itself, which ComfyUI can't sample; use another model."
        )
    kind = kinds.V_PREDICTION if scheduler.get("prediction_type") == "v_prediction" else kinds.EPS
    model = MiniModel(model_config, model_type=kind)
    model.model_sampling = _sampling(model_config, kind)
    offload = management.unet_offload_device()
    patcher = comfy.model_patcher.CoreModelPatcher(model, load_device=load_device, offload_device=offload)
    _fill(model.diffusion_model, state, file)
    if (beside := file.with_name(INPAINT_FILE)).is_file():
        adapt(model.diffusion_model, read_tensors(beside), config)
    model.to(offload)
    return patcher


def _sampling(model_config: MiniConfig, kind: Any) -> torch.nn.Module:
    base = comfy.model_sampling.V_PREDICTION if kind.name == "V_PREDICTION" else comfy.model_sampling.EPS

    class Sampling(comfy.model_sampling.ModelSamplingDiscrete, StudioNoise, base):  # type: ignore[misc,valid-type]
        calculate_denoised = base.calculate_denoised

    return Sampling(model_config)


def _fill(module: torch.nn.Module, state: dict[str, torch.Tensor], file: Path) -> None:
    try:
        missing, unexpected = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise SonopaintError(f"{file} does not fit its config.json (a tensor has another shape).") from error
    if wrong := [*missing, *unexpected]:
        raise SonopaintError(f"{file} does not fit its config.json (tensor {wrong[0]}); get the files anew.")


# The text encoder ---------------------------------------------------------------------------------------


def _clip(folder: Path, config: dict[str, Any]) -> comfy.sd.CLIP:
    class TextModel(comfy.clip_model.CLIPTextModel):
        """ComfyUI's CLIP, whose vocabulary has a fixed size, with Mini's."""

        def __init__(self, config_dict: Any, dtype: Any, device: Any, operations: Any) -> None:
            super().__init__(config_dict, dtype, device, operations)
            size = (config["vocab_size"], config["hidden_size"])
            self.set_input_embeddings(operations.Embedding(*size, dtype=dtype, device=device))

    class Encoder(comfy.sd1_clip.SDClipModel):
        def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: Any = None) -> None:
            ids = {"start": "bos_token_id", "end": "eos_token_id", "pad": "pad_token_id"}
            super().__init__(
                device=device,
                dtype=dtype,
                textmodel_json_config=dict(config),
                model_class=TextModel,
                special_tokens={name: config[key] for name, key in ids.items()},
                max_length=config["max_position_embeddings"],
                return_projected_pooled=False,
                model_options=model_options or {},
            )

    class ClipModel(comfy.sd1_clip.SD1ClipModel):
        def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: Any = None) -> None:
            options = model_options or {}
            super().__init__(device=device, dtype=dtype, model_options=options, clip_model=Encoder)

    class Words(comfy.sd1_clip.SDTokenizer):
        def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
            super().__init__(
                tokenizer_path=str(folder / "tokenizer"),
                max_length=config["max_position_embeddings"],
                embedding_directory=embedding_directory,
                embedding_size=config["hidden_size"],
                tokenizer_data=tokenizer_data or {},
            )

    class Tokenizer(comfy.sd1_clip.SD1Tokenizer):
        def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
            data = tokenizer_data or {}
            super().__init__(embedding_directory, tokenizer_data=data, tokenizer=Words)

    target = comfy.supported_models_base.ClipTarget(Tokenizer, ClipModel)
    file = folder / "text_encoder.safetensors"
    tensors = read_tensors(file)
    # 32 bits: ComfyUI's default of 16 would round a LoRA's changes away (and 14 MB are nothing).
    clip = comfy.sd.CLIP(
        target,
        parameters=sum(tensor.numel() for tensor in tensors.values()),
        model_options={"dtype": torch.float32},
    )
    encoder = clip.cond_stage_model.clip_l.transformer
    # Files from transformers have no projection; nothing of Mini reads it.
    tensors.setdefault("text_projection.weight", torch.eye(config["hidden_size"]))
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("position_ids")}
    _fill(encoder, tensors, file)
    return clip


# The VAE ------------------------------------------------------------------------------------------------


class MiniVAE(comfy.sd.VAE):
    """ComfyUI's VAE around Sonopaint's own network, always in 32 bits: a level's error is heard."""

    def __init__(self, config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        with _quiet():  # an empty VAE brings all defaults, and warns that it is empty
            super().__init__(sd={})
        self.scale = float(config["scaling_factor"])
        network = PlainVAE(config).eval().requires_grad_(False)
        _fill(network, tensors, Path("vae.safetensors"))
        management = comfy.model_management
        self.working_dtypes = [torch.float32]
        self.vae_dtype = torch.float32
        self.device = management.vae_device()
        self.output_device = management.intermediate_device()
        self.first_stage_model = network
        self.memory_used_encode = lambda shape, dtype: 400 * shape[2] * shape[3] * 4
        self.memory_used_decode = lambda shape, dtype: 400 * shape[2] * shape[3] * 64 * 4
        self.patcher = comfy.model_patcher.CoreModelPatcher(
            network, load_device=self.device, offload_device=management.vae_offload_device()
        )
        self.model_size()

    def vae_output_dtype(self) -> torch.dtype:
        return torch.float32


class _quiet:
    """Keeps ComfyUI's warning about an empty VAE out of the log while one is made on purpose."""

    def __enter__(self) -> None:
        logging.getLogger().addFilter(self._filter)

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeFilter(self._filter)

    @staticmethod
    def _filter(record: logging.LogRecord) -> bool:
        return "No VAE weights" not in record.getMessage()
