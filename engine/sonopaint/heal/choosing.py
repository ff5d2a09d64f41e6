"""Which method heals a mark best: by its length, and by trying the classics on what is beside it."""

from __future__ import annotations

import numpy as np
import torch

from sonoconvert.progress import Progress, silent
from sonopaint.heal.copying import copied
from sonopaint.heal.linear import interpolated, joined, predicted, sampled

SHORT_S = 0.006  # clicks: interpolation finds the very samples
TONAL_S = 0.05  # beyond, a prediction has died away
BRIDGED_S = 0.2  # from here on the bridge does better than the random process that it begins with …
RESTLESS_DB = 8.0  # … where the level of 10 ms varies so much, as that of speech does
COPIED = 0.85  # of the next best's distance, that a copy's must be below: a wrong event is worse than none
TRIED_S = 0.3  # of a longer gap, so much is tried
APART_S = 0.01  # between what is tried and the mark
ENVELOPE = 0.3  # decibels of the spectrum that one of the envelope counts for
_FLOOR = 1e-3


def chosen(
    near: np.ndarray,
    start: int,
    stop: int,
    broken: np.ndarray,
    rate: int,
    bridge: bool,
    tell: Progress = silent,
) -> str:
    """One of heal.METHODS for the samples start … stop of what is near them [samples].

    What is beside the mark is taken out, as much on either side, and made again by each of the classics; the
    one that comes nearest is taken. broken: bool [samples], of other marks.
    """
    count = stop - start
    if count <= SHORT_S * rate:
        return "interpolate"
    size, apart = min(count, round(TRIED_S * rate)), round(APART_S * rate)
    bad = broken.copy()
    bad[start:stop] = True
    names = ["continue", "copy", *(["interpolate", "predict"] if count <= TONAL_S * rate else [])]
    scores = {name: 0.0 for name in names}
    tried = 0
    for first in (start - apart - size, stop + apart):
        if first < size or first + 2 * size > len(near) or bad[first : first + size].any():
            continue
        for number, name in enumerate(names):
            tell((tried + number / len(names)) / 2)
            made = _made(name, near, first, first + size, bad, rate)
            scores[name] += distance(near, made, first, first + size, rate)
        tried += 1
    scores["copy"] /= COPIED
    best = min(scores, key=scores.__getitem__) if tried else "continue"
    if best == "continue" and bridge and count >= BRIDGED_S * rate and _restless(near[~bad], rate):
        return "bridge"
    return best


def _restless(sound: np.ndarray, rate: int) -> bool:
    """Whether a sound's level goes up and down: the standard deviation of the level of 10 ms, to −60 dB."""
    block = max(rate // 100, 1)
    power = np.square(sound[: len(sound) // block * block].reshape(-1, block)).mean(1)
    return (
        len(power) > 1 and float(np.std(10 * np.log10(np.maximum(power, power.max() * 1e-6)))) > RESTLESS_DB
    )


def _made(name: str, near: np.ndarray, start: int, stop: int, bad: np.ndarray, rate: int) -> np.ndarray:
    """`near` with its samples start … stop made anew by a method."""
    left, right = sides(near, start, stop, bad)
    count = stop - start
    if name == "continue":
        part = sampled(left, right, count, rate, np.random.default_rng(0))
    elif name == "copy":
        donor, _ = copied(near, start, stop, rate, broken=bad)
        part = np.zeros(count) if donor is None else joined(left, right, donor, rate)
    elif name == "interpolate":
        part = interpolated(left, right, count, order=512)
    else:
        part = predicted(left, right, count)
    return np.concatenate([near[:start], part, near[stop:]])


def sides(near: np.ndarray, start: int, stop: int, bad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left and right of samples start … stop, up to the next that are bad."""
    before, after = np.flatnonzero(bad[:start]), np.flatnonzero(bad[stop:])
    first = int(before[-1]) + 1 if len(before) else 0
    last = stop + int(after[0]) if len(after) else len(near)
    return near[first:start], near[stop:last]


def distance(true: np.ndarray, made: np.ndarray, start: int, stop: int, rate: int) -> float:
    """How far samples start … stop are from the true ones: spectral distance and, less, that of the level."""
    spectral, envelope = distances(true, made, start, stop, rate)
    return spectral + ENVELOPE * envelope


def distances(true: np.ndarray, made: np.ndarray, start: int, stop: int, rate: int) -> tuple[float, float]:
    """(log-spectral distance, mean difference of the level of 10 ms) in dB of samples start … stop.

    Frames of 512 samples, a hop of 128; both are floored 60 dB below the loudest there is.
    """
    low, high = max(start - 4096, 0) // 128 * 128, stop + 4096

    def cells(sound: np.ndarray) -> torch.Tensor:
        wave = torch.from_numpy(sound[low:high].astype(np.float32))
        return torch.stft(wave, 512, 128, window=torch.hann_window(512), return_complex=True).abs()

    first, second = cells(true), cells(made)
    floor = first.max() * _FLOOR
    here = slice((start - low) // 128, (stop - low) // 128 + 1)
    difference = 20 * torch.log10(first.clamp_min(floor) / second.clamp_min(floor))[:, here]
    count, least = max((stop - start) * 100 // rate, 1), _FLOOR * np.abs(true[low:high]).max() + 1e-12

    def levels(sound: np.ndarray) -> np.ndarray:
        parts = np.array_split(sound[start:stop], count)
        return np.array([20 * np.log10(max(np.sqrt(np.mean(part**2)), least)) for part in parts])

    envelope = np.abs(levels(true) - levels(made)).mean()
    return float(difference.square().mean(0).sqrt().mean()), float(envelope)
