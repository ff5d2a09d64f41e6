"""Load Sonopaint Mini, or a Stable Diffusion 1.5 checkpoint in its place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import PRESETS, get_format
from sonopaint.models.grain import grain_beside
from sonopaint.models.info import describe, event_lead, list_models
from sonopaint_comfyui.kinds import METADATA, Format, PictureInfo, schema
from sonopaint_comfyui.time_patches import GRAIN, guarded_model, patched_model, patched_vae, window_of

FALLBACK = "mini"
AS_MODEL = "as the model"


def models() -> dict[str, Path]:
    """{name: Mini's folder or checkpoint file}: the shipped Mini, the person's own, ComfyUI's checkpoints."""
    own = {model.name: model.path for model in list_models() if model.kind in ("mini", "checkpoint")}
    names = folder_paths.get_filename_list("checkpoints")
    return own | {name: Path(folder_paths.get_full_path_or_raise("checkpoints", name)) for name in names}


class LoadMini(io.ComfyNode):
    """The shipped model, one trained like it, or a checkpoint, as MODEL, CLIP and VAE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintLoadMini",
            "Load Sonopaint Mini / Checkpoint",
            description="The small sound model that comes with Sonopaint, or any Stable Diffusion 1.5 "
            "checkpoint in its place. The outputs work with every node for Stable Diffusion 1: LoRA loaders, "
            "samplers, merging.",
            search_aliases=[
                "load sonopaint mini",
                "load model",
                "sound model",
                "checkpoint",
                "text to sound",
            ],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=list(models()) or [FALLBACK],
                    tooltip="mini comes with Sonopaint. The others lie in Sonopaint's models folder, or are "
                    "ComfyUI's checkpoints.",
                ),
                io.Combo.Input(
                    "format",
                    optional=True,
                    options=[AS_MODEL, *PRESETS],
                    default=AS_MODEL,
                    tooltip="The format that the model was trained on. as the model: what its file says, "
                    "else what its name hints at, else riffusion-v1.",
                ),
            ],
            outputs=[
                io.Model.Output(),
                io.Clip.Output(),
                io.Vae.Output(),
                Format.Output(display_name="format"),
            ],
        )

    @classmethod
    def validate_inputs(cls, model: str) -> bool | str:
        if model in models():
            return True
        known = ", ".join(models()) or "none (get weights/mini)"
        return f"There is no model {model!r}; choose one of: {known}."

    @classmethod
    def fingerprint_inputs(cls, model: str, **_: Any) -> str:
        path = models().get(model)
        if path is None:
            return ""
        files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        return str([(file.name, os.stat(file).st_mtime_ns) for file in files])

    @classmethod
    def execute(cls, model: str, format: str = AS_MODEL) -> io.NodeOutput:
        path = models().get(model)
        if path is None:
            raise SonopaintError(f"There is no model {model!r}; reload the page to see which there are.")
        about = describe(path)
        load = load_folder if path.is_dir() else load_checkpoint
        unet, clip, vae = load(path)
        if hasattr(unet, "set_attachments"):
            unet.set_attachments(METADATA, about.metadata)
        fmt = about.format if format == AS_MODEL and about.format else get_format(format)
        window = window_of(fmt)
        unet = guarded_model(patched_model(unet, window, circular=False, asked=False))
        setattr(vae, GRAIN, grain_beside(path, fmt) if fmt.channels == "mono" else None)
        vae = patched_vae(vae, window, circular=False)
        return io.NodeOutput(unet, clip, vae, PictureInfo(fmt, lead=event_lead(path, fmt)))


def load_folder(folder: Path) -> tuple[Any, Any, Any]:
    """(MODEL, CLIP, VAE) of a Mini."""
    from sonopaint_comfyui.mini_model import load_mini

    return load_mini(folder)


def load_checkpoint(file: Path) -> tuple[Any, Any, Any]:
    """(MODEL, CLIP, VAE) as ComfyUI itself loads a checkpoint."""
    from comfy.sd import load_checkpoint_guess_config

    embeddings = folder_paths.get_folder_paths("embeddings")
    model, clip, vae, *_ = load_checkpoint_guess_config(
        str(file), output_vae=True, output_clip=True, embedding_directory=embeddings
    )
    return model, clip, vae


def add_shipped_loras() -> None:
    """Let the LoRA loaders find what comes with Sonopaint: the one-step Mini, and subjects."""
    shipped = [model.path.parent for model in list_models() if model.shipped and model.kind == "lora"]
    for folder in dict.fromkeys(shipped):
        folder_paths.add_model_folder_path("loras", str(folder))


add_shipped_loras()
NODES = [LoadMini]
