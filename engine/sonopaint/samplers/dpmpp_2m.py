"""DPM-Solver++(2M) and its SDE."""

from __future__ import annotations

import math

import torch

from sonopaint.samplers.common import Callback, Denoise, Generators, Sigmas, noise_like, pairs


@torch.no_grad()
def sample_dpmpp_2m(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: Sigmas,
    *,
    eta: float = 0.0,
    callback: Callback | None = None,
    generator: Generators = None,
) -> torch.Tensor:
    """DPM-Solver++(2M): Lu et al. 2022, arXiv:2211.01095, algorithm 2 (first and last step: first order).

    eta 1: the paper's SDE-DPM-Solver++(2M), which adds fresh noise at every step but the last.
    """
    steps = pairs(sigmas)
    last_x0, last_h = None, 0.0
    for index, (sigma, sigma_next) in enumerate(steps):
        x0 = denoise(x, sigma)
        if sigma_next == 0:
            x = x0
        else:
            h = math.log(sigma / sigma_next)
            combined = x0 if last_x0 is None else x0 + (x0 - last_x0) * (h / (2 * last_h))
            x = x * (sigma_next / sigma * math.exp(-eta * h)) - combined * math.expm1(-(1 + eta) * h)
            if eta > 0:
                x = x + noise_like(x, generator) * (sigma_next * math.sqrt(-math.expm1(-2 * eta * h)))
            last_x0, last_h = x0, h
        if callback:
            callback(index + 1, len(steps), x0)
    return x
