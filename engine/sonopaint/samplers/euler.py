"""Euler's method."""

from __future__ import annotations

import torch

from sonopaint.samplers.common import Callback, Denoise, Generators, Sigmas, pairs


@torch.no_grad()
def sample_euler(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: Sigmas,
    *,
    callback: Callback | None = None,
    generator: Generators = None,
) -> torch.Tensor:
    """Euler: Karras et al. 2022, arXiv:2206.00364, algorithm 1 without the second-order correction."""
    steps = pairs(sigmas)
    for index, (sigma, sigma_next) in enumerate(steps):
        x0 = denoise(x, sigma)
        x = x + (x - x0) / sigma * (sigma_next - sigma)
        if callback:
            callback(index + 1, len(steps), x0)
    return x
