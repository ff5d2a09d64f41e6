"""Measures of pictures: how rough they are, how quiet where they are quietest."""

from __future__ import annotations

import torch
from torch import Tensor


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
