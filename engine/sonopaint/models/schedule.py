"""Noise levels of Stable Diffusion: from its training schedule to the falling sigmas of a sampler."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch

from sonoconvert.errors import SonopaintError
from sonopaint.samplers.schedule import karras

Spacing = Literal["trailing", "leading", "karras"]


def scaled_linear_alphas_cumprod(
    beta_start: float = 0.00085, beta_end: float = 0.012, num_timesteps: int = 1000
) -> torch.Tensor:
    """Stable Diffusion's cumulative products of alpha, float64 [num_timesteps]; betas' roots are linear."""
    betas = torch.linspace(beta_start**0.5, beta_end**0.5, num_timesteps, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, dim=0)


def alphas_cumprod_of(scheduler: Mapping[str, Any], name: str) -> torch.Tensor:
    """Cumulative products of alpha, float64 [timesteps], as diffusers' scheduler_config.json describes them.

    Read are trained_betas, beta_schedule, beta_start, beta_end, num_train_timesteps, and
    rescale_betas_zero_snr (Lin et al. 2023, arXiv:2305.08891, algorithm 1; the last value is at most
    2^-24 instead of 0, as in diffusers, so that its sigma is finite). Raises SonopaintError,
    naming the model, for others.
    """
    try:
        steps = int(scheduler["num_train_timesteps"])
        low, high = float(scheduler["beta_start"]), float(scheduler["beta_end"])
        kind, trained = scheduler.get("beta_schedule", "scaled_linear"), scheduler.get("trained_betas")
        if not 1 < steps <= 100_000 or "FlowMatch" in str(scheduler.get("_class_name")):
            raise ValueError
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        if trained is not None:
            alphas = torch.cumprod(1 - torch.tensor(trained, dtype=torch.float64), dim=0)
        elif kind == "scaled_linear":
            alphas = scaled_linear_alphas_cumprod(low, high, steps)
        elif kind == "linear":
            alphas = torch.cumprod(1 - torch.linspace(low, high, steps, dtype=torch.float64), dim=0)
        elif kind == "squaredcos_cap_v2":  # Nichol & Dhariwal 2021, arXiv:2102.09672, equation 17
            bars = ((t + 0.008) / 1.008 * math.pi / 2).cos() ** 2
            alphas = torch.cumprod(1 - (1 - bars[1:] / bars[:-1]).clamp(max=0.999), dim=0)
        else:
            raise ValueError
        if scheduler.get("rescale_betas_zero_snr"):
            roots = alphas.sqrt()
            roots = (roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))
            alphas = roots**2
            alphas[-1] = min(2.0**-24, alphas[-2].item() / 2)
        falling = len(alphas) == steps and bool((alphas[1:] < alphas[:-1]).all())
        if not falling or not bool(((alphas > 0) & (alphas < 1)).all()):
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        keys = ("_class_name", "beta_schedule", "beta_start", "beta_end", "num_train_timesteps")
        told = {key: scheduler[key] for key in keys if key in scheduler}
        raise SonopaintError(
            f"{name} was trained on a noise schedule that is not known here ({str(told)[:200]}); only "
            "diffusers' linear, scaled_linear and squaredcos_cap_v2 can be used."
        ) from error
    return alphas


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
        return karras(count, levels[0].item(), levels[top - 1].item())
    if spacing == "leading":
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


def one_step_sigma(alphas_cumprod: torch.Tensor, timestep: int) -> float:
    """The sigma of a student's timestep."""
    if not 0 <= timestep < len(alphas_cumprod):
        raise SonopaintError(
            f"The timestep {timestep} is not one of the model's, 0 to {len(alphas_cumprod) - 1}."
        )
    return training_sigmas(alphas_cumprod)[timestep].item()
