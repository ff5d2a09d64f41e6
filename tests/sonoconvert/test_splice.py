"""Another program's sound inside a recording."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sonoconvert.edits.region import Box, Region
from sonoconvert.edits.splice import matched, splice
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import get_format

RATE = 44_100
MINI = get_format("sonopaint-mini")


def noise(seconds: float, seed: int = 0, channels: int = 2) -> Clip:
    generator = torch.Generator().manual_seed(seed)
    return Clip(0.1 * torch.randn(channels, round(seconds * RATE), generator=generator), RATE)


def tone(hertz: float, seconds: float, rate: int = RATE) -> torch.Tensor:
    return 0.2 * torch.sin(2 * math.pi * hertz * torch.arange(round(seconds * rate)) / rate)[None]


def changed(before: Clip, after: Clip) -> tuple[float, float]:
    places = torch.nonzero((before.waveform != after.waveform).any(dim=0))[:, 0]
    return float(places[0]) / RATE, float(places[-1]) / RATE


def test_only_the_region_and_its_feather_change_and_sound_as_the_other() -> None:
    source = noise(4.0)
    other = Clip(tone(1000, 4.0, 48_000), 48_000)  # another rate, one channel
    result = splice(source, other, Region((Box(1.0, 2.0),), feather_s=0.05), MINI)
    first, last = changed(source, result)
    assert 0.95 <= first < 0.952 and 2.048 < last <= 2.05
    assert result.waveform.shape == source.waveform.shape and result.sample_rate == RATE
    inside = result.waveform[:, RATE : 2 * RATE]
    expected = tone(1000, 4.0)[:, RATE : 2 * RATE].expand(2, -1)
    assert float((inside - expected).abs().max()) < 0.01


def test_boxes_with_frequencies_leave_the_others() -> None:
    source = Clip(tone(200, 4.0) + tone(3000, 4.0), RATE)
    other = Clip(tone(1000, 4.0), RATE)
    result = splice(source, other, Region((Box(1.0, 3.0, 500, 6000),)), MINI)
    spectrum = np.abs(np.fft.rfft(result.waveform[0, round(1.5 * RATE) : round(2.5 * RATE)].numpy()))
    before = np.abs(np.fft.rfft(source.waveform[0, :RATE].numpy()))
    assert spectrum[200] == pytest.approx(before[200], rel=0.02)  # below the box
    assert spectrum[3000] < 0.05 * before[3000] and spectrum[1000] == pytest.approx(before[200], rel=0.05)


def test_what_a_codec_shifted_and_scaled_is_brought_back() -> None:
    source = noise(4.0)
    made = 0.4 * source.waveform.roll(900, 1)
    made[:, RATE : 2 * RATE] = tone(700, 4.0)[:, RATE : 2 * RATE]
    found = matched(source.waveform, made, [(RATE, 2 * RATE)], RATE)
    assert found.lag == 900 and found.gain == pytest.approx(2.5, rel=0.01)
    result = splice(source, Clip(made, RATE), Region((Box(1.0, 2.0),)), MINI)
    # In the feather both are the same sound, so that it has no dip.
    edge = slice(round(2.02 * RATE), round(2.05 * RATE))
    torch.testing.assert_close(result.waveform[:, edge], source.waveform[:, edge], atol=2e-3, rtol=0)
    unlike = matched(source.waveform, noise(4.0, seed=1).waveform, [(RATE, 2 * RATE)], RATE)
    assert (unlike.gain, unlike.lag) == (1.0, 0)


def test_a_sound_that_ends_before_the_region_is_refused() -> None:
    source, region = noise(4.0), Region((Box(3.0, None),))
    short = Clip(noise(4.0, seed=1).waveform[:, : round(3.9 * RATE)], RATE)  # codecs cut the last frame off
    assert changed(source, splice(source, short, region, MINI))[1] <= 3.95
    with pytest.raises(SonopaintError, match="ends at 3.00 s, before the region does at 4.00 s"):
        splice(source, Clip(short.waveform[:, : 3 * RATE], RATE), region, MINI)
