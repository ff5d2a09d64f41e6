"""Clips from a model for many captions at once, as pictures and as sounds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sonotrain.data.corpus import quantise, to_levels, to_pixels


@torch.no_grad()
def through_vae(model: Any, levels: Tensor, batch: int = 8) -> Tensor:
    """Levels [N, 128, 320], as 8-bit pictures, to the VAE's latents (their means) and back."""
    pictures = []
    for part in quantise(levels).split(batch):
        latents = model.vae.encode(to_pixels(part.to(model.device)).to(model.dtype)).latent_dist.mode()
        pictures.append(to_levels(model.vae.decode(latents).sample).cpu())
    return torch.cat(pictures)


def grain(levels: Tensor) -> float:
    """How rough the loud half of a picture's range is: mean step between neighbouring columns, in dB.

    Levels [..., H, W] in 0 … 1 of an 80 dB range. Noise is rough (about 4 dB), tones and blur are smooth.
    """
    steps = (levels[..., 1:] - levels[..., :-1]).abs()
    heard = torch.minimum(levels[..., 1:], levels[..., :-1]) > 0.5
    return 80.0 * float(steps[heard].mean()) if heard.any() else 0.0


def quiet(levels: Tensor) -> float:
    """Level in dB of the quietest fifth of the columns, on average: −80 is silence, more is a hiss.

    Levels [..., H, W] in 0 … 1 of an 80 dB range.
    """
    columns = levels.mean(-2).sort(-1).values
    return 80.0 * float(columns[..., : -(-columns.shape[-1] // 5)].mean() - 1.0)
