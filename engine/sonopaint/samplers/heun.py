"""Heun's method, with Karras et al.'s churn."""

from __future__ import annotations

import math

import torch

from sonopaint.samplers.common import Callback, Denoise, Generators, Sigmas, noise_like, pairs


@torch.no_grad()
def sample_heun(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: Sigmas,
    *,
    s_churn: float = 0.0,
    s_min: float = 0.0,
    s_max: float = math.inf,
    s_noise: float = 1.0,
    callback: Callback | None = None,
    generator: Generators = None,
) -> torch.Tensor:
    """Heun: Karras et al. 2022, arXiv:2206.00364, algorithm 2 (two calls a step, except the last).

    With s_churn above 0, each step at a level in [s_min, s_max] first adds noise (s_noise times as much as
    the level says) for s_churn / steps of its level, at most √2 − 1 of it, and then comes down from there;
    with 0 it is algorithm 1, without any noise of its own.
    """
    steps = pairs(sigmas)
    for index, (sigma, sigma_next) in enumerate(steps):
        gamma = min(s_churn / len(steps), math.sqrt(2) - 1) if s_min <= sigma <= s_max else 0.0
        if gamma > 0:
            sigma, before = sigma * (1 + gamma), sigma
            x = x + noise_like(x, generator) * (s_noise * math.sqrt(sigma**2 - before**2))
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
