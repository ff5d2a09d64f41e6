"""DDPM: discrete time, ancestral sampling, a network that says the noise.

Ho et al. 2020, arXiv:2006.11239.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sonopaint.samplers.common import Callback, Generators, noise_like

STEPS = 1000


def linear_betas(steps: int = STEPS) -> Tensor:
    """β_1 … β_T, float64 [T]: 1e-4 to 0.02 for 1000 steps (section 4); as much noise in all for others."""
    return torch.linspace(1e-4, 0.02, steps, dtype=torch.float64).mul(STEPS / steps).clamp(max=0.999)


def alphas_bar(betas: Tensor) -> Tensor:
    """ᾱ_1 … ᾱ_T: products of 1 − β, [T]."""
    return (1 - betas).cumprod(0)


def diffused(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε, equation 4; x0 [B, …], alpha_bar [B]."""
    share = alpha_bar.reshape(-1, *[1] * (x0.ndim - 1)).to(x0)
    return share.sqrt() * x0 + (1 - share).sqrt() * noise


@torch.no_grad()
def sample_ddpm(
    predict: Callable[[Tensor, int], Tensor],
    noise: Tensor,
    betas: Tensor,
    *,
    callback: Callback | None = None,
    generator: Generators = None,
) -> Tensor:
    """x_0 from x_T = `noise` [B, …] in as many calls as there are β: algorithm 2 with σ_t² = β_t.

    predict(x_t, t) → ε̂ for t = T … 1. No noise is added at t = 1.
    """
    x, total = noise, len(betas)
    bars = alphas_bar(betas)
    for t in range(total, 0, -1):
        beta, bar = float(betas[t - 1]), float(bars[t - 1])
        said = predict(x, t)
        x0 = (x - (1 - bar) ** 0.5 * said) / bar**0.5
        x = (x - beta / (1 - bar) ** 0.5 * said) / (1 - beta) ** 0.5
        if t > 1:
            x = x + beta**0.5 * noise_like(x, generator)
        if callback:
            callback(total - t + 1, total, x0)
    return x
