"""Phase-gradient integration: phases from magnitudes alone."""

from __future__ import annotations

import numpy as np
import torch

# The Gaussian nearest to a Hann window of L samples is exp(−πt²/γ) with γ = 0.25645·L² (Průša et al. 2017).
_HANN_GAMMA = 0.25645
_TOO_QUIET = 1e-5  # of the loudest cell: cells whose phase is left to chance


def phase_gradient(
    magnitude: torch.Tensor,
    win: int,
    hop: int,
    *,
    seed: int = 0,
    initial: torch.Tensor | None = None,
    fixed: torch.Tensor | None = None,
    circular: bool = False,
) -> torch.Tensor:
    """Phases of a Hann-windowed STFT from its magnitudes (Průša, Balazs & Søndergaard 2017, PGHI).

    The derivatives of the log magnitude are those of the phase (there eq. 20 and 21), and are summed along
    the loudest paths: in place of the paper's heap, along the maximum spanning tree of the cells (an edge is
    as strong as the weaker of its two cells), which visits the cells in much the same order. Where two ways
    are as strong, the one within the frame is taken, so that cells lock to their frame's peak (Laroche &
    Dolson 1999) and only peaks go on through time: 0.3 to 0.4 dB nearer in log-spectral distance at
    `sonopaint-mini`'s hops of a quarter window. The tree is never stored: islands of cells that know their
    phases from each other grow together (Borůvka 1926), all at once.

    Args:
        magnitude: float [frames, win // 2 + 1].
        seed: of the phase of cells that are too quiet to be followed.
        initial, fixed: complex and bool [frames, win // 2 + 1]: phases that are known, and where; the sums
            begin there. Otherwise they begin at the loudest cell.
        circular: the last frame leads into the first.

    Returns:
        complex [frames, win // 2 + 1] of magnitude 1. A frame's first sample is the FFT's time 0.
    """
    frames, bins = magnitude.shape
    loudness = magnitude.detach().float().cpu().numpy()
    loudest = loudness.max()
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, loudness.shape)
    if loudest > 0 and frames > 2:
        log = np.log(np.maximum(loudness, loudest * 1e-10, dtype=np.float64))
        centre = np.pi * np.arange(bins)  # from time 0 in the frame's middle to its beginning
        known, angles = np.zeros((frames, bins), bool), np.zeros((frames, bins))
        if initial is not None and fixed is not None:
            known = fixed.cpu().numpy()
            angles = np.angle(initial.cpu().numpy()) - centre
        heard = loudness >= _TOO_QUIET * loudest
        steps = _steps(log, win, hop, heard, circular)
        summed = _summed(np.where(heard, log, -np.inf), steps, known, angles)
        summed -= 2 * np.pi * np.rint(summed / (2 * np.pi))
        angle = np.where(heard, summed + centre, angle)
    phase = torch.from_numpy(angle).to(magnitude.dtype)
    return torch.polar(torch.ones_like(phase), phase).to(magnitude.device)


def _steps(
    log: np.ndarray, win: int, hop: int, heard: np.ndarray, circular: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The phase's steps to each cell from the one before it, along frames and along bins (trapezoids).

    Both [frames, bins]; NaN where not both cells are `heard`, and where there is none before.
    """
    bins = log.shape[1]
    over_time = np.gradient(np.pad(log, ((1, 1), (0, 0)), mode="wrap" if circular else "edge"), axis=0)[1:-1]
    gamma = _HANN_GAMMA * win * win
    per_frame = 2 * np.pi * hop / win * np.arange(bins) + hop * win / gamma * np.gradient(log, axis=1)
    per_bin = -gamma / (hop * win) * over_time
    found = []
    for axis, per in enumerate((per_frame, per_bin)):
        step = (per + np.roll(per, 1, axis=axis)) / 2
        step[~(heard & np.roll(heard, 1, axis=axis))] = np.nan
        found.append(step)
    if not circular:
        found[0][0] = np.nan
    found[1][:, 0] = np.nan
    return found[0], found[1]


def _summed(
    log: np.ndarray, steps: tuple[np.ndarray, np.ndarray], known: np.ndarray, angles: np.ndarray
) -> np.ndarray:
    """The steps summed along the maximum spanning tree of the cells, [frames, bins].

    The sums begin at the known cells' angles, which count as one island; else at the loudest cell with 0.
    """
    log = log.ravel() + 1e-9 * np.arange(log.size)  # equals are told apart
    lines = [step.ravel() for step in steps]
    island, phase = _climbed(log, lines, known, angles)
    # What lies between islands: each edge's two islands, its strength, and the step of their phases.
    ends = []
    for step, stride in zip(lines, (known.shape[1], 1), strict=True):
        second = np.flatnonzero((island != np.roll(island, stride)) & ~np.isnan(step))
        first = second - stride  # −1 … is the last frame, which leads into the first one
        apart = step[second] + phase[first] - phase[second]
        ends.append((island[first], island[second], np.minimum(log[first], log[second]), apart))
    a, b, strength, step = (np.concatenate(parts) for parts in zip(*ends, strict=True))
    count = int(island.max()) + 1
    itself = np.arange(count)
    of_island, offset = itself.copy(), np.zeros(count)
    while len(a):
        strongest = np.full(count, -np.inf)
        np.maximum.at(strongest, a, strength)
        np.maximum.at(strongest, b, strength)
        onto, jump = itself.copy(), np.zeros(count)
        for near, far, sign in ((a, b, -1), (b, a, 1)):
            best = np.flatnonzero(strength == strongest[near])
            onto[near[best]], jump[near[best]] = far[best], sign * step[best]
        mutual = (onto[onto] == itself) & (itself < onto)
        onto[mutual], jump[mutual] = itself[mutual], 0.0
        _jump(onto, jump)
        offset += jump[of_island]
        of_island = onto[of_island]
        left = np.flatnonzero(onto[a] != onto[b])
        a, b, strength, step = a[left], b[left], strength[left], step[left]
        step += jump[a] - jump[b]
        a, b = onto[a], onto[b]
    summed = phase + offset[island]
    begin = int(known.argmax() if known.any() else log.argmax())
    return (summed - summed[begin]).reshape(known.shape) + angles.ravel()[begin]


def _climbed(
    log: np.ndarray, lines: list[np.ndarray], known: np.ndarray, angles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(number of each cell's island, its phase from the island's top).

    Cells join the louder of their neighbours in the same frame; a frame's peaks the louder one in time.
    """
    onto, jump, loudest = np.arange(log.size), np.zeros(log.size), log.copy()
    for step, stride in zip(reversed(lines), (1, known.shape[1]), strict=True):
        alone = onto == np.arange(log.size)
        for sign in (1, -1):
            beside = np.roll(log, sign * stride)
            taken = step if sign > 0 else np.roll(step, -stride)
            louder = np.flatnonzero(alone & (beside > loudest) & ~np.isnan(taken))
            loudest[louder] = beside[louder]
            onto[louder] = (louder - sign * stride) % log.size
            jump[louder] = sign * taken[louder]
    if known.any():
        cells = np.flatnonzero(known)
        onto[cells], jump[cells] = cells[0], angles.ravel()[cells] - angles.ravel()[cells[0]]
    _jump(onto, jump)
    number = np.cumsum(onto == np.arange(log.size)) - 1
    return number[onto], jump


def _jump(onto: np.ndarray, jump: np.ndarray) -> None:
    """Brings everything onto its root, in place: the reach doubles in each round. Roots lie on themselves."""
    left = np.flatnonzero(onto[onto] != onto)
    while left.size:
        above = onto.take(left)
        higher = onto.take(above)
        jump[left] += jump.take(above)
        onto[left] = higher
        left = left[onto.take(higher) != higher]
