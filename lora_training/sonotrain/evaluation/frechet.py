"""Fréchet distance of two sets of features (Heusel et al. 2017, eq. 6; Kilgour et al. 2019 for sound).

‖μa − μb‖² + tr(Σa + Σb) − 2·tr√(ΣaΣb), always real and never negative, also with fewer clips than dimensions.
Its estimate from N clips is too large by about a constant / N; `infinity` takes that away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

INFINITY_STEPS = 25  # points of the line, as in fadtk
FADTK_SMALLEST = 500  # the fewest clips that fadtk fits


def statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] and covariance [D, D] of features [N, D], in float64; N ≥ 2."""
    features = _checked(features)
    return features.mean(0), torch.cov(features.T)


def frechet_distance(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """The distance of two Gaussians from their means [D] and covariances [D, D], in float64.

    The eigenvalues of ΣaΣb are those of the symmetric √Σa·Σb·√Σa, which are real and ≥ 0 but for rounding;
    so no matrix square root of an unsymmetric product is needed.
    """
    overlap = _root_eigenvalues(_root(cov_a), cov_b)
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2.0 * overlap
    return max(0.0, distance.item())


def distance_of(features_a: Tensor, features_b: Tensor) -> float:
    """Fréchet distance between two sets of features [N, D] and [M, D]; N, M ≥ 2."""
    return Reference(features_b).distance(features_a)


class Reference:
    """The side that stays the same in many distances: what can be computed once is.

    With at most D clips on a side, tr√(ΣaΣb) is the nuclear norm of the small matrix AᵀB of the centred
    features / √(N − 1), whose squared singular values are the eigenvalues of ΣaΣb that are not 0; with more,
    the covariances are smaller. Both are the same number.
    """

    def __init__(self, features: Tensor) -> None:
        features = _checked(features)
        self.mean = features.mean(0)
        self.centred = _centred(features)
        self.trace = self.centred.square().sum()

    @cached_property
    def root(self) -> Tensor:
        """√Σ [D, D]."""
        return _root(self.centred.T @ self.centred)

    def distance(self, features: Tensor) -> float:
        """Fréchet distance of features [N, D], N ≥ 2, from this reference."""
        features = _checked(features)
        centred = _centred(features)
        if min(len(centred), len(self.centred)) <= features.shape[1]:
            overlap = torch.linalg.svdvals(centred @ self.centred.T).sum()
        else:
            overlap = _root_eigenvalues(self.root, centred.T @ centred)
        means = (features.mean(0) - self.mean).square().sum()
        return max(0.0, (means + self.trace + centred.square().sum() - 2.0 * overlap).item())


@dataclass(frozen=True)
class Infinity:
    """The line distance = value + slope / n through `points` (n, distance); r2: how straight they lie."""

    value: float
    slope: float
    r2: float
    points: list[tuple[int, float]]


def infinity(
    features: Tensor,
    reference: Reference,
    *,
    smallest: int | None = None,
    steps: int = INFINITY_STEPS,
    seed: int = 0,
    replace: bool = False,
) -> Infinity:
    """The distance that endlessly many clips of features [N, D] would have: FAD∞ (Gui et al. 2024).

    `steps` sizes n from `smallest` (default: 500 as fadtk, or N / 3 where that is less) to N, one random
    subset each, and a least-squares line over 1 / n. The intercept is not clamped: noise may bring it below
    0. Drawn without replacement (Chong & Forsyth 2020, FID∞). `replace` draws as fadtk does, with
    replacement: then the line leads to the distance of these N clips, not of endlessly many. The reference's
    own bias stays.
    """
    count = len(features)
    if smallest is None:
        smallest = min(FADTK_SMALLEST, max(2, count // 3))
    if not 2 <= smallest < count or steps < 2:
        raise ValueError(f"A line over 1 / n needs several sizes from 2 to {count} clips, not {smallest}.")
    rng = np.random.default_rng(seed)
    points = []
    for size in sorted({int(n) for n in np.linspace(smallest, count, steps)}):
        chosen = torch.from_numpy(rng.choice(count, size=size, replace=replace))
        points.append((size, reference.distance(features[chosen])))
    sizes, distances = np.array(points).T
    slope, value = np.polyfit(1.0 / sizes, distances, 1)
    left = ((distances - slope / sizes - value) ** 2).sum()
    total = ((distances - distances.mean()) ** 2).sum()
    return Infinity(float(value), float(slope), float(1.0 - left / total) if total else 1.0, points)


def bootstrap_error(
    features_a: Tensor,
    features_b: Tensor,
    *,
    groups_a: Sequence[int] | None = None,
    groups_b: Sequence[int] | None = None,
    resamples: int = 100,
    seed: int = 0,
) -> float:
    """Standard error of `distance_of`: how much it would change with as many other clips.

    Both sides are drawn anew with replacement `resamples` times (Efron 1979). `groups` give the clip of each
    row where a clip has several (windows of one clip stay together). Duplicates shift a resampled distance
    up, so only their spread is used, not their place; with fewer clips than dimensions it is up to twice too
    large (tests/sonotrain/test_evaluation_frechet.py).
    """
    rng = np.random.default_rng(seed)
    distances = []
    for _ in range(resamples):
        sides = [
            features[_resampled(groups, len(features), rng)]
            for features, groups in ((features_a, groups_a), (features_b, groups_b))
        ]
        distances.append(distance_of(*sides))
    return float(np.std(distances, ddof=1))


def _resampled(groups: Sequence[int] | None, rows: int, rng: np.random.Generator) -> Tensor:
    if groups is None:
        return torch.from_numpy(rng.choice(rows, size=rows))
    owner = np.asarray(groups)
    order = np.argsort(owner, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(owner[order])) + 1)
    picked = rng.choice(len(parts), size=len(parts))
    return torch.from_numpy(np.concatenate([parts[index] for index in picked]))


def _checked(features: Tensor) -> Tensor:
    if features.ndim != 2 or len(features) < 2:
        raise ValueError("A Fréchet distance needs at least two clips on either side.")
    return features.double()


def _centred(features: Tensor) -> Tensor:
    """Rows whose products are the covariance: (x − μ) / √(N − 1)."""
    return (features - features.mean(0)) / (len(features) - 1) ** 0.5


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0.0).sqrt() @ vectors.T


def _root_eigenvalues(root_a: Tensor, cov_b: Tensor) -> Tensor:
    """Σ√eig(√Σa·Σb·√Σa)."""
    return torch.linalg.eigvalsh(root_a @ cov_b @ root_a).clamp_min(0.0).sqrt().sum()
