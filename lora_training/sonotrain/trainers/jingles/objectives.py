"""What each formalism minimises, for each item of a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sonopaint.models.jingles.formalisms import Ddpm, DiscDpm, Edm, Formalism, Network
from sonopaint.samplers import ddpm, edm, multinomial


def loss_of(
    formalism: Formalism,
    network: Network,
    data: Tensor,
    generator: torch.Generator,
    curves: Tensor | None = None,
    facts: Tensor | None = None,
) -> Tensor:
    """[B] of data [B, …] (scaled to `formalism.scale`, or int64 categories)."""
    if isinstance(formalism, Edm):
        return edm_loss(formalism, network, data, generator, curves, facts)
    if isinstance(formalism, DiscDpm):
        return discdpm_loss(formalism, network, data, generator, curves, facts)
    assert isinstance(formalism, Ddpm)
    return ddpm_loss(formalism, network, data, generator, curves, facts)


def ddpm_loss(
    formalism: Ddpm,
    network: Network,
    x0: Tensor,
    generator: torch.Generator,
    curves: Tensor | None = None,
    facts: Tensor | None = None,
) -> Tensor:
    """‖ε − ε̂(x_t, t)‖² at t uniform in 1 … T: L_simple, Ho et al. 2020, equation 14."""
    t = torch.randint(1, formalism.steps + 1, (len(x0),), generator=generator)
    noise = torch.randn(x0.shape, generator=generator).to(x0)
    bars = ddpm.alphas_bar(ddpm.linear_betas(formalism.steps))[t - 1]
    said = network(ddpm.diffused(x0, noise, bars), formalism.time(t).to(x0.device), curves, facts)
    return (said.float() - noise).square().flatten(1).mean(1)


def edm_loss(
    formalism: Edm,
    network: Network,
    x0: Tensor,
    generator: torch.Generator,
    curves: Tensor | None = None,
    facts: Tensor | None = None,
    mean: float = edm.P_MEAN,
) -> Tensor:
    """λ(σ) ‖D(x_0 + n; σ) − x_0‖² with ln σ ~ N(mean, P_std²): Karras et al. 2022, table 1."""
    sigma = (torch.randn(len(x0), generator=generator) * edm.P_STD + mean).exp().to(x0)
    wide = sigma.view(-1, *[1] * (x0.ndim - 1))
    noisy = x0 + wide * torch.randn(x0.shape, generator=generator).to(x0)

    def said(x: Tensor, time: Tensor) -> Tensor:
        return network(x, time, curves, facts).float()

    errors = (edm.preconditioned(said, noisy, sigma, formalism.scale) - x0).square().flatten(1).mean(1)
    return edm.loss_weight(sigma, formalism.scale) * errors


def discdpm_loss(
    formalism: DiscDpm,
    network: Network,
    x0: Tensor,
    generator: torch.Generator,
    curves: Tensor | None = None,
    facts: Tensor | None = None,
) -> Tensor:
    """KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) in nats a code; −log p(x_0 | x_1) at t = 1.

    Hoogeboom et al. 2021, section 4; t is uniform in 1 … T.
    """
    alphas = multinomial.cosine_alphas(formalism.steps)
    bars = torch.cat([torch.ones(1, dtype=alphas.dtype), alphas.cumprod(0)])  # from ᾱ_0 on
    t = torch.randint(1, formalism.steps + 1, (len(x0),), generator=generator)
    one_hot = F.one_hot(x0, formalism.classes).float()
    noisy = multinomial.draw(multinomial.mixed(one_hot, bars[t]).cpu(), generator).to(x0.device)
    said = network(noisy, formalism.time(t).to(x0.device), curves, facts).float()
    true = multinomial.posterior(noisy, one_hot, alphas[t - 1], bars[t - 1])
    made = multinomial.posterior(noisy, said, alphas[t - 1], bars[t - 1])
    # ᾱ_0 = 1: at t = 1 the true posterior is x_0 itself, and the divergence −log p(x_0 | x_1)
    divergence = (true * (true.clamp_min(1e-20).log() - made.clamp_min(1e-20).log())).sum(-1)
    return divergence.flatten(1).mean(1)
