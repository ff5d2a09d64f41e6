"""Writing sound files: in the sound's own type, watched while it is written, verified before it counts."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files import riff
from sonoconvert.files.atomic import atomic_path
from sonoconvert.files.native import Native, Opened, reason
from sonoconvert.files.samples import INTEGER_BITS, LOSSY, holding, quantised

logger = logging.getLogger(__name__)

_BLOCK_FRAMES = 1 << 18
_WRITABLE = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".oga": "OGG", ".mp3": "MP3"}
# RIFF sizes are 32 bit; larger WAVs are written as RF64.
_MAX_RIFF_BYTES = (1 << 32) - (1 << 20)


class Write(Protocol):
    def __call__(self, waveform: torch.Tensor, exact: np.ndarray | None = None) -> None:
        """Write float32 [channels, n]; `exact` as in Clip."""


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
) -> Iterator[Write]:
    """`write_clip` for sounds that are too long to be held: yields a function that takes [channels, n].

    The new file takes the place of an old one only when all of it is on the disk, as long as it should be,
    and can be read to its end.

    Args:
        num_samples: about how many will come (WAVs beyond 4 GB need another header).
        own: the subtype of the source, kept where the format can hold it.
    """
    target = Path(path)
    container = _WRITABLE.get(target.suffix.lower())
    if container is None:
        raise SonopaintError(
            f"Can't write {target.name} as a sound: the suffix must be .wav, .flac, .ogg or .mp3."
        )
    chosen, holds = _asked(container, subtype) if subtype is not None else holding(container, own)
    width = INTEGER_BITS.get(chosen, 64 if chosen == "DOUBLE" else 32) // 8
    if container == "WAV" and num_samples * num_channels * width > _MAX_RIFF_BYTES:
        container = "RF64"
    comment = json.dumps(settings) if settings else ""
    with atomic_path(target, force=force) as beside:
        with beside.open("w+b") as raw:
            watched = _Watched(raw)
            try:
                file = soundfile.SoundFile(
                    watched, "w", sample_rate, num_channels, format=container, subtype=chosen
                )
            except (soundfile.LibsndfileError, ValueError) as error:
                watched.check()
                raise SonopaintError(
                    f"{target.name} can't be written as {container} {chosen} with {num_channels} channels "
                    f"at {sample_rate} Hz ({reason(error)}); try .wav."
                ) from error
            loudest, written = 0.0, 0
            try:
                if comment and container != "WAV":
                    file.comment = comment

                def write(waveform: torch.Tensor, exact: np.ndarray | None = None) -> None:
                    nonlocal loudest, written
                    loudest = max(loudest, float(waveform.abs().max()))
                    for first in range(0, waveform.shape[1], _BLOCK_FRAMES):
                        part = slice(first, first + _BLOCK_FRAMES)
                        samples = np.ascontiguousarray(waveform[:, part].detach().cpu().numpy().T)
                        if not np.isfinite(samples).all():
                            raise SonopaintError(
                                f"The sound for {target.name} has NaN or infinite samples; it was not "
                                "written."
                            )
                        theirs = None if exact is None else exact[:, part].T
                        try:
                            file.write(quantised(samples, chosen, theirs))
                        except (soundfile.LibsndfileError, AssertionError) as error:
                            watched.check()
                            raise SonopaintError(f"{target} can't be written ({reason(error)}).") from error
                        watched.check()
                    written += waveform.shape[1]

                yield write
            finally:
                _close(file)
            watched.check()
            if comment and container == "WAV":
                riff.append_comment(raw, comment)
        _verify(beside, target, written)
        _say(target, container, chosen, own if subtype is None else None, holds, loudest)


def _asked(container: str, asked: str) -> tuple[str, bool]:
    name = {"16": "PCM_16", "24": "PCM_24", "FLOAT": "FLOAT"}.get(asked.upper(), asked.upper())
    if not soundfile.check_format(container, name):
        known = ", ".join(soundfile.available_subtypes(container))
        raise SonopaintError(f"{container} can't hold samples of type {asked!r}; use one of {known}.")
    return name, True


def _close(file: soundfile.SoundFile) -> None:
    try:
        file.close()
    except soundfile.LibsndfileError as error:  # what matters is in the file, or not: see _verify
        logger.debug("closing: %s", reason(error))


def _verify(beside: Path, target: Path, written: int) -> None:
    """Raise a SonopaintError if the new file is not as long as it should be, or can't be read at its end."""
    try:
        new = Native(lambda: Opened(os.fsencode(beside) if os.name == "posix" else str(beside)))
        with_end = len(new.read(max(written - 1, 0), 1)) == min(written, 1) and new.frames == written
        new.close()
    except soundfile.LibsndfileError:
        with_end = False
    if not with_end:
        raise SonopaintError(
            f"{target} was not written: what reached the disk can't be read again; look at the disk."
        )


def _say(target: Path, container: str, chosen: str, own: str | None, holds: bool, loudest: float) -> None:
    """What changed on the way into the file, as warnings."""
    bits = INTEGER_BITS.get(chosen)
    if bits is not None and loudest > 1.0 + 2.0 ** (1 - bits):
        logger.warning("Samples beyond full scale were clipped; write FLOAT to keep them.")
    if not holds and chosen in LOSSY.values():
        logger.warning(
            "%s is coded with %s, which changes every sample a little; write .wav to keep what was not "
            "painted as it is.",
            target.name,
            "Vorbis" if chosen == "VORBIS" else "MP3",
        )
    elif not holds:
        logger.warning(
            "%s can't hold all of the %s samples of its source, they were rounded to %s bits; write .wav to "
            "keep them as they are.",
            target.name,
            own,
            bits,
        )
    elif own is not None and chosen != own and soundfile.check_format(container, own):
        logger.warning(
            "%s is written as %s: coding it as %s anew would change every sample.", target.name, chosen, own
        )


class _Watched(io.RawIOBase):
    """A file whose failed writes are remembered: libsndfile's encoders pass over those at their end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._failed: OSError | None = None

    def check(self) -> None:
        if self._failed is not None:
            raise self._failed

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self._failed = self._failed or error
            return 0

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            self._failed = self._failed or error
            return 0

    def tell(self) -> int:
        try:
            return self._file.tell()
        except OSError as error:
            self._failed = self._failed or error
            return 0
