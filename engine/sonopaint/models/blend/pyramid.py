"""What the three encoders hear: the mel pyramid of a sound, brought to an even range."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sonoconvert.files.clip import Clip
from sonoconvert.representations.mel_pyramid import FINE, SAMPLE_RATE, halved

LEVELS = ("coarse", "mid", "fine")
BANDS = (32, 64, 128)  # of the levels
GAIN = 32.0  # log(1 + power) of a full-scale sound then shows 60 dB in place of 30
_MEAN, _DEVIATION = 5.0, 3.0  # of the foley corpus
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


def pyramid_of(fine: Tensor) -> list[Tensor]:
    """[B, 128, frames] (float, or bytes of `to_bytes`) → the levels [B, 1, bands, frames], coarse first.

    Eq. 39 as it is written: each coarser level is the mean of 2 × 2 cells.
    """
    levels = [fine.float() / (STEPS if fine.dtype == torch.uint8 else 1.0)]
    for _ in LEVELS[1:]:
        levels.append(halved(levels[-1]))
    return [(level[:, None] - _MEAN) / _DEVIATION for level in reversed(levels)]
