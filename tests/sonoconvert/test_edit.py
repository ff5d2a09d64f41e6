"""Putting back: untouched samples are identical, painted ones are as painted, levels and balance stay."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonoconvert.conversion.convert import encode
from sonoconvert.edits import repaint
from sonoconvert.edits.canvas import Canvas, extend_canvas, inpaint_canvas, loop_canvas
from sonoconvert.edits.edit import put_back
from sonoconvert.edits.region import Box, Region
from sonoconvert.errors import Cancelled, SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.phase.search import PhaseSearch
from sonoconvert.pictures.format import PRESETS
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.spectrogram import from_levels, mel_magnitude, to_levels

MINI = PRESETS["sonopaint-mini"]


def noise(seconds: float, rate: int, channels: int = 1, amplitude: float = 0.1) -> Clip:
    generator = torch.Generator().manual_seed(1)
    return Clip(amplitude * torch.randn(channels, round(seconds * rate), generator=generator), rate)


def tone(seconds: float, rate: int, hz: float, amplitude: float = 0.3) -> Clip:
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return Clip((amplitude * torch.sin(2 * torch.pi * hz * time)).float()[None], rate)


def paint(canvas: Canvas, levels: torch.Tensor) -> Picture:
    """A fake painter: these levels [n_mels, columns] in the masked cells."""
    kept = canvas.picture.levels()[0]
    result = torch.where(torch.from_numpy(canvas.mask) > 0.5, levels, kept)
    picture = canvas.picture
    return Picture.from_levels(result[None], picture.format, picture.peak, picture.num_samples)


def paint_sound(canvas: Canvas, clip: Clip) -> Picture:
    """A fake painter: the picture of `clip`, which is as long as the canvas, in the masked cells."""
    fmt = canvas.picture.format
    mel = mel_magnitude(clip.mono().resampled(fmt.sample_rate).waveform[0], fmt)
    levels = to_levels(mel, fmt, canvas.picture.peak)[0][:, : canvas.picture.columns]
    return paint(canvas, levels)


def paint_noise(canvas: Canvas) -> Picture:
    return paint(canvas, torch.rand(canvas.mask.shape, generator=torch.Generator().manual_seed(2)))


def rms_db(waveform: torch.Tensor) -> float:
    return float(10 * torch.log10(waveform.square().mean() + 1e-20))


def loudest_hz(samples: torch.Tensor, rate: int) -> float:
    spectrum = torch.fft.rfft(samples * torch.hann_window(len(samples)), n=4 * rate).abs()
    return float(spectrum.argmax()) / 4


def test_putting_back_tells_how_far_it_is_and_stops_between_iterations() -> None:
    canvas = inpaint_canvas(noise(2.0, 32_000, 2), Region((Box(0.2, 0.4), Box(1.5, 1.7))), MINI)
    shares: list[float] = []
    put_back(canvas, paint_noise(canvas), PhaseSearch(4), progress=shares.append)
    # Two stretches: four iterations on the mean, one in each channel.
    assert shares == sorted(shares) and len(shares) == 2 * (1 + 4 + 2) and 0.8 < shares[-1] < 1

    def stop(share: float) -> None:
        if share > 0.2:
            raise Cancelled

    with pytest.raises(Cancelled):
        put_back(canvas, paint_noise(canvas), PhaseSearch(4), progress=stop)


@settings(max_examples=10)
@given(
    name=st.sampled_from(["sonopaint-mini", "sonopaint-mini", "riffusion-v1"]),
    rate=st.sampled_from([8000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000]),
    channels=st.sampled_from([1, 2, 6]),
    start=st.floats(0, 1.0),
    length=st.floats(0.1, 0.5),
    band=st.sampled_from([(None, None), (200.0, 3000.0), (None, 1000.0), (2000.0, None)]),
    feather=st.sampled_from([0.0, 0.003, 0.05, 0.2]),
)
def test_outside_the_region_nothing_changes(
    name: str,
    rate: int,
    channels: int,
    start: float,
    length: float,
    band: tuple[float | None, float | None],
    feather: float,
) -> None:
    clip = noise(1.2, rate, channels)
    end = min(start + length, clip.duration_s)
    region = Region((Box(start, end, *band),), feather_s=feather)
    canvas = inpaint_canvas(clip, region, name)
    result = put_back(canvas, paint_noise(canvas), PhaseSearch(2))
    assert result.waveform.shape == clip.waveform.shape and result.sample_rate == rate
    assert torch.isfinite(result.waveform).all()
    [(first_s, last_s)] = region.time_support(clip.duration_s)
    first, last = int(first_s * rate), int(last_s * rate) + 2
    changed = (result.waveform - clip.waveform).abs()
    assert changed[:, :first].sum() == 0 and changed[:, last:].sum() == 0
    assert torch.equal(result.waveform[:, :first], clip.waveform[:, :first])
    inside = changed[:, round(start * rate) : round(end * rate)]
    assert (inside.amax(dim=1) > 1e-3).all()


@settings(max_examples=5)
@given(
    name=st.sampled_from(["sonopaint-mini", "riffusion-v1"]),
    rate=st.sampled_from([11_025, 44_100, 96_000]),
    hz=st.floats(300, 3500),
    level=st.floats(0.05, 0.5),
)
def test_a_painted_tone_is_found_at_its_pitch_and_level(
    name: str, rate: int, hz: float, level: float
) -> None:
    clip = noise(1.5, rate, 2, amplitude=0.02)
    clip = replace(clip, waveform=clip.waveform + tone(1.5, rate, 900, 0.5).waveform)
    canvas = inpaint_canvas(clip, Region((Box(0.4, 1.1),)), name)
    picture, fmt = paint_sound(canvas, tone(1.5, rate, hz, level)), PRESETS[name]
    result = put_back(canvas, picture)
    # White is the loudest that a canvas can show: a tone that is louder in its band is painted quieter.
    row, middle = round(fmt.mel_row(hz)), slice(round(0.5 / fmt.seconds(1)), round(1.0 / fmt.seconds(1)))
    shown, wanted = (
        mel_magnitude(c.mono().resampled(fmt.sample_rate).waveform[0], fmt)[row, middle].mean()
        for c in (result, tone(1.5, rate, hz, level))
    )
    drawn = from_levels(picture.levels()[0], fmt, picture.peak)[row, middle].mean()
    clipped_db = 20 * float((drawn / wanted).log10().clamp(max=0))
    for channel in result.waveform[:, round(0.5 * rate) : round(1.0 * rate)]:
        # The picture knows the pitch to a mel bin only.
        assert abs(fmt.mel_row(loudest_hz(channel, rate)) - fmt.mel_row(hz)) < 1.0
        assert -3.5 < rms_db(channel) - 20 * np.log10(level / np.sqrt(2)) - clipped_db < 2.5
    assert -1.5 < 20 * float((shown / drawn).log10()) < 2.5


def test_a_band_leaves_the_other_frequencies() -> None:
    rate = 48_000
    clip = Clip(tone(2.0, rate, 440).waveform + tone(2.0, rate, 19_000, 0.1).waveform, rate)
    canvas = inpaint_canvas(clip, Region((Box(0.5, 1.5, 2000.0, 5000.0),)), MINI)
    picture = paint_sound(canvas, tone(2.0, rate, 3000, 0.2))
    inside = put_back(canvas, picture).waveform[0, rate * 6 // 10 : rate * 14 // 10]
    spectrum = torch.fft.rfft(inside * torch.hann_window(len(inside))).abs() / len(inside) * 4
    for hz, amplitude in ((440, 0.3), (19_000, 0.1)):
        assert float(spectrum[round(hz * len(inside) / rate)]) == pytest.approx(amplitude, rel=0.02)
    near = spectrum[round(2900 * len(inside) / rate) : round(3100 * len(inside) / rate)]
    assert float(near.square().sum().sqrt()) == pytest.approx(0.2 * np.sqrt(1.5), rel=0.3)


@pytest.mark.parametrize("name", ["sonopaint-mini", "riffusion-v1", "perkins-10s", "perkins-10s-db"])
@pytest.mark.parametrize("rate", [22_050, 48_000])
def test_an_unchanged_picture_gives_the_source(name: str, rate: int) -> None:
    clip = noise(1.5, rate, 2)
    canvas = inpaint_canvas(clip, Region((Box(0.5, 1.0),)), name)
    result = put_back(canvas, canvas.picture)
    assert rms_db(result.waveform - clip.waveform) < rms_db(clip.waveform) - 90


def test_a_slightly_changed_picture_stays_near_the_source() -> None:
    """A VAE moves every level a little: 2 dB here. Pitch, phase and detail stay the source's."""
    clip = Clip(sum(tone(2.0, 44_100, hz, 0.1).waveform for hz in (220, 331, 1203)), 44_100)  # type: ignore[arg-type]
    canvas = inpaint_canvas(clip, Region((Box(0.5, 1.5),)), MINI)
    moved = canvas.picture.levels()[0] - 2 / 80
    result = put_back(canvas, paint(canvas, moved.clamp(0, 1))).waveform
    inside = slice(round(0.7 * 44_100), round(1.3 * 44_100))
    residual = rms_db((result - clip.waveform)[:, inside]) - rms_db(clip.waveform[:, inside])
    assert residual < -12


def test_levels_and_balance_of_the_channels_stay() -> None:
    clip = noise(2.0, 44_100, 3)
    gains = torch.tensor([[1.0], [0.25], [0.0]])
    clip = replace(clip, waveform=clip.waveform[:1] * gains)
    canvas = inpaint_canvas(clip, Region((Box(0.6, 1.4),)), MINI)
    result = put_back(canvas, paint_sound(canvas, tone(2.0, 44_100, 1000, 0.01)))
    inside = result.waveform[:, round(0.7 * 44_100) : round(1.3 * 44_100)]
    assert rms_db(inside.mean(dim=0)) == pytest.approx(20 * np.log10(0.01 / np.sqrt(2)), abs=2.5)
    assert rms_db(inside[0]) - rms_db(inside[1]) == pytest.approx(12.04, abs=0.5)
    assert float(inside[2].abs().max()) < 1e-4


def test_identical_channels_stay_identical() -> None:
    mono = noise(1.0, 44_100)
    stereo = replace(mono, waveform=mono.waveform.repeat(2, 1))
    canvas = inpaint_canvas(stereo, Region((Box(0.3, 0.7),)), MINI)
    result = put_back(canvas, paint_noise(canvas)).waveform
    assert torch.equal(result[0], result[1])


def test_equal_arguments_give_equal_samples() -> None:
    clip = noise(1.0, 32_000)
    canvas = inpaint_canvas(clip, Region((Box(0.3, 0.7),)), MINI)
    picture = paint_sound(canvas, noise(1.0, 32_000, amplitude=0.01))
    first, again = (put_back(canvas, picture, PhaseSearch(4, seed=3)) for _ in range(2))
    assert torch.equal(first.waveform, again.waveform)
    assert not torch.equal(first.waveform, clip.waveform)


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("name", ["sonopaint-mini", "riffusion-v1"])
def test_silence_can_be_painted(name: str, learned: bool) -> None:
    clip = Clip(torch.zeros(2, 44_100), 44_100)
    canvas = inpaint_canvas(clip, Region((Box(0.3, 0.7),)), PRESETS[name])
    painted = paint_sound(canvas, tone(1.0, 44_100, 1000, 0.1))
    result = put_back(canvas, painted, search=PhaseSearch(learned=learned))
    inside = result.waveform[:, round(0.35 * 44_100) : round(0.65 * 44_100)]
    assert rms_db(inside) == pytest.approx(-23, abs=2)
    assert result.waveform[:, : round(0.24 * 44_100)].abs().sum() == 0


def test_short_clips_can_be_painted_whole() -> None:
    clip = noise(0.07, 44_100)
    canvas = inpaint_canvas(clip, Region((Box(),)), MINI)
    assert put_back(canvas, paint_noise(canvas)).waveform.shape == clip.waveform.shape
    one = extend_canvas(Clip(torch.full((1, 1), 0.5), 8000), 0.1, 0.3, MINI)
    result = put_back(one, paint_noise(one)).waveform
    assert result.shape == (1, 800 + 1 + 2400) and result[0, 800] == 0.5


def test_a_brush_and_an_inverted_region() -> None:
    clip = noise(2.0, 32_000)
    brush = np.zeros((50, 200), dtype=np.float32)
    brush[10:30, 100:140] = 1
    for region in (Region(brush=brush), Region((Box(0.8, 1.6),), inverted=True)):
        canvas = inpaint_canvas(clip, region, MINI)
        changed = (put_back(canvas, paint_noise(canvas), PhaseSearch(2)).waveform - clip.waveform).abs()[0]
        inside = torch.zeros(clip.num_samples, dtype=torch.bool)
        for start, end in region.time_support(clip.duration_s):
            inside[max(round(start * 32_000) - 1, 0) : round(end * 32_000) + 1] = True
        assert changed[~inside].sum() == 0 and changed[inside].max() > 1e-3 and (~inside).any()


def test_pieces_of_a_long_repaint_join(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded in pieces of half a second, a painted tone is as steady as decoded at once."""
    clip = noise(3.0, 32_000, amplitude=0.1)
    canvas = inpaint_canvas(clip, Region((Box(0.3, 2.8),)), MINI)
    picture = paint_sound(canvas, tone(3.0, 32_000, 1000, 0.1))

    def unsteadiness() -> tuple[float, float]:
        blocks = put_back(canvas, picture).waveform[0, 12_800:86_400].unfold(0, 640, 640)
        levels = 10 * torch.log10(blocks.square().mean(dim=1))
        return float(levels.max() - levels.min()), float(blocks.diff(n=2, dim=1).abs().max())

    level, step = unsteadiness()
    monkeypatch.setattr(repaint, "PIECE_S", 0.5)
    level_in_pieces, step_in_pieces = unsteadiness()
    assert level_in_pieces < level + 3 and step_in_pieces < 1.5 * step


def test_a_region_in_an_hour_is_quick() -> None:
    clip = noise(3600.0, 8000)
    started = time.perf_counter()
    canvas = inpaint_canvas(clip, Region((Box(1800.0, 1800.5),)), MINI)
    result = put_back(canvas, paint_noise(canvas), PhaseSearch(8))
    assert time.perf_counter() - started < 20
    changed = torch.nonzero((result.waveform != clip.waveform)[0])[:, 0]
    assert 1799.94 * 8000 < int(changed[0]) and int(changed[-1]) < 1800.56 * 8000


def test_a_foreign_picture_is_refused() -> None:
    clip = noise(1.0, 32_000)
    canvas = inpaint_canvas(clip, Region((Box(0.3, 0.7),)), MINI)
    wrong = encode(noise(0.8, 32_000), MINI)
    with pytest.raises(SonopaintError, match="50 × 128 pixels, but its canvas is 63 × 128"):
        put_back(canvas, wrong)
    other = replace(canvas.picture, format=replace(MINI, name="mine", floor_db=-60.0))
    with pytest.raises(SonopaintError, match="mine"):
        put_back(canvas, other)


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", "PCM_16"), ("wav", "PCM_24"), ("flac", "PCM_16")])
@pytest.mark.parametrize("task", ["inpaint", "extend", "loop"])
def test_files_keep_their_integers(
    task: str, suffix: str, subtype: str, tmp_path: Path, repository: Path
) -> None:
    recording, rate = soundfile.read(repository / "tests/fixtures/complete.oga", always_2d=True)
    path, out = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    soundfile.write(path, np.clip(recording, -1, 1), rate, subtype=subtype)
    clip = read_clip(path)
    if task == "inpaint":
        canvas = inpaint_canvas(clip, Region((Box(0.3, 0.6, 300.0, 3000.0),)), "riffusion-v1")
    elif task == "extend":
        canvas = extend_canvas(clip, 0.25, 0.5, MINI)
    else:
        canvas = loop_canvas(clip, MINI, seam_s=0.3)
    write_clip(put_back(canvas, paint_noise(canvas), PhaseSearch(4)), out)
    before, after = (soundfile.read(p, dtype="int32", always_2d=True)[0] for p in (path, out))
    assert soundfile.info(out).subtype == subtype
    if task == "inpaint":
        first, last = int(0.25 * rate) - 1, int(0.65 * rate) + 2
        assert np.array_equal(before[:first], after[:first])
        assert np.array_equal(before[last:], after[last:])
        assert not np.array_equal(before[first:last], after[first:last])
    elif task == "extend":
        left, right = round(0.25 * rate), round(0.5 * rate)
        assert len(after) == left + len(before) + right
        assert np.array_equal(before, after[left : left + len(before)])
        assert np.abs(after[:left]).max() > 0 and np.abs(after[-right:]).max() > 0
    else:
        reach = int(0.21 * rate)
        assert len(before) == len(after) and np.array_equal(before[reach:-reach], after[reach:-reach])
        assert not np.array_equal(before[:reach], after[:reach])
