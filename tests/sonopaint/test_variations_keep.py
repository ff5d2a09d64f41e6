"""What a variation keeps of its reference, and how it is measured."""

from __future__ import annotations

import math

import pytest
import torch

from sonoconvert.files.clip import Clip
from sonopaint.variations.keep import fitted
from sonopaint.variations.measures import envelope_correlation, heard, is_silent, kept, onset, pitch
from sonopaint.variations.protocol import Keep

RATE = 32_000


def hit(frequency: float, start_s: float, decay_s: float, gain: float, seconds: float = 0.8) -> torch.Tensor:
    """A struck tone with overtones, [1, samples]."""
    time = torch.arange(round(seconds * RATE)) / RATE - start_s
    body = sum(torch.sin(2 * math.pi * frequency * k * time) / k for k in (1, 2, 3))
    return (gain * body * torch.exp(-time / decay_s) * (time >= 0))[None].float()


def test_everything_that_is_kept_is_the_references_afterwards() -> None:
    reference = Clip(hit(220, 0.1, 0.1, 0.4), RATE)
    other = Clip(hit(300, 0.23, 0.3, 0.05, 1.1), RATE)
    apart = kept(fitted(other, reference, Keep(False, False, False, False, False)), reference)
    assert apart["length_s"] == pytest.approx(0.3)
    assert apart["onset_ms"] == pytest.approx(130, abs=3)
    assert apart["pitch_cents"] == pytest.approx(1200 * math.log2(300 / 220), abs=10)
    assert abs(apart["loudness_lu"] or 0) > 5
    same = kept(fitted(other, reference, Keep(True, True, True, True, True)), reference)
    assert same["length_s"] == 0 and same["onset_ms"] == 0
    assert same["loudness_lu"] == pytest.approx(0, abs=0.1)
    assert same["pitch_cents"] == pytest.approx(0, abs=15)
    assert (same["envelope"] or 0) > 0.97 > 0.9 > (apart["envelope"] or 0)


@pytest.mark.parametrize("name", ["length", "loudness", "onset", "envelope", "pitch"])
def test_each_switch_keeps_its_own(name: str) -> None:
    reference, other = Clip(hit(220, 0.1, 0.1, 0.4), RATE), Clip(hit(300, 0.23, 0.3, 0.05, 1.1), RATE)
    nothing = Keep(False, False, False, False, False)
    only = Keep(**{**{key: False for key in nothing.__dataclass_fields__}, name: True})
    free, held = (kept(fitted(other, reference, keep), reference) for keep in (nothing, only))
    key = {"length": "length_s", "loudness": "loudness_lu", "onset": "onset_ms", "pitch": "pitch_cents"}
    if name == "envelope":
        assert (held["envelope"] or 0) > (free["envelope"] or 0) + 0.05
    else:
        assert abs(held[key[name]] or 0) < abs(free[key[name]] or 0) / 4


def test_rate_and_channels_are_the_references() -> None:
    reference = Clip(hit(220, 0.0, 0.1, 0.4).repeat(2, 1), RATE)
    made = fitted(Clip(torch.randn(1, 16_000) * 0.1, 16_000), reference, Keep())
    assert made.sample_rate == RATE and made.waveform.shape == reference.waveform.shape
    assert fitted(Clip(torch.zeros(1, 100), RATE), reference, Keep()).waveform.abs().max() == 0


def test_a_loud_reference_does_not_clip_its_variations() -> None:
    """A dull variation has to be turned up a lot to be as loud as a bright reference."""
    bright = torch.sign(hit(900, 0.0, 9.0, 1.0)) * 0.9
    dull = hit(70, 0.0, 0.02, 0.5)
    made = fitted(Clip(dull, RATE), Clip(bright, RATE), Keep())
    assert made.waveform.abs().max() <= 0.97


def test_channels_that_cancel_each_other_are_heard() -> None:
    one = hit(220, 0.1, 0.1, 0.4)
    both = Clip(torch.cat([one, -one]), RATE)
    assert torch.equal(heard(both), one[0]) and not is_silent(heard(both)[None])
    assert is_silent(torch.full((1, 9), math.nan)) and is_silent(torch.zeros(1, 9))


@pytest.mark.parametrize("frequency", [80.0, 220.0, 441.0, 1500.0])
def test_pitch_of_tones(frequency: float) -> None:
    found = pitch(hit(frequency, 0.05, 0.5, 0.3)[0], RATE)
    assert found is not None and 1200 * abs(math.log2(found / frequency)) < 10


def test_noise_has_no_pitch_and_is_its_own_envelope() -> None:
    noise = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0)) * 0.1
    assert pitch(noise[0], RATE) is None and onset(noise) < RATE // 50
    assert envelope_correlation(Clip(noise, RATE), Clip(noise * 0.5, RATE)) == pytest.approx(1)
