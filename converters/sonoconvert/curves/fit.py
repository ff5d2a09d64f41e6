"""The last bit: a sound's loudness and brightness and a picture's pitch brought to what was asked."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from sonoconvert.curves.curves import Curves
from sonoconvert.curves.measure import measure
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.spectrogram import absolute, istft, stft

MOST_DB = 18.0  # that a moment is turned up; down there is no limit but silence
QUIET_DB = -50.0  # below the loudest moment: what is as faint as that is no sound, and isn't turned up
FLOOR_DB = -60.0  # below the loudest moment: what is fainter counts as silence
MOST_SEMITONES = 12.5  # that a pitch is bent in the middle; further away from that is an error of measuring
MOST_TILT = 1.0  # exponent of a moment's tilt: 6 dB an octave; twice that makes noise of a horn
STROKES_DB = 15.0  # that strokes fall by before the next
STEADY_S = 0.12  # over which the level of other sounds is averaged
LONGEST_S = 0.5  # that a sound's own course is left alone, where the curve is slower
_ROUNDS = 3
_BLUR = 2  # values that a measured loudness reaches over, each way
_SMOOTH_S = 0.02
_STEADY = 5  # frames of 16 ms over which a tilt is averaged
_CHANGE_DB = 3.0  # what a curve changes by, before and after, while the sound's own course is left alone


def louder_and_softer(clip: Clip, curves: Curves) -> Clip:
    """The clip turned up and down over time so that its loudness runs as the curve does, where that is known.

    Levels count below each one's loudest moment, so that the clip's own level stays about as it is. What is
    faster than the curve stays the sound's own: under a slow one footsteps become louder and softer, and
    between them it stays quiet.
    """
    asked = curves.values.get("loudness")
    if asked is None or np.isnan(asked).all():
        return clip
    gain, made, strokes, most = np.zeros(len(asked)), clip, None, None
    for _ in range(_ROUNDS):
        own = measure(made, ("loudness",), curves.rate).at(curves.rate, curves.frames).values["loudness"]
        if most is None:
            most = MOST_DB * np.clip((own - np.nanmax(own) - QUIET_DB) / 15, 0, 1)
        own, strokes = _own_course(own, asked, curves.rate, strokes)
        known = ~np.isnan(asked) & ~np.isnan(own)
        if not known.any() or own[known].max() <= -99:
            return made
        wanted = np.maximum(asked - asked[known].max(), FLOOR_DB)
        level = np.maximum(own - own[known].max(), FLOOR_DB)
        heard = known & (wanted > -30) & (level > -30)  # the offset is that of what is heard in both
        offset = float(np.median((wanted - level)[heard])) if heard.any() else 0.0
        gain = np.clip(gain + np.where(known, wanted - level - offset, 0.0), 2 * FLOOR_DB, most)
        made = replace(clip, waveform=clip.waveform * _gain(gain, curves.rate, clip), exact=None)
    return made


def brighter_and_darker(clip: Clip, curves: Curves) -> Clip:
    """The clip's spectrum tilted over time: its centroid runs as the brightness does, where that is known.

    Each moment is multiplied by (f / 1 kHz)^tilt, with a tilt of MOST_TILT at most that its own centroid
    tells; its level stays as it is, and what is silent stays silent.
    """
    asked = curves.values.get("brightness")
    if asked is None or np.isnan(asked).all():
        return clip
    size = 1 << max(8, round(math.log2(clip.sample_rate * 0.064)))
    hop = size // 4
    spectrum = stft(clip.waveform.float(), size, size, hop)  # [channels, bins, frames]
    magnitude = absolute(spectrum).mean(0)
    wanted = torch.from_numpy(curves.at(clip.sample_rate / hop, magnitude.shape[-1]).values["brightness"])
    known = ~wanted.isnan() & (magnitude.amax(0) > 1e-6)
    hertz = torch.linspace(0, clip.sample_rate / 2, size // 2 + 1)[:, None]
    octaves = (hertz / 1000).clamp_min(0.02).log2()
    low, high = (torch.full_like(wanted, way * MOST_TILT) for way in (-1, 1))
    for _ in range(12):  # the centroid grows with the tilt
        tilt = (low + high) / 2
        tilted = magnitude * 2 ** (tilt * octaves)
        dark = (tilted * hertz).sum(0) / tilted.sum(0).clamp_min(1e-9) < wanted
        low, high = torch.where(dark, tilt, low), torch.where(dark, high, tilt)
    tilt = F.avg_pool1d(torch.where(known, (low + high) / 2, 0.0)[None], _STEADY, 1, _STEADY // 2)[0]
    gain = 2 ** (tilt * octaves)
    gain *= (magnitude.square().sum(0) / (magnitude * gain).square().sum(0).clamp_min(1e-12)).sqrt()
    gain = torch.where(known, gain, 1.0)
    wave = istft(spectrum * gain, size, size, hop, length=clip.num_samples)
    return replace(clip, waveform=wave.to(clip.waveform.dtype), exact=None)


def _own_course(
    own: np.ndarray, asked: np.ndarray, rate: float, strokes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(a level [N] at `rate` without what is faster than the curve, where the sound is made of strokes).

    Strokes are where it falls by over STROKES_DB within LONGEST_S, unless `strokes` says it. Their gaps are
    filled by what is loud near them; of other sounds the power is averaged over STEADY_S: a warble is brought
    to the curve, a crackle stays.
    Neighbours count as far as the curve is about the same, and not across a change of it by _CHANGE_DB:
    behind a step nothing of what was loud before it. Their own difference in the curve is taken off.
    """
    excess = own - asked
    steps = np.abs(np.diff(np.nan_to_num(asked, nan=-999.0), append=-999.0)) > _CHANGE_DB
    steep = np.convolve(np.concatenate([[False], steps[:-1]]) | steps, np.ones(2 * _BLUR - 1), "same")
    heard = np.where(steep > 0, np.nan, excess)  # beside a step both sides are measured
    reach, steady = round(LONGEST_S / 2 * rate), round(STEADY_S / 2 * rate)
    loudest, power = heard.copy(), np.where(np.isnan(heard), 0.0, 10 ** (heard / 10))
    total, count = power.copy(), (~np.isnan(heard)).astype(float)
    for way in (1, -1):
        near = np.ones(len(own), bool)
        for distance in range(1, min(reach, len(own) - 1) + 1):
            places = np.arange(len(own)) + way * distance
            near &= (places >= 0) & (places < len(own))
            places = places.clip(0, len(own) - 1)
            near &= np.abs(asked[places] - asked) <= _CHANGE_DB
            loudest = np.where(near, np.fmax(loudest, heard[places]), loudest)
            if distance <= steady:
                counted = near & ~np.isnan(heard[places])
                total, count = total + counted * power[places], count + counted
    mean = np.where(count > 0, 10 * np.log10(np.maximum(total, 1e-12) / np.maximum(count, 1)), np.nan)
    if strokes is None:
        fall = np.nan_to_num(loudest - mean)
        strokes = np.array(
            [fall[max(0, n - reach) : n + reach + 1].max() > STROKES_DB for n in range(len(own))]
        )
    course = np.where(strokes, loudest, mean)
    return np.where(np.isnan(course), excess, course) + asked, strokes


def _gain(decibels: np.ndarray, rate: float, clip: Clip) -> torch.Tensor:
    """Factors [samples] of a gain given at `rate`, smoothed; 1 behind its end."""
    width = max(1, round(_SMOOTH_S * rate))
    padded = np.pad(decibels, width, mode="edge")
    window = np.hanning(2 * width + 3)[1:-1]
    smooth = np.convolve(padded, window / window.sum(), mode="valid")
    smooth = np.append(smooth, smooth[-1])  # the last value holds until its end
    times = np.arange(clip.num_samples) / clip.sample_rate
    gain = np.interp(times, np.arange(len(smooth)) / rate, smooth, right=0.0)
    return torch.from_numpy(10 ** (gain / 20)).to(clip.waveform.dtype)


def semitones_apart(clip: Clip, curves: Curves) -> np.ndarray | None:
    """Semitones [N] to raise the pitch by, at each value of `curves`; None where nothing is to be done.

    What is further away than a bend goes keeps its octave: a whistle follows a hum two octaves above it.
    Where either has no pitch, or one of them was measured wrongly, the nearest known bend is held.
    """
    asked = curves.values.get("pitch")
    if asked is None:
        return None
    own = measure(clip, ("pitch",), curves.rate).at(curves.rate, curves.frames).values["pitch"]
    both = (np.nan_to_num(asked) > 0) & (np.nan_to_num(own) > 0)
    if both.sum() < 3:
        return None
    apart = np.zeros(len(asked))
    apart[both] = 12 * np.log2(asked[both] / own[both])
    middle = float(np.median(apart[both]))
    if abs(middle) > MOST_SEMITONES:
        apart[both] -= 12 * np.round(middle / 12)
        middle -= 12 * np.round(middle / 12)
    near = both & (np.abs(apart - middle) <= MOST_SEMITONES)
    places = np.flatnonzero(near)
    return np.interp(np.arange(len(asked)), places, apart[places]) if len(places) else None


def bent(picture: Picture, semitones: np.ndarray, rate: float) -> Picture:
    """The picture with each column's sound raised: its rows moved along the frequencies.

    semitones [N] at `rate` values a second. Mono and stereo pictures; others come back as they are.
    """
    fmt = picture.format
    if fmt.channels not in ("mono", "stereo"):
        return picture
    columns = picture.columns
    times = np.arange(columns) * fmt.hop_length / fmt.sample_rate
    raised = 2 ** (np.interp(times, np.arange(len(semitones)) / rate, semitones) / 12)
    hertz = np.array([fmt.hz(row) for row in range(fmt.rows)])
    silence = 255 if fmt.inverted else 0
    pixels = picture.pixels[::-1]  # lowest first
    result = np.empty_like(pixels)
    most = np.iinfo(pixels.dtype).max
    silent = silence * most / 255
    places = np.arange(fmt.rows)
    for column in range(columns):
        source = np.interp(hertz / raised[column], hertz, places, left=0.0, right=float(fmt.rows))
        low = np.minimum(source.astype(int), fmt.rows - 1)
        high = np.minimum(low + 1, fmt.rows - 1)
        weight = (source - low)[:, None]
        values = pixels[low, column] * (1 - weight) + pixels[high, column] * weight
        values[source >= fmt.rows] = silent
        result[:, column] = np.rint(values)
    return replace(picture, pixels=np.ascontiguousarray(result[::-1]))
