"""What the three encoders hear: the mel pyramid of a sound, brought to an even range."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from sonoconvert.files.clip import Clip
from sonoconvert.representations.mel_pyramid import FINE, SAMPLE_RATE, halved

LEVELS = ("coarse", "mid", "fine")
BANDS = (32, 64, 128)  # of the levels
GAIN = 32.0  # log(1 + power) of a full-scale sound then shows 60 dB in place of 30
_MEAN, _DEVIATION = 5.0, 3.0  # of the foley corpus
_DETAIL = 0.7  # deviation of what a level adds to the coarser one, there
STEPS = 16.0  # of 8 bits, to a unit of log power: mels are kept so


def fine_mel(clip: Clip, seconds: float) -> Tensor:
    """log(1 + mel power) [128, frames] of a clip's mean channel, made `seconds` long with silence."""
    wave = clip.mono().resampled(SAMPLE_RATE).waveform[0]
    samples = max(round(seconds * SAMPLE_RATE), 4 * FINE.hop)
    wave = F.pad(wave, (0, max(0, samples - len(wave))))[:samples]
    return FINE.of(GAIN * wave)


def to_bytes(mel: Tensor) -> Tensor:
    """uint8, in steps of a sixteenth."""
    return (mel * STEPS).round().clamp(0, 255).to(torch.uint8)


def pyramid_of(fine: Tensor, *, laplacian: bool = False) -> list[Tensor]:
    """[B, 128, frames] (float, or bytes of `to_bytes`) → the levels [B, 1, bands, frames], coarse first.

    Eq. 39 as it is written: each coarser level is the mean of 2 × 2 cells. laplacian: of each level but the
    coarsest only what it adds to the coarser one ("The Laplacian pyramid", Burt & Adelson 1983), so that no
    level hears what another is for.
    """
    levels = [fine.float() / (STEPS if fine.dtype == torch.uint8 else 1.0)]
    for _ in LEVELS[1:]:
        levels.append(halved(levels[-1]))
    even = [(level[:, None] - _MEAN) / _DEVIATION for level in levels]
    if laplacian:
        even[:-1] = [(a - _doubled(b, a.shape[-1]))[:, None] / _DETAIL for a, b in pairwise(levels)]
    return even[::-1]


def _doubled(mel: Tensor, frames: int) -> Tensor:
    """Each cell of [B, bands, …] as 2 × 2, `frames` long: the last one goes on where one is over."""
    twice = mel.repeat_interleave(2, -2).repeat_interleave(2, -1)
    return F.pad(twice, (0, frames - twice.shape[-1]), mode="replicate")
