"""What all samplers share: the types of their one signature, and seeded noise.

A sampler is a pure function ``sampler(denoise, x, sigmas, *, callback=None, generator=None) -> x0`` in the
variance-exploding scaling of Karras et al. 2022: ``x = x0 + sigma * noise``. ``denoise(x, sigma)`` predicts
x0 for a whole batch at one noise level; ``sigmas`` falls and ends in 0 (``schedule.karras``, or a model's
own: ``models.schedule.sigmas``); ``x`` is expected at noise level ``sigmas[0]``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch

Denoise = Callable[[torch.Tensor, float], torch.Tensor]
# callback(step, total, x0): after each of `total` steps (step = 1 … total) with the latest prediction of x0.
# It may raise sonoconvert.errors.Cancelled to stop.
Callback = Callable[[int, int, torch.Tensor], None]
# One generator for the batch, or one per item, so that an item does not depend on its neighbours.
Generators: TypeAlias = torch.Generator | Sequence[torch.Generator] | None
Sigmas: TypeAlias = torch.Tensor | Sequence[float]


def noise_like(x: torch.Tensor, generator: Generators = None) -> torch.Tensor:
    """Standard normal noise of x's shape [B, …], drawn on the generator's own device."""
    if generator is None:
        return torch.randn_like(x)
    if isinstance(generator, torch.Generator):
        return torch.randn(x.shape, generator=generator, device=generator.device).to(x)
    if len(generator) != len(x):
        raise ValueError(f"{len(generator)} generators for a batch of {len(x)}")
    return torch.stack([noise_like(item, one) for item, one in zip(x, generator, strict=True)])


def added_noise(seed: int) -> torch.Generator:
    """What draws the noise that a sampler adds on the way, in every host; not the noise it begins with."""
    return torch.Generator().manual_seed(seed ^ 0x5EED)


def pairs(sigmas: Sigmas) -> list[tuple[float, float]]:
    """[(sigma, next sigma), …] as Python floats, one pair for each step."""
    values = [float(sigma) for sigma in sigmas]
    return list(zip(values[:-1], values[1:], strict=True))
