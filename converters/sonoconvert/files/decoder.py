"""What phones, browsers and players record (M4A, MP4, WebM, AMR, WMA …), through PyAV or the FFmpeg program.

Neither is forced on a host: where both are missing, one sentence says what the file is and what helps.
"""

from __future__ import annotations

import functools
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from sonoconvert.errors import SonopaintError
from sonoconvert.files.native import Native, Opened, Sound

logger = logging.getLogger(__name__)

# Containers of sound and nothing that refers to other files or addresses (playlists, HLS, DASH, concat).
_DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,amr,amrnb,amrwb,asf,ogg,flac,mp3,wav,w64,aiff,caf,au,voc,avi,"
    "mpegts,mpeg,wv,tta,ape,ac3,eac3,dts,tak,mpc,mpc8,oma,spx,gsm"
)
_OPTIONS = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file,pipe,fd"}
_INDEX_S = 5.0  # between places from which reading can begin
_PREROLL_S = 1.0  # decoded and dropped before a part: decoders need what came before
_LONGEST_LOSS_S = 10.0  # of silence for what can't be decoded
_LAST_PACKET = 4096  # samples that the padding of an encoder's last packet has at most
_NO_MORE = (np.zeros(0), None)
_REMEDY = "install PyAV (pip install av) or FFmpeg, or convert it to WAV first"


def decoded(path: Path, unread: str) -> Sound:
    """Open what libsndfile doesn't read; `unread` is the beginning of the sentence where nothing reads it.

    Raises:
        SonopaintError: not a sound, without a sound track, damaged, or no decoder is installed.
    """
    what, av = kind(path), _pyav()
    if av is None:
        return _by_program(path, what, unread)
    try:
        return _Decoded(path)
    except SonopaintError:
        raise
    except Exception as error:  # noqa: BLE001 - FFmpeg's errors, and what PyAV lacks in a damaged file
        if what:
            raise SonopaintError(f"{path} is {what}, but damaged; save it again.") from error
        raise SonopaintError(f"{unread}; give a WAV, FLAC, OGG, MP3, M4A or WebM file.") from error


def _pyav() -> Any:
    """PyAV, or None where it is missing or its libraries don't fit this machine."""
    try:
        import av
    except (ImportError, OSError):
        return None
    return av


def kind(path: Path) -> str:
    """What a file is that libsndfile may not read, by its first bytes; "" where they say nothing."""
    with path.open("rb") as file:
        head = file.read(64)
    if head[4:8] == b"ftyp":
        brand = head[8:11]
        names = {b"M4A": "M4A (AAC or ALAC)", b"3gp": "3GP", b"qt ": "a QuickTime film"}
        return names.get(brand, "MP4")
    if head[:4] == b"\x1aE\xdf\xa3":
        return "WebM" if b"webm" in head else "Matroska"
    if head[:2] in (b"\xff\xf1", b"\xff\xf9"):
        return "AAC"
    if head[:4] == b"OggS":
        return "Opus" if b"OpusHead" in head else "Ogg"
    starts = {
        b"#!AMR": "AMR",
        b"0&\xb2u": "WMA",
        b"wvpk": "WavPack",
        b"MAC ": "Monkey's Audio",
        b"TTA1": "TTA",
    }
    starts |= {b"caff": "CAF", b"fLaC": "FLAC"}
    return next((name for start, name in starts.items() if head.startswith(start)), "")


@dataclass
class _Facts:
    """What one pass over a file told.

    Attributes:
        frames: all of them, less the delays of the encoder.
        index: [(time stamp of a decoded frame, its first sample)], for reading parts.
    """

    codec: str = ""
    container: str = ""
    form: str = ""
    sample_rate: int = 0
    channels: int = 0
    frames: int = 0
    comment: str = ""
    note: str = ""
    wide: bool = False  # more than 24 bits
    index: list[tuple[int, int]] = field(default_factory=list)


class _Decoded:
    """A sound that PyAV decodes: from front to back, or from an indexed place on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        status = path.stat()
        facts = _facts(os.fsencode(path), status.st_size, status.st_mtime_ns)
        self._facts = facts
        self.container, self.comment, self.note = facts.container, facts.comment, facts.note
        self.sample_rate, self.channels, self.frames = facts.sample_rate, facts.channels, facts.frames
        kinds = {
            "u8": "PCM_U8",
            "s16": "PCM_16",
            "s32": "PCM_32" if facts.wide else "PCM_24",
            "dbl": "DOUBLE",
        }
        self.subtype = kinds.get(facts.form, "FLOAT" if facts.codec == "PCM_F32LE" else facts.codec)
        self._dtype = "int32" if facts.wide else "float64" if facts.form == "dbl" else "float32"
        self._blocks: Iterator[tuple[np.ndarray, int | None]] = iter(())
        self._pending = np.zeros((0, self.channels), self._dtype)
        self._position = -1
        self._stream: _Stream | None = None

    def read(self, start: int, count: int) -> np.ndarray:
        count = min(count, self.frames - start)
        if count <= 0:
            return np.zeros((0, self.channels), self._dtype)
        if not 0 <= start - self._position < 3 * _INDEX_S * self.sample_rate or self._position < 0:
            self._seek(start)
        parts: list[np.ndarray] = []
        done = 0
        while done < count:
            if not len(self._pending):
                block, _ = next(self._blocks, _NO_MORE)
                if not block.size:
                    break
                self._pending = self._converted(block)
            skipped = min(max(start - self._position, 0), len(self._pending))
            taken = self._pending[skipped : skipped + count - done]
            self._pending = self._pending[skipped + len(taken) :]
            self._position += skipped + len(taken)
            if len(taken):
                parts.append(taken)
                done += len(taken)
        return np.concatenate(parts) if parts else np.zeros((0, self.channels), self._dtype)

    def _seek(self, start: int) -> None:
        self.close()
        self._stream = _Stream(self._path)
        self._pending = self._pending[:0]
        wanted = start - round(_PREROLL_S * self.sample_rate)
        place = next((x for x in reversed(self._facts.index) if x[1] <= wanted), None)
        if place is not None and self._stream.seek(place[0]):
            self._blocks = self._stream.blocks()
            for block, stamp in self._blocks:
                if stamp == place[0]:
                    self._pending, self._position = self._converted(block), place[1]
                    return
                if stamp is None or stamp > place[0]:
                    break
            self.close()
            self._stream = _Stream(self._path)
        self._blocks, self._position = self._stream.blocks(), 0

    def _converted(self, block: np.ndarray) -> np.ndarray:
        if block.dtype == np.int16:
            return block.astype(np.float32) / np.float32(1 << 15)
        if block.dtype == np.uint8:
            return (block.astype(np.float32) - 128) / 128
        if block.dtype == np.int32 and not self._facts.wide:
            return (block / 2.0**31).astype(np.float32)
        return block

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._position = -1


class _Stream:
    """The first sound track of a file, opened by PyAV without naming the file to FFmpeg."""

    def __init__(self, path: Path) -> None:
        av = self._av = _pyav()
        self._file = path.open("rb")
        try:
            self.container = av.open(self._file, options=dict(_OPTIONS), metadata_errors="replace")
        except (av.error.FFmpegError, OSError, ValueError):
            self._file.close()
            raise
        if not self.container.streams.audio:
            self.close()
            raise SonopaintError(f"{path} has no sound track; give a file with sound.")
        self.track = self.container.streams.audio[0]
        if self.track.codec_context is None:
            self.close()
            raise SonopaintError(
                f"{path} holds sound of a kind that nothing here decodes; convert it to WAV."
            )
        self.note = ""

    def seek(self, stamp: int) -> bool:
        try:
            self.container.seek(stamp, stream=self.track, backward=True)
        except (self._av.error.FFmpegError, OSError):
            return False
        return True

    def blocks(self) -> Iterator[tuple[np.ndarray, int | None]]:
        """(samples [frames, channels] as they were decoded, time stamp); silence for what is damaged."""
        shape: tuple[int, int, str] | None = None
        due = 0  # when the next frame begins, in samples
        lost = False
        packets = self.container.demux(self.track)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (self._av.error.FFmpegError, OSError, ValueError):
                self.note = "its end is missing"
                return
            try:
                frames = packet.decode()
            except (self._av.error.FFmpegError, ValueError):
                frames = []
            lost = lost or not frames
            for frame in frames:
                own = frame.sample_rate, frame.layout.nb_channels, frame.format.name.rstrip("p")
                if own != (shape or own) or own[2] not in _NUMBERS:
                    self.note = "its rate, channels or samples change within it; what follows was left out"
                    return
                now = due if frame.pts is None else round(frame.pts * frame.time_base * own[0])
                if lost and shape and 0 < now - due < _LONGEST_LOSS_S * own[0]:
                    self.note = "some of it is damaged and became silence"
                    yield np.zeros((now - due, own[1]), _NUMBERS[own[2]]), None
                lost, shape, due = False, own, now + frame.samples
                data = frame.to_ndarray()
                yield (data.T if frame.format.is_planar else data.reshape(-1, own[1])), frame.pts

    def close(self) -> None:
        self.container.close()
        self._file.close()


_NUMBERS = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "flt": np.float32, "dbl": np.float64}


@functools.lru_cache(maxsize=64)
def _facts(path: bytes, size: int, modified: int) -> _Facts:
    """Decode a file once, holding nothing: containers are wrong about lengths (WebM mostly says none)."""
    stream = _Stream(Path(os.fsdecode(path)))
    facts = _Facts()
    try:
        last = -(10**9)
        for block, stamp in stream.blocks():
            if stamp is not None and facts.frames - last >= _INDEX_S * max(facts.sample_rate, 1):
                facts.index.append((stamp, facts.frames))
                last = facts.frames
            if not facts.sample_rate:
                context = stream.track.codec_context
                facts.sample_rate, facts.channels = context.sample_rate, block.shape[1]
                facts.form = next(name for name, kind in _NUMBERS.items() if kind == block.dtype)
            facts.frames += len(block)
            facts.wide = facts.wide or (block.dtype == np.int32 and bool((block & 0xFF).any()))
        facts.codec = stream.track.codec_context.name.upper()
        facts.container = stream.container.format.name.split(",")[0].upper()
        facts.comment = stream.container.metadata.get("comment", "")
        facts.note = stream.note
        _compare(facts, stream.track)
    finally:
        stream.close()
    return facts


def _compare(facts: _Facts, track: Any) -> None:
    """Use the length that the container states: what is beyond it is padding, what lacks is lost."""
    if not track.duration or not track.time_base:
        return
    told = round(track.duration * track.time_base * facts.sample_rate)
    if facts.codec.startswith("PCM") and track.frames > told:  # a CAF's duration is that of the packets found
        told = track.frames
    if 0 < facts.frames - told <= _LAST_PACKET:
        facts.frames = told
    elif facts.frames < 0.99 * told and not facts.note:
        facts.note = f"{facts.frames} of {told} samples are there"


class _Made:
    """A sound that the FFmpeg program wrote into a folder of its own."""

    def __init__(self, folder: tempfile.TemporaryDirectory[str], path: str, what: str) -> None:
        self._folder = folder
        self._sound = Native(lambda: Opened(path))
        self.container, self.subtype = what, "FLOAT"
        self.sample_rate, self.channels = self._sound.sample_rate, self._sound.channels
        self.frames, self.comment, self.note = self._sound.frames, "", ""

    def read(self, start: int, count: int) -> np.ndarray:
        return self._sound.read(start, count)

    def close(self) -> None:
        self._sound.close()
        self._folder.cleanup()


def _by_program(path: Path, what: str, unread: str) -> Sound:
    program = shutil.which("ffmpeg")
    if program is None:
        if what:
            raise SonopaintError(f"{path} is {what}, which needs a decoder: {_REMEDY}.")
        raise SonopaintError(f"{unread}; give a WAV, FLAC, OGG or MP3 file.")
    folder = tempfile.TemporaryDirectory(prefix="sonopaint-")
    made = os.path.join(folder.name, "sound.w64")
    options = [text for name, value in _OPTIONS.items() for text in (f"-{name}", value)]
    command: list[Any] = [program, "-nostdin", "-v", "error", *options, "-i", b"file:" + os.fsencode(path)]
    command += ["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "w64", made]
    try:
        answer = subprocess.run(command, capture_output=True)
        if answer.returncode == 0:
            return _Made(folder, made, what or "FFMPEG")
    except (OSError, soundfile.LibsndfileError) as error:
        folder.cleanup()
        raise SonopaintError(f"{unread}; FFmpeg can't be used either ({error}).") from error
    folder.cleanup()
    lines = answer.stderr.decode(errors="replace").strip().splitlines()
    words = lines[-1].split(": ")[-1] if lines else "no reason given"
    raise SonopaintError(f"{unread}; FFmpeg can't read it either ({words}).")
