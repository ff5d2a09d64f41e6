"""Clip: a waveform with its rate and provenance, read from and written to sound files."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files.native import Sound
from sonoconvert.files.opening import open_sound
from sonoconvert.files.samples import as_float32, loses
from sonoconvert.files.writing import sound_writer

logger = logging.getLogger(__name__)

# 1 GiB of float32: about 50 minutes of CD stereo. Longer files are read in parts.
MAX_SAMPLES = 1 << 28


@dataclass(frozen=True)
class Clip:
    """A piece of sound.

    Attributes:
        waveform: float32 [channels, samples], nominally in [−1, 1].
        sample_rate: Hz.
        settings: how it was made (JSON-able); rides along in the file's tags.
        subtype: soundfile's subtype of the source ("PCM_16" …), kept when written back.
        exact: the source's own samples where a float32 doesn't hold them: int32 or float64, of the
            waveform's shape. What was not edited since goes back from here, so a wrong one does no harm.
    """

    waveform: torch.Tensor
    sample_rate: int
    settings: dict[str, Any] = field(default_factory=dict)
    subtype: str | None = None
    exact: np.ndarray | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.waveform.ndim != 2 or 0 in self.waveform.shape:
            raise SonopaintError(
                f"A clip needs a waveform of [channels, samples], not {list(self.waveform.shape)}; "
                "give a sound with at least one sample."
            )
        if self.sample_rate <= 0:
            raise SonopaintError(f"A clip's sample rate must be positive, not {self.sample_rate} Hz.")
        if self.exact is not None and self.exact.shape != tuple(self.waveform.shape):
            object.__setattr__(self, "exact", None)  # cut or mixed

    @property
    def num_channels(self) -> int:
        return self.waveform.shape[0]

    @property
    def num_samples(self) -> int:
        return self.waveform.shape[1]

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sample_rate

    def resampled(self, sample_rate: int) -> Clip:
        """The same sound at another rate (soxr, high quality); round(samples · ratio) samples."""
        if sample_rate == self.sample_rate:
            return self
        import soxr

        wanted = max(1, round(self.num_samples * sample_rate / self.sample_rate))
        source = self.waveform.detach().cpu().numpy().T
        result = soxr.resample(np.ascontiguousarray(source), self.sample_rate, sample_rate, quality="HQ")
        waveform = torch.from_numpy(np.ascontiguousarray(result.T[:, :wanted], dtype=np.float32))
        waveform = torch.nn.functional.pad(waveform, (0, wanted - waveform.shape[1]))
        return replace(self, waveform=waveform.to(self.waveform.device), sample_rate=sample_rate)

    def mono(self) -> Clip:
        """The mean of all channels."""
        if self.num_channels == 1:
            return self
        return replace(self, waveform=self.waveform.mean(dim=0, keepdim=True))


def read_clip(path: str | os.PathLike[str], *, start_s: float = 0.0, duration_s: float | None = None) -> Clip:
    """Read a sound file, or a part of it: what libsndfile knows, and with PyAV or FFmpeg M4A, MP4, WebM ….

    What is wrong with the file but can be read (cut off, damaged) is a warning.

    Args:
        start_s, duration_s: the part to read, in seconds; default all of it.

    Raises:
        SonopaintError: missing, not a sound, empty, too long to be held, or with NaN or infinite samples.
    """
    with open_sound(path) as sound:
        start, count = _span(sound, path, start_s, duration_s)
        if count * sound.channels > MAX_SAMPLES:
            hours = count / sound.sample_rate / 3600
            raise SonopaintError(
                f"{path} is {hours:.1f} hours of {sound.channels} channels, too long to be held in memory; "
                "cut out the part that you want first (sonoconvert reads one with --start and --duration)."
            )
        clip = _read(sound, path, start, count)
        _warn(sound, path)
        return clip


def iter_clips(
    path: str | os.PathLike[str], window_s: float, *, start_s: float = 0.0, duration_s: float | None = None
) -> Iterator[Clip]:
    """Read a file of any length as consecutive clips of `window_s` seconds (the last may be shorter)."""
    with open_sound(path) as sound:
        first, count = _span(sound, path, start_s, duration_s)
        window = max(1, min(round(window_s * sound.sample_rate), MAX_SAMPLES // sound.channels))
        for offset in range(0, count, window):
            yield _read(sound, path, first + offset, min(window, count - offset))
        _warn(sound, path)


@dataclass(frozen=True)
class SoundHeader:
    """What a sound file is; its frames are counted where its header can't be believed."""

    container: str
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    settings: dict[str, Any]


def sound_header(path: str | os.PathLike[str]) -> SoundHeader:
    """Read a sound file's header and our settings."""
    with open_sound(path) as sound:
        settings = _parse_settings(sound.comment)
        return SoundHeader(
            sound.container, sound.subtype, sound.sample_rate, sound.channels, sound.frames, settings
        )


def write_clip(
    clip: Clip, path: str | os.PathLike[str], *, subtype: str | None = None, force: bool = False
) -> None:
    """Write a clip as WAV, FLAC, OGG or MP3 (by suffix), with its settings as JSON in the comment tag.

    Samples that are still those of the file that the clip was read from go back bit for bit, whatever their
    type; where the format has no type that holds them, the widest one is taken and a warning says so.

    Args:
        subtype: soundfile's name (PCM_16, PCM_24, FLOAT, VORBIS …); default the clip's own, or the next
            wider one that the format has; 16 bit PCM (Vorbis for OGG, Layer III for MP3) for clips that come
            from no file.
        force: replace an existing file.

    Raises:
        SonopaintError: unknown suffix, a subtype that the format can't hold, NaN samples, existing file,
            full disk.
    """
    with sound_writer(
        path,
        clip.sample_rate,
        clip.num_channels,
        clip.num_samples,
        subtype=subtype,
        own=clip.subtype,
        settings=clip.settings,
        force=force,
    ) as write:
        write(clip.waveform, clip.exact)


def _span(
    sound: Sound, path: str | os.PathLike[str], start_s: float, duration_s: float | None
) -> tuple[int, int]:
    """First frame and number of frames to read."""
    total = sound.frames
    if not math.isfinite(start_s) or not math.isfinite(duration_s or 0):
        raise SonopaintError(f"Start {start_s} and duration {duration_s} must be finite numbers of seconds.")
    start = round(start_s * sound.sample_rate)
    if not 0 <= start < total:
        length = total / sound.sample_rate
        raise SonopaintError(f"{path} is {length:.3f} s long; it can't be read from {start_s:g} s.")
    if duration_s is None:
        return start, total - start
    count = round(duration_s * sound.sample_rate)
    if count <= 0:
        raise SonopaintError(f"A duration of {duration_s:g} s is too short; give at least one sample.")
    return start, min(count, total - start)


def _read(sound: Sound, path: str | os.PathLike[str], start: int, count: int) -> Clip:
    """Some of an opened sound as a clip."""
    samples = sound.read(start, count)
    if not len(samples):
        raise SonopaintError(f"{path} is damaged: no samples could be read.")
    values = as_float32(samples)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise SonopaintError(f"{path} has {bad} NaN or infinite samples; repair or re-export it.")
    waveform = torch.from_numpy(np.ascontiguousarray(values.T))
    exact = np.ascontiguousarray(samples.T) if loses(samples, values) else None
    return Clip(waveform, sound.sample_rate, _parse_settings(sound.comment), sound.subtype, exact)


def _warn(sound: Sound, path: str | os.PathLike[str]) -> None:
    if sound.note:
        logger.warning("%s is cut off or damaged: %s.", path, sound.note)


def _parse_settings(comment: str) -> dict[str, Any]:
    """Our settings from a comment tag; anybody else's comment is none of ours."""
    if not comment.lstrip().startswith("{"):
        return {}
    try:
        settings = json.loads(comment)
    except (ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}
