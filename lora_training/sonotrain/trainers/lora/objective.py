"""What LoRA training adds to the objective: padding counted less, noise offset, fixed validation."""

from __future__ import annotations

import torch
from torch import Tensor


def cell_weights(masks: Tensor, padding_weight: float) -> Tensor:
    """Masks uint8 [B, h, w] (0 hidden, 1 padding, 2 sound) → weights [B, 1, h, w] with mean 1 for each clip.

    A clip that is padding for the most part so counts as much as one that fills its picture.
    """
    values = torch.tensor([0.0, padding_weight, 1.0], device=masks.device)
    weights = values[masks.int()][:, None]
    return weights / weights.mean((1, 2, 3), keepdim=True).clamp_min(1e-6)


def errors(predicted: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Mean squared error [B] of each clip, its cells weighted."""
    return ((predicted.float() - wanted.float()).square() * weights).mean((1, 2, 3))


def offset_noise(shape: tuple[int, ...], generator: torch.Generator, offset: float) -> Tensor:
    """Normal noise on the CPU plus `offset` × one number for each clip and channel (Guttenberg 2023)."""
    noise = torch.randn(shape, generator=generator)
    level = torch.randn(*shape[:2], 1, 1, generator=generator)  # always drawn: 0 changes nothing else
    return noise + offset * level if offset else noise


def timesteps_for_validation(total: int, count: int) -> Tensor:
    """`count` timesteps [count] in the middles of equal parts of the schedule."""
    return ((torch.arange(count) + 0.5) * total / count).long()
