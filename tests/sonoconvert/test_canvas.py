"""Canvases: sizes, masks, windows of long clips, and clear refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonoconvert.conversion.convert import encode
from sonoconvert.edits.canvas import CONTEXT_S, extend_canvas, grid, inpaint_canvas, loop_canvas
from sonoconvert.edits.region import Box, Region
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import PRESETS

MINI = PRESETS["sonopaint-mini"]


def noise(seconds: float, rate: int, channels: int = 1) -> Clip:
    generator = torch.Generator().manual_seed(1)
    return Clip(0.1 * torch.randn(channels, round(seconds * rate), generator=generator), rate)


def test_inpaint_pictures_the_whole_clip() -> None:
    clip = noise(2.0, 44_100, 2)
    canvas = inpaint_canvas(clip, Region((Box(0.5, 1.0, 200.0, 2000.0),)), "sonopaint-mini")
    assert np.array_equal(canvas.picture.pixels, encode(clip.mono(), MINI).pixels)
    assert canvas.mask.shape == (128, canvas.picture.columns) and canvas.mask.dtype == np.float32
    assert np.array_equal(canvas.mask, canvas.region.mask(MINI, canvas.picture.columns))
    assert torch.equal(canvas.source.waveform, clip.waveform) and canvas.kind == "inpaint"


def test_stereo_formats_are_painted_in_mono() -> None:
    canvas = inpaint_canvas(noise(1.0, 44_100, 2), Region((Box(0.4, 0.6),)), "riffusion-v1-stereo")
    assert canvas.picture.format.channels == "mono" and canvas.picture.levels().shape[0] == 1


@settings(max_examples=15)
@given(
    left=st.floats(0, 1.5), right=st.floats(0.01, 1.5), rate=st.sampled_from([8000, 11_025, 44_100, 48_000])
)
def test_extend_adds_exactly_what_is_asked(left: float, right: float, rate: int) -> None:
    clip = noise(0.7, rate, 2)
    canvas = extend_canvas(clip, left, right, MINI)
    before, after = round(left * rate), round(right * rate)
    extended = canvas.source.waveform
    assert extended.shape[1] == before + clip.num_samples + after
    assert torch.equal(extended[:, before : before + clip.num_samples], clip.waveform)
    assert extended[:, :before].abs().sum() == 0
    assert canvas.mask.shape == (MINI.n_mels, canvas.picture.columns)
    if before:
        assert canvas.mask[:, 0].all()
    assert canvas.mask[:, -1].all() or after < rate * 0.016
    times = [
        (round(a * rate), round(b * rate)) for a, b in canvas.region.time_support(canvas.source.duration_s)
    ]
    assert times == [t for t in ((0, before), (before + clip.num_samples, extended.shape[1])) if t[1] > t[0]]


def test_extend_lets_the_painter_repaint_an_overlap() -> None:
    canvas = extend_canvas(noise(2.0, 32_000), 0.0, 1.0, MINI, overlap_s=0.32)
    painted = np.flatnonzero(canvas.mask.any(axis=0))
    assert painted[0] == (2.0 - 0.32) / 0.016 and painted[-1] == canvas.picture.columns - 1


def test_loop_has_its_seam_in_the_middle() -> None:
    clip = noise(2.0, 32_000, 2)
    canvas = loop_canvas(clip, MINI, seam_s=0.5)
    assert canvas.circular and canvas.roll == 32_000
    assert torch.equal(canvas.source.waveform[:, 32_000:], clip.waveform[:, :32_000])
    painted = np.flatnonzero(canvas.mask.any(axis=0)) * 0.016
    assert painted[0] == pytest.approx(0.75, abs=0.017) and painted[-1] == pytest.approx(1.25, abs=0.017)
    assert canvas.picture.columns == 125


def test_a_long_clip_is_pictured_only_near_the_region() -> None:
    clip = noise(200.0, 8000)
    canvas = inpaint_canvas(clip, Region((Box(120.0, 121.0),)), MINI)
    assert canvas.first % grid(8000, MINI) == 0 and 0 < canvas.first <= (120 - CONTEXT_S) * 8000
    assert canvas.picture.columns < MINI.columns(2 * CONTEXT_S + 3)
    painted = canvas.first / 8000 + np.flatnonzero(canvas.mask.any(axis=0)) * 0.016
    assert painted[0] == pytest.approx(120, abs=0.017) and painted[-1] == pytest.approx(121, abs=0.017)


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000, 96_000, 44_099, 192_000])
@pytest.mark.parametrize("name", list(PRESETS))
def test_grid_is_whole_in_both_rates(rate: int, name: str) -> None:
    fmt = PRESETS[name]
    step = grid(rate, fmt)
    assert step * fmt.sample_rate % (rate * fmt.hop_length) == 0


def test_silence_has_a_reference_level() -> None:
    canvas = inpaint_canvas(Clip(torch.zeros(1, 32_000), 32_000), Region((Box(0.2, 0.5),)), MINI)
    assert isinstance(canvas.picture.peak, float) and canvas.picture.peak > 1.0
    assert float(canvas.picture.levels().max()) == 0.0


def test_refusals() -> None:
    clip, some = noise(1.0, 32_000), Region((Box(0.2, 0.5),))
    with pytest.raises(SonopaintError, match=r"outside the clip, which lasts 1\.000 s"):
        inpaint_canvas(clip, Region((Box(3.0, 4.0),)), MINI)
    with pytest.raises(SonopaintError, match="region is empty"):
        inpaint_canvas(clip, Region(), MINI)
    with pytest.raises(SonopaintError, match="paints nothing"):
        inpaint_canvas(clip, Region((Box(),), inverted=True), MINI)
    with pytest.raises(SonopaintError, match="1 samples.*too short"):
        inpaint_canvas(Clip(torch.zeros(1, 1), 32_000), Region((Box(),)), MINI)
    with pytest.raises(SonopaintError, match="not numbers"):
        inpaint_canvas(Clip(torch.full((1, 32_000), float("nan")), 32_000), some, MINI)
    with pytest.raises(SonopaintError, match="not numbers"):
        loop_canvas(Clip(torch.full((1, 32_000), float("inf")), 32_000), MINI)
    with pytest.raises(SonopaintError, match="adds nothing"):
        extend_canvas(clip, 0.0, 0.0, MINI)
    with pytest.raises(SonopaintError, match="left must be 0 s or more, not -1"):
        extend_canvas(clip, -1.0, 0.0, MINI)
    with pytest.raises(SonopaintError, match="seam"):
        loop_canvas(clip, MINI, seam_s=0.0)
    with pytest.raises(SonopaintError, match="riffusion-v1"):
        inpaint_canvas(clip, some, "no-such-format")
