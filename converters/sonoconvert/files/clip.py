"""Clip: a waveform with its rate and provenance, read from and written to sound files."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files import riff
from sonoconvert.files.atomic import atomic_path

logger = logging.getLogger(__name__)

# 1 GiB of float32: about 50 minutes of CD stereo. Longer files are read in parts.
MAX_SAMPLES = 1 << 28
_BLOCK_FRAMES = 1 << 18
_WRITABLE = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".oga": "OGG"}
_INTEGER_BITS = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}
# RIFF sizes are 32 bit; larger WAVs are written as RF64.
_MAX_RIFF_BYTES = (1 << 32) - (1 << 20)


@dataclass(frozen=True)
class Clip:
    """A piece of sound.

    Attributes:
        waveform: float32 [channels, samples], nominally in [−1, 1].
        sample_rate: Hz.
        settings: how it was made (JSON-able); rides along in the file's tags.
        subtype: soundfile's subtype of the source ("PCM_16" …), kept when written back.
    """

    waveform: torch.Tensor
    sample_rate: int
    settings: dict[str, Any] = field(default_factory=dict)
    subtype: str | None = None

    def __post_init__(self) -> None:
        if self.waveform.ndim != 2 or 0 in self.waveform.shape:
            raise SonopaintError(
                f"A clip needs a waveform of [channels, samples], not {list(self.waveform.shape)}; "
                "give a sound with at least one sample."
            )
        if self.sample_rate <= 0:
            raise SonopaintError(f"A clip's sample rate must be positive, not {self.sample_rate} Hz.")

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
    """Read a sound file (WAV, FLAC, OGG, MP3 and whatever else libsndfile knows), or a part of it.

    Args:
        start_s, duration_s: the part to read, in seconds; default all of it.

    Raises:
        SonopaintError: missing, not a sound, empty, too long to be held, or with NaN or infinite samples.
    """
    with _open(path) as file:
        start, count = _span(file, path, start_s, duration_s)
        if count * file.channels > MAX_SAMPLES:
            hours = count / file.samplerate / 3600
            raise SonopaintError(
                f"{path} is {hours:.1f} hours of {file.channels} channels, too long to be held in memory; "
                "cut out the part that you want first (sonoconvert reads one with --start and --duration)."
            )
        _warn_if_cut(path)
        samples = _read_frames(file, path, start, count)
        return _make_clip(file, samples, path)


def iter_clips(
    path: str | os.PathLike[str], window_s: float, *, start_s: float = 0.0, duration_s: float | None = None
) -> Iterator[Clip]:
    """Read a file of any length as consecutive clips of `window_s` seconds (the last may be shorter)."""
    with _open(path) as file:
        first, count = _span(file, path, start_s, duration_s)
        _warn_if_cut(path)
        window = max(1, min(round(window_s * file.samplerate), MAX_SAMPLES // file.channels))
        for offset in range(0, count, window):
            samples = _read_frames(file, path, first + offset, min(window, count - offset))
            yield _make_clip(file, samples, path)


@dataclass(frozen=True)
class SoundHeader:
    """What a sound file says of itself, without reading its samples."""

    container: str
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    settings: dict[str, Any]


def sound_header(path: str | os.PathLike[str]) -> SoundHeader:
    """Read a sound file's header and our settings."""
    with _open(path) as file:
        _span(file, path, 0.0, None)
        settings = _parse_settings(riff.comment(path) or file.comment)
        return SoundHeader(file.format, file.subtype, file.samplerate, file.channels, file.frames, settings)


def write_clip(
    clip: Clip, path: str | os.PathLike[str], *, subtype: str | None = None, force: bool = False
) -> None:
    """Write a clip as WAV, FLAC or OGG (by suffix), with its settings as JSON in the comment tag.

    Integer formats are rounded to the nearest step of 2^(1−bits) and clipped, so that samples which came
    from such a file go back bit for bit (libsndfile's own conversion would scale by 2^15 − 1).

    Args:
        subtype: soundfile's name (PCM_16, PCM_24, FLOAT, VORBIS …); default the clip's own if the format
            can hold it, else 16 bit PCM (Vorbis for OGG).
        force: replace an existing file.

    Raises:
        SonopaintError: unknown suffix, a subtype that the format can't hold, NaN samples, existing file.
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
        write(clip.waveform)


@contextmanager
def sound_writer(
    path: str | os.PathLike[str],
    sample_rate: int,
    num_channels: int,
    num_samples: int,
    *,
    subtype: str | None = None,
    own: str | None = None,
    settings: Mapping[str, Any] | None = None,
    force: bool = False,
) -> Iterator[Callable[[torch.Tensor], None]]:
    """`write_clip` for sounds that are too long to be held: yields a function that takes [channels, n].

    Args:
        num_samples: about how many will come (WAVs beyond 4 GB need another header).
        own: the subtype of the source, kept where the format can hold it.
    """
    target = Path(path)
    container = _WRITABLE.get(target.suffix.lower())
    if container is None:
        raise SonopaintError(f"Can't write {target.name} as a sound: the suffix must be .wav, .flac or .ogg.")
    chosen = _choose_subtype(container, subtype, own)
    width = _INTEGER_BITS.get(chosen, 64 if chosen == "DOUBLE" else 32) // 8
    if container == "WAV" and num_samples * num_channels * width > _MAX_RIFF_BYTES:
        container = "RF64"
    comment = json.dumps(settings) if settings else ""
    with atomic_path(target, force=force) as beside:
        try:
            file = soundfile.SoundFile(
                beside, "w", sample_rate, num_channels, format=container, subtype=chosen
            )
        except (soundfile.LibsndfileError, ValueError) as error:
            raise SonopaintError(
                f"{target.name} can't be written as {container} {chosen} with {num_channels} channels "
                f"at {sample_rate} Hz ({_reason(error)}); try .wav."
            ) from error
        loudest = 0.0
        with file:
            if comment and container != "WAV":
                file.comment = comment

            def write(waveform: torch.Tensor) -> None:
                nonlocal loudest
                loudest = max(loudest, float(waveform.abs().max()))
                for block in waveform.detach().split(_BLOCK_FRAMES, dim=1):
                    samples = np.ascontiguousarray(block.cpu().numpy().T)
                    if not np.isfinite(samples).all():
                        raise SonopaintError(
                            f"The sound for {target.name} has NaN or infinite samples; it was not written."
                        )
                    try:
                        file.write(_quantise(samples, chosen))
                    except soundfile.LibsndfileError as error:
                        raise SonopaintError(
                            f"{target.name} can't be written ({_reason(error)}); is the disk full?"
                        ) from error

            yield write
        bits = _INTEGER_BITS.get(chosen)
        if bits is not None and loudest > 1.0 + 2.0 ** (1 - bits):
            logger.warning("Samples beyond full scale were clipped; write FLOAT to keep them.")
        if comment and container == "WAV":
            riff.append_comment(beside, comment)


def _choose_subtype(container: str, asked: str | None, own: str | None) -> str:
    if asked is not None:
        name = {"16": "PCM_16", "24": "PCM_24", "FLOAT": "FLOAT"}.get(asked.upper(), asked.upper())
        if not soundfile.check_format(container, name):
            known = ", ".join(soundfile.available_subtypes(container))
            raise SonopaintError(f"{container} can't hold samples of type {asked!r}; use one of {known}.")
        return name
    if own is not None and soundfile.check_format(container, own):
        return own
    return "VORBIS" if container == "OGG" else "PCM_16"


def _quantise(samples: np.ndarray, subtype: str) -> np.ndarray:
    """float32 [frames, channels] → the integers that libsndfile stores without touching them."""
    bits = _INTEGER_BITS.get(subtype)
    if bits is None:
        return samples
    scale = 2.0 ** (bits - 1)
    whole = np.clip(np.round(samples.astype(np.float64) * scale), -scale, scale - 1)
    # libsndfile keeps the upper bits of the integers that it is given.
    return whole.astype(np.int16) << (16 - bits) if bits <= 16 else whole.astype(np.int32) << (32 - bits)


def _open(path: str | os.PathLike[str]) -> soundfile.SoundFile:
    source = Path(path)
    if not source.exists():
        raise SonopaintError(f"There is no file {source}.")
    if source.is_dir():
        raise SonopaintError(f"{source} is a folder, not a sound file.")
    if source.stat().st_size == 0:
        raise SonopaintError(f"{source} is empty (0 bytes); give a sound file.")
    try:
        return soundfile.SoundFile(source)
    except (soundfile.LibsndfileError, TypeError, OSError) as error:
        raise SonopaintError(
            f"{source} can't be read as a sound ({_reason(error)}); give a WAV, FLAC, OGG or MP3 file."
        ) from error


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or str(error)
    return text.strip().rstrip(".")


def _span(
    file: soundfile.SoundFile, path: str | os.PathLike[str], start_s: float, duration_s: float | None
) -> tuple[int, int]:
    """First frame and number of frames to read."""
    total = file.frames
    if total <= 0:
        raise SonopaintError(f"{path} has no samples; give a sound with at least one.")
    if not math.isfinite(start_s) or not math.isfinite(duration_s or 0):
        raise SonopaintError(f"Start {start_s} and duration {duration_s} must be finite numbers of seconds.")
    start = round(start_s * file.samplerate)
    if not 0 <= start < total:
        length = total / file.samplerate
        raise SonopaintError(f"{path} is {length:.3f} s long; it can't be read from {start_s:g} s.")
    if duration_s is None:
        return start, total - start
    count = round(duration_s * file.samplerate)
    if count <= 0:
        raise SonopaintError(f"A duration of {duration_s:g} s is too short; give at least one sample.")
    return start, min(count, total - start)


def _read_frames(
    file: soundfile.SoundFile, path: str | os.PathLike[str], start: int, count: int
) -> np.ndarray:
    """Read float32 [frames, channels] block by block; what a cut file lost is reported, not invented."""
    blocks: list[np.ndarray] = []
    done = 0
    reason = "the file ends early"
    try:
        if start != file.tell():
            file.seek(start)
        while done < count:
            block = file.read(min(_BLOCK_FRAMES, count - done), dtype="float32", always_2d=True)
            if not len(block):
                break
            blocks.append(block)
            done += len(block)
    except soundfile.LibsndfileError as error:
        reason = _reason(error)
    if not done:
        raise SonopaintError(f"{path} is damaged: no samples could be read ({reason}).")
    if done < count:
        logger.warning("%s is cut off: read %d of %d samples (%s).", path, done, count, reason)
    return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def _make_clip(file: soundfile.SoundFile, samples: np.ndarray, path: str | os.PathLike[str]) -> Clip:
    if not np.isfinite(samples).all():
        bad = int((~np.isfinite(samples)).sum())
        raise SonopaintError(f"{path} has {bad} NaN or infinite samples; repair or re-export it.")
    waveform = torch.from_numpy(np.ascontiguousarray(samples.T))
    return Clip(waveform, file.samplerate, _parse_settings(riff.comment(path) or file.comment), file.subtype)


def _parse_settings(comment: str) -> dict[str, Any]:
    """Our settings from a comment tag; anybody else's comment is none of ours."""
    if not comment.lstrip().startswith("{"):
        return {}
    try:
        settings = json.loads(comment)
    except (json.JSONDecodeError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _warn_if_cut(path: str | os.PathLike[str]) -> None:
    """libsndfile silently shortens a WAV whose data chunk promises more bytes than the file has."""
    size = os.stat(path).st_size
    for name, offset, length in riff.chunks(path):
        # Streams of unknown length are written with 0 or 0xFFFFFFFF.
        if name == b"data" and length < 0xFFFFFFF0 and offset + length > size:
            lost = 100 * (1 - (size - offset) / length)
            logger.warning("%s is cut off: %.0f %% of its sound is missing.", path, lost)
