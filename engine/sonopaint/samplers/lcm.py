"""Multistep consistency sampling."""

from __future__ import annotations

import torch

from sonopaint.samplers.common import Callback, Denoise, Generators, Sigmas, noise_like, pairs


@torch.no_grad()
def sample_lcm(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: Sigmas,
    *,
    callback: Callback | None = None,
    generator: Generators = None,
) -> torch.Tensor:
    """Consistency sampling: Luo et al. 2023, arXiv:2310.04378, algorithm 3 (predict x0, add fresh noise)."""
    steps = pairs(sigmas)
    for index, (sigma, sigma_next) in enumerate(steps):
        x0 = denoise(x, sigma)
        x = x0 + noise_like(x, generator) * sigma_next if sigma_next > 0 else x0
        if callback:
            callback(index + 1, len(steps), x0)
    return x
