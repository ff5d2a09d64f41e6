"""DPM-Solver++(2M)."""

from __future__ import annotations

import math

import torch

from sonopaint.samplers.common import Callback, Denoise, Generators, Sigmas, pairs


@torch.no_grad()
def sample_dpmpp_2m(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: Sigmas,
    *,
    callback: Callback | None = None,
    generator: Generators = None,
) -> torch.Tensor:
    """DPM-Solver++(2M): Lu et al. 2022, arXiv:2211.01095, algorithm 2 (first and last step: first order)."""
    steps = pairs(sigmas)
    last_x0, last_h = None, 0.0
    for index, (sigma, sigma_next) in enumerate(steps):
        x0 = denoise(x, sigma)
        if sigma_next == 0:
            x = x0
        else:
            h = math.log(sigma / sigma_next)
            combined = x0 if last_x0 is None else x0 + (x0 - last_x0) * (h / (2 * last_h))
            x = x * (sigma_next / sigma) - combined * math.expm1(-h)
            last_x0, last_h = x0, h
        if callback:
            callback(index + 1, len(steps), x0)
    return x
