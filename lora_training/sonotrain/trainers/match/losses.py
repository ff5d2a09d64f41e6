"""Four losses of parameter estimates: eqs. 1, 2, 4 and 5 of Han, Lostanlen & Lagrange."""

from __future__ import annotations

import torch
from torch import Tensor

from sonopaint.match.metric import Described

LOSSES = ("p", "spectral", "pnp", "reg")
TINY = 1e-8  # of the identity, that the loss without regularisation has all the same


def parameter_loss(error: Tensor) -> Tensor:
    """Eq. 1: ‖θ̃ − θ‖² of errors [B, D]: [B]."""
    return error.square().sum(-1)


def spectral_loss(descriptor: Described, place: Tensor, true: Tensor) -> Tensor:
    """Eq. 2: ‖Φ(g(θ̃)) − Φ(g(θ))‖² of places [B, D]: [B]; the sound is made and described at each step."""
    with torch.no_grad():
        wanted = descriptor(true)
    return (descriptor(place) - wanted).square().sum(-1)


def pnp_loss(error: Tensor, metric: Tensor) -> Tensor:
    """Eq. 4: ⟨e | M | e⟩ of errors [B, D] and metrics [B, D, D]: [B]."""
    return ((error[:, None] @ metric)[:, 0] * error).sum(-1).clamp_min(0)


def damped(metric: Tensor, mean: Tensor, weight: float) -> Tensor:
    """M + λ M̄ (eq. 5); with a weight of 0, M and a trifle of the identity."""
    if weight:
        return metric + weight * mean
    return metric + TINY * torch.eye(metric.shape[-1]).to(metric)
