"""Loudness as people hear it: ITU-R BS.1770-4, integrated, in LUFS."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from sonoconvert.files.clip import Clip

STEP_S, STEPS = 0.1, 4  # a block of 0.4 s begins with each step
ABSOLUTE_LUFS, RELATIVE_LU = -70.0, -10.0
SHELF = (1681.974450955533, 3.999843853973347, 0.7071752369554196)  # Hz, dB, Q: the head
HIGH_PASS = (38.13547087602444, 0.5003270373238773)  # Hz, Q
PART_STEPS = 100  # of a long sound that are filtered at once
PEAK = 10 ** (-1 / 20)  # −1 dBFS: as far as a gain goes


def lufs(waveform: torch.Tensor, sample_rate: int) -> float:
    """Integrated loudness of [channels, samples] (each channel weighs 1); −inf for silence.

    What is shorter than one block of 0.4 s is measured as a whole, without gates.
    """
    step = max(1, round(STEP_S * sample_rate))
    if waveform.shape[1] <= STEPS * step:
        return _level(float(_powers(waveform, sample_rate, waveform.shape[1]).mean()))
    blocks = np.convolve(_powers(waveform, sample_rate, step), np.full(STEPS, 1 / STEPS), "valid")
    for gate in (ABSOLUTE_LUFS, None):
        threshold = _level(float(blocks.mean())) + RELATIVE_LU if gate is None else gate
        blocks = blocks[blocks > 10 ** ((threshold + 0.691) / 10)]
        if not len(blocks):
            return -math.inf
    return _level(float(blocks.mean()))


def at_loudness(clip: Clip, wanted_lufs: float) -> Clip:
    """The clip with one gain, which brings it to `wanted_lufs`, or as near as −1 dBFS allows."""
    own = lufs(clip.waveform, clip.sample_rate)
    if own == -math.inf:
        return clip
    gain = min(10 ** ((wanted_lufs - own) / 20), PEAK / float(clip.waveform.abs().max()))
    return replace(clip, waveform=clip.waveform * gain, exact=None)


def _powers(waveform: torch.Tensor, sample_rate: int, step: int) -> np.ndarray:
    """The weighted power of each whole step of `step` samples, all channels together."""
    from scipy.signal import sosfilt

    sections = _k_weighting(sample_rate)
    state = np.zeros((len(sections), waveform.shape[0], 2))
    found = []
    for first in range(0, waveform.shape[1] // step * step, PART_STEPS * step):
        part = waveform[:, first : first + PART_STEPS * step].detach().cpu().double().numpy()
        part, state = sosfilt(sections, part, axis=-1, zi=state)
        power = np.square(part).sum(axis=0)
        found.append(power[: len(power) // step * step].reshape(-1, step).mean(axis=1))
    return np.concatenate(found)


def _level(power: float) -> float:
    return -0.691 + 10 * math.log10(power) if power > 0 else -math.inf


def _k_weighting(sample_rate: int) -> np.ndarray:
    """Second-order sections of the standard's two filters at any rate (bilinear, as its 48 kHz table)."""
    frequency, gain_db, q = SHELF
    k = math.tan(math.pi * min(frequency / sample_rate, 0.49))
    high = 10 ** (gain_db / 20)
    band = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = [(high + band * k / q + k * k) / a0, 2 * (k * k - high) / a0, (high - band * k / q + k * k) / a0]
    shelf += [1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    frequency, q = HIGH_PASS
    k = math.tan(math.pi * frequency / sample_rate)
    a0 = 1 + k / q + k * k
    return np.array([shelf, [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]])
