"""Putting back: the painted picture becomes sound inside the region, all other samples stay as they are.

For each stretch of painted time, and only there: S = STFT(source); painted cells get the painted magnitude,
every other cell keeps the source's complex value; Griffin–Lim with those cells, and with the samples outside
the region, held fixed gives y; then out = source + w · (y − x), where x is the source at the format's rate
and w is 1 inside, a raised cosine over the feather, and 0 outside.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import pad

from sonoconvert.defaults import FREE
from sonoconvert.edits.canvas import Canvas, grid
from sonoconvert.edits.region import merge_spans
from sonoconvert.edits.seam import MAX_PAST, continued, limited, ramp, weights
from sonoconvert.edits.surroundings import fitted
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.phase.gradient import phase_gradient
from sonoconvert.phase.inversion import mel_bands, mel_to_linear
from sonoconvert.phase.search import PhaseSearch, iterate
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.spectrogram import absolute, from_levels, overlap_add, stft, synthesise
from sonoconvert.progress import Progress, Steps, portion

log = logging.getLogger(__name__)

SHARPENING = 8  # steps towards magnitudes whose mel bands are the painted ones, before there is a waveform
CONTEXT_WINDOWS = 4  # analysis windows of source on either side of what is decoded
PIECE_S = 20.0  # longer repaints are decoded in pieces, each pinned to the one before: bounded memory
SHORTEST_RAMP_S = 0.005  # without a feather the weight still rises this softly, inside the region
TAIL_S = 0.03  # reach of what continues the source into an extension
SAME_LEVEL = 2.5 / 255  # levels that differ less than this on average are the source's own …
OTHER_LEVEL = 16 / 255  # … more than this are new, and in between the source is scaled


@dataclass(frozen=True)
class _Plan:
    """What is painted, on the STFT grid of one stretch: float32 [win // 2 + 1, frames], but for `mel`.

    mel: painted mel magnitudes [n_mels, frames]. paint: 1 = take the painting. change: 0 = as the source
    was, 1 = new. gain: painted over source magnitude.
    """

    mel: torch.Tensor
    paint: torch.Tensor
    change: torch.Tensor
    gain: torch.Tensor

    def columns(self, first: int, stop: int) -> _Plan:
        return _Plan(*(t[:, first:stop] for t in (self.mel, self.paint, self.change, self.gain)))


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
    plan = _plan(canvas, levels, first, x.shape[1], keep=canvas.kind in ("inpaint", "vary"))
    y = _repaint(x, free, plan, fmt, search, progress)
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
    x = _resample(piece + _tails(piece, added, rate), rate, fmt.sample_rate)
    free = _at_rate(added, x.shape[1], rate, fmt.sample_rate)
    plan = _plan(canvas, levels, first, x.shape[1], keep=False)
    y = _repaint(x, free, plan, fmt, search, progress)
    new = _resample(y, fmt.sample_rate, rate, count)
    return torch.where(added, new + _tails(piece - new, added, rate), piece)


def _tails(signal: torch.Tensor, added: torch.Tensor, rate: int) -> torch.Tensor:
    """Zero but for the beginnings of each added stretch, which continue the signal beyond it."""
    tails = torch.zeros_like(signal)
    reach = round(TAIL_S * rate)
    flags = added.numpy().astype(np.int8)
    for edge in (np.flatnonzero(np.diff(flags)) + 1).tolist():
        if added[edge]:  # the source ends here
            kept = int(np.flatnonzero(flags[:edge])[-1]) + 1 if flags[:edge].any() else 0
            past = signal[:, max(kept, edge - MAX_PAST) : edge].numpy()
            stop = min(edge + reach, len(flags))
            tails[:, edge:stop] = torch.from_numpy(continued(past, stop - edge)).float()
        else:  # the source begins here: the same, backwards
            kept = edge + int(np.flatnonzero(flags[edge:])[0]) if flags[edge:].any() else len(flags)
            past = signal[:, edge : min(kept, edge + MAX_PAST)].flip(-1).numpy()
            start = max(edge - reach, 0)
            tails[:, start:edge] = torch.from_numpy(continued(past, edge - start)).float().flip(-1)
    return tails


def _plan(canvas: Canvas, levels: torch.Tensor, first: int, samples: int, *, keep: bool) -> _Plan:
    """The painting on the STFT grid of `samples` samples at the format's rate, from source sample `first` on.

    levels: what is painted [n_mels, columns of the canvas]. keep: cells that the painter left as they were
    stay the source's.
    """
    from scipy.ndimage import uniform_filter

    fmt = canvas.picture.format
    hop, half = fmt.hop_length, fmt.win_length // 2
    frames = 1 + samples // hop
    offset = round((first - canvas.first) * fmt.sample_rate / canvas.source.sample_rate / hop)
    columns = torch.arange(offset, offset + frames).clamp(0, canvas.mask.shape[1] - 1)
    before, after = canvas.picture.levels()[0][:, columns], levels[:, columns]
    mask = torch.from_numpy(canvas.mask)[:, columns]
    mask = (mask >= 0.5).float()
    after = torch.where(mask > 0, after, before)
    if keep:
        difference = uniform_filter((after - before).abs().numpy(), size=(3, 5), mode="nearest")
        change = torch.from_numpy((difference - SAME_LEVEL) / (OTHER_LEVEL - SAME_LEVEL)).clamp(0, 1)
    else:
        change = torch.ones_like(mask)
    peak = float(np.max(canvas.picture.peak or 0.0))
    mel, mel_before = from_levels(after, fmt, peak), from_levels(before, fmt, peak)
    gain = (mel / mel_before.clamp_min(1e-12)).clamp(max=4.0)
    rows = [_rows(fmt, k) for k in range(half + 1)]

    def spread(cells: torch.Tensor) -> torch.Tensor:
        return torch.stack([cells[low:high].amax(dim=0) for low, high in rows])

    return _Plan(mel, spread(mask), spread(change), spread(gain))


def _rows(fmt: SpectrogramFormat, bin_index: int) -> tuple[int, int]:
    """First and last + 1 of the mel rows that a bin of the window's own FFT covers; at least one."""
    width = fmt.sample_rate / fmt.win_length
    low = round(fmt.mel_row(max((bin_index - 0.5) * width, 0.0)))
    high = round(fmt.mel_row((bin_index + 0.5) * width))
    last = fmt.n_mels - 1
    return min(max(low, 0), last), min(max(high, 0), last) + 1


def _repaint(
    x: torch.Tensor,
    free: torch.Tensor,
    plan: _Plan,
    fmt: SpectrogramFormat,
    search: PhaseSearch,
    progress: Progress,
) -> torch.Tensor:
    """Decode the plan: [channels, samples] at the format's rate, pinned to x outside `free`."""
    hop, length = fmt.hop_length, x.shape[1]
    places = torch.nonzero(free)[:, 0]
    if len(places) == 0:
        return x
    step = max(round(PIECE_S * fmt.sample_rate / hop), 1) * hop
    context = math.ceil(CONTEXT_WINDOWS * fmt.win_length / hop) * hop
    y = x.clone()
    begin, end = int(places[0]) // hop * hop, int(places[-1]) + 1
    for done in range(begin, end, step):
        first, stop = max(done - context, 0), min(done + step + context, length)
        # What an earlier piece decoded is known now; what lies right of this one is left to the next.
        known = ~free[first:stop] | (torch.arange(first, stop) < done)
        columns = plan.columns(first // hop, first // hop + 1 + (stop - first) // hop)
        own = replace(search, seed=search.seed + done)
        low, high = ((min(at, end) - begin) / (end - begin) for at in (done, done + step))
        decoded = _decode(y[:, first:stop], known, columns, fmt, own, portion(progress, low, high))
        # The piece goes on from the one before over the half window in which both are near the same.
        start = first if done == begin else done - fmt.win_length // 2
        end_here = stop if done + step >= end else done + step
        new = decoded[:, start - first : end_here - first]
        fade = torch.ones(new.shape[1])
        if done > begin:
            fade[: done - start] = torch.from_numpy(ramp(done - start)).float()
        y[:, start:end_here] += fade * (new - y[:, start:end_here])
    return y


def _decode(
    x: torch.Tensor,
    known: torch.Tensor,
    plan: _Plan,
    fmt: SpectrogramFormat,
    search: PhaseSearch,
    progress: Progress,
) -> torch.Tensor:
    """One piece: first on the mean of the channels, then with that phase in each channel."""
    win, hop = fmt.win_length, fmt.hop_length
    # Frames that hold known samples only are the source's, whatever was painted there.
    pinned = (plan.paint == 0) | (plan.change == 0) | _held(known, win, hop, plan.paint.shape[1])
    if pinned.all():
        return x
    fewer = max(search.iterations // 4, 1)
    tick = Steps(progress, search.iterations + (fewer * len(x) if len(x) > 1 else 0))
    mean = x.mean(dim=0, keepdim=True)
    own = stft(mean, win, win, hop)
    linear, phase = _begun(own[0], pinned, plan, fmt, search)
    y = _pinned(own, mean, pinned, known, plan, plan.mel[None], linear * phase, fmt, search.iterations, tick)
    if x.shape[0] == 1:
        return y
    phase = _unit(stft(y, win, win, hop))
    own = stft(x, win, win, hop)
    balance = _balance(own, pinned)[:, None, None]
    start = linear * balance * phase
    # One by one: a product over all channels would round identical ones differently.
    decoded = [
        _pinned(own[c], x[c], pinned, known, plan, plan.mel * balance[c], start[c], fmt, fewer, tick)
        for c in map(slice, range(len(x)), range(1, len(x) + 1))
    ]
    return torch.cat(decoded)


def _begun(
    own: torch.Tensor, pinned: torch.Tensor, plan: _Plan, fmt: SpectrogramFormat, search: PhaseSearch
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the search begins: magnitudes, and phases that carry `own`'s on into what is painted.

    own: complex [bins, frames] of the source. Returns float and complex [bins, frames].
    """
    vocoder = search.decoder(fmt)
    if vocoder is not None:
        near = pinned | (plan.change < 1)
        linear, phase = vocoder.continued(plan.mel, own.T, near.T, seed=search.seed)
        above = (0, 0, 0, len(own) - linear.shape[-1])
        return pad(linear.T, above), pad(phase.T, above)
    win, hop = fmt.win_length, fmt.hop_length
    bands = mel_bands(fmt, win // 2 + 1, plan.mel.dtype, plan.mel.device)
    linear = mel_to_linear(plan.mel, fmt)
    for _ in range(SHARPENING):
        linear = linear * bands.correction(linear.T, plan.mel.T).T
    # The source's phase is a good start where the source is no quieter than what is painted; from there it
    # is carried on into what is new.
    near = pinned | (own.abs() > linear) | (plan.change < 1)
    loudness = torch.where(pinned, own.abs(), linear)
    return linear, phase_gradient(loudness.T, win, hop, seed=search.seed, initial=own.T, fixed=near.T).T


def _held(known: torch.Tensor, win: int, hop: int, frames: int) -> torch.Tensor:
    """Bool [frames]: the frames all of whose samples are known."""
    ends = pad((~known).long().cumsum(0), (1, 0))
    centres = torch.arange(frames) * hop
    low, high = (centres - win // 2).clamp(min=0), (centres + win // 2).clamp(max=len(known))
    return ends[high] == ends[low]


def _balance(own: torch.Tensor, pinned: torch.Tensor) -> torch.Tensor:
    """Each channel's RMS over the mean RMS of all, in the pinned cells (in all, where those are silent)."""
    power = own.abs().square()
    rms = (power * pinned).sum(dim=(1, 2)).sqrt()
    if rms.sum() <= 1e-6:
        rms = power.sum(dim=(1, 2)).sqrt()
    mean = rms.mean()
    return rms / mean if mean > 1e-6 else torch.ones_like(rms)


def _pinned(
    own: torch.Tensor,
    x: torch.Tensor,
    pinned: torch.Tensor,
    known: torch.Tensor,
    plan: _Plan,
    mel: torch.Tensor,
    start: torch.Tensor,
    fmt: SpectrogramFormat,
    iterations: int,
    tick: Steps,
) -> torch.Tensor:
    """The search with three projections: mel bands, pinned cells, known samples.

    own, start: [channels, bins, frames]; x: [channels, samples]; mel: what is painted [channels, n_mels,
    frames]; pinned: cells that stay `own`; known: samples that are x's. Returns float [channels, samples].
    Its known samples are only near x's: that is what makes the border smooth.
    """
    win, hop, length = fmt.win_length, fmt.hop_length, x.shape[-1]
    # [channels, frames, bins]: the FFT works on the last axis, so the loop needs no transposition.
    own, start, mel, change, gain, pinned = (
        t.transpose(-1, -2).contiguous() for t in (own, start, mel, plan.change, plan.gain, pinned)
    )
    bands = mel_bands(fmt, win // 2 + 1, x.dtype, x.device)
    scaled = absolute(own) * gain

    def chosen(spectrum: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        return torch.where(pinned, own, torch.lerp(scaled * _unit(spectrum), new, change.to(new.dtype)))

    spectrum = iterate(
        chosen(start, start),
        lambda ahead: chosen(ahead, ahead * bands.correction(absolute(ahead), mel)),
        win, hop, iterations,
        length=length, hold=lambda wave: torch.where(known, x, wave), tick=tick,
    )  # fmt: skip
    return overlap_add(synthesise(spectrum, win, win), win, hop, length=length)


def _unit(spectrum: torch.Tensor) -> torch.Tensor:
    return spectrum / spectrum.abs().clamp_min(1e-12)


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
