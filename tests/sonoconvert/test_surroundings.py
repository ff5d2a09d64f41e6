"""What is painted fits what surrounds it: measured on the sound, as it is heard."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from sonoconvert.conversion.convert import encode
from sonoconvert.edits.canvas import Canvas, extend_canvas, inpaint_canvas
from sonoconvert.edits.edit import put_back
from sonoconvert.edits.region import Box, Region
from sonoconvert.edits.surroundings import SILENT_DB, loudness_db
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.spectrogram import mel_magnitude, to_levels

RATE, MINI = 32_000, "sonopaint-mini"


def noise(seconds: float, rms: float, *, seed: int = 1, dark: float = 0.0) -> np.ndarray:
    """White noise, or `dark` dB less at 16 kHz than at 100 Hz."""
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / RATE).clip(100)
    spectrum *= 10 ** (-dark / 20 * np.log(hertz / 100) / np.log(160))
    sound = np.fft.irfft(spectrum, count)
    return rms * sound / np.sqrt(np.mean(sound**2))


def bark(seconds: float, peak: float = 0.9) -> np.ndarray:
    """A burst of 120 ms, 300 ms after the start, in digital silence."""
    time = np.arange(round(seconds * RATE)) / RATE - 0.3
    tone = sum(np.sin(2 * np.pi * 450 * k * time) / k for k in range(1, 6))
    return peak * np.where((time > 0) & (time < 0.12), np.sin(np.pi * time / 0.12), 0) * tone / 2


def painted(canvas: Canvas, at_s: float, sound: np.ndarray, white_db: float = 0.0) -> Picture:
    """The canvas's picture with `sound`, from `at_s` on, painted where the mask is."""
    fmt, picture = canvas.picture.format, canvas.picture
    first = round(at_s * RATE)
    whole = np.zeros(round(fmt.seconds(picture.columns + 1) * RATE))
    whole[first : first + len(sound)] = sound[: len(whole) - first]
    waveform = clip_of(whole).resampled(fmt.sample_rate).waveform
    # A painter knows no levels: its picture's loudest cell is white (or `white_db` below).
    levels, _ = to_levels(mel_magnitude(waveform, fmt), fmt)
    levels = (levels - white_db / fmt.floor_db).clamp(0, 1)
    mask = torch.from_numpy(canvas.mask) > 0.5
    levels = torch.where(mask, levels[..., : picture.columns], picture.levels())
    return Picture.from_levels(levels, fmt, picture.peak, picture.num_samples)


def clip_of(sound: np.ndarray) -> Clip:
    return Clip(torch.from_numpy(sound).float()[None], RATE)


def db(sound: np.ndarray) -> float:
    return 10 * float(np.log10(np.mean(np.asarray(sound, dtype=float) ** 2) + 1e-12))


def loudest_db(sound: np.ndarray) -> float:
    size = RATE // 20
    return 10 * float(np.log10(np.convolve(sound.astype(float) ** 2, np.ones(size) / size, "valid").max()))


@pytest.mark.parametrize("white_db", [-8.0, -20.0])
def test_a_bed_goes_on_as_loud_as_it_was(white_db: float) -> None:
    """Extending noise of −34 dBFS by painted noise of any level: no jump, and no sample of it changes."""
    source = noise(4, 0.02)
    canvas = extend_canvas(clip_of(source), 0.0, 2.0, MINI)
    picture = painted(canvas, 3.7, noise(2.3, 0.3, seed=2), white_db)
    free = put_back(canvas, picture).waveform[0].numpy()
    result = put_back(canvas, picture, surroundings="match").waveform[0].numpy()
    new = slice(round(4.1 * RATE), round(5.9 * RATE))
    assert abs(db(free[new]) - db(source)) > 3  # as it was painted it jumps
    assert abs(db(result[new]) - db(source)) < 1.5
    np.testing.assert_array_equal(result[: len(source)], source.astype(np.float32))


@pytest.mark.parametrize("white_db", [0.0, -8.0])
def test_a_bed_beside_events_is_no_louder_than_they_are_on_average(white_db: float) -> None:
    """Barks continued by noise, which would jump if it were let stand out as an event may."""
    source = np.concatenate([bark(0.8, 0.3) for _ in range(5)])
    canvas = extend_canvas(clip_of(source), 0.0, 2.0, MINI)
    picture = painted(canvas, 3.7, noise(2.3, 0.3, seed=2), white_db)
    result = put_back(canvas, picture, surroundings="match").waveform[0].numpy()
    new = result[round(4.1 * RATE) : round(5.9 * RATE)]
    assert -15 < db(new) - db(source) < 2


def test_the_tilt_of_a_bed_is_taken_over() -> None:
    """Dark noise continued by white noise becomes darker: by at least a third of the way."""

    def tilt(sound: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(sound)) ** 2
        hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
        low, high = (spectrum[(hertz > a) & (hertz < b)].mean() for a, b in ((300, 1200), (4000, 12_000)))
        return 10 * float(np.log10(high / low))

    source = noise(4, 0.05, dark=24)
    canvas = extend_canvas(clip_of(source), 0.0, 2.0, MINI)
    picture = painted(canvas, 3.7, noise(2.3, 0.3, seed=2))
    results = [
        put_back(canvas, picture, surroundings=how).waveform[0].numpy()[round(4.1 * RATE) : round(5.9 * RATE)]
        for how in ("free", "match")
    ]
    wanted = tilt(source)
    free, matched = (tilt(result) for result in results)
    assert wanted + 6 < free
    assert matched < free - (free - wanted) / 3


CHORDS = {  # (seconds, semitones): of chords that share no tone, and of an organ's, which share some
    "apart": [(0.4, (n, n + 4, n + 7)) for n in (0, 9, 4, 10, 2, 7, 1, 6, 11, 3, 8, 5, 0, 6, 2)],
    "organ": [(2.2, chord) for chord in ((0, 4, 7), (-3, 0, 4), (-7, -3, 0))],
}


@pytest.mark.parametrize(("chords", "fainter"), [("apart", 23), ("organ", 23)])
def test_music_does_not_go_on_behind_an_event(chords: str, fainter: float) -> None:
    """A bark painted over two seconds of chords of even level: around it there is hardly more than noise."""
    time, start, music = np.arange(6 * RATE) / RATE, 0.0, noise(6, 0.0003)
    for seconds, semitones in CHORDS[chords]:
        pitches = [220 * 2 ** (n / 12) for n in semitones]
        tone = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 5) for pitch in pitches)
        music += 0.03 * np.where((time >= start) & (time < start + seconds), tone, 0)
        start += seconds
    canvas = inpaint_canvas(clip_of(music), Region((Box(2.0, 4.0),)), MINI)
    result = put_back(canvas, painted(canvas, 2.0, bark(2)), surroundings="match").waveform[0].numpy()
    assert -8 < loudest_db(result[2 * RATE : 4 * RATE]) - loudest_db(music) < 4
    assert db(result[round(2.7 * RATE) : round(3.8 * RATE)]) < db(music) - fainter


@pytest.mark.parametrize("rms", [0.001, 0.03])
def test_an_event_on_a_bed_stands_out_and_the_bed_goes_on_behind_it(rms: float) -> None:
    source = noise(6, rms)
    canvas = inpaint_canvas(clip_of(source), Region((Box(2.0, 4.0),)), MINI)
    result = put_back(canvas, painted(canvas, 2.0, bark(2)), surroundings="match").waveform[0].numpy()
    event, rest = result[round(2.2 * RATE) : round(2.6 * RATE)], result[round(2.8 * RATE) : round(3.9 * RATE)]
    assert loudest_db(event) > loudest_db(source) + 3
    assert rms < 0.01 or loudest_db(event) < loudest_db(source) + 14
    assert abs(db(rest) - db(source)) < 3
    outside = np.r_[: round(1.95 * RATE), round(4.05 * RATE) : len(source)]
    np.testing.assert_array_equal(result[outside], source.astype(np.float32)[outside])


def test_an_event_in_near_silence_can_be_heard() -> None:
    """The picture of a recording of −80 dBFS has no level that could be heard; the event is heard."""
    canvas = inpaint_canvas(clip_of(noise(4, 1e-4)), Region((Box(1.0, 3.0),)), MINI)
    result = put_back(canvas, painted(canvas, 1.0, bark(2)), surroundings="match").waveform[0].numpy()
    assert -40 < loudest_db(result) < -15


def test_painted_silence_stays_silent() -> None:
    """What little a painter leaves in a silence that was asked for is not turned up."""
    source = noise(4, 0.05)
    canvas = inpaint_canvas(clip_of(source), Region((Box(1.0, 3.0),)), MINI)
    picture = painted(canvas, 0.9, noise(2.2, 0.3, seed=2), white_db=-50)
    result = put_back(canvas, picture, surroundings="match").waveform[0].numpy()
    assert db(result[round(1.2 * RATE) : round(2.8 * RATE)]) < db(source) - 35


def test_a_box_in_frequency_keeps_what_is_behind() -> None:
    """A whistle over an engine, in a box: the engine goes on in the box's rows, with no hole."""
    source = noise(6, 0.05)
    region = Region((Box(2.0, 4.0, 500, 4000),))
    canvas = inpaint_canvas(clip_of(source), region, MINI)
    picture = painted(canvas, 2.0, bark(2))

    def in_band(sound: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(sound)) ** 2
        hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
        return 10 * float(np.log10(spectrum[(hertz > 800) & (hertz < 3000)].mean()))

    after = slice(round(2.8 * RATE), round(3.9 * RATE))  # the bark is over
    for how, hole in (("free", True), ("match", False), ("add", False)):
        result = put_back(canvas, picture, surroundings=how).waveform[0].numpy()
        assert (in_band(result[after]) < in_band(source[after]) - 10) == hole, how
        assert hole or abs(in_band(result[after]) - in_band(source[after])) < 3


def test_added_sound_leaves_what_was_there() -> None:
    """Where nothing was painted, "add" gives the source back, nearly sample for sample."""
    time = np.arange(4 * RATE) / RATE
    source = 0.2 * np.sin(2 * np.pi * 330 * time) + noise(4, 0.001)
    canvas = inpaint_canvas(clip_of(source), Region((Box(1.0, 3.0),)), MINI)
    result = put_back(canvas, painted(canvas, 1.0, bark(2, 0.5)), surroundings="add").waveform[0].numpy()
    quiet = slice(round(1.9 * RATE), round(2.9 * RATE))
    assert db(result[quiet] - source[quiet]) < db(source[quiet]) - 20
    assert loudest_db(result[round(1.3 * RATE) : round(1.45 * RATE)]) > loudest_db(source) - 3


def test_nothing_is_at_full_scale_that_was_not() -> None:
    source = 0.9 * np.sign(np.sin(2 * np.pi * 90 * np.arange(4 * RATE) / RATE)) + noise(4, 0.02)
    canvas = inpaint_canvas(clip_of(source.clip(-0.95, 0.95)), Region((Box(1.0, 3.0),)), MINI)
    picture = painted(canvas, 1.0, noise(2, 0.5, seed=4))
    loud = dataclasses.replace(picture, pixels=np.where(canvas.mask[::-1, :, None] > 0, 255, picture.pixels))
    result = put_back(canvas, loud, surroundings="match").waveform[0].numpy()
    assert np.abs(result[RATE : 3 * RATE]).max() <= 10 ** (-0.3 / 20) + 1e-6


def test_stereo_and_riffusions_curve() -> None:
    """Two channels keep their balance; a picture of fourth roots is matched as one of decibels is."""
    source = np.stack([noise(4, 0.04), noise(4, 0.02, seed=9)])
    canvas = extend_canvas(Clip(torch.from_numpy(source).float(), RATE), 0.0, 1.5, "riffusion-v1")
    picture = painted(canvas, 3.7, noise(1.8, 0.3, seed=2))
    assert canvas.picture.format.curve == "power"
    result = put_back(canvas, picture, surroundings="match").waveform.numpy()
    new = result[:, round(4.1 * RATE) : round(5.4 * RATE)]
    for channel in range(2):
        band = [
            np.abs(np.fft.rfft(one))[: round(len(one) * 9000 / RATE)]
            for one in (new[channel], source[channel])
        ]
        levels = [10 * np.log10(np.sum(one**2) / len(one) ** 2) for one in band]
        assert abs(levels[0] - levels[1]) < 3


def test_silence_is_found() -> None:
    source = bark(4) + noise(4, 0.0005)
    canvas = inpaint_canvas(clip_of(source), Region((Box(1.0, 3.0),)), MINI)
    assert loudness_db(canvas, painted(canvas, 1.0, bark(2))) > -6
    hole = np.where(canvas.mask[::-1, :, None] > 0, 0, canvas.picture.pixels).astype(np.uint8)
    assert loudness_db(canvas, dataclasses.replace(canvas.picture, pixels=hole)) < -SILENT_DB
    one_side = extend_canvas(clip_of(source), 1.0, 1.0, MINI)  # only the right side has a sound
    picture = painted(one_side, 5.0, bark(1))
    assert loudness_db(one_side, picture) < -SILENT_DB


def test_unknown_ways_are_refused() -> None:
    canvas = inpaint_canvas(clip_of(noise(2, 0.1)), Region((Box(0.5, 1.0),)), MINI)
    with pytest.raises(SonopaintError, match="match, add, free"):
        put_back(canvas, canvas.picture, surroundings="loud")
    assert encode(canvas.source, MINI).peak == canvas.picture.peak
