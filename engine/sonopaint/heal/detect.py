"""Clicks and dropouts, found by what linear prediction does not expect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sonoconvert.edits.seam import burg
from sonoconvert.files.clip import Clip
from sonopaint.heal.declip import runs_of
from sonopaint.heal.marks import Mark, merged

ORDER = 32
BLOCK_S = 0.1  # over which a prediction is fitted and its usual error measured
LOUD = 8.0  # times the usual error: a click
ALIKE = 1 / 3  # of its loudest error, that at most OTHERS places within AROUND_S reach: pulses of a voice do
OTHERS = 1
PERIOD_S = 0.0025, 0.02  # of a voice: its pulses come before and after at one such distance …
ECHO, EITHER = 1.8, 1.5  # … so that a click is so many times as loud as on both sides, and as on either
LOUDER = 4.0  # times what the errors around it hardly exceed
AROUND_S = 0.025
NEAR_S = 0.0003  # by which periods of a voice differ
LONGEST_CLICK_S = 0.006
LEVELS = 4.0  # the sound is not so many times as loud on one side as on the other: else it begins there
LEVEL_S = 0.004
MORE = 3  # samples marked on either side of a click
DROPOUT_S = 0.0015  # of nothing at all
LONGEST_DROPOUT_S = 0.5  # a longer silence is meant
SILENT = 10 ** (-70 / 20)
EDGE_S = 0.02  # beside a dropout, where the sound is louder than SILENT and not expected to end


def find(clip: Clip, *, clicks: bool = True, dropouts: bool = True) -> list[Mark]:
    """Marks of a clip's clicks and dropouts, each with the channels that have it."""
    found: list[Mark] = []
    for channel, row in enumerate(clip.waveform.numpy().astype(np.float64)):
        spans: list[tuple[int, int, str]] = []
        if dropouts:
            spans += [(start, stop, "dropout") for start, stop in dropouts_of(row, clip.sample_rate)]
        if clicks:
            lost = [(start, stop) for start, stop, _ in spans]
            spans += [(start, stop, "click") for start, stop in clicks_of(row, clip.sample_rate, lost)]
        found += [Mark(start, stop, None, None, (channel,), why) for start, stop, why in spans]
    return _together(merged(found, clip.sample_rate), clip.num_channels)


def clicks_of(sound: np.ndarray, rate: int, lost: Sequence[tuple[int, int]] = ()) -> list[tuple[int, int]]:
    """[start, stop) of the clicks of a channel [samples] (Vaseghi & Rayner 1990).

    A click is short and expected neither from what comes before it nor, backwards, from what comes after; and
    it is none of the pulses of a voice, which come in rows.
    lost: dropouts, whose edges are none.
    """
    errors, usual = _errors(sound, rate)
    for start, stop in lost:
        errors[max(start - ORDER, 0) : stop + ORDER] = 0
    from scipy.ndimage import binary_closing, maximum_filter1d

    runs = runs_of(binary_closing(errors > LOUD * usual, np.ones(2 * MORE + 1)))
    peaks = np.array([errors[start:stop].max() for start, stop in runs])
    places = np.array([start for start, _ in runs])
    result, near = [], maximum_filter1d(errors, 2 * round(NEAR_S * rate) + 1)
    for (start, stop), peak in zip(runs, peaks, strict=True):
        first, last = np.searchsorted(places, [start - AROUND_S * rate, start + AROUND_S * rate])
        alone = (peaks[first:last] > ALIKE * peak).sum() - 1 <= OTHERS
        alone = alone or _no_pulse(near, start + int(errors[start:stop].argmax()), peak, rate)
        if stop - start > LONGEST_CLICK_S * rate or not alone or _begins(sound, start, stop, rate):
            continue
        sides = [
            errors[max(start - round(AROUND_S * rate), 0) : start],
            errors[stop:][: round(AROUND_S * rate)],
        ]
        if peak > LOUDER * np.quantile(np.concatenate([*sides, [0.0]]), 0.97):
            result.append((max(start - MORE, 0), min(stop + MORE, len(sound))))
    return result


def _no_pulse(near: np.ndarray, place: int, peak: float, rate: int) -> bool:
    """Whether an error at `place` is none of a row: not as loud a period before and after, whatever that is.

    near: how loud errors are about each sample.
    """
    low, high = (round(seconds * rate) for seconds in PERIOD_S)
    periods = np.arange(low, high + 1)
    before, after = near[np.maximum(place - periods, 0)], near[np.minimum(place + periods, len(near) - 1)]
    echo, either = np.minimum(before, after).max(), np.maximum(before, after).max()
    return bool(peak > ECHO * echo and peak > EITHER * either)


def _begins(sound: np.ndarray, start: int, stop: int, rate: int) -> bool:
    """Whether the sound is another one after these samples than before: an attack and no click."""
    around = max(round(LEVEL_S * rate), 16)
    sides = [sound[max(start - around, 0) : start], sound[stop : stop + around]]
    quiet, loud = sorted(float(np.sqrt(np.mean(side**2))) if len(side) else 0.0 for side in sides)
    return loud > LEVELS * max(quiet, 0.01 * float(np.abs(sound[start:stop]).max()))


def _errors(sound: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """(the smaller of the errors of prediction forwards and backwards, the usual one) [samples]."""
    block = max(round(BLOCK_S * rate), 8 * ORDER)
    errors, usual = np.zeros(len(sound)), np.full(len(sound), np.inf)
    for first in range(0, len(sound), block):
        low, high = max(first - block // 2, 0), min(first + block + block // 2, len(sound))
        part = sound[low:high]
        if len(part) < 4 * ORDER or not part.any():
            continue
        error = _error(part, burg(part, ORDER))
        # A click bends the fit to itself: take out what is far off, and fit again.
        if (far := error > LOUD * np.median(error) / 0.6745).any():
            error = _error(part, burg(np.where(far, 0, part), ORDER))
        core = slice(first - low, min(first + block, len(sound)) - low)
        errors[first : first + block] = error[core]
        usual[first : first + block] = max(np.median(error) / 0.6745, 1e-5 * np.abs(part).max())
    return errors, usual


def _error(part: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    from scipy.signal import lfilter

    ahead = np.abs(lfilter(coefficients, [1.0], part))
    back = np.abs(lfilter(coefficients, [1.0], part[::-1])[::-1])
    ahead[:ORDER], back[-ORDER:] = 0, 0  # without a past
    return np.minimum(ahead, back)


def dropouts_of(sound: np.ndarray, rate: int) -> list[tuple[int, int]]:
    """[start, stop) where a channel [samples] stands still, though neither side was going to end there."""
    still = np.concatenate([[False], np.diff(sound) == 0]) & (np.abs(sound) < SILENT)
    edge, result = max(round(EDGE_S * rate), 8 * ORDER), []
    for start, stop in runs_of(still):
        start -= 1  # the first of equal samples
        if not DROPOUT_S * rate <= stop - start <= LONGEST_DROPOUT_S * rate:
            continue
        sides = [sound[max(start - edge, 0) : start], sound[stop : stop + edge][::-1]]
        if all(_goes_on(side) for side in sides):
            result.append((start, stop))
    return result


def _goes_on(side: np.ndarray) -> bool:
    """Whether nothing comes as a surprise after `side`."""
    from scipy.signal import lfilter

    if len(side) < 4 * ORDER or np.sqrt(np.mean(side**2)) < SILENT:
        return False
    coefficients = burg(side, ORDER)
    error = np.abs(lfilter(coefficients, [1.0], np.append(side, np.zeros(4))))
    return bool(error[-4:].max() > LOUD * np.median(error[ORDER:-4]) / 0.6745)


def _together(marks: list[Mark], channels: int) -> list[Mark]:
    """Marks that all channels have at once are of all channels."""
    if channels == 1:
        return [Mark(m.start, m.stop, None, None, None, m.why) for m in marks]
    result: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (mark.start, mark.stop)):
        last = result[-1] if result else None
        if last and last.channels and mark.channels and mark.start < last.stop:
            both = tuple(sorted(set(last.channels) | set(mark.channels)))
            result[-1] = Mark(last.start, max(last.stop, mark.stop), None, None, both, last.why)
        else:
            result.append(mark)
    return [
        Mark(m.start, m.stop, None, None, None if len(m.channels or ()) == channels else m.channels, m.why)
        for m in result
    ]
