"""Putting back: the painted picture becomes sound inside the region, all other samples stay as they are.

For each stretch of painted time, and only there: S = STFT(source); painted cells get the painted magnitude,
every other cell keeps the source's complex value; Griffin–Lim with those cells, and with the samples outside
the region, held fixed gives y; then out = source + w · (y − x), where x is the source at the format's rate
and w is 1 inside, a raised cosine over the feather, and 0 outside.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import pad

from sonoconvert.defaults import FREE
from sonoconvert.edits.canvas import Canvas, grid
from sonoconvert.edits.region import merge_spans
from sonoconvert.edits.repaint import CONTEXT_WINDOWS, plan_of, repaint
from sonoconvert.edits.seam import limited, tails, weights
from sonoconvert.edits.surroundings import fitted
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.phase.search import PhaseSearch
from sonoconvert.pictures.picture import Picture
from sonoconvert.progress import Progress, portion

log = logging.getLogger(__name__)

SHORTEST_RAMP_S = 0.005  # without a feather the weight still rises this softly, inside the region


def put_back(
    canvas: Canvas,
    painted: Picture,
    search: PhaseSearch | None = None,
    *,
    surroundings: str = FREE,
    progress: Progress | None = None,
) -> Clip:
    """Return `canvas.source` with the painted region in it (a loop is rolled back).

    Samples outside the region and its feather are the source's bit for bit; an extension keeps every sample
    of the source. Levels are relative to the canvas's peak. Where the region reaches the top of the format,
    the source's sound above it goes as well; elsewhere it stays.

    Several channels: the painting is decoded once, on their mean, and its phase is then used in every channel
    with that channel's own pinned cells. The painted magnitude is scaled for each channel by its RMS over the
    mean RMS of all (in the source around the region), so the balance stays, and the mean of all channels
    shows again what was painted.

    surroundings: whether what is painted is fitted to what surrounds it (see `surroundings.fitted`); then a
    limiter keeps new samples below full scale as well. search: default `PhaseSearch()`; the same seed gives
    the same samples. progress: told the share that is done; may raise Cancelled.

    Raises SonopaintError when `painted` is not of the canvas's size and format.
    """
    _check(canvas, painted)
    search = search or PhaseSearch()
    levels = fitted(canvas, painted, surroundings)
    source = canvas.source
    rate, total = source.sample_rate, source.num_samples
    output = source.waveform.clone()
    cores = [(round(a * rate), round(b * rate)) for a, b in canvas.region.spans(source.duration_s)]
    stretches = _stretches(canvas, cores)
    change = _extended if canvas.kind == "extend" else _inpainted
    for index, (first, stop) in enumerate(stretches):
        log.debug("decoding samples %d to %d of %d", first, stop, total)
        piece, own = source.waveform[:, first:stop], replace(search, seed=search.seed + index)
        share = portion(progress, index / len(stretches), (index + 1) / len(stretches))
        share(0.0)
        changed = change(canvas, levels, piece, cores, first, own, share)
        if surroundings != FREE:
            changed = limited(changed, piece, rate)
        output[:, first:stop] = changed
    if canvas.roll:
        output = torch.roll(output, -canvas.roll, dims=-1)
    return replace(source, waveform=output)


def _inpainted(
    canvas: Canvas,
    levels: torch.Tensor,
    piece: torch.Tensor,
    cores: list[tuple[int, int]],
    first: int,
    search: PhaseSearch,
    progress: Progress,
) -> torch.Tensor:
    rate, fmt = canvas.source.sample_rate, canvas.picture.format
    count, total = piece.shape[1], canvas.source.num_samples
    outer = round(canvas.region.feather_s * rate)
    inner = max(round(SHORTEST_RAMP_S * rate) - outer, 0)
    weight = torch.from_numpy(weights(cores, first, count, total, outer, inner))
    x = _resample(piece, rate, fmt.sample_rate)
    free = _at_rate(weight > 0, x.shape[1], rate, fmt.sample_rate)
    plan = plan_of(canvas, levels, first, x.shape[1], keep=canvas.kind in ("inpaint", "vary"))
    y = repaint(x, free, plan, fmt, search, progress)
    changed = piece + weight * _resample(y - x, fmt.sample_rate, rate, count)
    if rate > fmt.sample_rate:
        # What the source has above the format goes where the top row was repainted.
        times = torch.arange(count) * (fmt.sample_rate / rate / fmt.hop_length)
        top = (plan.paint[-1] * (plan.change[-1] > 0)).numpy()
        share = torch.from_numpy(np.interp(times.numpy(), np.arange(len(top)), top).astype(np.float32))
        changed = changed + weight * share * (_resample(x, fmt.sample_rate, rate, count) - piece)
    return torch.where(weight > 0, changed, piece)


def _extended(
    canvas: Canvas,
    levels: torch.Tensor,
    piece: torch.Tensor,
    cores: list[tuple[int, int]],
    first: int,
    search: PhaseSearch,
    progress: Progress,
) -> torch.Tensor:
    """The new time is y alone; at the border, what y lacks of the source is continued by prediction."""
    rate, fmt, count = canvas.source.sample_rate, canvas.picture.format, piece.shape[1]
    added = torch.zeros(count, dtype=torch.bool)
    for start, stop in cores:
        added[max(start - first, 0) : max(stop - first, 0)] = True
    # Continued past its ends, the source has no cliff there that would ring in the resampler.
    x = _resample(piece + tails(piece, added, rate), rate, fmt.sample_rate)
    free = _at_rate(added, x.shape[1], rate, fmt.sample_rate)
    plan = plan_of(canvas, levels, first, x.shape[1], keep=False)
    y = repaint(x, free, plan, fmt, search, progress)
    new = _resample(y, fmt.sample_rate, rate, count)
    return torch.where(added, new + tails(piece - new, added, rate), piece)


def _stretches(canvas: Canvas, cores: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The source samples to decode: what may change and its context, on the grid of picture columns."""
    fmt, rate, total = canvas.picture.format, canvas.source.sample_rate, canvas.source.num_samples
    step = grid(rate, fmt)
    context = CONTEXT_WINDOWS * math.ceil(fmt.win_length * rate / fmt.sample_rate)
    margin = context + round(canvas.region.feather_s * rate)
    spans = []
    for start, stop in cores:
        first = (start - margin - canvas.first) // step * step + canvas.first
        last = -((canvas.first - stop - margin) // step) * step + canvas.first
        spans.append((float(max(first, canvas.first)), float(last)))
    return [(int(a), int(b)) for a, b in merge_spans(spans, float(total))]


def _resample(waveform: torch.Tensor, rate: int, new_rate: int, length: int | None = None) -> torch.Tensor:
    """[channels, samples] at another rate, cut or filled to `length`."""
    resampled = Clip(waveform, rate).resampled(new_rate).waveform
    if length is None:
        return resampled
    return pad(resampled, (0, max(length - resampled.shape[1], 0)))[:, :length]


def _at_rate(flags: torch.Tensor, length: int, rate: int, new_rate: int) -> torch.Tensor:
    """Flags [samples at new_rate] that are set wherever one of theirs at `rate` is."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.numpy().astype(np.int8), [0]))))
    result = torch.zeros(length, dtype=torch.bool)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        result[math.floor(start * new_rate / rate) : math.ceil(stop * new_rate / rate)] = True
    return result


def _check(canvas: Canvas, painted: Picture) -> None:
    if painted.pixels.shape != canvas.picture.pixels.shape:
        have, want = painted.pixels.shape, canvas.picture.pixels.shape
        raise SonopaintError(
            f"The painted picture is {have[1]} × {have[0]} pixels, but its canvas is {want[1]} × {want[0]}; "
            "paint on the canvas's own size."
        )
    if painted.format != canvas.picture.format:
        raise SonopaintError(
            f"The painted picture's format is {painted.format.name}, but its canvas is in "
            f"{canvas.picture.format.name}; paint in the canvas's format."
        )
