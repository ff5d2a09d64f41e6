"""Sound files as libsndfile reads them, with what it believes too readily looked at."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import IO, Protocol

import numpy as np
import soundfile

from sonoconvert.files.samples import read_as

_BLOCK_FRAMES = 1 << 16
_PREROLL = {"MP3": 20 * 1152}  # frames that are read before a part: a frame's bits lie in earlier ones too
_UNTOUCHED = 0xFD  # in each byte: a number that no decoder makes


class Sound(Protocol):
    """An opened sound.

    Attributes:
        container, subtype: libsndfile's names, or the codec's own in capitals.
        frames: how many can be read, counted where the header can't be trusted.
        note: what is wrong with the file, as the end of a sentence ("… of its sound is missing"), or "".
    """

    container: str
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    comment: str
    note: str

    def read(self, start: int, count: int) -> np.ndarray:
        """Frames `start` … `start + count` as [frames, channels]; fewer where the sound ends."""

    def close(self) -> None: ...


class Opened(soundfile.SoundFile):
    """soundfile seeks to where it is after each read, which makes MP3 decoders begin anew; not this one."""

    def seekable(self) -> bool:
        return False

    def sought(self) -> bool:
        """Whether it can be."""
        return bool(super().seekable())


Opener = Callable[[], Opened]


class Native:
    """A sound that libsndfile reads.

    Args:
        opener: opens it, again after an error.
        shift: bits by which its integers are to be shifted up.
        block: frames of one block of the codec: after a damaged one, reading goes on at the next.
    """

    def __init__(self, opener: Opener, *, shift: int = 0, block: int = 0, frames: int | None = None) -> None:
        self._opener = opener
        self._file = opener()
        self._shift, self._block = shift, block
        self._position = 0
        self._seekable = self._file.sought()
        self._preroll = _PREROLL.get(self._file.format, 0)
        self._broken = False  # after an error a decoder is not to be used further
        self._reason = ""
        self.container, self.subtype = self._file.format, self._file.subtype
        self.sample_rate, self.channels = self._file.samplerate, self._file.channels
        self.frames = self._file.frames if frames is None else frames
        self.comment = self._file.comment
        self.note = _cut(self._file.extra_info, self.frames)
        self._dtype = "int32" if shift else read_as(self.subtype)

    def close(self) -> None:
        self._file.close()

    def read(self, start: int, count: int) -> np.ndarray:
        parts: list[np.ndarray] = []
        done = 0
        while done < count:
            block = self._some(start + done, min(count - done, _BLOCK_FRAMES))
            if not len(block):
                break
            parts.append(block)
            done += len(block)
        if not parts:
            return np.zeros((0, self.channels), self._dtype)
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def check(self) -> None:
        """Count the frames where the last one that the header promises can't be read.

        A header may promise far more than there is (encoders that write into a pipe don't know), and the
        lost rest is told in `note`.
        """
        told = self.frames
        if told <= 0 or (self._seekable and self._go_to(told - 1) and len(self._block_here(1))):
            self._broken = bool(self._preroll)  # decoded from the beginning, as nobody had sought
            return
        self.count()
        if self.frames < told < 1 << 62:
            reason = f" ({self._reason})" if self._reason else ""
            self.note = f"{self.frames} of {told} samples are there{reason}"

    def count(self) -> None:
        """Read from beginning to end; what comes is what there is."""
        self.frames, end = 1 << 62, 0
        while got := len(self._some(end, _BLOCK_FRAMES)):
            end += got
        self.frames = end

    def _some(self, start: int, count: int) -> np.ndarray:
        """At least one frame from `start` on, if there is one."""
        count = min(count, self.frames - start)
        if count > 0 and (self._go_to(start) or self._go_to(start, by_reading=True)):
            block = self._block_here(count)
            if len(block):
                return block
        return self._behind_hole(start, count)

    def _block_here(self, count: int) -> np.ndarray:
        """At most `count` frames from where the file stands; nothing at a damaged place or at the end."""
        block = np.empty((count, self.channels), self._dtype)
        bits = block.view(np.uint8)
        bits[:] = _UNTOUCHED
        try:
            got = len(self._file.read(out=block))
        except soundfile.LibsndfileError as error:
            # What came before the error is there all the same.
            self._reason = reason(error)
            touched = (bits != _UNTOUCHED).any(axis=1)
            got = count - int(touched[::-1].argmax()) if touched.any() else 0
            self._broken = True
        self._position += got
        block = block[:got]
        return block << self._shift if self._shift else block

    def _behind_hole(self, start: int, count: int) -> np.ndarray:
        """Silence for a damaged block, if there is sound behind it."""
        ahead = self._block
        while count > 0 and self._block and ahead < 64 * self._block:
            after = start // self._block * self._block + ahead
            if after >= min(self.frames, self._file.frames):
                break
            if self._go_to(after) and len(self._block_here(1)):
                place = f"damaged at {start / self.sample_rate:.3f} s; what is lost there became silence"
                self.note = self.note or place
                return np.zeros((min(after - start, count), self.channels), self._dtype)
            ahead += self._block if ahead < 16 * self._block else ahead
        return np.zeros((0, self.channels), self._dtype)

    def _go_to(self, start: int, *, by_reading: bool = False) -> bool:
        """Whether the file now stands at `start`: by seeking, or by reading up to it."""
        if self._broken or (by_reading and start < self._position):
            self._file.close()
            self._file = self._opener()
            self._position, self._broken = 0, False
        if start != self._position and self._seekable and not by_reading:
            try:
                place = max(start - self._preroll, 0)
                self._file.seek(place)
                self._position = place
            except soundfile.LibsndfileError as error:
                self._reason = reason(error)
                self._broken = True
        if by_reading or self._preroll:
            while (left := start - self._position) > 0 and len(self._block_here(min(left, _BLOCK_FRAMES))):
                pass
        return start == self._position and not self._broken


class Chain:
    """Sounds of one rate and number of channels, one after the other."""

    def __init__(self, links: list[Native], note: str = "") -> None:
        first = links[0]
        self.container, self.subtype = first.container, first.subtype
        self.sample_rate, self.channels, self.comment = first.sample_rate, first.channels, first.comment
        self.frames = sum(link.frames for link in links)
        self.note = note
        self._links = links

    def read(self, start: int, count: int) -> np.ndarray:
        parts, first = [], 0
        for link in self._links:
            begin, end = max(start - first, 0), min(start + count - first, link.frames)
            if begin < end:
                parts.append(link.read(begin, end - begin))
            first += link.frames
        return np.concatenate(parts) if parts else self._links[0].read(0, 0)

    def close(self) -> None:
        for link in self._links:
            link.close()


# Lines of libsndfile's log in which a chunk's length is more than the file has.
_LENGTHS = re.compile(
    r"^\s*(?:data|SSND|BODY|Data Size|Data length|riff)\s*:?\s*(\d+)\s*\(?should be (\d+)", re.MULTILINE
)
_FRAMES = re.compile(r"^\s*Frames\s*:\s*(\d+)", re.MULTILINE)


def _cut(log: str, frames: int) -> str:
    """What of the sound is missing, from libsndfile's log: it shortens files that were cut without a word."""
    for match in _LENGTHS.finditer(log):
        told, there = int(match[1]), int(match[2])
        if told > there and not means_a_stream(told):
            return f"{100 * (1 - there / told):.0f} % of its sound is missing"
    told = max((int(text) for text in _FRAMES.findall(log)), default=0)
    if frames < told < 1 << 40 and not means_a_stream(told):
        return f"{100 * (1 - frames / told):.0f} % of its sound is missing"
    return "the end of its sound is missing" if "truncated" in log else ""


def means_a_stream(length: int) -> bool:
    """Whether a length says "not known": all of 32 or 31 bits set, or nearly (less a header)."""
    near = (length + (1 << 16)) % (1 << 31) < 1 << 17
    return (near and length >= 1 << 30) or length >= 1 << 62


def reason(error: Exception) -> str:
    """libsndfile's words for an error."""
    return (getattr(error, "error_string", None) or str(error)).strip().rstrip(".")


def flac_info(file: IO[bytes] | io.RawIOBase) -> tuple[int, int] | None:
    """(largest block, total frames) of a FLAC file that begins here; None for other files."""
    head = file.read(26) or b""
    if len(head) < 26 or head[:4] != b"fLaC" or head[4] & 0x7F:
        return None
    return int.from_bytes(head[10:12], "big"), int.from_bytes(head[18:26], "big") & ((1 << 36) - 1)
