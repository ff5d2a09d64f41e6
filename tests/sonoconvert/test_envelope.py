"""The energy envelope of sounds whose loudness is known."""

from __future__ import annotations

import math

import pytest
import torch

from sonoconvert.edits.envelope import rms_envelope
from sonoconvert.errors import SonopaintError


def test_a_sine_has_its_rms_everywhere() -> None:
    sine = 0.5 * torch.sin(2 * math.pi * 1000 * torch.arange(32_000) / 32_000)
    envelope = rms_envelope(sine[None], 32_000, 62.5)
    assert envelope.shape == (63,)
    torch.testing.assert_close(envelope, torch.full((63,), 0.5 / 2**0.5), atol=2e-3, rtol=0)


def test_it_follows_the_sound_in_time_and_counts_all_channels() -> None:
    sound = torch.zeros(2, 1000)
    sound[0, 500:] = 1.0
    envelope = rms_envelope(sound, 1000, 10)
    assert envelope.tolist()[:4] == [0, 0, 0, 0]
    torch.testing.assert_close(envelope[6:], torch.full((4,), 0.5**0.5))


@pytest.mark.parametrize("rate", [0, -1, 2000, math.nan])
def test_impossible_rates(rate: float) -> None:
    with pytest.raises(SonopaintError, match="frames per second"):
        rms_envelope(torch.zeros(1, 100), 1000, rate)


def test_one_sample_is_enough() -> None:
    assert rms_envelope(torch.ones(1, 1), 44_100, 60).tolist() == [1.0]
