"""What runs show while they train: pictures and sounds beside each other, and sheets of them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sonoconvert.conversion.convert import decode
from sonoconvert.files.atomic import atomic_path
from sonoconvert.files.clip import Clip, write_clip
from sonoconvert.pictures.picture import Picture, save_picture


def save_sheet(rows: Sequence[Tensor], path: Path, gap: int = 4) -> None:
    """Rows of level pictures (each [N, H, W] in 0 … 1, row 0 = lowest frequency) as one grey PNG."""
    from PIL import Image

    lines = []
    for row in rows:
        framed = torch.nn.functional.pad(row.float().cpu().flip(-2), (0, gap, 0, gap), value=0.5)
        lines.append(torch.cat(list(framed), dim=-1))
    sheet = torch.cat(lines, dim=0).mul(255).round().clamp(0, 255)
    with atomic_path(path, force=True) as beside:
        Image.fromarray(sheet.numpy().astype(np.uint8)).save(beside, format="PNG")


BATCH = 4
GAP = 4  # pixels between the pictures of a sheet
Painting = tuple[Picture, Clip]  # and how it sounds


@torch.no_grad()
def to_paintings(model: Any, decoder: Any, latents: Tensor) -> list[Painting]:
    """Scaled latents [N, 4, h, w] → pictures with sounds. The decoder lives on the CPU and moves for this."""
    decoder.to(model.device)
    made = []
    for part in latents.split(BATCH):
        scaled = (part.to(model.device) / model.vae_scale).to(decoder.dtype)
        for image in decoder.decode(scaled).sample.float().cpu()[..., : model.format.width]:
            grey = ((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
            if model.format.channels == "mono":
                grey = np.repeat(grey.mean(axis=2, keepdims=True).round().astype(np.uint8), 3, axis=2)
            picture = Picture(np.ascontiguousarray(grey), model.format)
            made.append((picture, decode(picture)))
    if model.device.type != "cpu":
        decoder.to("cpu")
    return made


def keep_decoder(model: Any, wanted: bool) -> Any:
    """Frees the VAE's encoder, and its decoder unless wanted, from the model; the decoder or None."""
    vae, model.vae = model.vae, None
    if not wanted:
        return None
    vae.encoder = vae.quant_conv = None
    return vae.to("cpu")


def save(painting: Painting, stem: Path, settings: dict[str, Any]) -> None:
    """stem.png and stem.wav."""
    picture, clip = painting
    save_picture(picture, stem.with_suffix(".png"), force=True)
    write_clip(Clip(clip.waveform, clip.sample_rate, settings), stem.with_suffix(".wav"), force=True)


def save_comparison(
    before: Sequence[Painting], after: Sequence[Painting], prompts: Sequence[str], target: Path, *, step: int
) -> None:
    """Into `target`: {k}-without.png and .wav (before training), {k}-with.* (now), and both on sheet.png."""
    for kind, paintings in (("with", after), ("without", before)):
        for index, painting in enumerate(paintings):
            save(painting, target / f"{index}-{kind}", {"prompt": prompts[index], "lora": kind, "step": step})
    save_pairs(before, after, target / "sheet.png")


def save_pairs(before: Sequence[Painting], after: Sequence[Painting], path: Path) -> None:
    """Two rows of pictures as one PNG: without the LoRA above, with it below."""
    from PIL import Image

    rows = []
    for paintings in (before, after):
        framed = [np.pad(p.pixels, ((0, GAP), (0, GAP), (0, 0)), constant_values=128) for p, _ in paintings]
        rows.append(np.concatenate(framed, axis=1))
    with atomic_path(path, force=True) as beside:
        Image.fromarray(np.concatenate(rows, axis=0)).save(beside)


def write_preview(run: Path, path: Path) -> None:
    """NAME.png beside NAME.safetensors, as the WebUIs show it: the newest painting of the first prompt."""
    newest = sorted(run.glob("previews/step-*/0-with.png"))
    if newest:
        with atomic_path(path, force=True) as beside:
            shutil.copyfile(newest[-1], beside)
