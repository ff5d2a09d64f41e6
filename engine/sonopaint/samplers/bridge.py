"""A Schrödinger bridge from damaged to whole (I²SB, Liu et al. 2023, arXiv:2302.05872), in closed form.

t = 0 is whole, t = 1 damaged. The variance that has come in until t is σ²(t), that to come is
σ̄²(t) = V − σ²(t) (there eq. 11), with a rate that rises to t = ½ and falls again.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sonopaint.samplers.common import Generators, noise_like

VARIANCE = 0.1  # V: of all the noise on the way; at t = ½ a quarter of it is in the sample


def variance(t: Tensor) -> Tensor:
    """σ²(t) of t in 0 … 1."""
    return VARIANCE * torch.where(t < 0.5, 2 * t**2, 1 - 2 * (1 - t) ** 2)


def marginal(whole: Tensor, damaged: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of q(x_t | x_0, x_1), eq. 11; t [B] of tensors [B, …]."""
    past = _wide(variance(t), whole)
    ahead = VARIANCE - past
    mean = (ahead * whole + past * damaged) / VARIANCE
    return mean, (past * ahead / VARIANCE).sqrt()


def posterior(whole: Tensor, x: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of p(x_s | x_0, x_t), eq. 4; s < t, both [B]."""
    early, late = _wide(variance(s), x), _wide(variance(t), x)
    between = late - early
    mean = (between * whole + early * x) / late
    return mean, (early * between / late).sqrt()


def estimate(x: Tensor, damaged: Tensor, t: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of p(x_0 | x_t, x_1) where x_0 is Gaussian around x_1.

    That is all there is to know if nothing else is known, and so what a network need not learn (the
    preconditioning of DDBM, Zhou et al. 2023, arXiv:2309.16948, section 4.2): it says by how many deviations
    x_0 differs from the mean. spread: standard deviation of x_0 − x_1, broadcast over x.
    """
    past = _wide(variance(t), x)
    ahead = VARIANCE - past
    prior = spread.to(x).square()
    # x_t − x_1 = (σ̄²/V)(x_0 − x_1) + noise of variance σ²σ̄²/V
    whole = prior * ahead + VARIANCE * past
    return damaged + VARIANCE * prior / whole * (x - damaged), (prior * VARIANCE * past / whole).sqrt()


@torch.no_grad()
def sample_bridge(
    predict: Callable[[Tensor, Tensor], Tensor],
    damaged: Tensor,
    steps: int,
    *,
    generator: Generators = None,
    tick: Callable[[], None] | None = None,
) -> Tensor:
    """x_0 [B, …] from x_1 in `steps` equal steps of t (algorithm 2). One step is the mean of what may be.

    predict(x, t [B]) → x̂_0. tick: called before each step; may raise Cancelled.
    """
    x = damaged
    for step in range(steps, 0, -1):
        if tick is not None:
            tick()
        t = torch.full((len(x),), step / steps, device=x.device)
        whole = predict(x, t)
        if step == 1:
            return whole
        mean, deviation = posterior(whole, x, t, t - 1 / steps)
        x = mean + deviation * noise_like(x, generator)
    return x


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.ndim - 1)).to(like)
