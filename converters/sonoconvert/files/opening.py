"""Opening a sound of any kind: what libsndfile reads, mended where it is misled, and what a decoder reads."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import soundfile

from sonoconvert.errors import SonopaintError
from sonoconvert.files import mpeg, ogg, riff
from sonoconvert.files.byte_view import ByteView, Part, patched
from sonoconvert.files.native import Chain, Native, Opened, Opener, Sound, flac_info, reason

# What can be meant: seismometers and bat detectors are within, headers of noise are mostly not.
_RATES = (100, 10_000_000)


@contextmanager
def open_sound(path: str | os.PathLike[str]) -> Iterator[Sound]:
    """Open a sound file.

    Raises:
        SonopaintError: missing, empty, not a sound, without samples, or one that needs a decoder which is
            not installed.
    """
    source = Path(path)
    try:
        status = source.stat()
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise SonopaintError(f"There is no file {source}.") from error
        raise SonopaintError(f"{source} can't be read ({error.strerror}).") from error
    if source.is_dir():
        raise SonopaintError(f"{source} is a folder, not a sound file.")
    if status.st_size == 0:
        raise SonopaintError(f"{source} is empty (0 bytes); give a sound file.")
    sound = _opened(source)
    try:
        if sound.frames <= 0:
            raise SonopaintError(f"{source} has no samples; give a sound with at least one.")
        if not _RATES[0] <= sound.sample_rate <= _RATES[1]:
            raise SonopaintError(
                f"{source} says that its sample rate is {sound.sample_rate} Hz, which can't be right; "
                f"give a sound of {_RATES[0]} Hz to {_RATES[1] // 1_000_000} MHz."
            )
        yield sound
    finally:
        sound.close()


def _opened(path: Path) -> Sound:
    from sonoconvert.files import decoder

    try:
        return _native(path)
    except (soundfile.LibsndfileError, TypeError) as error:
        unread = f"{path} can't be read as a sound ({reason(error)})"
        return decoder.decoded(path, unread)
    except OSError as error:
        raise SonopaintError(f"{path} can't be read ({error.strerror or error}).") from error


def _native(path: Path) -> Sound:
    with path.open("rb") as file:
        head = file.read(12)
    if head[:4] == b"OggS":
        return _ogg(path)
    if head[:4] == b"fLaC":
        return _flac(path)
    if head[8:12] == b"WAVE":
        return _wav(path)
    sound = Native(_opener(path))
    if sound.container == "MP3" and (mended := mpeg.mended(path)):
        sound.close()
        sound = Native(_opener(path, mended.parts))
        sound.note = mended.note
    sound.check()
    return sound


def _wav(path: Path) -> Sound:
    mended = riff.mended(path)
    parts = patched(path, mended.changes) if mended.changes else None
    sound = Native(_opener(path, parts), shift=mended.shift)
    sound.note = mended.note or sound.note
    sound.comment = riff.comment(path) or sound.comment
    sound.check()
    return sound


def _flac(path: Path) -> Sound:
    """A FLAC stream, or several of them behind each other."""
    size = path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        starts = [0]
        # The name, and the header of the first block: STREAMINFO, 34 bytes long.
        while (found := data.find(b"fLaC\x00\x00\x00\x22", starts[-1] + 42)) >= 0:
            starts.append(found)
    links = []
    for start, stop in zip(starts, [*starts[1:], size], strict=True):
        with ByteView(path, [(start, stop)]) as view:
            info = flac_info(view)
        block, told = info or (0, 0)
        link = Native(_opener(path, None if stop - start == size else [(start, stop)]), block=block)
        if told:
            link = _beyond(path, start, stop, told, block) or link
        link.check()
        links.append(link)
    return _joined(path, links)


def _beyond(path: Path, start: int, stop: int, told: int, block: int) -> Native | None:
    """The stream with its length taken out of its header, if there is sound beyond it."""
    with path.open("rb") as file:
        file.seek(start + 21)
        unknown = bytes([file.read(1)[0] & 0xF0]) + bytes(4)
    opener = _opener(path, [(start, start + 21), unknown, (start + 26, stop)])
    endless = Native(opener)  # without a block's size: behind the end it looks for no hole
    there = len(endless.read(told - 1, 2)) == 2
    endless.close()
    return Native(opener, block=block) if there else None


def _ogg(path: Path) -> Sound:
    links = ogg.find_links(path)
    if links is None or not links.spans:
        return Native(_opener(path))
    opened: list[Native] = []
    for span in links.spans:
        whole = span[1] - span[0] == path.stat().st_size
        try:
            link = Native(_opener(path, None if whole else [span]))
        except soundfile.LibsndfileError:
            if len(links.spans) == 1:
                raise
            continue
        link.check()
        if link.frames > 0:
            opened.append(link)
    if not opened:
        raise SonopaintError(f"{path} has no samples; give a sound with at least one.")
    sound = _joined(path, opened, lost=len(links.spans) - len(opened))
    if not links.complete and not sound.note:
        sound.note = "its end is missing"
    return sound


def _joined(path: Path, links: list[Native], lost: int = 0) -> Sound:
    """The links that have the first one's rate and channels as one sound."""
    first = links[0]
    if len(links) == 1 and not lost:
        return first
    alike = [x for x in links if (x.sample_rate, x.channels) == (first.sample_rate, first.channels)]
    lost += len(links) - len(alike)
    for link in links:
        if link not in alike:
            link.close()
    note = f"{lost} of the {len(alike) + lost} streams in it are damaged or of another kind" if lost else ""
    return Chain(alike, note or next((link.note for link in alike if link.note), ""))


def _opener(path: Path, parts: list[Part] | None = None) -> Opener:
    if parts is not None:
        return lambda: Opened(ByteView(path, parts))
    # As bytes: names that are no UTF-8 are names all the same.
    name: Any = os.fsencode(path) if os.name == "posix" else str(path)
    return lambda: Opened(name)
