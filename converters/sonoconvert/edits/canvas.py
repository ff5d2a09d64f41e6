"""Canvases: the picture that a painter gets, its mask, and what is needed to put the result back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from sonoconvert.conversion.convert import encode
from sonoconvert.defaults import FEATHER_S, OVERLAP_S, SEAM_S
from sonoconvert.edits.region import Box, Region
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import SpectrogramFormat, get_format
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.spectrogram import mel_magnitude

CONTEXT_S = 30.0  # a long clip's picture reaches this far on either side of what is painted
SILENT_REFERENCE = 0.25  # where the source is silent, white is a sine of this amplitude

AnyFormat = str | Mapping[str, Any] | SpectrogramFormat


@dataclass(frozen=True)
class Canvas:
    """What a painter gets, and what `edit.put_back` needs.

    picture: mono; `source` from sample `first` on, encoded with one peak. A clip that is longer than the
        region and 30 s on both sides is pictured only that far, so that hours stay quick.
    mask: float32 [n_mels, columns of the picture], 1 = repaint, row 0 = lowest frequency.
    source: the samples to be kept, own rate and channels; extended with silence, or rolled for a loop.
    region: where samples may change, in seconds of `source`.
    kind: "inpaint", "extend", "loop", "vary" or "generate".
    circular: time wraps round in the picture.
    first: sample of `source` on which column 0 is centred; a whole number of hops.
    roll: samples by which a loop's source was rolled to the right.
    """

    picture: Picture
    mask: np.ndarray
    source: Clip
    region: Region
    kind: str
    circular: bool = False
    first: int = 0
    roll: int = 0


def inpaint_canvas(clip: Clip, region: Region, format: AnyFormat, *, kind: str = "inpaint") -> Canvas:
    """A canvas that repaints `region` of `clip`; kind "vary" only names a different task.

    Raises SonopaintError when the clip is not finite or shorter than one analysis window, and when the
    region is empty or lies outside the clip or the format.
    """
    fmt = _mono(format)
    _check_clip(clip, fmt)
    region.check(clip.duration_s, fmt)
    return _canvas(clip, region, region, fmt, kind)


def extend_canvas(
    clip: Clip, left_s: float, right_s: float, format: AnyFormat, overlap_s: float = OVERLAP_S
) -> Canvas:
    """A canvas with new time before and after `clip`: round(seconds · sample rate) samples on each side.

    The painter may repaint the last `overlap_s` seconds of the source as well, which lets it join; the
    samples there stay the source's. Raises SonopaintError when there is nothing to add, or for a bad clip.
    """
    fmt = _mono(format)
    for name, seconds in (("left", left_s), ("right", right_s), ("overlap", overlap_s)):
        if not (math.isfinite(seconds) and seconds >= 0):
            raise SonopaintError(f"{setting(name)} must be 0 s or more, not {seconds}.")
    rate = clip.sample_rate
    left, right = round(left_s * rate), round(right_s * rate)
    if left + right == 0:
        raise SonopaintError(
            f"Extending by {left_s:g} s and {right_s:g} s adds nothing: "
            f"give seconds for {setting('left')} or {setting('right')}."
        )
    exact = None if clip.exact is None else np.pad(clip.exact, ((0, 0), (left, right)))
    source = replace(clip, waveform=torch.nn.functional.pad(clip.waveform, (left, right)), exact=exact)
    _check_clip(source, fmt)
    start_s, end_s = left / rate, (left + clip.num_samples) / rate
    added = _sides(start_s if left else 0.0, end_s if right else None, source.duration_s)
    overlap_s = min(overlap_s, clip.duration_s / 2)
    painted = _sides(
        start_s + overlap_s if left else 0.0, end_s - overlap_s if right else None, source.duration_s
    )
    return _canvas(source, Region(added, feather_s=0.0), Region(painted, feather_s=0.0), fmt, "extend")


def loop_canvas(
    clip: Clip, format: AnyFormat, seam_s: float = SEAM_S, feather_s: float = FEATHER_S
) -> Canvas:
    """A canvas that repaints `seam_s` seconds round the place where the clip's end meets its start.

    The clip is rolled by half its length, so that the seam lies in the middle of the picture, whose time
    wraps round. At most half of the clip is repainted. Raises SonopaintError for a bad clip or seam.
    """
    fmt = _mono(format)
    if not (math.isfinite(seam_s) and seam_s > 0):
        raise SonopaintError(f"{setting('seam')} must be longer than 0 s, not {seam_s} s.")
    _check_clip(clip, fmt)
    _check_finite(clip)
    roll = clip.num_samples // 2
    source = replace(clip, waveform=torch.roll(clip.waveform, roll, dims=-1))
    reach = min(seam_s / 2, clip.duration_s / 4)
    middle = roll / clip.sample_rate
    region = Region((Box(middle - reach, middle + reach),), feather_s=min(feather_s, clip.duration_s / 8))
    picture = _circular_picture(source, fmt)
    mask = region.mask(fmt, picture.pixels.shape[1])
    return Canvas(picture, mask, source, region, "loop", circular=True, roll=roll)


def grid(sample_rate: int, fmt: SpectrogramFormat) -> int:
    """Samples at `sample_rate` that are both whole and a whole number of hops at the format's rate."""
    common = math.gcd(sample_rate, fmt.sample_rate)
    format_samples = math.lcm(fmt.hop_length, fmt.sample_rate // common)
    return format_samples * sample_rate // fmt.sample_rate


def _canvas(source: Clip, region: Region, painted: Region, fmt: SpectrogramFormat, kind: str) -> Canvas:
    rate, step = source.sample_rate, grid(source.sample_rate, fmt)
    spans = region.spans(source.duration_s)
    start_s, end_s = (spans[0][0], spans[-1][1]) if spans else (0.0, source.duration_s)
    first = max(int((start_s - CONTEXT_S) * rate), 0) // step * step
    stop = min(math.ceil((end_s + CONTEXT_S) * rate), source.num_samples)
    piece = replace(source, waveform=source.waveform[:, first:stop])
    _check_finite(piece)
    picture = _with_reference(encode(piece.mono(), fmt), fmt)
    columns = picture.pixels.shape[1]
    whole = max(math.ceil(source.duration_s * fmt.sample_rate / fmt.hop_length), columns)
    first_column = first * fmt.sample_rate // (rate * fmt.hop_length)
    mask = painted.mask(fmt, columns, first=first_column, total=max(whole, first_column + columns))
    if not mask.any():
        raise SonopaintError("The region paints nothing in this clip; make its boxes or its brush larger.")
    return Canvas(picture, mask, source, region, kind, first=first)


def _circular_picture(source: Clip, fmt: SpectrogramFormat) -> Picture:
    """The picture of a loop. Up to one hop is repeated at its end: a circular analysis needs whole hops."""
    clip = source.mono().resampled(fmt.sample_rate)
    hops = math.ceil(clip.num_samples / fmt.hop_length)
    whole = torch.arange(hops * fmt.hop_length) % clip.num_samples
    return _with_reference(encode(replace(clip, waveform=clip.waveform[:, whole]), fmt, circular=True), fmt)


def _with_reference(picture: Picture, fmt: SpectrogramFormat) -> Picture:
    """Give the picture of silence a peak, so that what is painted there has a level."""
    if picture.peak:
        return picture
    return replace(picture, peak=SILENT_REFERENCE * full_scale(fmt))


@lru_cache(maxsize=8)
def full_scale(fmt: SpectrogramFormat) -> float:
    """The mel magnitude of a sine of amplitude 1 in the middle of the format."""
    return float(full_scale_tone(fmt).max())


def full_scale_tone(fmt: SpectrogramFormat) -> torch.Tensor:
    """Mel magnitudes [n_mels] of that sine."""
    time = torch.arange(4 * fmt.win_length) / fmt.sample_rate
    tone = torch.sin(2 * math.pi * math.sqrt(fmt.f_max * max(fmt.f_min, 50.0)) * time)
    return mel_magnitude(tone, fmt)[:, 1:-1].amax(dim=1)


def _mono(format: AnyFormat) -> SpectrogramFormat:
    fmt = get_format(format)
    return fmt.with_channels("mono")


def _sides(start_s: float, end_s: float | None, duration_s: float) -> tuple[Box, ...]:
    boxes = (Box(0.0, start_s),) if start_s > 0 else ()
    return boxes + ((Box(end_s, None),) if end_s is not None and end_s < duration_s else ())


def _check_clip(clip: Clip, fmt: SpectrogramFormat) -> None:
    shortest = fmt.win_length / fmt.sample_rate
    if clip.duration_s < shortest:
        raise SonopaintError(
            f"The clip lasts {clip.duration_s:.4f} s ({clip.num_samples} samples), too short to edit in "
            f"{fmt.name}: give at least {shortest:.3f} s."
        )


def _check_finite(clip: Clip) -> None:
    if not torch.isfinite(clip.waveform).all():
        raise SonopaintError("The clip has samples that are not numbers (NaN or infinite); repair it first.")
