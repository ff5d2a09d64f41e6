"""Inception score, KL, CLAP score, diversity, copies and confusion against what they must be."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonotrain.evaluation import metrics


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_inception_score_lies_between_one_and_the_number_of_classes() -> None:
    certain = 100.0 * torch.eye(8).repeat(10, 1)
    assert metrics.inception_score(certain, splits=1)[0] == pytest.approx(8.0, rel=1e-6)
    assert metrics.inception_score(torch.zeros(40, 8))[0] == pytest.approx(1.0, rel=1e-9)
    assert metrics.inception_score(certain[:1].repeat(40, 1))[0] == pytest.approx(1.0, rel=1e-9)
    with pytest.raises(ValueError, match="can't be split"):
        metrics.inception_score(certain[:9], splits=10)


@given(st.integers(10, 60), st.integers(2, 20), st.floats(0, 30), st.integers(0, 99))
def test_the_inception_score_keeps_its_bounds(count: int, classes: int, scale: float, seed: int) -> None:
    score, deviation = metrics.inception_score(scale * random(count, classes, seed=seed))
    assert 1.0 - 1e-9 <= score <= min(classes, math.ceil(count / 10)) + 1e-9 and deviation >= 0.0


def test_the_inception_score_agrees_with_its_definition() -> None:
    p = random(50, 6, seed=1).softmax(1)
    expected = math.exp((p * (p / p.mean(0)).log()).sum(1).mean())
    assert metrics.inception_score(p.log(), splits=1)[0] == pytest.approx(expected, rel=1e-9)


def test_equal_clips_have_no_divergence_and_its_direction_is_audioldms() -> None:
    a, b = random(5, 527, seed=1), random(5, 527, seed=2)
    assert metrics.kl_softmax(a, a, epsilon=0.0).tolist() == [0.0] * 5
    assert (metrics.kl_softmax(a, a).abs() <= 527e-6).all()
    assert (metrics.kl_softmax(a, b, epsilon=0.0) > 0).all()
    p, q = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.5, 0.5]])
    expected = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)  # reference p, generated q
    assert metrics.kl_softmax(q.log(), p.log()).item() == pytest.approx(expected, abs=1e-5)
    assert metrics.kl_softmax(q.log(), p.log()).item() == pytest.approx(
        torch.nn.functional.kl_div((q + 1e-6).log(), p, reduction="sum").item(), rel=1e-6
    )


def test_epsilon_limits_what_one_lost_class_costs() -> None:
    generated, reference = torch.tensor([[60.0, 0.0]]), torch.tensor([[0.0, 60.0]])
    assert metrics.kl_softmax(generated, reference, epsilon=0.0).item() == pytest.approx(60.0)
    assert metrics.kl_softmax(generated, reference).item() == pytest.approx(-math.log(1e-6), rel=1e-3)


def test_the_sigmoid_divergence_is_audioldms() -> None:
    a, b = random(3, 9, seed=1), random(3, 9, seed=2)
    expected = torch.nn.functional.kl_div((a.sigmoid() + 1e-6).log(), b.sigmoid(), reduction="sum") / 3
    assert metrics.kl_sigmoid(a, b).mean().item() == pytest.approx(expected.item(), rel=1e-6)


def test_diversity_is_the_mean_over_pairs() -> None:
    x = torch.eye(4)
    assert metrics.diversity(x) == pytest.approx(1.0)
    assert metrics.diversity(x, measure="l2") == pytest.approx(math.sqrt(2))
    assert metrics.diversity(x[:1].repeat(5, 1)) == pytest.approx(0.0, abs=1e-12)
    assert metrics.diversity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(2.0)


def test_recited_clips_are_close_and_new_ones_are_not() -> None:
    reference = random(200, 16, seed=1)
    recited = metrics.nearest(reference[[7, 3, 7]] + 0.01 * random(3, 16, seed=2), reference)
    assert recited.index.tolist() == [7, 3, 7] and recited.close == 1.0
    assert recited.distance.max() < 0.05 * recited.typical
    new = metrics.nearest(random(2000, 16, seed=3), reference)
    assert new.close == pytest.approx(metrics.CLOSE, abs=0.04)
    assert new.distance.median().item() == pytest.approx(new.typical, rel=0.1)


def test_what_was_asked_for_is_found_and_confused() -> None:
    kinds = ["rain", "bell", "dog"]
    logits = torch.tensor([[3.0, 0, 0], [0, 2, 0], [0, 0, 1], [9, 0, 0]])
    assert metrics.guesses(logits, kinds) == ["rain", "bell", "dog", "rain"]
    assert metrics.found(logits, kinds, "rain") == 0.5
    with pytest.raises(ValueError, match="does not know 'cat'"):
        metrics.found(logits, kinds, "cat")
    table = metrics.confusion(metrics.guesses(logits, kinds), ["bell", "bell", "dog", "bell"])
    assert table == {"bell": {"rain": 2, "bell": 1}, "dog": {"dog": 1}}
    assert metrics.taken_for(table["bell"], "bell") == "rain" and metrics.taken_for(table["dog"], "dog") == ""
    assert metrics.top1(["a", "b"], ["a", "c"]) == 0.5
    assert metrics.cosine(logits, 2 * logits).tolist() == pytest.approx([1.0] * 4)
