"""Spectrogram formats: Riffusion's numbers, validation, frequency and time scales."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import CHANNELS, PRESETS, SpectrogramFormat, get_format
from sonoconvert.pictures.spectrogram import mel_basis

RIFFUSION = PRESETS["riffusion-v1"]


def test_riffusion_v1_has_the_published_parameters() -> None:
    fmt = RIFFUSION
    assert (fmt.sample_rate, fmt.win_length, fmt.n_fft, fmt.hop_length) == (44_100, 4_410, 17_640, 441)
    assert (fmt.n_mels, fmt.f_min, fmt.f_max, fmt.mel_scale, fmt.mel_norm) == (512, 0, 10_000, "htk", None)
    assert (fmt.curve, fmt.exponent, fmt.inverted) == ("power", 0.25, True)


@pytest.mark.parametrize(("milliseconds", "columns"), [(5110, 511), (5111, 512), (5119, 512), (5120, 512)])
def test_riffusion_widths(milliseconds: int, columns: int) -> None:
    # 1 + n // 441 frames; the surplus one of 5110 and 5120 ms, whole multiples of the hop, is cropped.
    assert RIFFUSION.frames(milliseconds * 44_100 // 1000) == columns


def test_mini_is_320_columns_of_16_ms() -> None:
    fmt = PRESETS["sonopaint-mini"]
    assert fmt.frames(163_840) == 320 == fmt.width
    assert fmt.seconds(320) == pytest.approx(5.12)
    assert fmt.columns(5.12) == 320


def test_perkins_is_riffusions_picture_with_another_hop_and_band() -> None:
    fmt = PRESETS["perkins-10s"]
    assert dataclasses.replace(fmt, name="riffusion-v1", hop_length=441, f_min=0, f_max=10_000) == RIFFUSION
    assert (fmt.hop_length, fmt.f_min, fmt.f_max, fmt.width) == (861, 20, 20_000, 512)
    assert fmt.seconds(512) == pytest.approx(10, abs=0.005)


@pytest.mark.parametrize("channels", CHANNELS)
def test_what_was_called_perkins_10s_is_read_as_it_was_made(channels: str) -> None:
    """Files from before it had a name of its own hold all values: 80 dB, loud in white."""
    now = PRESETS["perkins-10s-db"].with_channels(channels)
    assert (now.curve, now.floor_db, now.inverted) == ("db", -80, False)
    before = now.to_dict() | {"name": now.name.replace("-db", "")}
    assert get_format(before) == now == get_format(now.name)
    assert get_format(get_format("perkins-10s").with_channels(channels).to_dict()).inverted


@pytest.mark.parametrize("name", ["riffusion-v1", "perkins-10s", "sonopaint-mini"])
def test_mel_bases_can_be_inverted(name: str) -> None:
    basis = mel_basis(PRESETS[name])
    gram = basis @ basis.T
    assert np.linalg.cond(gram) < 200  # no empty or doubled bands


def test_mel_basis_equals_librosa() -> None:
    import librosa

    for fmt in (
        PRESETS["sonopaint-mini"],
        dataclasses.replace(RIFFUSION, mel_scale="slaney", mel_norm="slaney"),
    ):
        expected = librosa.filters.mel(
            sr=fmt.sample_rate,
            n_fft=fmt.n_fft,
            n_mels=fmt.n_mels,
            fmin=fmt.f_min,
            fmax=fmt.f_max,
            htk=fmt.mel_scale == "htk",
            norm=fmt.mel_norm,
            dtype=np.float64,
        )
        np.testing.assert_allclose(mel_basis(fmt), expected, atol=1e-9)


@given(st.sampled_from(sorted(PRESETS)), st.floats(0, 1))
def test_mel_row_and_hz_are_inverse(name: str, share: float) -> None:
    fmt = PRESETS[name]
    row = share * (fmt.n_mels - 1)
    assert fmt.mel_row(fmt.hz(row)) == pytest.approx(row, abs=1e-6)


def test_row_centres_are_the_filters_peaks() -> None:
    fmt = PRESETS["sonopaint-mini"]
    peaks = mel_basis(fmt).argmax(axis=1) * fmt.sample_rate / fmt.n_fft
    for row in (5, 60, 120):
        assert fmt.hz(row) == pytest.approx(peaks[row], abs=fmt.sample_rate / fmt.n_fft)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_dict_round_trip(name: str) -> None:
    assert SpectrogramFormat.from_dict(PRESETS[name].to_dict()) == PRESETS[name]
    assert get_format(PRESETS[name].to_dict()) == PRESETS[name] == get_format(name)


def test_unknown_name_lists_the_presets() -> None:
    with pytest.raises(SonopaintError, match="riffusion-v1.*perkins-10s.*sonopaint-mini"):
        get_format("riffusion-v2")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample_rate", 0),
        ("sample_rate", "44100"),
        ("n_fft", 1 << 40),
        ("win_length", 2047),
        ("hop_length", 0),
        ("hop_length", 2000),
        ("n_mels", -1),
        ("f_max", 30_000.0),
        ("f_min", float("nan")),
        ("curve", "cubic"),
        ("floor_db", 3.0),
        ("inverted", "yes"),
        ("channels", 7),
        ("mel_scale", None),
    ],
)
def test_bad_fields_are_named(field: str, value: object) -> None:
    values = PRESETS["sonopaint-mini"].to_dict() | {field: value}
    with pytest.raises(SonopaintError, match=field):
        SpectrogramFormat.from_dict(values)


def test_missing_field_is_named() -> None:
    values = PRESETS["sonopaint-mini"].to_dict()
    del values["n_mels"]
    with pytest.raises(SonopaintError, match="n_mels"):
        SpectrogramFormat.from_dict(values)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(sorted(RIFFUSION.to_dict())), _JSON, max_size=4))
def test_any_json_is_a_format_or_one_error(changes: dict[str, object]) -> None:
    try:
        fmt = SpectrogramFormat.from_dict(RIFFUSION.to_dict() | changes)
    except SonopaintError:
        return
    assert fmt.frames(1000) >= 1
