"""Loudness against the standard's own tones."""

from __future__ import annotations

import math

import pytest
import torch

from sonoconvert.edits.loudness import at_loudness, lufs
from sonoconvert.files.clip import Clip


def tone(frequency: float, peak_db: float, rate: int, seconds: float = 3.0) -> torch.Tensor:
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return (10 ** (peak_db / 20) * torch.sin(2 * math.pi * frequency * time)).float()[None]


@pytest.mark.parametrize("rate", [16_000, 32_000, 44_100, 48_000])
def test_a_full_scale_tone_is_what_the_standard_says(rate: int) -> None:
    """997 Hz at 0 dBFS in one channel: −3.01 LUFS; in two: 3 LU more (BS.1770-4, note 1)."""
    assert lufs(tone(997, 0, rate), rate) == pytest.approx(-3.01, abs=0.05)
    assert lufs(tone(997, -20, rate).repeat(2, 1), rate) == pytest.approx(-20.0, abs=0.05)


def test_lows_weigh_less_and_gates_leave_silence_out() -> None:
    rate = 48_000
    assert lufs(tone(40, 0, rate), rate) < lufs(tone(997, 0, rate), rate) - 4
    assert lufs(tone(8000, 0, rate), rate) == pytest.approx(-3.01 + 3.98 - 0.69, abs=0.3)
    loud = tone(997, -20, rate)
    with_pause = torch.cat([loud, torch.zeros(1, 5 * rate), loud], dim=1)
    assert lufs(with_pause, rate) == pytest.approx(lufs(loud, rate), abs=0.3)  # ungated: 2.6 LU less
    assert lufs(torch.zeros(1, rate), rate) == -math.inf
    assert lufs(tone(997, -20, rate, 0.2), rate) == pytest.approx(-23, abs=0.2)  # shorter than a block


def test_soft_parts_do_not_count_as_ebu_tech_3341_has_them() -> None:
    rate = 48_000
    parts = [(-72, 3), (-36, 3), (-23, 18), (-36, 3), (-72, 3)]  # case 4, with shorter parts
    sound = torch.cat([tone(1000, db, rate, seconds) for db, seconds in parts], dim=1).repeat(2, 1)
    assert lufs(sound, rate) == pytest.approx(-23, abs=0.1)


def test_one_gain_for_all_that_stops_below_full_scale() -> None:
    clip = Clip(tone(997, -23, 32_000), 32_000)
    assert lufs(at_loudness(clip, -30).waveform, 32_000) == pytest.approx(-30, abs=0.05)
    loudest = at_loudness(clip, 0).waveform.abs().max()
    assert 20 * math.log10(loudest) == pytest.approx(-1, abs=0.01)
    silence = Clip(torch.zeros(1, 8000), 8000)
    assert at_loudness(silence, -20) is silence
