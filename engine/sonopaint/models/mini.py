"""Sonopaint Mini: the shipped model's architecture, and its folder of safetensors."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PARTS = ("unet", "vae", "text_encoder")


def mini_config(vocab_size: int = 4096, scaling_factor: float = 0.18215) -> dict[str, Any]:
    """The architecture, in the one place that trainers and loaders share (it becomes ``config.json``).

    `vocab_size` is the tokenizer's true size, `scaling_factor` 1/σ of the VAE's latents as measured.
    The U-Net's channels are multiples of 32, so that the hosts' own classes can hold it. The VAE starts
    with 16 channels (and so 16 groups): full-resolution layers are what training on a CPU spends its time on.
    """
    unet = {
        "sample_size": [16, 40],
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [64, 128, 256],
        "layers_per_block": 1,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "cross_attention_dim": 256,
        "attention_head_dim": 4,  # the number of heads, as Stable Diffusion 1 configs have it
        "norm_num_groups": 32,
    }
    vae = {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": [16, 32, 64, 96],
        "layers_per_block": 1,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "norm_num_groups": 16,
        "mid_block_add_attention": True,
        "sample_size": 320,
        "scaling_factor": scaling_factor,
    }
    text_encoder = {
        "vocab_size": vocab_size,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
        "projection_dim": 256,
        "bos_token_id": vocab_size - 2,
        "eos_token_id": vocab_size - 1,
        "pad_token_id": vocab_size - 1,
    }
    scheduler = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon",
    }
    return {
        "unet": unet,
        "vae": vae,
        "text_encoder": text_encoder,
        "scheduler": scheduler,
        "format": "sonopaint-mini",
        "defaults": {"steps": 20, "guidance_scale": 4.0, "sampler": "dpmpp_2m", "event_lead_s": 0.384},
    }


def build_mini(config: dict[str, Any]) -> tuple[Any, Any, Any]:
    """U-Net, VAE and text encoder with random weights, in evaluation mode (float32, CPU)."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    unet = UNet2DConditionModel(**config["unet"])
    vae = AutoencoderKL(**config["vae"])
    text_encoder = CLIPTextModel(CLIPTextConfig(**config["text_encoder"]))
    return unet.eval(), vae.eval(), text_encoder.eval()


def check_config(config: Any) -> None:
    """ValueError, KeyError or TypeError unless a config.json of Mini has all its parts and believable sizes.

    Networks are built by it: a number too large would take all the memory.
    """
    from sonoconvert.checkpoints import ldm
    from sonoconvert.pictures.format import get_format

    for part in (*PARTS, "scheduler", "defaults"):
        if not isinstance(config[part], dict):
            raise ValueError(f"{part} holds no settings")
    ldm.check_levels(config["unet"])
    ldm.check_levels(config["vae"])
    for part in PARTS:
        for key, value in config[part].items():
            if isinstance(value, int) and not -(1 << 20) <= value <= 1 << 20:
                raise ValueError(f"{key} {str(value)[:40]}")
    if not 1 <= config["text_encoder"].get("num_hidden_layers", 12) <= 100:
        raise ValueError("num_hidden_layers")
    get_format(config["format"])


def save_mini(
    folder: str | Path,
    unet: Any,
    vae: Any,
    text_encoder: Any,
    tokenizer: Any,
    metadata: dict[str, str] | None = None,
    *,
    defaults: dict[str, Any] | None = None,
    knows: dict[str, Any] | None = None,
    prediction: str = "epsilon",
    force: bool = False,
) -> None:
    """Write {unet,vae,text_encoder}.safetensors (fp16), config.json and tokenizer/ into `folder`.

    What is learnt for painting parts (models/inpaint.py) is not written: `sonotrain base inpaint` does.
    `metadata` (strings: data, steps, metrics, licence …) joins each header beside ``sonopaint.format`` and
    the ModelSpec keys; `defaults` replaces entries of the sampling defaults; `knows` is what it
    learnt (see sonopaint.knowledge); `prediction` is what the U-Net says (epsilon, v_prediction or sample).
    Raises SonopaintError where a model exists and `force` is not set.
    """
    import torch
    from safetensors.torch import save

    from sonoconvert.errors import SonopaintError
    from sonoconvert.files.atomic import atomic_path, write_text
    from sonopaint.knowledge import KEY
    from sonopaint.models.tokenizer import save_tokenizer

    folder = Path(folder)
    if not force and (folder / "config.json").exists():
        raise SonopaintError(f"{folder} already holds a model; choose another folder or force overwriting.")
    parts = {"unet": unet, "vae": vae, "text_encoder": text_encoder}
    config = mini_config()
    for name, part in parts.items():
        kwargs = part.config.to_dict() if name == "text_encoder" else dict(part.config)
        config[name] = {key: kwargs[key] for key in config[name]}
    config["defaults"] |= defaults or {}
    config["scheduler"]["prediction_type"] = prediction
    if knows:
        config[KEY] = knows

    folder.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        tensors = {
            key: value.detach()
            .to("cpu", torch.float16 if value.is_floating_point() else value.dtype)
            .contiguous()
            for key, value in stored_state_dict(part).items()
        }
        tensors.pop("conv_in.kept", None)  # of the adapter, which has a file of its own
        header = part_header(name, config, save(tensors), metadata or {})
        with atomic_path(folder / f"{name}.safetensors", force=force) as path:
            path.write_bytes(save(tensors, metadata=header))
    save_tokenizer(tokenizer, folder / "tokenizer")
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n", force=force)


def is_mini(folder: str | Path) -> bool:
    """Whether save_mini wrote this folder (a run folder of the trainers has a config.json, too)."""
    return (Path(folder) / "unet.safetensors").is_file()


def load_mini(folder: str | Path) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
    """(unet, vae, text_encoder, tokenizer, config) from a folder that save_mini wrote; float32, CPU, eval.

    Raises SonopaintError for a missing, truncated or mismatching file.
    """
    import torch

    from sonoconvert.checkpoints.files import read_tensors
    from sonoconvert.errors import SonopaintError
    from sonopaint.models.inpaint import INPAINT_FILE, widen
    from sonopaint.models.tokenizer import load_tokenizer

    folder = Path(folder)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8-sig"))
        with torch.device("meta"):  # shapes only: the files bring the values
            check_config(config)
            parts = dict(zip(PARTS, build_mini(config), strict=True))
    except Exception as error:  # noqa: BLE001 - diffusers and transformers fail on odd values in every way
        raise SonopaintError(f"{folder} holds no readable Mini (config.json: {error}).") from error
    for name, part in parts.items():
        path = folder / f"{name}.safetensors"
        fill(part, read_tensors(path), path)
    if (folder / INPAINT_FILE).is_file():
        widen(parts["unet"], read_tensors(folder / INPAINT_FILE))
    return parts["unet"], parts["vae"], parts["text_encoder"], load_tokenizer(folder / "tokenizer"), config


def stored_state_dict(module: Any) -> dict[str, torch.Tensor]:
    """A part's state dict under the names that files use on every version of transformers.

    transformers 5 dropped the prefix ``text_model.`` from CLIPTextModel; files (and hosts) keep it.
    """
    state = {key: value for key, value in module.state_dict().items() if not key.endswith("position_ids")}
    return {stored_name(module, key): value for key, value in state.items()}


def stored_name(module: Any, name: str) -> str:
    """The name in files of what is called `name` in `module` (see stored_state_dict)."""
    return name if _names_are_stored_names(module) else f"text_model.{name}"


def fill(module: Any, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Put `tensors` (named as in stored_state_dict) into `module`; SonopaintError unless they fit exactly.

    The module may have been built on the meta device (no memory, no random numbers): it adopts the tensors.
    """
    import torch

    from sonoconvert.errors import SonopaintError

    if not _names_are_stored_names(module):
        tensors = {key.removeprefix("text_model."): value for key, value in tensors.items()}
    tensors = {key: value for key, value in tensors.items() if not key.endswith("position_ids")}
    try:
        missing, unexpected = module.load_state_dict(tensors, strict=False, assign=True)
    except RuntimeError as error:
        raise SonopaintError(
            f"{path} does not fit its configuration (a tensor has another shape)."
        ) from error
    wrong = [key for key in missing if not key.endswith("position_ids")] + unexpected
    if wrong:
        raise SonopaintError(
            f"{path} does not fit its configuration (tensor {wrong[0]}); get the files anew."
        )
    for parent in module.modules():  # CLIP's only buffer that files don't hold
        if getattr(parent, "position_ids", None) is not None:
            parent.position_ids = torch.arange(parent.position_ids.shape[-1])[None]


def _names_are_stored_names(module: Any) -> bool:
    return hasattr(module, "text_model") or not hasattr(module, "embeddings")


def part_header(
    name: str, config: dict[str, Any], serialised: bytes, metadata: dict[str, str]
) -> dict[str, str]:
    """What the file of a part says of itself; `serialised`: its tensors as a file without it."""
    from sonoconvert.pictures.format import get_format

    start = 8 + int.from_bytes(serialised[:8], "little")  # past the safetensors header: the tensors alone
    return {
        "sonopaint.format": json.dumps(get_format(config["format"]).to_dict()),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "sonopaint-mini",
        "modelspec.implementation": "diffusers",
        "modelspec.title": f"Sonopaint Mini ({name})",
        "modelspec.resolution": "320x128",
        "modelspec.prediction_type": config["scheduler"]["prediction_type"],
        "modelspec.license": "MIT",
        "modelspec.date": datetime.now(timezone.utc).date().isoformat(),
        "modelspec.hash_sha256": "0x" + hashlib.sha256(serialised[start:]).hexdigest(),
        **metadata,
    }
