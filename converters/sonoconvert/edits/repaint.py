"""The painted picture as sound, pinned to the source: which cells are painted, and their phases.

`plan_of` lays the painting on the STFT grid; `repaint` searches the phases of what is painted, with every
other cell, and the samples outside the region, held fixed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch.nn.functional import pad

from sonoconvert.edits.canvas import Canvas
from sonoconvert.edits.seam import ramp
from sonoconvert.phase.gradient import phase_gradient
from sonoconvert.phase.inversion import mel_bands, mel_to_linear
from sonoconvert.phase.search import PhaseSearch, iterate
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.spectrogram import (
    absolute,
    frame,
    from_levels,
    hann,
    overlap_add,
    pad_ends,
    stft,
    synthesise,
)
from sonoconvert.progress import Progress, Steps, portion

SHARPENING = 8  # steps towards magnitudes whose mel bands are the painted ones, before there is a waveform
CONTEXT_WINDOWS = 4  # analysis windows of source on either side of what is decoded
PIECE_S = 8.0  # longer repaints are decoded in pieces, each pinned to the one before: memory, Cancel
SAME_LEVEL = 2.5 / 255  # levels that differ less than this on average are the source's own …
OTHER_LEVEL = 16 / 255  # … more than this are new, and in between the source is scaled


@dataclass(frozen=True)
class Plan:
    """What is painted, on the STFT grid of one stretch: float32 [win // 2 + 1, frames], but for `mel`.

    mel: painted mel magnitudes [n_mels, frames]. paint: 1 = take the painting. change: 0 = as the source
    was, 1 = new. gain: painted over source magnitude.
    """

    mel: torch.Tensor
    paint: torch.Tensor
    change: torch.Tensor
    gain: torch.Tensor

    def columns(self, first: int, stop: int) -> Plan:
        return Plan(*(t[:, first:stop] for t in (self.mel, self.paint, self.change, self.gain)))


def plan_of(canvas: Canvas, levels: torch.Tensor, first: int, samples: int, *, keep: bool) -> Plan:
    """The painting on the STFT grid of `samples` samples at the format's rate, from source sample `first` on.

    levels: what is painted [n_mels, columns of the canvas]. keep: cells that the painter left as they were
    stay the source's.
    """
    from scipy.ndimage import uniform_filter

    fmt = canvas.picture.format
    hop = fmt.hop_length
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
    rows = _rows_of_bins(fmt)

    def spread(cells: torch.Tensor) -> torch.Tensor:
        return cells[rows].amax(dim=1)

    return Plan(mel, spread(mask), spread(change), spread(gain))


@lru_cache(maxsize=8)
def _rows_of_bins(fmt: SpectrogramFormat) -> torch.Tensor:
    """The mel rows of each bin of the window's own FFT: [bins, most rows], the last one said again."""
    spans = [_rows(fmt, k) for k in range(fmt.win_length // 2 + 1)]
    most = max(high - low for low, high in spans)
    return torch.tensor([[min(low + k, high - 1) for k in range(most)] for low, high in spans])


def _rows(fmt: SpectrogramFormat, bin_index: int) -> tuple[int, int]:
    """First and last + 1 of the mel rows that a bin of the window's own FFT covers; at least one."""
    width = fmt.sample_rate / fmt.win_length
    low = round(fmt.mel_row(max((bin_index - 0.5) * width, 0.0)))
    high = round(fmt.mel_row((bin_index + 0.5) * width))
    last = fmt.n_mels - 1
    return min(max(low, 0), last), min(max(high, 0), last) + 1


def repaint(
    x: torch.Tensor,
    free: torch.Tensor,
    plan: Plan,
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
    plan: Plan,
    fmt: SpectrogramFormat,
    search: PhaseSearch,
    progress: Progress,
) -> torch.Tensor:
    """One piece: first on the mean of the channels, then with that phase in each channel."""
    win, hop = fmt.win_length, fmt.hop_length
    # Frames that hold known samples only are the source's, whatever was painted there.
    new = _new_share(known, win, hop)
    pinned = (plan.paint == 0) | (plan.change == 0) | (new == 0)
    if pinned.all():
        return x
    fewer = max(search.iterations // 4, 1)
    tick = Steps(progress, search.iterations + (fewer * len(x) if len(x) > 1 else 0))
    mean = x.mean(dim=0, keepdim=True)
    own = stft(mean, win, win, hop)
    plan = replace(plan, mel=_across(plan.mel, own[0], new, fmt))
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


def _across(mel: torch.Tensor, own: torch.Tensor, new: torch.Tensor, fmt: SpectrogramFormat) -> torch.Tensor:
    """Painted magnitudes [n_mels, frames] that can be where known samples meet new ones.

    A frame there holds what is known (of `own`, complex [bins, frames]) and, of the painting, no more than
    what falls on its new samples (`new` of `_new_share`). Asked for all of it, the search would put it into
    those few: a click.
    """
    across = (new > 0) & (new < 1)
    share, painted, bands = new[across], mel[:, across], mel_bands(fmt, len(own), mel.dtype, mel.device)
    kept = bands.mel(own[:, across].abs().T.contiguous()).T * (1 - share).sqrt()
    able = mel.clone()
    able[:, across] = torch.minimum(painted, painted * share.sqrt() + kept)
    return able


def _begun(
    own: torch.Tensor, pinned: torch.Tensor, plan: Plan, fmt: SpectrogramFormat, search: PhaseSearch
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
    mel = plan.mel.T.contiguous()  # the bands are summed many times quicker along the last axis
    rising = mel_to_linear(plan.mel, fmt).T.contiguous()
    for _ in range(SHARPENING):
        rising = rising * bands.correction(rising, mel)
    linear = rising.T
    # The source's phase is a good start where the source is no quieter than what is painted; from there it
    # is carried on into what is new.
    near = pinned | (own.abs() > linear) | (plan.change < 1)
    loudness = torch.where(pinned, own.abs(), linear)
    return linear, phase_gradient(loudness.T, win, hop, seed=search.seed, initial=own.T, fixed=near.T).T


def _new_share(known: torch.Tensor, win: int, hop: int) -> torch.Tensor:
    """How much of each frame's energy new samples have [frames]: 0 where it holds known ones only, 1 none."""
    energy = hann(win, torch.float64, known.device).square()
    share = frame(pad_ends((~known).double(), win, hop), win, hop) @ energy / energy.sum()
    return torch.where(share > 1 - 1e-9, 1.0, share).float()


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
    plan: Plan,
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
