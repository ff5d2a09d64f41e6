"""How much each parameter is heard: the metric that a descriptor of the sound pulls back onto parameters.

Han, Lostanlen & Lagrange, eq. 3: M = JᵀJ, J the Jacobian of Φ∘g. Parameters are places 0 … 1 in their
ranges. Noise and phases make Φ∘g ripple in some parameters, over steps much smaller than anybody hears;
there, `secants` over a step that is heard say more than the derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sonoconvert.descriptors.scattering import Scattering
from sonopaint.match.analyser import levelled
from sonopaint.match.synths import Synth

LONGEST_STEP = 0.25  # of a slider, in its range
Described = Callable[[Tensor], Tensor]  # places [B, D] → descriptors [B, P]


def described(synth: Synth, transform: Scattering | None = None, seed: int = 0) -> Described:
    """Φ∘g of places [B, D], every sound at one level."""
    transform = transform or Scattering(synth.samples)

    def descriptor(place: Tensor) -> Tensor:
        return transform(levelled(synth.render(synth.theta(place), seed=seed)))

    return descriptor


def jacobian(descriptor: Described, place: Tensor) -> Tensor:
    """J [B, P, D] of Φ∘g at places [B, D], by forward-mode differentiation."""

    def along(tangent: Tensor) -> Tensor:
        return torch.func.jvp(descriptor, (place,), (tangent.expand_as(place),))[1]

    return torch.func.vmap(along)(torch.eye(place.shape[1]).to(place)).permute(1, 2, 0)


def steps(synth: Synth, noticeable: float = 2.0) -> Tensor:
    """So many just noticeable differences of each parameter, in its range [D]."""
    return torch.tensor([
        noticeable * (math.log1p(p.jnd) / math.log(p.high / p.low) if p.log else p.jnd / (p.high - p.low))
        for p in synth.parameters
    ])  # fmt: skip


def secants(descriptor: Described, place: Tensor, step: Tensor, at: Tensor | None = None) -> Tensor:
    """J [B, P, D] from differences over steps [D], inwards where a step would leave the range.

    at: the descriptors [B, P] at `place`, where they are known.
    """
    at = descriptor(place) if at is None else at
    step = torch.where(place + step > 1, -step, step)  # [B, D]
    moved = place[:, None] + torch.diag_embed(step)
    found = torch.stack([descriptor(moved[:, k]) for k in range(place.shape[1])], -1)
    return (found - at[..., None]) / step[:, None]


def metric_of(found: Tensor) -> Tensor:
    """M = JᵀJ [B, D, D] of J [B, P, D]: symmetric and positive semi-definite."""
    return found.mT @ found


def even_steps(slopes: Tensor, size: float) -> Tensor:
    """How far each parameter goes in its range [D] until the descriptor has changed by `size`.

    So a step of one slider sounds as large as that of any other. slopes: √diag M [D]. What is hardly heard
    goes no further than `LONGEST_STEP`.
    """
    return (size / slopes.clamp_min(1e-9)).clamp_max(LONGEST_STEP)
