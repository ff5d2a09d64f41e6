"""Noise levels: from a model's training schedule to the falling sigmas of a sampler."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch

from sonoconvert.errors import SonopaintError

Spacing = Literal["trailing", "leading", "karras"]


def scaled_linear_alphas_cumprod(
    beta_start: float = 0.00085, beta_end: float = 0.012, num_timesteps: int = 1000
) -> torch.Tensor:
    """Stable Diffusion's cumulative products of alpha, float64 [num_timesteps]; betas' roots are linear."""
    betas = torch.linspace(beta_start**0.5, beta_end**0.5, num_timesteps, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, dim=0)


def training_sigmas(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """The sigma (noise over signal) of each training timestep: rising, float64, same length."""
    alphas = alphas_cumprod.double().cpu()
    return ((1 - alphas) / alphas).sqrt()


def sigmas(
    alphas_cumprod: torch.Tensor, steps: int, spacing: Spacing = "trailing", *, strength: float = 1.0
) -> torch.Tensor:
    """Falling sigmas with a final 0: float64 [n + 1], n = max(1, round(steps · strength)).

    `spacing` is how the timesteps are laid out: "trailing" starts at the noisiest one (Lin et al. 2023,
    arXiv:2305.08891, table 2), "leading" as Stable Diffusion's DDIM and PNDM do (offset 1), "karras" is
    equation 5 of Karras et al. 2022 with rho 7 between the same ends as "trailing".
    `strength` in (0, 1] starts at that share of the timesteps and keeps the steps as dense (audio img2img).
    """
    total = len(alphas_cumprod)
    if not 1 <= steps <= total:
        raise SonopaintError(f"{steps} steps can't be made; choose between 1 and {total}.")
    if not 0 < strength <= 1:
        raise SonopaintError(f"A strength of {strength} can't be used; choose one above 0 and up to 1.")
    if spacing not in get_args(Spacing):
        raise SonopaintError(f"There is no schedule {spacing!r}; use one of {', '.join(get_args(Spacing))}.")
    top = max(1, round(total * strength))
    count = min(top, max(1, round(steps * strength)))
    levels = training_sigmas(alphas_cumprod)
    if spacing == "karras":
        high, low = levels[top - 1].item() ** (1 / 7), levels[0].item() ** (1 / 7)
        chosen = torch.linspace(high, low, count, dtype=torch.float64) ** 7
    elif spacing == "leading":
        stride = top // count
        offset = min(1, top - 1 - (count - 1) * stride)
        chosen = levels[(torch.arange(count) * stride + offset).flip(0)]
    else:
        chosen = levels[(top - torch.arange(count) * (top / count)).round().long() - 1]
    return torch.cat([chosen, torch.zeros(1, dtype=torch.float64)])


def sigma_to_timestep(sigma: float, levels: torch.Tensor) -> float:
    """The (fractional) training timestep of `sigma`, linear in log sigma; `levels` from training_sigmas."""
    logs, target = levels.log(), math.log(sigma)
    high = int(torch.searchsorted(logs, target).clamp(1, len(logs) - 1))
    low_log, high_log = logs[high - 1].item(), logs[high].item()
    share = (target - low_log) / (high_log - low_log)
    return min(max(high - 1 + share, 0.0), len(logs) - 1.0)
