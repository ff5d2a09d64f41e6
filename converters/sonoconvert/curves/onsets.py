"""Onsets: moments at which the bands of a spectrogram rise together.

The steps and constants of librosa's `onset_detect`, which hosts don't have; a test compares the two.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.spectrogram import analyse, frame, mel_basis

_SIZE, _HOP, _RATE = 2048, 256, 32_000
_BANDS = SpectrogramFormat("onsets", _RATE, _SIZE, _SIZE, _HOP, 128, 0.0, _RATE / 2, "slaney", "slaney")
_FLOOR_DB = 80.0  # below the loudest cell
_BEST, _AROUND = 3, 12  # frames: 24 ms before, and 96 ms on both sides
_ABOVE = 0.07  # the mean around, where the strongest rise is 1


def onsets(clip: Clip) -> np.ndarray:
    """Seconds at which something begins in a clip of one channel, float64 [count]."""
    strength = _rises(clip.resampled(_RATE).waveform[0])
    found = []
    at = 0
    while at < len(strength) and strength.any():
        best = strength[max(0, at - _BEST) : at + 1].max()
        around = strength[max(0, at - _AROUND) : at + _AROUND + 1].mean()
        begins = strength[at] == best and strength[at] >= around + _ABOVE
        if begins:
            found.append(at)
        at += 1 + begins * _BEST
    return np.array(found) * _HOP / _RATE


def _rises(wave: torch.Tensor) -> np.ndarray:
    """How far the bands' levels rise at each frame, their mean; the strongest rise is 1 (or all are 0)."""
    framed = frame(F.pad(wave, (_SIZE // 2, _SIZE // 2)), _SIZE, _HOP)
    power = torch.from_numpy(mel_basis(_BANDS)).to(wave) @ analyse(framed, _SIZE, _SIZE).abs().square().T
    levels = 10 * power.clamp_min(1e-10).log10()
    rises = levels.clamp_min(levels.max() - _FLOOR_DB).diff().clamp_min(0).mean(0).numpy()
    # A window meets a sound half its length before the sound is at its middle.
    late = np.pad(rises, (1 + _SIZE // (2 * _HOP), 0))[: levels.shape[-1]]
    return late / max(late.max(), np.finfo(np.float32).tiny)
