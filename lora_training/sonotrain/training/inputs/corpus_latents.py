"""The corpus as latents: encoded once by a trained VAE and kept beside it."""

from __future__ import annotations

import hashlib
import logging
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sonoconvert.files.atomic import atomic_path
from sonotrain.data.corpus import Corpus, clock, to_pixels
from sonotrain.training.compute import autocast

logger = logging.getLogger(__name__)

CHUNK = 500  # clips in one file


def corpus_latents(corpus: Corpus, vae: Any, factor: float, device: torch.device, batch: int = 8) -> Tensor:
    """Scaled latents (the means, times `factor`) of the corpus, fp16 [N, 4, 16, 40] on the CPU."""
    return picture_latents(corpus.levels, corpus.folder, vae, factor, device, batch)


@torch.no_grad()
def picture_latents(
    pictures: Tensor, beside: Path, vae: Any, factor: float, device: torch.device, batch: int = 8
) -> Tensor:
    """Scaled latents of pictures, levels uint8 [N, 128, 320], fp16 [N, 4, 16, 40] on the CPU.

    Kept as <beside>/latents/*.safetensors in chunks, so that a broken-off encoding goes on and a second run
    reads them. The names hang on the encoder's weights, the scaling factor and the chunk's own pictures.
    """
    if device.type == "cuda":
        batch = 128
    encoder = [*vae.encoder.parameters(), *vae.quant_conv.parameters()]
    weights = hashlib.sha256(str(factor).encode())
    for part in encoder:
        weights.update(part.detach().cpu().numpy().tobytes())
    folder = beside / "latents"
    folder.mkdir(exist_ok=True)
    chunks, start, encoded = [], time.monotonic(), 0
    for first in range(0, len(pictures), CHUNK):
        levels = pictures[first : first + CHUNK]
        digest = weights.copy()
        digest.update(levels.numpy().tobytes())
        path = folder / f"{digest.hexdigest()[:24]}.safetensors"
        if (kept := _read(path)) is not None:
            chunks.append(kept)
            continue
        parts = []
        for pixels in levels.split(batch):
            with autocast(device):
                mean = vae.encode(to_pixels(pixels.to(device))).latent_dist.mode()
            parts.append((mean.float() * factor).half().cpu().contiguous())
        chunks.append(torch.cat(parts))
        with atomic_path(path, force=True) as beside:
            save_file({"latents": chunks[-1]}, beside)
        encoded += len(levels)
        left = (time.monotonic() - start) / encoded * (len(pictures) - first - len(levels))
        logger.info("latents: %d of %d clips, %s left", first + len(levels), len(pictures), clock(left))
    return torch.cat(chunks)


def _read(path: Path) -> Tensor | None:
    try:
        return load_file(path)["latents"]
    except (OSError, SafetensorError):
        return None
