"""Clip → Picture → Clip."""

from __future__ import annotations

import logging

import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.phase.search import PhaseSearch, reconstruct
from sonoconvert.pictures import mid_side
from sonoconvert.pictures.format import SpectrogramFormat, get_format
from sonoconvert.pictures.picture import MAX_PIXELS, Picture
from sonoconvert.pictures.spectrogram import from_levels, mel_magnitude, to_levels
from sonoconvert.progress import Progress

logger = logging.getLogger(__name__)

_UNKNOWN_PEAK_LEVEL = 10 ** (-1 / 20)  # −1 dBFS


def encode(clip: Clip, format: str | SpectrogramFormat, *, circular: bool = False, depth: int = 8) -> Picture:
    """Draw a whole clip of any length.

    The clip is resampled to the format's rate and mixed to its channels. All channels share one peak, so
    the balance of a stereo picture is kept.

    Args:
        circular: the clip is a loop: its ends are analysed as neighbours. Its length at the format's
            rate must be a whole number of hops.
        depth: bits of the picture, 8 or 16.

    Raises:
        SonopaintError: the picture would be larger than MAX_PIXELS.
    """
    fmt = get_format(format)
    refuse_too_wide(clip.duration_s, fmt)
    mel, num_samples = magnitudes(clip, fmt, circular=circular)
    peak = float(mel.max())
    levels, _ = to_levels(mel, fmt, peak)
    return Picture.from_levels(levels, fmt, peak, num_samples, dict(clip.settings), depth=depth)


def magnitudes(clip: Clip, fmt: SpectrogramFormat, *, circular: bool = False) -> tuple[torch.Tensor, int]:
    """What a picture of a clip draws: mel magnitudes [planes, n_mels, frames], and samples at its rate."""
    mixed = mix_to(clip, fmt.num_channels).resampled(fmt.sample_rate)
    drawn = mid_side.planes(mixed.waveform) if fmt.channels == "mid-side" else mixed.waveform
    return mel_magnitude(drawn, fmt, circular=circular), mixed.num_samples


def decode(
    picture: Picture,
    search: PhaseSearch | None = None,
    *,
    circular: bool = False,
    progress: Progress | None = None,
) -> Clip:
    """Turn a picture into sound: mel inversion, then a search for the phase.

    Args:
        search: default: `PhaseSearch()`.
        circular: the picture is a loop: the end leads into the beginning, and the clip has
            columns · hop samples.
        progress: told the share that is done; may raise Cancelled.

    Returns:
        A clip at the format's rate and channels; at its absolute level if the picture knows its peak,
        else normalised to −1 dBFS.
    """
    fmt = picture.format
    peaks = picture.peak if isinstance(picture.peak, list) else [picture.peak]
    known = torch.tensor([1.0 if peak is None else peak for peak in peaks])
    drawn = from_levels(picture.levels(), fmt, known)
    length = picture.columns * fmt.hop_length
    if picture.num_samples is not None and not circular:
        length = picture.num_samples
    waveform = waveform_of(drawn, fmt, search, circular=circular, length=length, progress=progress)
    if None in peaks:
        waveform = waveform * (_UNKNOWN_PEAK_LEVEL / waveform.abs().max().clamp_min(1e-9))
    return Clip(waveform, fmt.sample_rate, dict(picture.settings))


def waveform_of(
    drawn: torch.Tensor,
    fmt: SpectrogramFormat,
    search: PhaseSearch | None = None,
    *,
    length: int,
    circular: bool = False,
    progress: Progress | None = None,
) -> torch.Tensor:
    """The sound [channels, length] of what a picture draws: mel magnitudes [planes, n_mels, frames]."""
    mel = mid_side.middle_and_side(drawn) if fmt.channels == "mid-side" else drawn
    waveform = reconstruct(mel, fmt, search, circular=circular, length=length, progress=progress)
    if fmt.channels == "mid-side":
        return mid_side.left_and_right(waveform, drawn, fmt, circular=circular)
    return waveform


def refuse_too_wide(duration_s: float, fmt: SpectrogramFormat) -> None:
    """Raise a SonopaintError if a picture of so many seconds would be larger than MAX_PIXELS."""
    columns = fmt.columns(duration_s)
    if columns * fmt.rows > MAX_PIXELS:
        minutes = fmt.seconds(MAX_PIXELS // fmt.rows) / 60
        raise SonopaintError(
            f"A {fmt.name} picture of {duration_s / 60:.0f} minutes would be {columns} columns wide; "
            f"convert at most {minutes:.0f} minutes at once "
            "(sonoconvert to-picture draws longer ones with --split or --parts)."
        )


def mix_to(clip: Clip, num_channels: int) -> Clip:
    """The clip as mono (mean of its channels) or stereo.

    Stereo from mono doubles it, from 5.1 (L R C LFE Ls Rs) follows ITU-R BS.775 without the LFE, from any
    other count takes the mean for both sides.
    """
    if num_channels == clip.num_channels:
        return clip
    if num_channels == 1:
        return clip.mono()
    if clip.num_channels == 6:
        left, right, centre, _, left_rear, right_rear = clip.waveform
        half_power = 0.5**0.5
        pair = [left + half_power * (centre + left_rear), right + half_power * (centre + right_rear)]
        return Clip(torch.stack(pair), clip.sample_rate, clip.settings, clip.subtype)
    both = clip.waveform.mean(dim=0, keepdim=True).repeat(2, 1)
    return Clip(both, clip.sample_rate, clip.settings, clip.subtype)
