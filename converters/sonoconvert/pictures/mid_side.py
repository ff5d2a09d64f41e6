"""Stereo that a mono checkpoint can read and paint: pictures of the middle, the left and the right.

A magnitude spectrogram of the side signal (L − R) / 2 does not say on which side it is. So "mid-side"
formats draw three magnitudes: the middle M = (L + R) / 2 in red, L in green and R in blue. Red alone is the
mono picture; a grey picture has M = L = R, which is sound in the middle. The three tell the side signal's
magnitude by the parallelogram law, |S|² = (|L|² + |R|²) / 2 − |M|², and which part of it lies in the middle's
phase: S = M·(|L|² − |R|²) / (4 |M|²) + what is at a right angle to it (of unknown sign).
"""

from __future__ import annotations

import torch

from sonoconvert.phase.inversion import mel_bands, mel_to_linear
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.spectrogram import absolute, istft, stft

# Of |L|² + |R|²: what 8-bit cells that should fulfil the law miss it by. Less side than this is none.
_ROUNDING = 0.05


def planes(waveform: torch.Tensor) -> torch.Tensor:
    """What is drawn: [2, T] (left, right) → [3, T] (middle, left, right)."""
    return torch.cat([waveform.mean(dim=0, keepdim=True), waveform])


def middle_and_side(drawn: torch.Tensor) -> torch.Tensor:
    """Magnitudes [3, …] of (middle, left, right) → [2, …] of (middle, side)."""
    middle, left, right = drawn
    power = (left.square() + right.square()) / 2
    side = (power - middle.square() - _ROUNDING * power).clamp_min(0).sqrt()
    return torch.stack([middle, side])


def left_and_right(
    waveform: torch.Tensor, drawn: torch.Tensor, fmt: SpectrogramFormat, *, circular: bool = False
) -> torch.Tensor:
    """Join a decoded middle and side to left and right.

    What the channels have in common takes the middle's phase, so that a sound keeps its place between the
    loudspeakers; the rest (a wide stereo image, or channels in antiphase) takes the side's. Each channel then
    gets the magnitude that was drawn for it.

    Args:
        waveform: float [2, T], middle and side as decoded from `middle_and_side`.
        drawn: mel magnitudes [3, n_mels, frames] of middle, left and right.

    Returns:
        float [2, T], left and right.
    """
    win, hop = fmt.win_length, fmt.hop_length
    spectrum = stft(waveform, win, win, hop, circular=circular)
    middle, left, right = _frames(mel_to_linear(drawn, fmt), spectrum.shape[-1])
    side = middle_and_side(torch.stack([middle, left, right]))[1]
    # Coherent part of the side, signed; it can't be larger than either channel's half difference allows.
    most = (left - right).abs().maximum(side)
    ahead = ((left.square() - right.square()) / (4 * middle).clamp_min(1e-12)).clamp(-most, most)
    across = (side.square() - ahead.square()).clamp_min(0).sqrt()
    direction = torch.sgn(spectrum)
    # A quarter turn: both decodings start from one phase, and what is across must not add to the middle.
    turned = 1j * direction[1] * across
    pair = torch.stack([direction[0] * (middle + ahead) + turned, direction[0] * (middle - ahead) - turned])
    # The share of each cell within its mel band is as decoded; the bands are as drawn.
    drawn_power = middle.square() + side.square()
    pair = pair * (absolute(spectrum).square().sum(dim=0) / drawn_power.clamp_min(1e-12)).sqrt()
    pair = pair.transpose(-1, -2)
    bands = mel_bands(fmt, win // 2 + 1, drawn.dtype, drawn.device)
    wanted = _frames(drawn[1:], pair.shape[-2]).transpose(-1, -2)
    for _ in range(2):
        pair = pair * bands.correction(absolute(pair), wanted)
    pair = pair.transpose(-1, -2)
    return istft(pair, win, win, hop, circular=circular, length=None if circular else waveform.shape[-1])


def _frames(magnitude: torch.Tensor, frames: int) -> torch.Tensor:
    """Crop to `frames`, or repeat the last one: a picture may have one column less than the STFT."""
    missing = frames - magnitude.shape[-1]
    if missing > 0:
        magnitude = torch.cat([magnitude, magnitude[..., -1:].expand(*magnitude.shape[:-1], missing)], dim=-1)
    return magnitude[..., :frames]
