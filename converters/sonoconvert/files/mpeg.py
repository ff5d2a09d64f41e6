"""The frames of an MP3 file, counted: libsndfile believes the Xing header, or guesses from the first frame.

Sources: ISO/IEC 11172-3 and 13818-3 (headers), http://gabriel.mp3-tech.org/mp3infotag.html (Xing).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sonoconvert.files.byte_view import Part

_BITRATES = {  # kbit/s by (MPEG-1, layer)
    (True, 1): [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    (True, 2): [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    (True, 3): [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    (False, 1): [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    (False, 2): [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    (False, 3): [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
}
_RATES = {3: [44100, 48000, 32000], 2: [22050, 24000, 16000], 0: [11025, 12000, 8000]}  # by version bits
_HAS_COUNT = 1  # flag of a Xing header


@dataclass(frozen=True)
class _Header:
    length: int  # bytes of the frame
    kind: tuple[int, int, int]  # version, layer and rate: the same in all frames of a stream
    side: int  # where a Xing header would lie


def _header(data: bytes) -> _Header | None:
    """The header of a frame at the beginning of `data`, or None."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3)
    bitrate, rate, padding = data[2] >> 4, data[2] >> 2 & 3, data[2] >> 1 & 1
    if version == 1 or layer == 4 or not 0 < bitrate < 15 or rate == 3:
        return None  # reserved, or a free bit rate
    kbits = _BITRATES[version == 3, layer][bitrate - 1]
    hertz = _RATES[version][rate]
    if layer == 1:
        length = (12000 * kbits // hertz + padding) * 4
    else:
        length = (72000 if layer == 3 and version != 3 else 144000) * kbits // hertz + padding
    mono = data[3] >> 6 == 3
    side = 4 + {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}[version == 3, mono]
    return _Header(length, (version, layer, rate), side)


@dataclass(frozen=True)
class Mended:
    """An MP3 file as it should have been: its parts, and what is wrong with it (a sentence's end, or "")."""

    parts: list[Part]
    note: str


def mended(path: str | os.PathLike[str]) -> Mended | None:
    """The file with a header that says the right number of frames; None where all is right as it is.

    Also None for files that are no MP3, or have a free bit rate.
    """
    size = os.stat(path).st_size
    with Path(path).open("rb") as file:
        begin = _after_id3(file)
        first = _find(file, begin, size)
        if first is None:
            return None
        begin, head = first
        file.seek(begin)
        frame = file.read(head.length)
        own = frame[head.side : head.side + 4] in (b"Xing", b"Info")
        if head.kind[1] != 3 or frame[36:40] == b"VBRI":
            return None
        count, runs = _walk(file, begin + head.length, size, head.kind)
    note = "some of its frames are damaged" if len(runs) > 1 else ""
    counted = own and int.from_bytes(frame[head.side + 4 : head.side + 8], "big") & _HAS_COUNT
    place = head.side + 8
    if counted:
        told = int.from_bytes(frame[place : place + 4], "big")
        if told == count and not note:
            return None
        if told > count:
            note = note or f"{count} of {told} frames are there"
        frame = frame[:place] + struct.pack(">I", count) + frame[place + 4 :]
    else:
        if not own:  # the first frame is sound
            count, runs = count + 1, [(begin, begin + head.length), *runs]
        frame = _xing(frame, head, count)
    return Mended([frame, *runs], note)


def _after_id3(file: BinaryIO) -> int:
    begin, data = 0, file.read(10)
    while data[:3] == b"ID3" and len(data) == 10:
        begin += 10 + sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(data[6:10]))
        file.seek(begin)
        data = file.read(10)
    return begin


def _xing(like: bytes, head: _Header, count: int) -> bytes:
    """A frame of silence that says how many frames follow."""
    made = bytearray(like[:4])
    made[1] |= 1  # no check sum
    longer = _header(bytes(made))
    if longer is None or longer.length < head.side + 12:  # no room: one of the highest bit rate
        made[2] = made[2] & 0x0F | 0xE0
        longer = _header(bytes(made))
    assert longer is not None
    made += bytes(longer.length - 4)
    made[head.side : head.side + 12] = b"Xing" + struct.pack(">II", _HAS_COUNT, count)
    return bytes(made)


def _find(
    file: BinaryIO, position: int, size: int, kind: tuple[int, int, int] | None = None
) -> tuple[int, _Header] | None:
    """(where, header) of the next frame that another one of its kind follows, or that ends the file."""
    reach = min(size, position + (1 << 20))  # what is no sound for longer than this is no MP3
    while position < reach:
        file.seek(position)
        data = file.read(1 << 16)
        for at in range(max(len(data) - 3, 0)):
            if data[at] != 0xFF:
                continue
            head = _header(data[at : at + 4])
            if head is None or (kind is not None and head.kind != kind):
                continue
            after = position + at + head.length
            file.seek(after)
            following = _header(file.read(4))
            if (following and following.kind == head.kind) or (after == size and kind is not None):
                return position + at, head
        position += max(len(data) - 3, 1)
    return None


def _walk(
    file: BinaryIO, position: int, size: int, kind: tuple[int, int, int]
) -> tuple[int, list[tuple[int, int]]]:
    """(number, runs of bytes) of the whole frames from `position` to the end, over what is damaged."""
    count, runs, begin = 0, list[tuple[int, int]](), position
    data, start = b"", position
    while position + 4 <= size:
        if position - start + 4 > len(data):
            file.seek(position)
            data, start = file.read(1 << 20), position
        head = _header(data[position - start : position - start + 4])
        if head is not None and head.kind == kind:
            if position + head.length > size:
                break
            count, position = count + 1, position + head.length
            continue
        runs.append((begin, position))
        found = _find(file, position + 1, size, kind)
        if found is None:
            return count, runs
        position = begin = found[0]
    return count, [*runs, (begin, position)]
