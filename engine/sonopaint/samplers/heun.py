"""Heun's method and its second-order family, with Karras et al.'s churn."""

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
    alpha: float = 1.0,
    callback: Callback | None = None,
    generator: Generators = None,
) -> torch.Tensor:
    """Heun: Karras et al. 2022, arXiv:2206.00364, algorithm 2 (two calls a step, except the last).

    With s_churn above 0, each step at a level in [s_min, s_max] first adds noise (s_noise times as much as
    the level says) for s_churn / steps of its level, at most √2 − 1 of it, and then comes down from there;
    with 0 it is algorithm 1, without any noise of its own.

    alpha: where the second slope is taken, as a share of the step (1: Heun, ½: the midpoint), at the point
    that the first slope leads to: x + Δσ ((1 − 1/2α) d + 1/2α d′), algorithm 3. A step whose place would lie
    at or below σ = 0 is Heun's.
    """
    steps = pairs(sigmas)
    for index, (sigma, sigma_next) in enumerate(steps):
        gamma = min(s_churn / len(steps), math.sqrt(2) - 1) if s_min <= sigma <= s_max else 0.0
        if gamma > 0:
            sigma, before = sigma * (1 + gamma), sigma
            x = x + noise_like(x, generator) * (s_noise * math.sqrt(sigma**2 - before**2))
        x0 = denoise(x, sigma)
        slope = (x - x0) / sigma
        step = sigma_next - sigma
        if sigma_next > 0:
            share = alpha if sigma + alpha * step > 0 else 1.0
            there = sigma + share * step if share != 1 else sigma_next
            guess = x + slope * (there - sigma)
            x0 = denoise(guess, there)
            second = (guess - x0) / there
            x = x + ((1 - 0.5 / share) * slope + 0.5 / share * second) * step
        else:
            x = x + slope * step
        if callback:
            callback(index + 1, len(steps), x0)
    return x
