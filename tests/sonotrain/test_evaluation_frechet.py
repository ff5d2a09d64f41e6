"""The Fréchet distance against closed forms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonotrain.evaluation.frechet import distance_of, frechet_distance


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(0, 4), st.floats(-3, 3), st.floats(0, 4)), min_size=1))
def test_diagonal_gaussians_have_a_closed_form(rows: list[tuple[float, float, float, float]]) -> None:
    mean_a, deviation_a, mean_b, deviation_b = torch.tensor(rows, dtype=torch.float64).T
    expected = ((mean_a - mean_b) ** 2 + (deviation_a - deviation_b) ** 2).sum().item()
    got = frechet_distance(mean_a, torch.diag(deviation_a**2), mean_b, torch.diag(deviation_b**2))
    assert got == pytest.approx(expected, abs=1e-5)


def test_correlated_gaussians_agree_with_the_matrix_square_root() -> None:
    from scipy.linalg import sqrtm

    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(6, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    cov_a, cov_b = a @ a.T, b @ b.T
    root = torch.from_numpy(sqrtm((cov_a @ cov_b).numpy()).real)
    expected = (cov_a + cov_b - 2 * root).trace().item()
    zero = torch.zeros(6, dtype=torch.float64)
    assert frechet_distance(zero, cov_a, zero, cov_b) == pytest.approx(expected, rel=1e-6)


def test_the_same_clips_have_no_distance_and_few_clips_do_no_harm() -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(5, 64, generator=generator)  # fewer clips than dimensions: singular covariance
    assert distance_of(features, features) == pytest.approx(0.0, abs=1e-4)
    shifted = distance_of(features, features + 1.0)
    assert shifted == pytest.approx(64.0, rel=1e-5)
    with pytest.raises(ValueError, match="at least two"):
        distance_of(features[:1], features)
