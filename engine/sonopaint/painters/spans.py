"""Which columns of a long picture a painter must look at to repaint its masked cells."""

from __future__ import annotations

import numpy as np

MULTIPLE = 64  # columns; what every model's width is padded to: 8 (VAE) × 8 (U-Net)
CONTEXT = 0.25  # of the model's width, seen on either side of what is painted


def padded(columns: int, multiple: int = MULTIPLE) -> int:
    """The next multiple of ``multiple`` columns, at least one."""
    return max(1, -(-columns // multiple)) * multiple


def paint_spans(mask: np.ndarray, width: int, lead: int | None = None) -> list[tuple[int, int]]:
    """Spans (start, stop) of columns that hold every masked column of ``mask`` [n_mels, columns].

    Each has context on both sides and is at least as wide as the model where the picture allows; spans that
    meet are joined. A length that is no multiple of 64 columns takes more context before it is padded, and
    only a picture narrower than that is left to be padded by the caller. Hours of untouched sound between
    two regions cost nothing.

    lead: of a model that knows events at the beginning of its pictures only (``Model.lead``). Each span then
    begins that many columns before what is painted and may stop after the picture's end, where the caller
    pads it; a span paints its masked columns up to the start of the next one. Where everything is painted, or
    ``lead`` is None, nothing of this happens.
    """
    columns = mask.shape[1]
    masked = np.flatnonzero((mask > 0).any(axis=0))
    if masked.size == 0:
        return []
    if lead is not None and masked.size < columns:
        return _leading(masked, width, lead)
    context = round(width * CONTEXT)
    breaks = np.flatnonzero(np.diff(masked) > 2 * context) + 1
    spans: list[tuple[int, int]] = []
    for group in np.split(masked, breaks):
        start, stop = _grown(int(group[0]) - context, int(group[-1]) + 1 + context, width, columns)
        while spans and start <= spans[-1][1]:
            previous_start, previous_stop = spans.pop()
            start, stop = _grown(min(start, previous_start), max(stop, previous_stop), width, columns)
        spans.append((start, stop))
    return spans


def _leading(masked: np.ndarray, width: int, lead: int) -> list[tuple[int, int]]:
    spans = []
    for group in np.split(masked, np.flatnonzero(np.diff(masked) > max(lead, MULTIPLE)) + 1):
        start = max(int(group[0]) - lead, 0)
        spans.append((start, start + padded(max(int(group[-1]) + 1 - start, width))))
    return spans


def _grown(start: int, stop: int, width: int, columns: int) -> tuple[int, int]:
    """A span clipped to the picture, then widened evenly to a multiple of 64 and to the model's width."""
    start, stop = max(start, 0), min(stop, columns)
    wanted = min(padded(max(stop - start, width)), columns)
    missing = wanted - (stop - start)
    start = min(max(start - missing // 2, 0), columns - wanted)
    return start, start + wanted


def fill_masked(pixels: np.ndarray, mask: np.ndarray, *, circular: bool = False) -> np.ndarray:
    """Pixels [H, W, C] with each row's masked cells drawn as a line from the kept cells around them.

    A hole cut into a picture has edges of its own, which a VAE smears into the latents beside it; this fill
    has none. Rows (of this mask [H, W], same orientation as pixels) with nothing kept take the mean of all
    kept cells. Returns float32.
    """
    filled = pixels.astype(np.float32)
    kept = mask <= 0
    if kept.all() or not kept.any():
        return filled
    mean = filled[kept].mean(axis=0)
    columns = np.arange(mask.shape[1])
    period = mask.shape[1] if circular else None
    for row in np.flatnonzero(~kept.all(axis=1)):
        known = np.flatnonzero(kept[row])
        if known.size == 0:
            filled[row] = mean
            continue
        for channel in range(filled.shape[2]):
            filled[row, :, channel] = np.interp(columns, known, filled[row, known, channel], period=period)
    return filled
