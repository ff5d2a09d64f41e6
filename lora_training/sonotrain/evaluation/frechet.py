"""Fréchet distance of two sets of features (Heusel et al. 2017, eq. 6; Kilgour et al. 2019 for sound)."""

from __future__ import annotations

import torch
from torch import Tensor


def statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] and covariance [D, D] of features [N, D], in float64; N ≥ 2."""
    features = features.double()
    if len(features) < 2:
        raise ValueError("A Fréchet distance needs at least two clips on either side.")
    return features.mean(0), torch.cov(features.T)


def frechet_distance(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """‖μa − μb‖² + tr(Σa + Σb) − 2·Σ√eig(ΣaΣb), never negative.

    The eigenvalues of ΣaΣb are those of the symmetric √Σa·Σb·√Σa, which are real and ≥ 0 but for rounding;
    so no matrix square root of an unsymmetric product is needed, and few clips do no harm.
    """
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp_min(0.0).sqrt() @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0.0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2.0 * overlap
    return max(0.0, distance.item())


def distance_of(features_a: Tensor, features_b: Tensor) -> float:
    """Fréchet distance between two sets of features [N, D] and [M, D]."""
    return frechet_distance(*statistics(features_a), *statistics(features_b))
