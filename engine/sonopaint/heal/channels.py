"""One channel broken where another is whole: the other's, as it stands to this one around it."""

from __future__ import annotations

import numpy as np

from sonopaint.heal.marks import Mark

TAPS = 64
AROUND_S = 0.5
SHORTEST_S = 0.01  # what is shorter, is better interpolated
ENOUGH = 0.2  # share of a channel's power around the gap that the others may leave unexplained


def from_others(near: np.ndarray, mark: Mark, broken: np.ndarray, rate: int) -> dict[int, np.ndarray]:
    """New samples of the broken channels of a mark, where others are whole and explain them.

    near [channels, samples]; broken: bool, likewise, of other marks. A channel is broken where the mark names
    it, or stands still while others don't. It is filtered from a whole one by TAPS taps, fitted by least
    squares to what is around the mark.
    """
    part = slice(mark.start, mark.stop)
    still = [not np.diff(row[part]).any() for row in near]
    named = range(len(near)) if mark.channels is None else mark.channels
    bad = [c for c in named if mark.channels is not None or still[c]]
    whole = [c for c in range(len(near)) if c not in bad and not still[c] and not broken[c, part].any()]
    found: dict[int, np.ndarray] = {}
    if not whole or mark.stop - mark.start < SHORTEST_S * rate:
        return found
    for channel in bad:
        for other in whole:
            made = _filtered(near[channel], near[other], mark, broken[channel] | broken[other], rate)
            if made is not None:
                found[channel] = made
                break
    return found


def _filtered(
    own: np.ndarray, other: np.ndarray, mark: Mark, broken: np.ndarray, rate: int
) -> np.ndarray | None:
    around, half = round(AROUND_S * rate), TAPS // 2
    low, high = max(mark.start - around, 0), min(mark.stop + around, len(own))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(other[low:high], half), TAPS)[: high - low]
    good = ~broken[low:high]
    good[mark.start - low : mark.stop - low] = False
    if good.sum() < 4 * TAPS:
        return None
    matrix, true = windows[good], own[low:high][good]
    gram = matrix.T @ matrix
    gram[np.diag_indices(TAPS)] += 1e-6 * np.trace(gram) / TAPS + 1e-12
    taps = np.linalg.solve(gram, matrix.T @ true)
    if np.mean((matrix @ taps - true) ** 2) > ENOUGH * np.mean(true**2) or not true.any():
        return None
    return windows[mark.start - low : mark.stop - low] @ taps
