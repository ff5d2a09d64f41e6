"""Damage that the bridge learns to mend: random gaps, boxes and cut-offs, and their first guess."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sonoconvert.pictures.spectrogram import stft
from sonopaint.heal.bands import copied_up
from sonopaint.heal.linear import sampled
from sonopaint.models.bridge import BINS, HOP, WINDOW, dilated

SHORTEST_S, LONGEST_S = 0.02, 1.0
MARGIN = WINDOW  # samples that stay on either side of a gap
MOST = 0.66  # of a crop, that a gap may take


@dataclass(frozen=True)
class Damaged:
    """Spectra, complex [frames, 1025], whole and as first guessed; unknown: bool, likewise."""

    whole: Tensor
    guess: Tensor
    unknown: Tensor


def damaged(sound: np.ndarray, rate: int, rng: np.random.Generator) -> Damaged:
    """A damaged sound, float [samples] (a multiple of the hop): 65 % gaps, 15 % boxes, 20 % cut-offs."""
    whole = spectrum(sound)
    kind = rng.random()
    if kind > 0.8:
        highest = 0.75 * rate / 2
        hertz = np.exp(rng.uniform(np.log(1500), np.log(highest)))
        cutoff = min(max(round(hertz * WINDOW / rate), 16), BINS - 16)
        unknown = torch.zeros(whole.shape, dtype=torch.bool)
        unknown[:, cutoff:] = True
        return Damaged(whole, copied_up(whole[None], cutoff)[0], unknown)
    longest = min(LONGEST_S * rate, MOST * len(sound), len(sound) - 2 * MARGIN - 1)
    count = round(np.exp(rng.uniform(np.log(SHORTEST_S * rate), np.log(longest))))
    start = int(rng.integers(MARGIN, len(sound) - count - MARGIN))
    filled = sound.copy()
    stop = start + count
    filled[start:stop] = sampled(sound[:start], sound[stop:], count, rate, rng)
    marked = torch.zeros(1, len(sound), dtype=torch.bool)
    marked[:, start:stop] = True
    unknown = dilated(marked, len(sound))[0][:, None].repeat(1, WINDOW // 2 + 1)
    if kind > 0.65:
        low, high = sorted(np.exp(rng.uniform(np.log(2), np.log(BINS), 2)).astype(int))
        unknown[:, :low], unknown[:, max(high, low + 8) :] = False, False
    return Damaged(whole, torch.where(unknown, spectrum(filled), whole), unknown)


def spectrum(sound: np.ndarray) -> Tensor:
    """Complex [frames, 1025] of float [samples]."""
    wave = torch.from_numpy(np.ascontiguousarray(sound, dtype=np.float32))
    return stft(wave[None], WINDOW, WINDOW, HOP)[0].T
