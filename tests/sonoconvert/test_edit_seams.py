"""Seams: no clicks and no level jumps where an extension begins or a loop closes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import butter, sosfiltfilt

from sonoconvert.edits.canvas import Canvas, extend_canvas, loop_canvas
from sonoconvert.edits.edit import put_back
from sonoconvert.edits.seam import continued, weights
from sonoconvert.files.clip import Clip, read_clip
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.spectrogram import mel_magnitude, to_levels

RATE = 44_100


def chord(seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return sum(0.1 * np.sin(2 * np.pi * hz * time) for hz in (220.3, 277.2, 1760.3, 5012.0))  # type: ignore[return-value]


def noise(seconds: float) -> np.ndarray:
    white = np.random.default_rng(3).standard_normal(round(seconds * RATE))
    return 0.1 * sosfiltfilt(butter(4, 8000, fs=RATE, output="sos"), white)


def repaint(canvas: Canvas, sound: np.ndarray) -> Picture:
    """A fake painter that knows what comes: the picture of `sound`, as long as the canvas, where masked."""
    picture, fmt = canvas.picture, canvas.picture.format
    clip = Clip(torch.from_numpy(sound).float()[None], RATE).resampled(fmt.sample_rate)
    levels = to_levels(mel_magnitude(clip.waveform[0], fmt), fmt, picture.peak)[0][:, : picture.columns]
    levels = torch.where(torch.from_numpy(canvas.mask) > 0.5, levels, picture.levels()[0])
    return Picture.from_levels(levels[None], fmt, picture.peak, picture.num_samples)


def click_db(sound: np.ndarray, at: int) -> tuple[float, float]:
    """How far 2 ms round `at` stand out of the loudest 2 ms of 10 to 60 ms away: above 8 kHz, and d²/dt²."""
    size = round(0.002 * RATE)
    high = sosfiltfilt(butter(6, 8000, "highpass", fs=RATE, output="sos"), sound)

    def excess(signal: np.ndarray) -> float:
        def level(centre: int) -> float:
            return float(np.sqrt(np.mean(signal[centre - size // 2 : centre + size // 2] ** 2))) + 1e-5

        around = [level(at + side * k * size) for k in range(5, 30) for side in (-1, 1)]
        return 20 * float(np.log10(level(at) / max(around)))

    return excess(high), excess(np.diff(sound, 2, prepend=[0, 0]))


def jump_db(sound: np.ndarray, at: int) -> float:
    """Level of the 50 ms after `at` over that of the 50 ms before."""
    size = round(0.05 * RATE)
    return 10 * float(np.log10(np.mean(sound[at : at + size] ** 2) / np.mean(sound[at - size : at] ** 2)))


@pytest.mark.parametrize("name", ["sonopaint-mini", "riffusion-v1"])
@pytest.mark.parametrize("make", [chord, noise])
def test_an_extension_has_no_click_and_no_jump(make, name: str) -> None:  # type: ignore[no-untyped-def]
    truth = make(2.4)
    left, right = round(0.7 * RATE), round(1.7 * RATE)
    clip = Clip(torch.from_numpy(truth[left:right]).float()[None], RATE)
    canvas = extend_canvas(clip, 0.7, 0.7, name)
    result = put_back(canvas, repaint(canvas, truth)).waveform[0].numpy().astype(float)
    assert np.array_equal(result[left:right], clip.waveform[0].numpy())
    for at in (left, right):
        assert max(click_db(result, at)) < 3
        assert abs(jump_db(result, at)) < 3
        # Silence instead of the extension clicks: the measure sees one.
    silent = canvas.source.waveform[0].numpy().astype(float)
    if make is chord:
        assert click_db(silent, right)[0] > 10


def test_an_extended_chord_goes_on_in_phase() -> None:
    """Just past the border the new samples are those that the source would have had."""
    truth = chord(2.0)
    clip = Clip(torch.from_numpy(truth[:RATE]).float()[None], RATE)
    canvas = extend_canvas(clip, 0.0, 1.0, "sonopaint-mini")
    new = put_back(canvas, repaint(canvas, truth)).waveform[0].numpy()[RATE : RATE + 441]
    expected = truth[RATE : RATE + 441]
    assert np.mean((new - expected) ** 2) < 0.25 * np.mean(expected**2)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", ["sonopaint-mini", "riffusion-v1"])
def test_what_is_loud_begins_no_louder_beside_what_is_quiet(name: str, side: str) -> None:
    """Frames across the border hold known samples: what is painted there doesn't go into the few new ones."""
    sound = noise(2.0)
    sound[round(1.2 * RATE) :] *= 0.01  # loud, then quiet up to the border
    if side == "left":
        sound = sound[::-1].copy()
    canvas = extend_canvas(
        Clip(torch.from_numpy(sound).float()[None], RATE),
        *((1.2, 0.0) if side == "left" else (0.0, 1.2)),
        name,
    )
    # A painter whose loud sound begins in the overlap already.
    result = put_back(canvas, repaint(canvas, noise(3.2))).waveform[0].numpy().astype(float)
    new = result[: -len(sound)][::-1] if side == "left" else result[len(sound) :]
    step = round(0.004 * RATE)
    level = 10 * np.log10([np.mean(new[at : at + step] ** 2) for at in range(0, 50 * step, step)])
    assert level[0] - np.median(level[5:]) < 6
    assert np.median(level[:5]) - np.median(level[5:]) > -6  # and it doesn't fade in, either


def test_extended_speech_has_no_click(repository) -> None:  # type: ignore[no-untyped-def]
    speech = read_clip(repository / "tests/fixtures/speech.flac").resampled(RATE)
    truth = speech.waveform[0].numpy().astype(float)
    border = int(0.8 * RATE)
    clip = replace(speech, waveform=speech.waveform[:, :border])
    canvas = extend_canvas(clip, 0.0, speech.duration_s - border / RATE, "sonopaint-mini")
    result = put_back(canvas, repaint(canvas, truth)).waveform[0].numpy().astype(float)
    assert len(result) == len(truth) and max(click_db(result, border)) < 3


@pytest.mark.parametrize("name", ["sonopaint-mini", "riffusion-v1"])
@pytest.mark.parametrize("make", [chord, noise])
def test_a_loop_closes_without_a_click(make, name: str) -> None:  # type: ignore[no-untyped-def]
    sound = make(2.0)[: 2 * RATE - 123]
    clip = Clip(torch.from_numpy(sound).float()[None].repeat(2, 1), RATE)
    canvas = loop_canvas(clip, name, seam_s=0.4)
    # What a painter should do: the same sound goes on across the seam.
    result = put_back(canvas, repaint(canvas, make(2.0)[: len(sound)])).waveform
    assert result.shape == clip.waveform.shape
    reach = round(0.25 * RATE) + 1
    assert torch.equal(result[:, reach:-reach], clip.waveform[:, reach:-reach])
    assert not torch.equal(result[:, :reach], clip.waveform[:, :reach])
    twice = result[0].repeat(2).numpy().astype(float)
    assert max(click_db(twice, len(sound))) < 3 and abs(jump_db(twice, len(sound))) < 4
    if make is chord:
        assert click_db(np.tile(sound, 2), len(sound))[0] > 10
    for border in (len(sound) - reach, len(sound) + reach):
        assert max(click_db(twice, border)) < 3


def test_linear_prediction_continues_tones_and_fades() -> None:
    time = np.arange(6000) / 16_000
    sound = np.sin(2 * np.pi * 440 * time) + 0.3 * np.sin(2 * np.pi * 3123 * time + 1)
    future = continued(sound[None, :5000], 800)
    assert np.abs(future[0, :50] - sound[5000:5050]).max() < 0.05
    assert np.abs(future[0, -10:]).max() < 0.01
    assert continued(np.zeros((2, 100)), 5).tolist() == [[0.0] * 5] * 2
    assert np.isfinite(continued(np.ones((1, 1)), 5)).all()


def test_weights_are_one_inside_and_nothing_outside() -> None:
    weight = weights([(0, 30), (80, 100)], 0, 100, 100, outer=20)
    assert (weight[:30] == 1).all() and (weight[80:] == 1).all() and (weight[50:60] == 0).all()
    assert (np.diff(weight[30:50]) < 0).all() and (np.diff(weight[60:80]) > 0).all()
    inner = weights([(20, 80)], 10, 50, 100, outer=0, inner=5)
    assert (inner[:10] == 0).all() and 0 < inner[10] < inner[14] < 1 and (inner[15:] == 1).all()
