"""What is measured of one variation beside its reference, as plain functions over waveforms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels, mel_magnitude
from sonotrain.data.corpus import FORMAT

FLOOR_DB = -80.0  # of energy curves (the document's lie between −80 and −5 dB)
STEP_S, COARSE = 0.01, 5  # of energy curves; time warping takes every fifth of a second's hundredths
DECIBELS = 80.0  # what of a mel picture counts, below the louder one's peak
EDGE = 2  # columns to either side of a mask, whose windows reach into it
SILENT = 10 ** (-60 / 20)


def energy_db(clip: Clip) -> np.ndarray:
    """RMS in dB of full scale every 10 ms, at least −80: [frames]."""
    step = max(1, round(STEP_S * clip.sample_rate))
    mono = clip.waveform.double().square().mean(0)
    power = torch.nn.functional.pad(mono, (0, -len(mono) % step)).view(-1, step).mean(1)
    return np.maximum(10 * np.log10(np.maximum(power.numpy(), 1e-20)), FLOOR_DB)


def energy_error(one: Clip, other: Clip) -> float:
    """Root mean square of the difference of two energy curves in dB (the document's MSE, rooted)."""
    a, b = _same(energy_db(one), energy_db(other))
    return float(np.sqrt(np.square(a - b).mean()))


def warped(one: Clip, other: Clip) -> float:
    """Mean difference in dB of two energy curves along the best path of time warping (Sakoe & Chiba 1978).

    Curves of 20 values a second, each below its own loudest moment: what remains is another shape of events.
    """
    curves = []
    for clip in (one, other):
        curve = energy_db(clip)
        curve = np.maximum(curve - curve.max(), FLOOR_DB)
        curves.append(np.array([part.max() for part in np.array_split(curve, max(1, len(curve) // COARSE))]))
    cost = np.abs(curves[0][:, None] - curves[1][None])
    total = np.full((len(curves[0]) + 1, len(curves[1]) + 1), np.inf)
    steps = np.zeros_like(total)
    total[0, 0] = 0
    for i, row in enumerate(cost, 1):
        for j, value in enumerate(row, 1):
            before = min(
                (total[i - 1, j - 1], i - 1, j - 1), (total[i - 1, j], i - 1, j), (total[i, j - 1], i, j - 1)
            )
            total[i, j] = value + before[0]
            steps[i, j] = 1 + steps[before[1], before[2]]
    return float(total[-1, -1] / steps[-1, -1])


def mel_levels(clip: Clip) -> Tensor:
    """The clip as Mini sees it, levels [bins, columns] of 80 dB, lowest bin first."""
    fmt = get_format(FORMAT)
    return levels(clip.mono().resampled(fmt.sample_rate).waveform, fmt)[0]


def change_db(one: Clip, other: Clip, spans: Sequence[Sequence[float]] | None) -> tuple[float, float | None]:
    """Mean difference in dB of two mel pictures, (inside the spans, outside); None where all is inside."""
    fmt = get_format(FORMAT)
    # One peak for both: a part that is louder than the source's loudest leaves the rest as it is.
    a, b = (mel_magnitude(clip.mono().resampled(fmt.sample_rate).waveform, fmt)[0] for clip in (one, other))
    floor = 10 ** (-DECIBELS / 20) * max(float(a.max()), float(b.max()), 1e-12)
    a, b = (20 * x.clamp_min(floor).log10() for x in (a, b))
    columns = min(a.shape[1], b.shape[1], fmt.frames(round(one.duration_s * fmt.sample_rate)))
    difference = (a[:, :columns] - b[:, :columns]).abs().mean(0)
    if spans is None:
        return float(difference.mean()), None
    inside = torch.zeros(columns, dtype=torch.bool)
    for start, end in spans:
        first, last = (time * fmt.sample_rate / fmt.hop_length for time in (start, end))
        inside[max(0, math.floor(first) - EDGE) : math.ceil(last) + 1 + EDGE] = True
    if not inside.any():
        return 0.0, float(difference.mean())
    return float(difference[inside].mean()), float(difference[~inside].mean()) if (~inside).any() else None


def silent(clip: Clip) -> bool:
    """Whether nothing is to be heard of it (peak below −60 dBFS)."""
    return not float(clip.waveform.abs().max()) >= SILENT


def _same(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count = max(len(a), len(b))
    padded = [np.pad(x, (0, count - len(x)), constant_values=FLOOR_DB) for x in (a, b)]
    return padded[0], padded[1]
