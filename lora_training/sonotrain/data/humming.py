"""Something like a hummed voice: gliding notes of a formant synthesiser. No recording."""

from __future__ import annotations

import numpy as np
import torch

from sonoconvert.files.clip import Clip

LOW_HZ, HIGH_HZ = 180.0, 520.0  # between them a hum glides


def hum(
    rng: np.random.Generator,
    low: float = LOW_HZ,
    high: float = HIGH_HZ,
    rate: int = 32_000,
    seconds: float = 5.12,
) -> Clip:
    """Somebody humming "wooOOoo": a course (below) in the formants of u and o."""
    count = round(seconds * rate)
    pitch, loud = course(rng, low, high, count, rate)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    wave = np.zeros(count)
    for k in range(1, 20):
        at = pitch * k
        formant = sum(
            g / (1 + ((at - f) / w) ** 2) for f, w, g in ((350, 90, 1.0), (800, 120, 0.5), (2400, 250, 0.1))
        )
        wave += np.sin(k * phase) * formant * (at < rate / 2)
    wave = wave * loud + 0.004 * rng.standard_normal(count) * (0.2 + loud)
    return Clip(torch.from_numpy(0.4 * wave / np.abs(wave).max()).float()[None], rate)


def course(
    rng: np.random.Generator, low: float, high: float, count: int, rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """(pitch in Hz, loudness 0 to 1) [count] of a hum: one to three breaths, gliding notes, a vibrato."""
    seconds = count / rate
    t = np.arange(count) / rate
    breaths = int(rng.integers(1, 4))
    edges = np.linspace(0.2, seconds - 0.3, breaths + 1)
    pitch, loud = np.full(count, low), np.zeros(count)
    for first, last in zip(edges, edges[1:], strict=False):
        inside = (t >= first) & (t < last - 0.25)
        share = (t[inside] - first) / max(last - 0.25 - first, 0.1)
        notes = np.exp(rng.uniform(np.log(low), np.log(high), 3))
        pitch[inside] = np.exp(np.interp(share, [0, 0.5, 1], np.log(notes)))
        top = rng.uniform(0.3, 1.0)
        loud[inside] = top * np.interp(share, [0, 0.15, rng.uniform(0.4, 0.8), 1], [0, 1, 0.6, 0])
    return pitch * 2 ** (0.2 / 12 * np.sin(2 * np.pi * 5.3 * t) * (loud > 0)), loud
