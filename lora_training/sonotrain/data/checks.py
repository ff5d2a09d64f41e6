"""Whether a clip is worth training on: levels, clipping, and duplicates by a small fingerprint."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_FULL_SCALE = 0.999
_RUN = 3  # so many samples in a row at full scale are clipped; a single one may be a true peak
BANDS, STEPS = 17, 33
PRINT_SIZE = (BANDS - 1) * (STEPS - 1)
_STEEPEST = 0.15  # level differences beyond this count no more: one click should not decide
_QUIETEST = 1e-3  # fingerprints without any change in them (a steady tone) say nothing
_BLOCK = 2048
_TELLING = 64  # columns that tell enough; shorter sounds must be more alike


@dataclass(frozen=True)
class Levels:
    """Peak and RMS in dBFS (−200 for silence) and the part of the samples that is clipped."""

    peak_db: float
    rms_db: float
    clipped: float


def decibels(value: float) -> float:
    """20·log10, at least −200."""
    return max(20 * math.log10(value), -200.0) if value > 0 else -200.0


def measure(waveform: Tensor) -> Levels:
    """Levels of float [channels, samples] in [−1, 1]."""
    magnitude = waveform.abs()
    full = (magnitude >= _FULL_SCALE).float()
    clipped = 0.0
    if full.any() and full.shape[-1] >= _RUN:
        windows = full.unfold(-1, _RUN, 1).amin(-1)
        # Every sample of a run counts, not only its beginnings.
        reached = torch.nn.functional.max_pool1d(
            torch.nn.functional.pad(windows, (_RUN - 1, _RUN - 1))[:, None], _RUN, 1
        )
        clipped = float(reached.mean())
    return Levels(decibels(float(magnitude.max())), decibels(float(waveform.square().mean().sqrt())), clipped)


def content_hash(waveform: Tensor) -> str:
    """A name for a normalised clip: equal for the same samples, whatever file they came in."""
    samples = (waveform * 32767).round().to(torch.int16).contiguous().numpy()
    return hashlib.sha256(samples.tobytes()).hexdigest()[:32]


def fingerprint(levels: Tensor, edge: int = 2) -> np.ndarray:
    """What a sound is known by, int8 [512], from the levels [n_mels, columns] that hold sound.

    Differences of levels along time and frequency at once (the idea of Haitsma & Kalker 2002, section 4,
    without its rounding to bits): gain and slow colouring drop out, and steady noise is random in it, so that
    two minutes of the same rain are not the same. The first and last `edge` columns, half a window, do not
    count: all sounds begin and end alike there.
    """
    if levels.shape[1] > 4 * edge > 0:
        levels = levels[:, edge:-edge]
    small = torch.nn.functional.interpolate(levels[None, None].float(), size=(BANDS, STEPS), mode="area")[
        0, 0
    ]
    change = small.diff(dim=1).diff(dim=0).clamp(-_STEEPEST, _STEEPEST) / _STEEPEST
    return (change * 127).round().to(torch.int8).flatten().numpy()


def find_duplicates(
    hashes: list[str], prints: np.ndarray, columns: list[int], similarity: float
) -> list[int]:
    """For each clip the earlier one that it repeats, or −1.

    Args:
        hashes: content_hash of each clip; equal ones are duplicates always.
        prints: int8 [N, 512]; with `similarity` > 1 only exact duplicates are found.
        columns: with sound; near duplicates are equally long within 3 %, and the shorter, the more alike:
            there is little to tell two footsteps by.
    """
    count = len(hashes)
    result = [-1] * count
    seen: dict[str, int] = {}
    for index, name in enumerate(hashes):
        result[index] = seen.get(name, -1)
        seen.setdefault(name, index)
    if similarity > 1 or count < 2:
        return result
    vectors = prints.astype(np.float32) / 127
    norms = np.linalg.norm(vectors, axis=1)
    vectors /= np.maximum(norms, 1e-9)[:, None]
    vectors[norms < _QUIETEST * PRINT_SIZE] = 0
    lengths = np.asarray(columns)
    for first in range(0, count, _BLOCK):
        block = vectors[first : first + _BLOCK]
        least = 1 - (1 - similarity) * np.minimum(lengths[first : first + len(block)] / _TELLING, 1)
        alike = block @ vectors[: first + len(block)].T > least[:, None]
        for row, column in zip(*np.nonzero(np.tril(alike, first - 1)), strict=True):
            index, earlier = first + int(row), int(column)
            if result[index] < 0 and result[earlier] < 0:
                a, b = lengths[index], lengths[earlier]
                if abs(a - b) <= max(1, 0.03 * max(a, b)):
                    result[index] = earlier
    return result
