"""Seams: raised-cosine weights, and the continuation of a signal past its end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

CEILING = 10 ** (-0.3 / 20)  # what was painted stays below it
LIMITER_S = 0.005  # over which it is turned down

MAX_ORDER = 64  # of the linear prediction: enough for a few dozen partials
MAX_PAST = 4096  # samples that the prediction is fitted to
TAIL_S = 0.03  # reach of what continues the source into an extension


def ramp(count: int) -> np.ndarray:
    """A raised cosine from just above 0 to just below 1, float64 [count]."""
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / max(count, 1))


def weights(
    cores: Sequence[tuple[int, int]], first: int, count: int, total: int, outer: int, inner: int = 0
) -> np.ndarray:
    """Return float32 [count]: how much of the painted sound is taken at samples first … first + count.

    1 in each core [start, stop) and exactly 0 further than `outer` samples from all of them. The slope lies
    over the `outer` samples outside and the `inner` samples inside each core's ends, except where a core is
    at an end of the clip (`total` samples).
    """
    weight = np.zeros(count, dtype=np.float32)
    slope = ramp(outer + inner).astype(np.float32)
    for start, stop in cores:
        low, high = max(start - outer, first), min(stop + outer, first + count)
        if high <= low:
            continue
        position = np.arange(low, high)
        own = np.ones(high - low, dtype=np.float32)
        if len(slope):
            last = len(slope) - 1
            if start > 0:
                into = position - (start - outer)
                own = np.where(into <= last, slope[np.minimum(into, last)], own)
            if stop < total:
                out_of = stop + outer - 1 - position
                own = np.where(out_of <= last, np.minimum(own, slope[np.minimum(out_of, last)]), own)
        part = slice(low - first, high - first)
        weight[part] = np.maximum(weight[part], own)
    return weight


def limited(sound: torch.Tensor, source: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """[channels, samples] in which new samples stay below CEILING, or below what the source had there.

    Turned down over some milliseconds round each peak, all channels alike; samples that are the source's own
    stay to the bit.
    """
    new = (sound != source).any(dim=0)
    ceiling = max(CEILING, float(source[:, new].abs().max()) if new.any() else 0.0)
    reach = round(LIMITER_S * sample_rate)
    wanted = (ceiling / sound.abs().amax(dim=0).clamp_min(ceiling)).numpy()
    if wanted.min() >= 1 or reach < 1:
        return sound.clamp(-ceiling, ceiling)
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    gain = uniform_filter1d(minimum_filter1d(wanted, 2 * reach + 1, mode="nearest"), reach, mode="nearest")
    turned = (sound * torch.from_numpy(gain)).clamp(-ceiling, ceiling)
    return torch.where(sound == source, source, turned)


def continued(past: np.ndarray, count: int) -> np.ndarray:
    """Continue each channel of `past` [channels, n] by linear prediction and fade it out: [channels, count].

    The coefficients are Burg's (1975), so the prediction is stable; the fade is a raised cosine.
    """
    future = np.zeros((past.shape[0], count))
    if past.shape[1] == 0 or count == 0:
        return future
    for channel, row in enumerate(past[:, -MAX_PAST:].astype(np.float64)):
        future[channel] = _predict(row, count)
    return future * (1.0 - ramp(count))


def tails(signal: torch.Tensor, added: torch.Tensor, rate: int) -> torch.Tensor:
    """Zero but for the beginnings of each added stretch, which continue the signal beyond it.

    signal: [channels, samples]; added: bool [samples].
    """
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


def _predict(past: np.ndarray, count: int) -> np.ndarray:
    from scipy.signal import lfilter, lfiltic

    order = min(MAX_ORDER, len(past) // 4)
    if order == 0:
        return np.full(count, past[-1])
    coefficients = burg(past, order)
    state = lfiltic([1.0], coefficients, past[::-1])
    return lfilter([1.0], coefficients, np.zeros(count), zi=state)[0]


def burg(signal: np.ndarray, order: int) -> np.ndarray:
    """Linear prediction coefficients [order + 1], the first being 1 (Burg 1975, the lattice recursion)."""
    coefficients = np.array([1.0])
    forward, backward = signal[1:].copy(), signal[:-1].copy()
    for _ in range(order):
        energy = forward @ forward + backward @ backward
        if energy <= 1e-20 * len(signal):
            break
        reflection = -2.0 * (forward @ backward) / energy
        padded = np.append(coefficients, 0.0)
        coefficients = padded + reflection * padded[::-1]
        forward, backward = (
            (forward + reflection * backward)[1:],
            (backward + reflection * forward)[:-1],
        )
    return np.pad(coefficients, (0, order + 1 - len(coefficients)))
