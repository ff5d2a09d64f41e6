"""DDIM."""

from __future__ import annotations

import torch

from sonopaint.samplers.common import Callback, Denoise, Generators, Sigmas, noise_like, pairs


@torch.no_grad()
def sample_ddim(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: Sigmas,
    *,
    eta: float = 0.0,
    callback: Callback | None = None,
    generator: Generators = None,
) -> torch.Tensor:
    """DDIM: Song et al. 2021, arXiv:2010.02502, equations 12 and 16 (eta 0: no noise; 1: ancestral, DDPM)."""
    steps = pairs(sigmas)
    for index, (sigma, sigma_next) in enumerate(steps):
        x0 = denoise(x, sigma)
        # Equation 16 in this scaling: the noise added, and what is left of the predicted noise.
        sigma_up = eta * sigma_next * (max(sigma**2 - sigma_next**2, 0.0) ** 0.5) / sigma
        sigma_down = max(sigma_next**2 - sigma_up**2, 0.0) ** 0.5
        x = x0 + (x - x0) * (sigma_down / sigma)
        if sigma_up > 0:
            x = x + noise_like(x, generator) * sigma_up
        if callback:
            callback(index + 1, len(steps), x0)
    return x
