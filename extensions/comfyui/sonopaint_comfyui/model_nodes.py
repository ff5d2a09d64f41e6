"""Load Sonopaint Mini."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from sonoconvert.errors import SonopaintError
from sonoconvert.format import get_format
from sonopaint.models.folders import shipped_folder
from sonopaint.models.info import list_models
from sonopaint_comfyui.kinds import Format, PictureInfo, schema

FALLBACK = "mini"
SHIPPED_LORAS = ("mini-one-step", "subjects")


def minis() -> dict[str, Path]:
    """{name: folder} of the shipped Minis and the person's own."""
    return {model.name: model.path for model in list_models() if model.kind == "mini"}


class LoadMini(io.ComfyNode):
    """The shipped model, or one trained like it, as MODEL, CLIP and VAE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintLoadMini",
            "Load Sonopaint Mini",
            description="The small sound model that comes with Sonopaint. Its outputs work with every node "
            "for Stable Diffusion 1: LoRA loaders, samplers, merging.",
            search_aliases=["load model", "sound model", "checkpoint", "text to sound"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=list(minis()) or [FALLBACK],
                    tooltip="Models in Sonopaint's weights folder, and your own in its models folder.",
                )
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
        if model in minis():
            return True
        return (
            f"There is no Mini {model!r}; choose one of: {', '.join(minis()) or 'none (get weights/mini)'}."
        )

    @classmethod
    def fingerprint_inputs(cls, model: str) -> str:
        folder = minis().get(model)
        if folder is None:
            return ""
        return str([os.stat(folder / f"{part}.safetensors").st_mtime_ns for part in ("unet", "vae")])

    @classmethod
    def execute(cls, model: str) -> io.NodeOutput:
        from sonopaint_comfyui.mini_model import load_mini

        folder = minis().get(model)
        if folder is None:
            raise SonopaintError(f"There is no Mini {model!r}; reload the page to see which there are.")
        unet, clip, vae, form = load_mini(folder)
        return io.NodeOutput(unet, clip, vae, PictureInfo(get_format(form)))


def add_shipped_loras() -> None:
    """Let the LoRA loaders find what comes with Sonopaint: the one-step Mini, and subjects."""
    for name in SHIPPED_LORAS:
        folder = shipped_folder() / name
        if any(folder.glob("*.safetensors")) and not (folder / "unet.safetensors").exists():
            folder_paths.add_model_folder_path("loras", str(folder))


add_shipped_loras()
NODES = [LoadMini]
