"""Heun's method."""

from __future__ import annotations

import torch

from sonopaint.samplers.common import Callback, Denoise, Generators, Sigmas, pairs


@torch.no_grad()
def sample_heun(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: Sigmas,
    *,
    callback: Callback | None = None,
    generator: Generators = None,
) -> torch.Tensor:
    """Heun: Karras et al. 2022, arXiv:2206.00364, algorithm 1 (two calls a step, except the last)."""
    steps = pairs(sigmas)
    for index, (sigma, sigma_next) in enumerate(steps):
        x0 = denoise(x, sigma)
        slope = (x - x0) / sigma
        guess = x + slope * (sigma_next - sigma)
        if sigma_next > 0:
            x0 = denoise(guess, sigma_next)
            x = x + (slope + (guess - x0) / sigma_next) / 2 * (sigma_next - sigma)
        else:
            x = guess
        if callback:
            callback(index + 1, len(steps), x0)
    return x
