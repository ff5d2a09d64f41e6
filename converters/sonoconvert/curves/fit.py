"""The last few decibels and cents: a sound's loudness and a picture's pitch brought to what was asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import maximum_filter1d

from sonoconvert.curves.curves import Curves
from sonoconvert.curves.measure import measure
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.picture import Picture

MOST_DB = 18.0  # that a moment is turned up; down there is no limit but silence
FLOOR_DB = -60.0  # below the loudest moment: what is fainter counts as silence
MOST_SEMITONES = 12.0  # that a pitch is bent; a larger difference is an error of measuring
LONGEST_S = 0.5  # that a sound's own course is left alone, where the curve is slower
_ROUNDS = 3
_SMOOTH_S = 0.02
_CHANGE_DB = 6.0  # what a curve changes by while the sound's own course is left alone


def louder_and_softer(clip: Clip, curves: Curves) -> Clip:
    """The clip turned up and down over time so that its loudness runs as the curve does, where that is known.

    Levels count below each one's loudest moment, so that the clip's own level stays about as it is. What is
    faster than the curve stays the sound's own: under a slow one footsteps become louder and softer, and
    between them it stays quiet.
    """
    asked = curves.values.get("loudness")
    if asked is None or np.isnan(asked).all():
        return clip
    width = _own_course(asked, curves.rate)
    for _ in range(_ROUNDS):
        own = measure(clip, ("loudness",), curves.rate).at(curves.rate, curves.frames).values["loudness"]
        own = maximum_filter1d(own, width, mode="nearest")
        known = ~np.isnan(asked) & ~np.isnan(own)
        if not known.any() or own[known].max() <= -99:
            return clip
        wanted = np.maximum(asked - asked[known].max(), FLOOR_DB)
        level = np.maximum(own - own[known].max(), FLOOR_DB)
        heard = known & (wanted > -30) & (level > -30)  # the offset is that of what is heard in both
        offset = float(np.median((wanted - level)[heard])) if heard.any() else 0.0
        gain = np.where(known, np.clip(wanted - level - offset, 2 * FLOOR_DB, MOST_DB), 0.0)
        clip = replace(clip, waveform=clip.waveform * _gain(gain, curves.rate, clip), exact=None)
    return clip


def _own_course(asked: np.ndarray, rate: float) -> int:
    """Values (odd) in which a curve changes by _CHANGE_DB where it is steep, LONGEST_S at most."""
    steps = np.abs(np.diff(asked))
    steps = steps[~np.isnan(steps)]
    steepest = float(np.quantile(steps, 0.9)) if len(steps) else 0.0
    longest = LONGEST_S * rate
    count = min(_CHANGE_DB / steepest, longest) if steepest > 0 else longest
    return 2 * int(count / 2) + 1


def _gain(decibels: np.ndarray, rate: float, clip: Clip) -> torch.Tensor:
    """Factors [samples] of a gain given at `rate`, smoothed; 1 behind its end."""
    width = max(1, round(_SMOOTH_S * rate))
    padded = np.pad(decibels, width, mode="edge")
    window = np.hanning(2 * width + 3)[1:-1]
    smooth = np.convolve(padded, window / window.sum(), mode="valid")
    times = np.arange(clip.num_samples) / clip.sample_rate
    gain = np.interp(times, np.arange(len(smooth)) / rate, smooth, right=0.0)
    return torch.from_numpy(10 ** (gain / 20)).to(clip.waveform.dtype)


def semitones_apart(clip: Clip, curves: Curves) -> np.ndarray | None:
    """Semitones [N] to raise the pitch by, at each value of `curves`; None where nothing is to be done.

    The sound keeps its octave: a whistle follows a hum an octave or two above it. Where either has no pitch,
    or they are further apart than a bend goes, the nearest known bend is held.
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
    apart[both] -= 12 * np.round(np.median(apart[both]) / 12)
    near = both & (np.abs(apart) <= MOST_SEMITONES)
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
