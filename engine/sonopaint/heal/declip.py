"""Clipped peaks: found, and rounded again by least squares that agree with where the ceiling was."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sonoconvert.edits.seam import burg

ORDER = 48
BLOCK = 1024
MARGIN = 512  # samples of context on either side of a block
ROUNDS = 3
SHORTEST = 3  # samples at the ceiling, one after the other, that make it one
RUNS = 3  # such places
HIGHEST = 4.0  # times the ceiling, that no peak exceeds


def ceiling_of(sound: np.ndarray) -> float | None:
    """The level at which a channel [samples] is clipped; None where it is not.

    A ceiling is the loudest level, where the sound stays several samples on end (to a part in a thousand) at
    several places.
    """
    peak = float(np.abs(sound).max())
    if peak < 1e-3:
        return None
    level = 0.999 * peak
    runs = [stop - start for start, stop in runs_of(sound >= level)]
    runs += [stop - start for start, stop in runs_of(sound <= -level)]
    return level if sum(run >= SHORTEST for run in runs) >= RUNS else None


def declipped(
    sound: np.ndarray, ceiling: float, *, tick: Callable[[float], None] | None = None
) -> np.ndarray:
    """A channel [samples] whose samples at the ceiling are new; all others stay as they are.

    In blocks, an autoregressive model is fitted and the clipped samples are those with the least residual
    (Janssen, Veldhuis & Vries 1986), held beyond the ceiling, as they must have been; then again with the
    better sound. tick: told the share that is done.
    """
    result = sound.astype(np.float64).copy()
    clipped = np.abs(sound) >= ceiling
    for first in range(0, len(sound), BLOCK):
        if tick is not None:
            tick(first / len(sound))
        if clipped[first : first + BLOCK].any():
            low, high = max(first - MARGIN, 0), min(first + BLOCK + MARGIN, len(sound))
            mended = _block(result[low:high], clipped[low:high], ceiling)
            part = slice(first, min(first + BLOCK, len(sound)))
            result[part] = np.where(clipped[part], mended[first - low : part.stop - low], result[part])
    return result


def _block(sound: np.ndarray, clipped: np.ndarray, ceiling: float) -> np.ndarray:
    from scipy.linalg import solveh_banded

    result, sign, p = sound.copy(), np.sign(sound), min(ORDER, len(sound) // 4)
    places = np.flatnonzero(clipped)
    if p < 2 or len(places) == len(sound):
        return result
    for _ in range(ROUNDS):
        a = burg(result, p)
        # Columns of the residual's matrix, for samples that are free and for all that is known.
        held = np.zeros(len(places), bool)
        for _ in range(4):
            free = places[~held]
            if not len(free):
                break
            known = result.copy()
            known[free] = 0
            known[places[held]] = sign[places[held]] * ceiling
            correlation = np.correlate(a, a, "full")
            wanted = np.convolve(known, correlation, "same")[free]
            found = solveh_banded(_bands(correlation, free), -wanted, lower=True)
            result[free] = np.clip(found, -HIGHEST * ceiling, HIGHEST * ceiling)
            result[places[held]] = sign[places[held]] * ceiling
            below = np.zeros(len(places), bool)
            below[~held] = found * sign[free] < ceiling
            if not below.any():
                break
            held |= below
        result[places] = sign[places] * np.maximum(sign[places] * result[places], ceiling)
    return result


def _bands(correlation: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The normal equations of the residual at `places` (ascending), as solveh_banded's lower bands.

    correlation: of the coefficients with themselves [2 p + 1]; samples further apart than p don't meet.
    """
    p = len(correlation) // 2
    bands = np.zeros((min(p + 1, len(places)), len(places)))
    for apart in range(len(bands)):
        lag = places[apart:] - places[: len(places) - apart]
        bands[apart, : len(lag)] = np.where(lag <= p, correlation[np.minimum(lag, p) + p], 0.0)
    bands[0] *= 1 + 1e-6
    return bands


def runs_of(flags: np.ndarray) -> list[tuple[int, int]]:
    """[start, stop) of each stretch of set flags."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
