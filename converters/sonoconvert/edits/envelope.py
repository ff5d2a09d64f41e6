"""Energy envelopes: how loud a sound is over time."""

from __future__ import annotations

import math

import torch

from sonoconvert.errors import SonopaintError


def rms_envelope(waveform: torch.Tensor, sample_rate: int, frames_per_s: float) -> torch.Tensor:
    """RMS of all channels together in windows of two hops, centred on each hop: float32 [frames].

    waveform: [channels, samples]. There are ceil(samples / hop) frames, hop = sample_rate / frames_per_s;
    what lies outside the sound does not count. Raises SonopaintError for a rate that can't be had.
    """
    if not 0 < frames_per_s <= sample_rate:
        raise SonopaintError(
            f"{frames_per_s:g} frames per second can't be had of a sound at {sample_rate} Hz; choose fewer."
        )
    samples, hop = waveform.shape[-1], sample_rate / frames_per_s
    power = waveform.double().square().mean(dim=0)
    sums = torch.nn.functional.pad(power.cumsum(0), (1, 0))
    centres = torch.arange(math.ceil(samples / hop), dtype=torch.float64) * hop
    low = (centres - hop).round().long().clamp(0, samples)
    high = torch.maximum((centres + hop).round().long().clamp(0, samples), low + 1).clamp(max=samples)
    return ((sums[high] - sums[low]) / (high - low).clamp_min(1)).clamp_min(0).sqrt().float()
