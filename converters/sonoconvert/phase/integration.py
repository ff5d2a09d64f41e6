"""Phases from their derivatives: a weighted least-squares sum over time and frequency."""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import cptsv

# How much an advance over time counts without any certainty, beside one that is certain.
_DOUBT = 1e-4
# How much a cell that stays counts beside a step that is certain.
_HOLD = np.float32(1e3)


def integrate(
    magnitude: np.ndarray,
    advance: np.ndarray,
    across: np.ndarray,
    hop: int,
    *,
    known: np.ndarray | None = None,
    fixed: np.ndarray | None = None,
    start: np.ndarray | None = None,
    circular: bool = False,
    sweeps: int = 3,
    across_weight: float = 16.0,
    seed: int = 0,
) -> np.ndarray:
    """Phases whose steps to the next frame and to the next bin are the given ones as nearly as they can be.

    Minimises Σ w |u_j − e^{iΔ} u_i|² over all neighbours i, j of unit phasors u, frame after frame: in each
    one, all bins at once (a tridiagonal system) with the frames beside it held. The first sweep goes forward
    and knows only the past, as recurrent phase unwrapping does (Masuyama, Yatabe, Koizumi, Oikawa & Harada
    2020); the others go back and forth and use both sides.

    Args:
        magnitude: float [frames, bins], bins = size // 2 + 1; loud cells count more (w ~ the root of it).
        advance: complex [frames, bins]: certainty (0 … 1) times the phasor of the phase's advance from each
            frame to the next one, beyond 2π·bin·hop/size. In circular mode the last one leads to the first.
        across: complex [frames, bins]: the same from each bin to the next, for phases that are referred to
            the window's centre. The last bin's is not used.
        hop: in samples of the grid whose FFT has `size`.
        known: complex [n, bins], n ≤ frames: the phasors of the first frames, which stay. Where they are 0
            (digital silence) there is no phase to go on from.
        fixed: bool [n, bins]: which cells of `known` stay; default: all.
        start: complex [frames, bins]: the phasors to sweep on from, in place of a first sweep that knows only
            the past. What they say at large stays; what contradicts the steps nearby gives way.
        circular: the last frame leads into the first.
        across_weight: of a step to the next bin, where one to the next frame weighs 1.
        seed: of the signs in the first frame.

    Returns:
        complex64 [frames, bins] of magnitude 1; frames begin at the FFT's time 0.
    """
    frames, bins = magnitude.shape
    size = 2 * (bins - 1)
    place = np.arange(bins)
    centre = (1 - 2 * (place % 2)).astype(np.float32)
    turn = np.exp(2j * np.pi * (place * hop % size) / size).astype(np.complex64)
    weight = np.sqrt(np.maximum(magnitude / max(float(magnitude.max()), 1e-30), 1e-7)).astype(np.float32)
    onward = (advance + _DOUBT).astype(np.complex64) * turn
    onward *= np.sqrt(weight * np.roll(weight, -1, axis=0))
    upward = across[:, :-1] * (-across_weight * np.sqrt(weight[:, :-1] * weight[:, 1:]))
    upward = upward.astype(np.complex64)
    over = np.zeros((frames, bins), np.float32)
    over[:, :-1] += np.abs(upward)
    over[:, 1:] += np.abs(upward)
    below, along = -upward, np.abs(onward)
    # The first frame is its own mirror image: its phases are 0 or π.
    mirrored = not circular and known is None
    result = np.zeros((frames, bins), np.complex64)
    begin = 0 if start is None else 1
    if start is not None:
        result[:] = _unit(np.asarray(start, np.complex64))
    held = np.zeros((frames, bins), bool)
    if known is not None:
        held[: len(known)] = known != 0 if fixed is None else fixed & (known != 0)
        result[held] = _unit(np.asarray(known, np.complex64))[held[: len(known)]]
    left = np.flatnonzero(~held.all(axis=1))
    part = np.asarray(held.any(axis=1))
    for sweep in range(begin, begin + sweeps):
        for i in left if sweep % 2 == 0 else left[::-1]:
            if i == 0 and sweep == 0:
                signs = np.sign(np.random.default_rng(seed).random(bins) - 0.5) * centre
                pull, diagonal = (signs * along[0] * 0.01).astype(np.complex64), along[0] * 0.01
            else:
                past = i > 0 or circular
                pull = onward[i - 1] * result[i - 1] if past else np.zeros(bins, np.complex64)
                diagonal = along[i - 1] if past else np.zeros(bins, np.float32)
                if sweep and (i < frames - 1 or circular):
                    following = (i + 1) % frames
                    pull = pull + onward[i].conj() * result[following]
                    diagonal = diagonal + along[i]
            kept = held[i]
            if part[i]:
                pull = pull + kept * (_HOLD * result[i])
                diagonal = diagonal + _HOLD * kept
            # Hermitian, positive definite, and diagonally dominant.
            solved = cptsv(diagonal + over[i], below[i], pull)[2].reshape(bins)
            if i == 0 and mirrored:
                solved = np.where((solved * centre).real < 0, -centre, centre).astype(np.complex64)
            result[i] = np.where(kept, result[i], _unit(solved)) if part[i] else _unit(solved)
    return result


def _unit(values: np.ndarray) -> np.ndarray:
    return values * (1 / np.maximum(np.abs(values), 1e-30))
