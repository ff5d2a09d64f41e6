"""Variations by masking: what changes, how much, and that a seed is a take."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sonoconvert.files.clip import Clip
from sonopaint.variations import masked
from sonopaint.variations.masked import MaskedVariator, pieces
from sonopaint.variations.protocol import Ask, Variator

RATE = 16_000


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Clip:
    monkeypatch.setattr(masked, "load", lambda: None)
    return Clip(0.1 * torch.randn(1, 4 * RATE, generator=torch.Generator().manual_seed(0)), RATE)


def test_only_the_pieces_change_and_a_seed_is_a_take(reference: Clip) -> None:
    variator = MaskedVariator()
    assert isinstance(variator, Variator)
    first, again, other = variator.candidates(reference, Ask(strength=0.6), [3, 3, 4])
    assert torch.equal(first.clip.waveform, again.clip.waveform)
    assert not torch.equal(first.clip.waveform, other.clip.waveform)
    assert first.changed is not None
    inside = np.zeros(reference.num_samples, bool)
    for start_s, stop_s in first.changed:
        inside[round(start_s * RATE) : round(stop_s * RATE)] = True
    changed = (first.clip.waveform != reference.waveform)[0].numpy()
    assert not changed[~inside].any() and changed[inside].mean() > 0.9


@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
def test_strength_is_how_much_is_replaced(strength: float) -> None:
    shares = [
        sum(
            mark.stop - mark.start
            for mark in pieces(8 * RATE, RATE, 0.7 * strength, np.random.default_rng(seed))
        )
        / (8 * RATE)
        for seed in range(20)
    ]
    assert max(shares) <= max(0.7 * strength, 1 / 8) + 1e-6 and np.mean(shares) > 0.4 * strength * 0.7


def test_the_shortest_clip_keeps_something() -> None:
    assert [(mark.start, mark.stop) for mark in pieces(2, RATE, 0.7, np.random.default_rng(0))][0][1] <= 2
