"""Augmentation that is true of sound: what could have happened in front of the microphone.

Never flips (time would run backwards), resizes (other pitch and tempo than the caption says) or changes of
"colour" (loudness). Waveforms are changed by `augment` before the STFT, levels by `mask_levels` after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import SpectrogramFormat

# A mixed-in clip is a background: this many dB below the clip itself.
_BACKGROUND_DB = (10.0, 24.0)
_LEAD_DB = -50.0  # what counts as silence before the sound begins, relative to its peak
_PADDING = 1e-4  # resampled zeros are not exactly zero


@dataclass(frozen=True)
class Augmentation:
    """How far each change may go; 0 switches it off.

    Attributes:
        offset_s: the sound begins up to so many seconds later, or earlier by at most its leading silence.
        gain_db: louder or softer by up to so many dB. Pictures are relative to their own peak, so it shows
            only where the format or the trainer keeps levels.
        polarity: probability of turning the waveform upside down.
        resample_cents: faster and higher, or slower and lower, by up to so many hundredths of a semitone.
        mix: probability of another clip sounding 10 to 24 dB softer in the background.
        mask_time_s: longest stretch of time that `mask_levels` hides, in seconds.
        mask_frequency: widest band that it hides, as a part of all rows (0 to 1).
    """

    offset_s: float = 0.0
    gain_db: float = 0.0
    polarity: float = 0.0
    resample_cents: float = 0.0
    mix: float = 0.0
    mask_time_s: float = 0.0
    mask_frequency: float = 0.0

    def __post_init__(self) -> None:
        limits = {
            "polarity": 1.0,
            "mix": 1.0,
            "mask_frequency": 1.0,
            "gain_db": 60.0,
            "resample_cents": 1200.0,
        }
        for item in fields(self):
            value, most = getattr(self, item.name), limits.get(item.name, 60.0)
            if not 0 <= value <= most:
                raise SonopaintError(f"The augmentation's {item.name} is {value}; it must be 0 to {most:g}.")


# Small enough that a caption stays true; what `sonotrain lora` may use where nothing is said.
GENTLE = Augmentation(offset_s=0.25, gain_db=6.0, polarity=0.5, resample_cents=30.0)


def augment(
    waveform: Tensor,
    fmt: SpectrogramFormat,
    options: Augmentation,
    generator: torch.Generator,
    others: Sequence[Tensor] = (),
) -> Tensor:
    """A varied copy of a clip, the same for the same state of the generator.

    Args:
        waveform: float [T] at `fmt.sample_rate`.
        generator: on the CPU; always moved on by the same number of draws, so that switching one change on
            or off leaves the others as they were.
        others: clips [T'] at the same rate from which a background is taken.

    Returns:
        float [T] on the waveform's device, the input itself untouched.

    Raises:
        SonopaintError: not one waveform.
    """
    if waveform.ndim != 1 or not len(waveform):
        raise SonopaintError(f"augment takes one waveform [samples], not {list(waveform.shape)}.")
    draw = torch.rand(8, generator=generator).tolist()
    result = waveform.clone()
    if options.resample_cents:
        result = _resample(result, _between(draw[0], options.resample_cents), fmt.sample_rate)
    if options.offset_s:
        result = _shift(result, _between(draw[1], options.offset_s), fmt.sample_rate)
    if options.mix and others and draw[2] < options.mix:
        other = others[min(int(draw[3] * len(others)), len(others) - 1)]
        low, high = _BACKGROUND_DB
        result = _with_background(result, other.to(result), low + draw[4] * (high - low))
    if options.gain_db:
        result = result * 10 ** (_between(draw[5], options.gain_db) / 20)
    if draw[6] < options.polarity:
        result = -result
    return result


def mask_levels(
    levels: Tensor, fmt: SpectrogramFormat, options: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Hide one stretch of time and one band of a clip, as SpecAugment does (Park et al. 2019, section 2).

    Args:
        levels: float [..., n_mels, frames] in 0…1; all clips of a batch are masked alike.

    Returns:
        The levels with the hidden cells set to 0, and a float mask [n_mels, frames] that is 0 there and 1
        elsewhere: a generative trainer leaves hidden cells out of its loss, or it would learn the holes.
    """
    rows, frames = levels.shape[-2:]
    draw = torch.rand(4, generator=generator).tolist()
    mask = torch.ones(rows, frames, device=levels.device, dtype=levels.dtype)
    wide = int(draw[0] * min(fmt.columns(options.mask_time_s), frames))
    tall = int(draw[1] * options.mask_frequency * rows)
    left, low = int(draw[2] * (frames - wide + 1)), int(draw[3] * (rows - tall + 1))
    mask[:, left : left + wide] = 0
    mask[low : low + tall] = 0
    return levels * mask, mask


def sounding_columns(waveform: Tensor, fmt: SpectrogramFormat) -> int:
    """Columns up to the last sample that is not padding (1 to `fmt.width`); what a masked loss counts."""
    loud = torch.nonzero(waveform.abs() > _PADDING * waveform.abs().max())
    last = int(loud[-1]) + 1 if len(loud) else 1
    return min(fmt.frames(last), fmt.width)


def _between(draw: float, size: float) -> float:
    """0…1 → −size…size."""
    return (2 * draw - 1) * size


def _resample(waveform: Tensor, cents: float, sample_rate: int) -> Tensor:
    """Speed and pitch changed together, cropped or padded to the same length."""
    import soxr

    # soxr takes any ratio of rates: faster is as if the samples had come at a higher rate.
    ratio = 2 ** (cents / 1200)
    samples = waveform.detach().cpu().numpy().astype(np.float32)
    varied = torch.from_numpy(soxr.resample(samples, sample_rate * ratio, sample_rate, quality="HQ"))
    return _fit(varied.to(waveform), len(waveform))


def _shift(waveform: Tensor, seconds: float, sample_rate: int) -> Tensor:
    """Later by `seconds`, or earlier (negative) without cutting into the sound."""
    peak = waveform.abs().max()
    loud = torch.nonzero(waveform.abs() > peak * 10 ** (_LEAD_DB / 20))
    lead = int(loud[0]) if len(loud) else len(waveform)
    samples = max(round(seconds * sample_rate), -lead)
    if samples < 0:
        return _fit(waveform[-samples:], len(waveform))
    return torch.nn.functional.pad(waveform, (min(samples, len(waveform)), 0))[: len(waveform)]


def _with_background(waveform: Tensor, other: Tensor, below_db: float) -> Tensor:
    """`other` added at a mean power that lies `below_db` under the clip's; the sum keeps the clip's peak."""
    power, theirs = waveform.square().mean(), other.square().mean()
    if power == 0 or theirs == 0:
        return waveform
    gain = math.sqrt(float(power / theirs)) * 10 ** (-below_db / 20)
    mixed = waveform + gain * _fit(other, len(waveform))
    return mixed * (waveform.abs().max() / mixed.abs().max().clamp_min(1e-12))


def _fit(waveform: Tensor, length: int) -> Tensor:
    return torch.nn.functional.pad(waveform[:length], (0, max(0, length - len(waveform))))
