"""The Fréchet distance and what is made of it, against closed forms and SciPy's matrix square root."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonotrain.evaluation.frechet import (
    Reference,
    bootstrap_error,
    distance_of,
    frechet_distance,
    infinity,
    statistics,
)


def normal(count: int, size: int, seed: int) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(0, 4), st.floats(-3, 3), st.floats(0, 4)), min_size=1))
def test_diagonal_gaussians_have_a_closed_form(rows: list[tuple[float, float, float, float]]) -> None:
    mean_a, deviation_a, mean_b, deviation_b = torch.tensor(rows, dtype=torch.float64).T
    expected = ((mean_a - mean_b) ** 2 + (deviation_a - deviation_b) ** 2).sum().item()
    got = frechet_distance(mean_a, torch.diag(deviation_a**2), mean_b, torch.diag(deviation_b**2))
    assert got == pytest.approx(expected, abs=1e-5)


def test_correlated_gaussians_agree_with_the_matrix_square_root() -> None:
    from scipy.linalg import sqrtm

    a, b = normal(6, 6, 0), normal(6, 6, 1)
    cov_a, cov_b = a @ a.T, b @ b.T
    root = torch.from_numpy(sqrtm((cov_a @ cov_b).numpy()).real)
    expected = (cov_a + cov_b - 2 * root).trace().item()
    zero = torch.zeros(6, dtype=torch.float64)
    assert frechet_distance(zero, cov_a, zero, cov_b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("count_a", "count_b"), [(40, 50), (40, 6), (5, 60), (4, 5), (12, 13)])
def test_features_agree_with_their_covariances_by_the_matrix_square_root(count_a: int, count_b: int) -> None:
    """Both ways of computing it, with more and with fewer clips than the 12 dimensions."""
    from scipy.linalg import sqrtm

    mix = normal(12, 12, 3)
    a, b = normal(count_a, 12, 4) @ mix, 0.7 * normal(count_b, 12, 5) + 1.0
    (mean_a, cov_a), (mean_b, cov_b) = statistics(a), statistics(b)
    root = sqrtm((cov_a @ cov_b).numpy())
    expected = (mean_a - mean_b).square().sum() + (cov_a + cov_b).trace() - 2 * float(np.trace(root).real)
    assert distance_of(a, b) == pytest.approx(expected.item(), rel=1e-4)
    assert frechet_distance(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected.item(), rel=1e-4)
    assert distance_of(a, b) == pytest.approx(distance_of(b, a), rel=1e-9)


SMALL = st.integers(2, 9)


@given(SMALL, SMALL, st.integers(1, 6), st.integers(0, 1000), st.sampled_from([0, 1e-8, 1e6]))
def test_it_is_never_negative(count_a: int, count_b: int, size: int, seed: int, scale: float) -> None:
    a, b = normal(count_a, size, seed), normal(count_b, size, seed + 1) * scale
    assert distance_of(a, b) >= 0.0
    assert distance_of(a, a) == pytest.approx(0.0, abs=1e-9)


def test_the_same_clips_have_no_distance_and_few_clips_do_no_harm() -> None:
    features = normal(5, 64, 1)  # fewer clips than dimensions: singular covariance
    assert distance_of(features, features) == pytest.approx(0.0, abs=1e-9)
    assert distance_of(features, features + 1.0) == pytest.approx(64.0, rel=1e-9)
    with pytest.raises(ValueError, match="at least two"):
        distance_of(features[:1], features)


def test_infinity_takes_the_bias_of_few_clips_away() -> None:
    """Two Gaussians in 16 dimensions whose distance is 16·(0.25 + 0.25): with 300 clips it measures more."""
    reference = Reference(normal(50_000, 16, 10))
    plain, ours, fadtk = [], [], []
    for seed in range(60):
        features = 1.5 * normal(300, 16, 20 + seed) + 0.5
        plain.append(reference.distance(features))
        ours.append(infinity(features, reference, seed=seed))
        fadtk.append(infinity(features, reference, seed=seed, replace=True))
    expected = 16 * (0.5**2 + 0.5**2)
    biased, unbiased = np.mean(plain), np.mean([line.value for line in ours])
    assert biased - expected > 0.3  # what is there to take away; the means' standard errors are 0.06
    assert abs(unbiased - expected) < 0.15
    assert np.mean([line.slope for line in ours]) > 0 and all(0 <= line.r2 <= 1 for line in ours)
    # fadtk draws with replacement, so its line leads back to these 300 clips
    assert np.mean([line.value for line in fadtk]) == pytest.approx(biased, abs=0.15)
    sizes = [size for size, _ in ours[0].points]
    assert sizes[0] == 100 and sizes[-1] == 300 and len(sizes) == 25
    assert infinity(features, reference, seed=3) == infinity(features, reference, seed=3)


def test_infinity_needs_several_sizes() -> None:
    reference = Reference(normal(10, 4, 0))
    with pytest.raises(ValueError, match="several sizes"):
        infinity(normal(10, 4, 1), reference, smallest=10)


@pytest.mark.parametrize(("count", "size"), [(60, 4), (30, 100)])
def test_the_bootstrap_error_is_the_spread_of_repeated_measurements(count: int, size: int) -> None:
    """Right with more clips than dimensions; with fewer it is cautious, up to twice too large."""

    def sides(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        return normal(count, size, seed) + 0.3, 1.2 * normal(count, size, seed + 500)

    spread = np.std([distance_of(*sides(seed)) for seed in range(60)])
    error = np.mean([bootstrap_error(*sides(seed), resamples=40, seed=seed) for seed in range(8)])
    assert 0.75 * spread < error < (1.35 if count > size else 2.0) * spread


def test_windows_of_one_clip_stay_together_in_the_bootstrap() -> None:
    """Ten copies of each clip tell no more than the clip: taken for ten clips the error would be far less."""
    a, b = normal(30, 3, 0), normal(30, 3, 1) + 1.0
    groups = [clip for clip in range(30) for _ in range(10)]
    copies = a.repeat_interleave(10, 0), b.repeat_interleave(10, 0)
    alone = bootstrap_error(a, b, seed=1)
    together = bootstrap_error(*copies, groups_a=groups, groups_b=groups, seed=1)
    apart = bootstrap_error(*copies, seed=1)
    assert together == pytest.approx(alone, rel=0.3) and apart < 0.6 * alone
