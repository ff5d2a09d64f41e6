"""The learned bridge at work: a gap or a band of one channel, from a first guess to a sound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sonoconvert.phase.search import iterate
from sonoconvert.pictures.spectrogram import istft, stft
from sonopaint.heal.bands import copied_up
from sonopaint.heal.linear import joined, sampled
from sonopaint.models.bridge import BINS, HOP, STEPS, WINDOW, Bridge, dilated

CONTEXT = 24  # frames on either side of a gap that the bridge sees
LONGEST_S = 1.25  # gaps that it was taught to bridge, and a quarter more
ITERATIONS = 12  # of the search for a sound that has what was made, and the known samples
NOISE_GAIN = 1.62  # of power: E[|x|²] / E[⁴√|x|]⁸ of Gaussian noise
PIECE = 160  # frames of a band that are made at once

Tick = Callable[[], None]


def bridged(
    bridge: Bridge,
    sound: np.ndarray,
    start: int,
    stop: int,
    rate: int,
    *,
    band: tuple[float, float] | None = None,
    seed: int = 0,
    steps: int = STEPS,
    tick: Tick | None = None,
) -> np.ndarray:
    """New samples start … stop of a channel [samples]; in `band` (hertz) alone, where one is given.

    The way begins at what `linear.sampled` makes of both sides, so that it is never without a start.
    """
    rng = np.random.default_rng(seed)
    low, high = max(start - CONTEXT * HOP, 0), min(stop + CONTEXT * HOP, len(sound))
    guess = sound[low:high].astype(np.float64).copy()
    gap = slice(start - low, stop - low)
    guess[gap] = sampled(sound[:start], sound[stop:], stop - start, rate, rng)
    marked = torch.zeros(1, len(guess), dtype=torch.bool)
    marked[:, gap] = True
    first = _spectrum(guess)
    unknown = dilated(marked, len(guess))[..., None] & _within(band, rate)
    if band is not None:
        first = torch.where(unknown, first, _spectrum(sound[low:high]))
    generator = torch.Generator().manual_seed(seed)
    made = bridge.restore(first, unknown, rate, steps=steps, generator=generator, tick=tick)
    size = made.abs()
    own = torch.from_numpy(sound[low:high].astype(np.float32))[None]
    held = own if band is None else None

    def project(ahead: Tensor) -> Tensor:
        return torch.where(unknown, size * torch.sgn(ahead), made)

    def hold(wave: Tensor) -> Tensor:
        return wave if held is None else torch.where(marked, wave, held)

    found = iterate(made, project, WINDOW, HOP, ITERATIONS, length=len(guess), hold=hold)
    found = torch.where(unknown, found * _louder(found, size, len(guess)), found)
    wave = istft(found.transpose(-1, -2), WINDOW, WINDOW, HOP, length=len(guess))[0].double().numpy()
    return joined(sound[:start], sound[stop:], wave[gap], rate)


def _louder(found: Tensor, wanted: Tensor, length: int) -> Tensor:
    """By how much cells [1, frames, 1025] must be louder, so that a sound of them has the wanted power.

    Cells whose phases do not fit each other are quieter together than each alone, and the mean of ⁴√ of
    magnitudes is below that of their power (by 2.1 dB for noise).
    """
    wave = istft(found.transpose(-1, -2), WINDOW, WINDOW, HOP, length=length)
    has = stft(wave, WINDOW, WINDOW, HOP).transpose(-1, -2)
    power, true = (_pooled(cells.abs().square()) for cells in (has, wanted))
    return (NOISE_GAIN * true / power.clamp_min(1e-12)).sqrt().clamp(0.5, 2.5)


def _pooled(power: Tensor) -> Tensor:
    """The mean of 5 frames × 33 bins around each cell."""
    return F.avg_pool2d(power[:, None], (5, 33), 1, (2, 16), count_include_pad=False)[:, 0]


def raised(
    bridge: Bridge | None,
    sound: np.ndarray,
    cutoff_hz: float,
    rate: int,
    *,
    seed: int = 0,
    steps: int = STEPS,
    tick: Tick | None = None,
) -> np.ndarray:
    """A channel [samples] with new sound above a cut-off: copied up, and bridged where there is a bridge.

    What is below stays, but for rounding. Long sounds are made in pieces.
    """
    from sonoconvert.edits.seam import ramp

    cutoff = min(max(round(cutoff_hz * WINDOW / rate), 4), BINS - 1)
    total = len(sound)
    added, weight = np.zeros(total), np.zeros(total)
    length, step = PIECE * HOP, (PIECE - 32) * HOP
    for number, first in enumerate(range(0, max(total - 32 * HOP, 1), step)):
        last = min(first + length, total)
        piece = sound[first:last].astype(np.float64)
        own = _spectrum(piece)
        made = copied_up(own, cutoff)
        unknown = torch.zeros(own.shape, dtype=torch.bool)
        unknown[..., cutoff:] = True
        if bridge is not None:
            generator = torch.Generator().manual_seed(seed + number)
            made = bridge.restore(made, unknown, rate, steps=steps, generator=generator, tick=tick)
        elif tick is not None:
            tick()
        new = torch.where(unknown, made - own, torch.zeros((), dtype=own.dtype))
        wave = istft(new.transpose(-1, -2), WINDOW, WINDOW, HOP, length=len(piece))[0].double().numpy()
        fade = np.ones(len(piece))
        edge = min(32 * HOP, len(piece) // 2)
        if first:
            fade[:edge] = ramp(edge)
        if last < total:
            fade[-edge:] = ramp(edge)[::-1]
        added[first:last] += wave * fade
        weight[first:last] += fade
    return sound + added / np.maximum(weight, 1e-6)


def within_band(change: np.ndarray, band: tuple[float, float], rate: int) -> np.ndarray:
    """What of a change [samples] lies in a band."""
    spectrum = _spectrum(change)
    kept = torch.where(_within(band, rate), spectrum, torch.zeros((), dtype=spectrum.dtype))
    return istft(kept.transpose(-1, -2), WINDOW, WINDOW, HOP, length=len(change))[0].double().numpy()


def _within(band: tuple[float, float] | None, rate: int) -> Tensor:
    """Bool [1025]: the bins of a band in hertz; all where there is none."""
    if band is None:
        return torch.ones(WINDOW // 2 + 1, dtype=torch.bool)
    hertz = torch.arange(WINDOW // 2 + 1) * rate / WINDOW
    return (hertz >= band[0]) & (hertz <= band[1])


def _spectrum(sound: np.ndarray) -> Tensor:
    """Complex [1, frames, 1025] of a channel [samples]."""
    wave = torch.from_numpy(np.ascontiguousarray(sound, dtype=np.float32))[None]
    return stft(wave, WINDOW, WINDOW, HOP).transpose(-1, -2)
