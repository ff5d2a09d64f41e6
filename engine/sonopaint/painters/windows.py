"""Overlapping windows along time: one long latent through a model of a fixed width.

MultiDiffusion (Bar-Tal et al. 2023, arXiv:2302.08113, eq. 5): at every step each window is denoised
on its own and the predictions are averaged, so that neighbours agree and nothing has to be joined later.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

OVERLAP = 0.25  # the least part of a window that it shares with its neighbour


def window_starts(width: int, window: int, *, overlap: float = OVERLAP, circular: bool = False) -> list[int]:
    """Where evenly spread windows begin so that they cover ``width`` cells.

    Neighbours share at least ``overlap`` of a window. A circular row has windows that wrap past the end
    (read them modulo ``width``). One window is enough when ``width <= window``.
    """
    if width <= window:
        return [0]
    stride = max(1, math.floor(window * (1 - overlap)))
    if circular:
        count = math.ceil(width / stride)
        return [index * width // count for index in range(count)]
    count = math.ceil((width - window) / stride) + 1
    return [index * (width - window) // (count - 1) for index in range(count)]


@lru_cache(maxsize=16)
def window_weights(window: int) -> Tensor:
    """Raised-cosine weights [window], positive everywhere and largest in the middle, where context is."""
    phase = (torch.arange(window, dtype=torch.float64) + 0.5) / window
    return (torch.sin(math.pi * phase) ** 2).clamp_min(1e-3).float()


def over_windows(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    window: int,
    *,
    circular: bool = False,
    overlap: float = OVERLAP,
    cell_in: int = 1,
    cell_out: int = 1,
) -> Tensor:
    """Apply ``function`` window by window along the last axis and average where windows overlap.

    x: [..., cells · cell_in]; ``function`` takes [..., window · cell_in] to [..., window · cell_out].
    Returns [..., cells · cell_out]. Rows no longer than a window go through in one piece.
    """
    cells = x.shape[-1] // cell_in
    if cells <= window:
        return function(x)
    weights = window_weights(window).to(x.device).repeat_interleave(cell_out)
    total: Tensor | None = None
    weight_sum = torch.zeros(cells * cell_out, device=x.device)
    for start in window_starts(cells, window, overlap=overlap, circular=circular):
        columns_in = _columns(start, window, cells, cell_in, x.device)
        columns_out = _columns(start, window, cells, cell_out, x.device)
        y = function(x.index_select(-1, columns_in))
        if total is None:
            total = torch.zeros(*y.shape[:-1], cells * cell_out, dtype=torch.float32, device=y.device)
        total.index_add_(-1, columns_out, y.float() * weights)
        weight_sum.index_add_(0, columns_out, weights)
    assert total is not None  # there is always a first window
    return (total / weight_sum).to(x.dtype)


def _columns(start: int, window: int, cells: int, cell: int, device: torch.device) -> Tensor:
    """Indices of a window's columns, wrapped past the end, ``cell`` columns to a cell."""
    return torch.arange(start * cell, (start + window) * cell, device=device) % (cells * cell)
