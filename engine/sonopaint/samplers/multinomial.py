"""Multinomial diffusion ("DiscDPM"): categories instead of numbers (Hoogeboom et al. 2021, arXiv:2102.05379).

A category is an index; x [B, …] is int64 of indices, and what is said of it is a probability for each of K
classes on a last axis, [B, …, K]. Noise is uniform.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from sonopaint.samplers.common import Callback, Generators

STEPS = 100


def cosine_alphas(steps: int = STEPS, offset: float = 0.008) -> Tensor:
    """α_1 … α_T, float64 [T]: products fall as cos² (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17)."""
    share = torch.arange(steps + 1, dtype=torch.float64) / steps
    bars = torch.cos((share + offset) / (1 + offset) * math.pi / 2).square()
    return (bars[1:] / bars[:-1]).clamp(min=1e-3)


def mixed(x: Tensor, share: Tensor | float) -> Tensor:
    """share · x + (1 − share) / K: probabilities [B, …, K] with uniform noise, equations 11 and 12."""
    if isinstance(share, Tensor):
        share = share.reshape(-1, *[1] * (x.ndim - 1)).to(x)
    return share * x + (1 - share) / x.shape[-1]


def posterior(x: Tensor, x0: Tensor, alpha: Tensor | float, alpha_bar_before: Tensor | float) -> Tensor:
    """q(x_{t−1} | x_t, x_0) as probabilities [B, …, K], equation 13: exact.

    x int64 [B, …]; x0 [B, …, K]: one-hot, or what a network says; alpha = α_t and alpha_bar_before = ᾱ_{t−1},
    numbers or [B].
    """
    product = mixed(F.one_hot(x, x0.shape[-1]).to(x0), alpha) * mixed(x0, alpha_bar_before)
    return product / product.sum(-1, keepdim=True)


def draw(probabilities: Tensor, generator: Generators = None) -> Tensor:
    """Indices int64 [B, …] drawn from probabilities [B, …, K] (the Gumbel-max trick)."""
    uniform = torch.empty_like(probabilities)
    if isinstance(generator, torch.Generator) or generator is None:
        uniform.uniform_(generator=generator)
    else:
        for item, one in zip(uniform, generator, strict=True):
            item.uniform_(generator=one)
    gumbel = -(-uniform.clamp(1e-20, 1 - 1e-7).log()).log()
    return (probabilities.clamp_min(1e-30).log() + gumbel).argmax(-1)


@torch.no_grad()
def sample_multinomial(
    predict: Callable[[Tensor, int], Tensor],
    x: Tensor,
    alphas: Tensor,
    *,
    callback: Callback | None = None,
    generator: Generators = None,
) -> Tensor:
    """x_0 int64 [B, …] from uniform noise `x`: a fresh draw at each of the T steps.

    predict(x_t, t) → probabilities of x_0 [B, …, K], for t = T … 1; at t = 1 they are what is drawn from.
    """
    bars, total = alphas.cumprod(0), len(alphas)
    for t in range(total, 0, -1):
        said = predict(x, t)
        if t > 1:
            said = posterior(x, said, float(alphas[t - 1]), float(bars[t - 2]))
        x = draw(said, generator)
        if callback:
            callback(total - t + 1, total, x)
    return x
