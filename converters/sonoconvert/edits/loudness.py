"""Loudness as people hear it: ITU-R BS.1770-4, integrated, in LUFS."""

from __future__ import annotations

import math

import numpy as np
import torch

BLOCK_S, STEP_S = 0.4, 0.1
ABSOLUTE_LUFS, RELATIVE_LU = -70.0, -10.0
SHELF = (1681.974450955533, 3.999843853973347, 0.7071752369554196)  # Hz, dB, Q: the head
HIGH_PASS = (38.13547087602444, 0.5003270373238773)  # Hz, Q


def lufs(waveform: torch.Tensor, sample_rate: int) -> float:
    """Integrated loudness of [channels, samples] (each channel weighs 1); −inf for silence.

    What is shorter than one block of 0.4 s is measured as a whole, without gates.
    """
    from scipy.signal import sosfilt

    weighted = sosfilt(_k_weighting(sample_rate), waveform.double().numpy(), axis=-1)
    power = np.square(weighted).sum(axis=0)
    block, step = round(BLOCK_S * sample_rate), round(STEP_S * sample_rate)
    if len(power) <= block:
        return _level(float(power.mean()))
    sums = np.concatenate([[0.0], np.cumsum(power)])
    starts = np.arange(0, len(power) - block + 1, step)
    blocks = (sums[starts + block] - sums[starts]) / block
    for gate in (ABSOLUTE_LUFS, None):
        threshold = _level(float(blocks.mean())) + RELATIVE_LU if gate is None else gate
        blocks = blocks[blocks > 10 ** ((threshold + 0.691) / 10)]
        if not len(blocks):
            return -math.inf
    return _level(float(blocks.mean()))


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
