"""What is heard of a jingle beside the curves that it was to follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sonoconvert.curves.measure import measure
from sonoconvert.files.clip import Clip
from sonotrain.data.pvt.melodies import stretches

CENTS = 50.0
EDGE = 2  # values at a note's ends that tell nothing of its pitch: attack and release


@dataclass(frozen=True)
class Followed:
    """How curves were followed, over all clips.

    pitch: share of the values inside notes within 50 cents; octave: the same, octaves aside. velocity:
    correlation of a note's loudness in dB with its velocity in dB. silence: dB from notes to rests.
    """

    pitch: float
    octave: float
    velocity: float
    silence: float


def followed(clips: Sequence[Clip], pitch: Tensor, velocity: Tensor, rate: float) -> Followed:
    """clips beside pitch in Hz (0: none) and velocity [N, T] at `rate` values a second."""
    near, octaves, loud, told, rests = [], [], [], [], []
    for clip, hertz, touch in zip(clips, pitch.numpy(), velocity.numpy(), strict=True):
        # As a file of 16 bits would have it: what a bad model makes may be far beyond full scale.
        heard = measure(Clip(clip.waveform.clamp(-1, 1), clip.sample_rate), ("pitch", "loudness"), rate)
        count = min(heard.frames, len(hertz))
        found, level = heard.values["pitch"][:count], heard.values["loudness"][:count]
        notes = stretches(hertz[:count])
        for first, last in notes:
            inside = slice(first + EDGE, max(last - EDGE, first + EDGE + 1))
            had = found[inside]
            off = 1200 * np.log2(np.where(had > 0, had, 1e-3) / hertz[first])
            near += list(np.abs(off) < CENTS)
            octaves += list((np.abs((off + 600) % 1200 - 600) < CENTS) & (had > 0))
            loud.append(float(level[first : first + 8].max()))  # a struck note dies away
            told.append(20 * np.log10(touch[first]))
        silent = hertz[:count] == 0
        silent &= ~np.convolve(~silent, np.ones(17), "same").astype(bool)  # releases have died away
        if notes and silent.any():
            rests.append(float(np.median(level[hertz[:count] > 0]) - np.median(level[silent])))
    velocity_follows = float(np.corrcoef(loud, told)[0, 1]) if len(loud) > 2 else float("nan")
    return Followed(
        float(np.mean(near)), float(np.mean(octaves)), velocity_follows,
        float(np.median(rests)) if rests else float("nan"),
    )  # fmt: skip


def right_instruments(features: Tensor, kinds: Tensor, real: Tensor, real_kinds: Tensor) -> float:
    """Share of clips [N, D] whose nearest mean of real ones [M, D] is that of their own instrument."""
    names = real_kinds.unique()
    spread = real.std(0).clamp_min(1e-3)
    means = torch.stack([real[real_kinds == kind].mean(0) for kind in names])
    nearest = torch.cdist(features / spread, means / spread).argmin(1)
    return float((names[nearest] == kinds).float().mean())
