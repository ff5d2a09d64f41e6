"""EDM: preconditioned denoisers, their sampler with its settings, and the way back to the noise.

Karras et al. 2022, arXiv:2206.00364.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonopaint.samplers.common import Callback, Denoise, Generators
from sonopaint.samplers.heun import sample_heun
from sonopaint.samplers.schedule import karras

SIGMA_DATA = 0.5  # standard deviation that the data is brought to
P_MEAN, P_STD = -1.2, 1.2  # of ln σ in training


@dataclass(frozen=True)
class EdmSettings:
    """All that the sampler has; the defaults are deterministic (35 calls of the network).

    steps, sigma_max, sigma_min, rho: the noise levels (equation 5). s_churn: how much fresh noise joins at
    levels from s_min to s_max, s_noise times as strong as the level says (algorithm 2). alpha: where the
    second slope is taken (1: Heun, ½: the midpoint; algorithm 3).
    """

    steps: int = 18
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    s_churn: float = 0.0
    s_min: float = 0.0
    s_max: float = math.inf
    s_noise: float = 1.0
    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not 0.25 <= self.alpha <= 2:
            raise SonopaintError(f"{setting('alpha')} must be from 0.25 to 2, not {self.alpha:g}.")

    def sigmas(self) -> Tensor:
        """Falling noise levels and a final 0: float64 [steps + 1]."""
        return karras(self.steps, self.sigma_min, self.sigma_max, self.rho)


def coefficients(sigma: Tensor, sigma_data: float = SIGMA_DATA) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in and c_noise of table 1, each like `sigma`.

    With them the network's input and its target have variance 1 at every σ, and c_out is the least possible.
    """
    total = sigma.square() + sigma_data**2
    return sigma_data**2 / total, sigma * sigma_data / total.sqrt(), total.rsqrt(), sigma.log() / 4


def loss_weight(sigma: Tensor, sigma_data: float = SIGMA_DATA) -> Tensor:
    """λ(σ) = 1 / c_out²: every noise level begins with the same loss."""
    return (sigma.square() + sigma_data**2) / (sigma * sigma_data).square()


def preconditioned(
    network: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: Tensor, sigma_data: float = SIGMA_DATA
) -> Tensor:
    """D(x; σ) = c_skip x + c_out F(c_in x, c_noise), equation 7; x [B, …], sigma [B]."""
    skip, out, scale, noise = coefficients(sigma, sigma_data)
    wide = (-1, *[1] * (x.ndim - 1))
    return skip.view(wide) * x + out.view(wide) * network(scale.view(wide) * x, noise)


def denoiser(network: Callable[[Tensor, Tensor], Tensor], sigma_data: float = SIGMA_DATA) -> Denoise:
    """`network` as what the samplers of this folder call."""
    return lambda x, sigma: preconditioned(network, x, torch.full((len(x),), sigma).to(x), sigma_data)


def sample_edm(
    denoise: Denoise,
    noise: Tensor,
    settings: EdmSettings | None = None,
    *,
    callback: Callback | None = None,
    generator: Generators = None,
) -> Tensor:
    """Algorithms 1 and 2: Heun's method down the levels of `settings`, from normal `noise` [B, …]."""
    settings = settings or EdmSettings()
    return sample_heun(
        denoise,
        noise * settings.sigma_max,
        settings.sigmas(),
        s_churn=settings.s_churn,
        s_min=settings.s_min,
        s_max=settings.s_max,
        s_noise=settings.s_noise,
        alpha=settings.alpha,
        callback=callback,
        generator=generator,
    )


def invert_edm(
    denoise: Denoise,
    x0: Tensor,
    settings: EdmSettings | None = None,
    *,
    callback: Callback | None = None,
) -> Tensor:
    """The `noise` from which `sample_edm` makes data `x0` [B, …] again: the way up, without churn."""
    settings = settings or EdmSettings()
    rising = settings.sigmas()[:-1].flip(0)
    return sample_heun(denoise, x0, rising, alpha=settings.alpha, callback=callback) / settings.sigma_max
