"""What every embedding of sounds gives, so that figures can be made of any of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Embedded:
    """A batch of clips of equal length.

    clip: one vector per clip [B, D]; windows: vectors of short consecutive windows [B, K, D], or None where
    the embedding hears whole clips only; logits: class logits of the clip [B, C], or None.
    """

    clip: Tensor
    windows: Tensor | None = None
    logits: Tensor | None = None


class Embedding(Protocol):
    """A network that hears sounds, and what has to be said of it beside each figure.

    title: its name for people; file: the weights' file name; hash: first ten hex digits of the file's
    SHA-256; sample_rate: what it hears, Hz; window_s: length of a window, or None; longest_s: what of a clip
    it hears at most, or None; kinds: names of its classes, empty where they have none; least_samples: shorter
    clips are padded with silence; details: which layer and front end; version: raised when the same file
    would give other numbers.
    """

    name: str
    title: str
    file: str
    hash: str
    sample_rate: int
    window_s: float | None
    longest_s: float | None
    kinds: list[str]
    least_samples: int
    details: str
    version: int

    def __call__(self, waveforms: Tensor) -> Embedded:
        """Embed mono waveforms [B, T] at `sample_rate`, T ≥ `least_samples`; results on the CPU, float32."""


def windows_of(waveforms: Tensor, size: int) -> Tensor:
    """Consecutive windows [B, K, size] of waveforms [B, T]; an incomplete last one goes, unless alone."""
    if waveforms.shape[1] < size:
        waveforms = F.pad(waveforms, (0, size - waveforms.shape[1]))
    return waveforms.unfold(1, size, size)
