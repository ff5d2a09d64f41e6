"""The corpus as latents: encoded once by a trained VAE and kept beside it."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonotrain.data.corpus import Corpus, to_pixels
from sonotrain.files.pace import Pace
from sonotrain.files.tensors import keep, kept
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
    chunks, pace, encoded = [], Pace(), 0
    for first in range(0, len(pictures), CHUNK):
        levels = pictures[first : first + CHUNK]
        digest = weights.copy()
        digest.update(levels.numpy().tobytes())
        path = folder / f"{digest.hexdigest()[:24]}.safetensors"
        if found := kept(path):
            chunks.append(found["latents"])
            continue
        parts = []
        for pixels in levels.split(batch):
            with autocast(device):
                mean = vae.encode(to_pixels(pixels.to(device))).latent_dist.mode()
            parts.append((mean.float() * factor).half().cpu().contiguous())
        chunks.append(torch.cat(parts))
        keep(path, {"latents": chunks[-1]})
        encoded += len(levels)
        done = first + len(levels)
        left = pace.left(encoded, len(pictures) - done)
        logger.info("latents: %d of %d clips, %s left", done, len(pictures), left)
    return torch.cat(chunks)
