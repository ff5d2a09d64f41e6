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
    as strong as the weaker of its two cells), which visits the cells in much the same order and leaves the
    loop to compiled code.

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
        log = np.log(np.maximum(loudness, loudest * 1e-10))
        known = np.zeros((frames, bins), bool) if fixed is None else fixed.cpu().numpy()
        parent, root = _loudest_tree(log, known, circular)
        angles = _steps(log, parent, root, win, hop, circular)
        centre = np.pi * np.arange(bins)  # from time 0 in the frame's middle to its beginning
        if initial is not None:
            angles[: log.size][known.ravel()] = (np.angle(initial.cpu().numpy()) - centre)[known]
        # Sum from the root outwards by pointer jumping: the reach doubles in each round.
        while (parent != root).any():
            angles += angles[parent]
            parent = parent[parent]
        summed = angles[: log.size].reshape(frames, bins) % (2 * np.pi) + centre
        angle = np.where(loudness < _TOO_QUIET * loudest, angle, summed)
    phase = torch.from_numpy(angle).to(magnitude.dtype)
    return torch.polar(torch.ones_like(phase), phase).to(magnitude.device)


def _loudest_tree(log: np.ndarray, known: np.ndarray, circular: bool) -> tuple[np.ndarray, int]:
    """Each cell's parent in the maximum spanning tree, and the root.

    The root is the loudest cell, or one of its own (the last) on which all known cells hang. Parents are
    indices into the cells [frames · bins (+ 1)]; the root's is itself.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    cells = np.arange(log.size, dtype=np.int32).reshape(log.shape)
    last = len(log) if circular else len(log) - 1
    sides = [(cells[:last], np.roll(cells, -1, axis=0)[:last]), (cells[:, :-1], cells[:, 1:])]
    near, far = (np.concatenate([side[end].ravel() for side in sides]) for end in (0, 1))
    cost = 1 + log.max() - np.minimum(log.ravel()[near], log.ravel()[far])
    root, nodes = int(log.argmax()), log.size
    if known.any():
        root, nodes = log.size, log.size + 1
        near, far = np.append(near, cells[known]), np.append(far, np.full(known.sum(), root, np.int32))
        cost = np.append(cost, np.full(known.sum(), 1e-3))
    tree = minimum_spanning_tree(csr_array((cost, (near, far)), shape=(nodes, nodes)))
    _, parent = breadth_first_order(tree, root, directed=False)
    parent[root] = root
    return parent.astype(np.intp), root


def _steps(log: np.ndarray, parent: np.ndarray, root: int, win: int, hop: int, circular: bool) -> np.ndarray:
    """The phase's step to each cell from its parent (trapezoids), float64 [len(parent)]; 0 below the root."""
    frames, bins = log.shape
    over_time = np.gradient(np.pad(log, ((1, 1), (0, 0)), mode="wrap" if circular else "edge"), axis=0)[1:-1]
    gamma = _HANN_GAMMA * win * win
    per_frame = 2 * np.pi * hop / win * np.arange(bins) + hop * win / gamma * np.gradient(log, axis=1)
    per_bin = -gamma / (hop * win) * over_time
    from_frame, from_bin = (
        (per + np.roll(per, 1, axis=axis)).ravel() / 2 for axis, per in enumerate((per_frame, per_bin))
    )
    steps = np.zeros(len(parent))
    cell = np.flatnonzero((parent != root) & (np.arange(len(parent)) != root))
    if root < log.size:
        cell = np.delete(np.arange(log.size), root)
    above = parent[cell]
    forward = cell // bins - above // bins
    if circular:
        forward = (forward + 1) % frames - 1
    later = np.where(forward >= 0, cell, above)
    higher = np.maximum(cell, above)
    steps[cell] = np.where(
        forward == 0, np.sign(cell - above) * from_bin[higher], forward * from_frame[later]
    )
    return steps
