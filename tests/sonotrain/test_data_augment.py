"""Augmentation that stays true of sound."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonotrain.data.augment import GENTLE, Augmentation, augment, mask_levels, sounding_columns

FMT = get_format("sonopaint-mini")
LENGTH = FMT.width * FMT.hop_length


def tone(hz: float, start_s: float = 0.5, stop_s: float = 2.0) -> torch.Tensor:
    """A clip with one tone in it and silence around."""
    t = torch.arange(LENGTH) / FMT.sample_rate
    return torch.sin(2 * torch.pi * hz * t) * ((t >= start_s) & (t < stop_s))


def frequency(waveform: torch.Tensor) -> float:
    return float(torch.fft.rfft(waveform).abs().argmax()) * FMT.sample_rate / len(waveform)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(seed=st.integers(0, 2**31))
def test_the_same_generator_gives_the_same_clip(seed: int) -> None:
    clip, others = tone(440), [tone(1000, 0.0, 5.0)]
    options = Augmentation(0.4, 6, 0.5, 50, 0.5)
    one = augment(clip, FMT, options, seeded(seed), others)
    assert torch.equal(one, augment(clip, FMT, options, seeded(seed), others))
    assert one.shape == clip.shape and one.dtype == clip.dtype and torch.isfinite(one).all()
    assert torch.equal(clip, tone(440))  # the input itself is left alone


def test_nothing_switched_on_changes_nothing_and_draws_as_much() -> None:
    generator, other = seeded(3), seeded(3)
    assert torch.equal(augment(tone(300), FMT, Augmentation(), generator), tone(300))
    augment(tone(300), FMT, GENTLE, other)
    assert torch.rand(1, generator=generator) == torch.rand(1, generator=other)


@pytest.mark.parametrize("seed", range(12))
def test_an_offset_never_cuts_into_the_sound(seed: int) -> None:
    clip = tone(440, 0.1, 1.0)
    moved = augment(clip, FMT, Augmentation(offset_s=0.6), seeded(seed))
    # All of the tone is still there: same energy, perhaps elsewhere.
    assert float(moved.square().sum()) == pytest.approx(float(clip.square().sum()), rel=1e-3)
    first = int(torch.nonzero(moved.abs() > 1e-3)[0])
    assert 0 <= first <= (0.1 + 0.6) * FMT.sample_rate + 50


@pytest.mark.parametrize("seed", range(6))
def test_resampling_moves_the_pitch_within_its_limit(seed: int) -> None:
    varied = augment(tone(1000), FMT, Augmentation(resample_cents=100), seeded(seed))
    assert 1000 * 2 ** (-100 / 1200) - 1 <= frequency(varied) <= 1000 * 2 ** (100 / 1200) + 1


def test_resampling_varies() -> None:
    found = {
        round(frequency(augment(tone(1000), FMT, Augmentation(resample_cents=100), seeded(s))))
        for s in range(8)
    }
    assert len(found) > 4 and min(found) < 1000 < max(found)


def test_the_background_is_soft_and_the_clip_stays_in_front() -> None:
    clip, other = tone(440, 0, 5.12), tone(3000, 0, 5.12)
    mixed = augment(clip, FMT, Augmentation(mix=1.0), seeded(0), [other])
    spectrum = torch.fft.rfft(mixed).abs()
    front, back = (float(spectrum[round(hz * LENGTH / FMT.sample_rate)]) for hz in (440, 3000))
    assert -25 < 20 * torch.log10(torch.tensor(back / front)) < -9
    assert float(mixed.abs().max()) <= float(clip.abs().max()) * 1.001


def test_gain_and_polarity_leave_the_picture_as_it_is() -> None:
    clip = tone(440)
    for seed in range(4):
        changed = augment(clip, FMT, Augmentation(gain_db=12, polarity=1.0), seeded(seed))
        assert float(changed @ clip) < 0
        assert torch.allclose(levels(changed[None], FMT), levels(clip[None], FMT), atol=1e-4)


@given(seed=st.integers(0, 2**31), time_s=st.floats(0, 6), band=st.floats(0, 1))
def test_masks_hide_no_more_than_they_may(seed: int, time_s: float, band: float) -> None:
    full = torch.ones(2, FMT.n_mels, FMT.width)
    masked, mask = mask_levels(full, FMT, Augmentation(mask_time_s=time_s, mask_frequency=band), seeded(seed))
    assert torch.equal(masked, full * mask)
    hidden_columns = int((mask.amax(0) == 0).sum())
    hidden_rows = int((mask.amax(1) == 0).sum())
    if hidden_rows < FMT.n_mels:
        assert hidden_columns <= FMT.columns(time_s)
    if hidden_columns < FMT.width:
        assert hidden_rows <= band * FMT.n_mels


def test_sounding_columns_follow_the_sound() -> None:
    assert sounding_columns(tone(440, 0, 5.12), FMT) == FMT.width
    assert sounding_columns(tone(440, 0, 1.0), FMT) == pytest.approx(FMT.columns(1.0), abs=1)
    assert sounding_columns(torch.zeros(LENGTH), FMT) == 1
    faster = augment(tone(440, 0, 1.0), FMT, Augmentation(resample_cents=100), seeded(1))
    assert sounding_columns(faster, FMT) < 80


@pytest.mark.parametrize(
    "bad", [{"offset_s": -1}, {"polarity": 1.5}, {"mix": float("nan")}, {"mask_frequency": 2}]
)
def test_sizes_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(SonopaintError, match=next(iter(bad))):
        Augmentation(**bad)


def test_a_batch_is_refused() -> None:
    with pytest.raises(SonopaintError, match="one waveform"):
        augment(torch.zeros(2, 100), FMT, Augmentation(), seeded(0))
