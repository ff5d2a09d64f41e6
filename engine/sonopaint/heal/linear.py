"""Linear prediction across a gap: interpolation, prediction from both sides, and a random process.

All take and return one channel as float64 NumPy arrays.
"""

from __future__ import annotations

import numpy as np

from sonoconvert.edits.seam import burg, ramp

ORDER = 128  # enough for a few dozen partials
PAST = 8192  # samples on either side to which a prediction is fitted
NEAR_S = 0.064  # and a random process: what is further away sounds otherwise
LEVEL_S = 0.03  # beside the gap: how loud the sound is there
JOIN_S = 0.004  # over which what was made otherwise goes over into the sides
INTERPOLATED = 3000  # samples; a longer gap's equations would take seconds


def model(past: np.ndarray, order: int = ORDER, most: int = PAST) -> tuple[np.ndarray, np.ndarray, float]:
    """(samples, coefficients [≤ order + 1], RMS of what they don't predict) of a gap's left side."""
    from scipy.signal import lfilter

    past = past[-most:]
    coefficients = burg(past, max(min(order, len(past) // 3), 0))
    residual = lfilter(coefficients, [1.0], past)[len(coefficients) :]
    return past, coefficients, float(np.sqrt(np.mean(residual**2))) if len(residual) else 0.0


def predicted(left: np.ndarray, right: np.ndarray, count: int, *, order: int = 4 * ORDER) -> np.ndarray:
    """`count` samples predicted from both sides and faded into each other (Kauppinen & Roth 2002)."""
    ahead = _run(*model(left, order)[:2], np.zeros(count)) if len(left) else None
    back = _run(*model(right[::-1], order)[:2], np.zeros(count))[::-1] if len(right) else None
    if ahead is None or back is None:
        only = back if ahead is None else ahead
        return np.zeros(count) if only is None else only * _leaving(count, ahead is not None)
    weight = ramp(count)
    return ahead * (1 - weight) + back * weight


def interpolated(left: np.ndarray, right: np.ndarray, count: int, *, order: int = ORDER) -> np.ndarray:
    """`count` samples that an autoregressive process most likely has there (Janssen, Veldhuis & Vries 1986).

    The least squares of its residual over the gap, twice: with the coefficients of both sides, then with
    those of the whole.
    """
    from scipy.linalg import solveh_banded

    left, right = left[-PAST:], right[:PAST]
    guess = predicted(left, right, count, order=order)
    if count > INTERPOLATED:
        return guess
    for _ in range(2):
        whole = np.concatenate([left, guess, right])
        coefficients = burg(whole, min(order, len(whole) // 3))
        p = len(coefficients) - 1
        if p < 1:
            break
        # B = Toeplitz matrix of the coefficients' autocorrelation: the normal equations of the residual.
        correlation = np.correlate(coefficients, coefficients, "full")[p:]
        rows = min(p + 1, count)
        banded = np.zeros((rows, count))
        banded[:] = correlation[:rows, None]
        banded[0] *= 1 + 1e-9
        known = whole.copy()
        known[len(left) : len(left) + count] = 0
        filter_ = np.concatenate([correlation[:0:-1], correlation])
        wanted = np.convolve(known, filter_, "same")[len(left) : len(left) + count]
        guess = solveh_banded(banded, -wanted, lower=True)
    return guess


def sampled(
    left: np.ndarray,
    right: np.ndarray,
    count: int,
    rate: int,
    rng: np.random.Generator,
    *,
    order: int = ORDER,
) -> np.ndarray:
    """`count` samples of the random processes of both sides: harmonics go on, noise is made anew.

    Each side's autoregressive process goes on from its last samples, driven by noise as loud as what it
    does not predict (so tones ring and noise stays as loud as it is); the two are faded into each other,
    and their level goes from one side's to the other's along a straight line in decibels.
    """
    sides: list[np.ndarray | None] = []
    most = max(round(NEAR_S * rate), 4 * order)
    for past in (left, right[::-1]):
        if not len(past):
            sides.append(None)
            continue
        own, coefficients, loose = model(past, order, most)
        made = _run(own, coefficients, loose * rng.standard_normal(count))
        peak = 2 * np.abs(own).max() + 1e-12
        sides.append(np.clip(made, -peak, peak))
    ahead, back = sides[0], None if sides[1] is None else sides[1][::-1]
    if ahead is None or back is None:
        only = back if ahead is None else ahead
        return np.zeros(count) if only is None else only
    u = (np.arange(count) + 0.5) / count
    first, last = np.cos(u * np.pi / 2), np.sin(u * np.pi / 2)
    reach = max(round(LEVEL_S * rate), 32)
    levels = [np.sqrt(np.mean(side**2)) + 1e-9 for side in (left[-reach:], right[:reach])]
    line = levels[0] ** (1 - u) * levels[1] ** u
    power = np.sqrt((first * levels[0]) ** 2 + (last * levels[1]) ** 2)
    return (ahead * first + back * last) * np.minimum(line / power, 1.0)


def joined(left: np.ndarray, right: np.ndarray, made: np.ndarray, rate: int) -> np.ndarray:
    """`made` [count], faded in and out of what each side predicts over JOIN_S, so that no seam clicks."""
    count = min(round(JOIN_S * rate), len(made) // 2)
    if count < 1:
        return made
    fade, joined = ramp(count), made.copy()
    for past, part in ((left, joined[:count]), (right[::-1], joined[::-1][:count])):
        if len(past):
            own, coefficients, _ = model(past, most=2 * ORDER)
            part[:] = _run(own, coefficients, np.zeros(count)) * (1 - fade) + part * fade
    return joined


def _run(past: np.ndarray, coefficients: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The process goes on from `past`, driven by `noise`."""
    from scipy.signal import lfilter, lfiltic

    return lfilter([1.0], coefficients, noise, zi=lfiltic([1.0], coefficients, past[::-1]))[0]


def _leaving(count: int, left: bool) -> np.ndarray:
    """A fade away from the only side that is there."""
    fade = ramp(count)
    return 1 - fade if left else fade
