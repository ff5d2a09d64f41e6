"""One step: distilled students make a sample with a single call of their network, or edit in a few."""

from __future__ import annotations

import torch

from sonopaint.samplers.common import Callback, Denoise, Generators, Sigmas
from sonopaint.samplers.lcm import sample_lcm


@torch.no_grad()
def sample_one_step(denoise: Denoise, noise: torch.Tensor, sigma: float) -> torch.Tensor:
    """x̂0 = (x_T − σ_T ε(x_T, T)) / α_T with x_T = noise: DMD2, Yin et al. 2024, arXiv:2405.14867, section 3.

    denoise: predicts x0 from x = x0 + sigma · noise (see ``common``), without guidance: a student has none.
    noise: standard normal [B, C, H, W], which the network sees as it is. sigma: of the student's timestep.
    """
    return denoise(pure_noise(noise, sigma), sigma)


def pure_noise(noise: torch.Tensor, sigma: float) -> torch.Tensor:
    """What a student starts from, scaled as all samplers have x: the network sees `noise` as it is."""
    return noise * (sigma**2 + 1) ** 0.5


def sample_student(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: Sigmas,
    *,
    callback: Callback | None = None,
    generator: Generators = None,
) -> torch.Tensor:
    """One call, or a few where something is kept: x̂0, noised again to the next of the student's sigmas.

    DMD2's multi-step sampler (section 4.4), which is consistency sampling. `x` is ``pure_noise`` where
    nothing is to be kept (then one step is ``sample_one_step``), else what is there with noise of sigmas[0].
    """
    return sample_lcm(denoise, x, sigmas, callback=callback, generator=generator)
