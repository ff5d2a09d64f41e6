"""Loading whole models: Mini, SD 1.5 single files and diffusers folders. Nothing here asks a hub."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sonoconvert.checkpoints import ldm
from sonoconvert.checkpoints.diffusers_texts import SD1_SCHEDULER
from sonoconvert.checkpoints.files import read_header, read_tensors
from sonoconvert.checkpoints.layouts import CONFIG_KEY, TOKENIZER_KEY
from sonoconvert.checkpoints.schedule import scheduler_of_single
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import SpectrogramFormat
from sonopaint.models.info import (
    ModelInfo,
    check_stable_diffusion_1,
    describe,
    format_of_loras,
    list_models,
    model_format,
    part_file,
    unet_file,
    wave_family,
)
from sonopaint.models.mini import fill, load_mini
from sonopaint.models.model import Model
from sonopaint.models.one_step import header_timestep
from sonopaint.models.schedule import alphas_cumprod_of, one_step_sigma
from sonopaint.models.tokenizer import find_clip_tokenizer, load_tokenizer, tokenizer_of_header
from sonopaint.tasks.settings import SD_DEFAULTS

__all__ = ["Model", "ModelInfo", "describe", "list_models", "load_model"]

PREDICTIONS = {"epsilon": "epsilon", "eps": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction"}
PREDICTIONS["sample"] = "sample"


def load_model(
    name_or_path: str | Path = "mini",
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    loras: Sequence[tuple[str | Path, float]] = (),
    format: str | SpectrogramFormat | None = None,
    one_step: int | None = None,
) -> Model:
    """Load a model by its name in list_models or by its path, with LoRAs at their weights.

    `device` defaults to CUDA, then MPS, then the CPU; `dtype` to float32 on the CPU and float16 elsewhere.
    `format`: the spectrogram format to paint; default: what the LoRAs' headers say, else the model's own.
    `one_step`: the timestep of a distilled model whose file does not say (999 for most). A LoRA that was
    learnt on top of the student beside the model brings it along. Raises SonopaintError with one sentence for
    anything that is not a complete SD 1.5 or Mini model in safetensors, and for LoRAs of different formats.
    """
    from sonopaint.models.lora import apply_loras, headers_of
    from sonopaint.models.students import with_needed_student

    path, loras = with_needed_student(name_or_path, loras)
    format = format or format_of_loras(headers_of(loras).items())
    if family := wave_family(path):
        raise SonopaintError(
            f"{path.name} is {family.name}, which paints waveforms; spectrogram models are needed here."
        )
    device = torch.device(device or _best_device())
    dtype = dtype or (torch.float32 if device.type == "cpu" else torch.float16)
    if not path.is_dir():
        model = _load_single_file(path, dtype, format)
    elif (path / "model_index.json").is_file():
        model = _load_diffusers(path, dtype, format)
    else:
        model = _load_mini(path, format)
    if model.format.rows % model.latent_factor:
        raise SonopaintError(
            f"{path.name} can't paint the format {model.format.name!r}: its {model.format.rows} rows "
            f"are no multiple of {model.latent_factor}; choose another format."
        )
    if one_step is None:
        one_step = header_timestep(path.name, read_header(unet_file(path))[1])
    if one_step is not None:
        one_step_sigma(model.alphas_cumprod, one_step)  # raises where the model has no such timestep
    model.own_one_step = one_step
    model.device, model.dtype = device, dtype
    for part in (model.unet, model.vae, model.text_encoder):
        # not part.to: diffusers' own warns that no layers should stay in float32
        torch.nn.Module.to(part, device, dtype)
        part.eval().requires_grad_(False)
    if loras:
        apply_loras(model, loras)
    return model


def _load_mini(folder: Path, format: str | SpectrogramFormat | None) -> Model:
    _, metadata = read_header(unet_file(folder))
    unet, vae, text_encoder, tokenizer, config = load_mini(folder)
    if "sonopaint.format" not in metadata:
        format = format or config["format"]
    return _model(
        (unet, vae, text_encoder, tokenizer),
        folder,
        model_format(folder, metadata, format),
        config["scheduler"],
        config["defaults"],
    )


def _load_single_file(path: Path, dtype: torch.dtype, format: str | SpectrogramFormat | None) -> Model:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    shapes, metadata = read_header(path)
    check_stable_diffusion_1(path.name, shapes)
    form = model_format(path, metadata, format)
    inside = TOKENIZER_KEY in metadata
    tokenizer = tokenizer_of_header(path, metadata) if inside else find_clip_tokenizer(path.parent)
    tensors = read_tensors(path, dtype=dtype)

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}

    unet_part, vae_part, text_part = part(ldm.UNET_PREFIX), part(ldm.VAE_PREFIX), part(ldm.TEXT_PREFIX)
    if not any(key.startswith("text_model.") for key in text_part):  # some merged checkpoints lack it
        text_part = {f"text_model.{key}": tensor for key, tensor in text_part.items()}
    scheduler = scheduler_of_single(path, shapes, metadata)
    defaults = SD_DEFAULTS
    try:
        if CONFIG_KEY in metadata:  # a Mini in one file
            config = json.loads(metadata[CONFIG_KEY])
            unet_config, vae_config, text_config = (config[name] for name in ("unet", "vae", "text_encoder"))
            scheduler, defaults = config["scheduler"], config["defaults"]
        else:
            unet_config = ldm.unet_config(_shapes(unet_part))
            vae_config = ldm.vae_config(_shapes(vae_part))
            text_config = ldm.text_config(_shapes(text_part))
        ldm.check_levels(unet_config)
        ldm.check_levels(vae_config)
        with torch.device("meta"):  # shapes only: the file brings the values
            unet = UNet2DConditionModel(**unet_config)
            vae = AutoencoderKL(**vae_config)
            text_encoder = CLIPTextModel(CLIPTextConfig(**text_config))
    except (KeyError, IndexError, ValueError, TypeError, ZeroDivisionError) as error:
        raise SonopaintError(
            f"{path.name} does not have the layout of Stable Diffusion 1.5 ({error})."
        ) from error
    if text_config["hidden_size"] != unet_config["cross_attention_dim"]:
        raise SonopaintError(f"{path.name} is not SD 1.5: its U-Net does not fit its text encoder.")
    fill(unet, ldm.unet_from_ldm(unet_part, unet_config), path)
    fill(vae, ldm.vae_from_ldm(vae_part, vae_config), path)
    fill(text_encoder, {k: t for k, t in text_part.items() if k.startswith("text_model.")}, path)
    return _model((unet, vae, text_encoder, tokenizer), path, form, scheduler, defaults)


def _load_diffusers(folder: Path, dtype: torch.dtype, format: str | SpectrogramFormat | None) -> Model:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    weights = "diffusion_pytorch_model"
    files = [part_file(folder / "unet", weights), part_file(folder / "vae", weights)]
    files.append(part_file(folder / "text_encoder", "model"))
    configs = [_read_json(folder / part / "config.json") for part in ("unet", "vae", "text_encoder")]
    _, metadata = read_header(files[0])
    width = configs[0].get("cross_attention_dim")
    if configs[0].get("in_channels") != 4 or configs[0].get("addition_embed_type") or width == 1024:
        raise SonopaintError(
            f"{folder.name} is not Stable Diffusion 1.5 (U-Net with {configs[0].get('in_channels')} input "
            f"channels and text of width {width}); inpainting, SD 2 and SDXL models can't be used."
        )
    scheduler_file = folder / "scheduler" / "scheduler_config.json"
    scheduler = SD1_SCHEDULER | (_read_json(scheduler_file) if scheduler_file.is_file() else {})
    alphas_cumprod_of(scheduler, folder.name)  # refuses an unknown schedule before gigabytes are read
    try:
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(configs[0])
            vae = AutoencoderKL.from_config(configs[1])
            text_encoder = CLIPTextModel(CLIPTextConfig.from_dict(configs[2]))
    except (KeyError, ValueError, TypeError) as error:
        raise SonopaintError(
            f"{folder} has a config.json that describes no SD 1.5 model ({error})."
        ) from error
    tensors = [read_tensors(file, dtype=dtype) for file in files]
    tensors[1] = ldm.modern_vae(tensors[1])
    for part, values, file in zip((unet, vae, text_encoder), tensors, files, strict=True):
        fill(part, values, file)
    tokenizer_folder = folder / "tokenizer"
    has_tokenizer = (tokenizer_folder / "vocab.json").is_file()
    tokenizer = load_tokenizer(tokenizer_folder) if has_tokenizer else find_clip_tokenizer(folder.parent)
    form = model_format(folder, metadata, format)
    return _model((unet, vae, text_encoder, tokenizer), folder, form, scheduler, SD_DEFAULTS)


def _model(
    parts: tuple[Any, Any, Any, Any],
    path: Path,
    form: SpectrogramFormat,
    scheduler: dict[str, Any],
    defaults: dict[str, Any],
) -> Model:
    unet, vae, text_encoder, tokenizer = parts
    prediction = str(scheduler.get("prediction_type", "epsilon"))
    if prediction not in PREDICTIONS:
        raise SonopaintError(
            f"{path.name} says that it predicts {prediction!r}; only epsilon, v and sample work."
        )
    if len(tokenizer) > text_encoder.config.vocab_size:
        raise SonopaintError(
            f"{path.name} comes with a tokenizer of {len(tokenizer)} words where its text encoder knows "
            f"{text_encoder.config.vocab_size}; put the tokenizer of this model beside it."
        )
    return Model(
        unet=unet,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        alphas_cumprod=alphas_cumprod_of(scheduler, path.name),
        prediction_type=PREDICTIONS[prediction],
        format=form,
        name=path.name.removesuffix(".safetensors"),
        path=path,
        device=torch.device("cpu"),
        dtype=torch.float32,
        defaults=dict(defaults),
        latent_factor=2 ** (len(vae.config.block_out_channels) - 1),
        vae_scale=vae.config.scaling_factor,
    )


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _shapes(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SonopaintError(f"{path} can't be read ({error}); get the file anew.") from error
    if not isinstance(values, dict):
        raise SonopaintError(f"{path} holds no settings; get the file anew.")
    return values
