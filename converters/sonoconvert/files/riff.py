"""Chunks of RIFF/WAVE files: the comment tag, of any length, which libsndfile limits; and headers mended."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sonoconvert.errors import SonopaintError
from sonoconvert.files.native import means_a_stream

_MAX_COMMENT_BYTES = 1 << 24
_LOOKED_AT = 1 << 16  # bytes of sound that tell how samples lie in their bytes
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


def append_comment(file: BinaryIO, text: str) -> None:
    """Append a LIST/INFO/ICMT chunk to a finished WAV (libsndfile's own is limited in length)."""
    body = text.encode("ascii") + b"\0"
    body += b"\0" * (len(body) % 2)
    info = b"INFO" + b"ICMT" + struct.pack("<I", len(body)) + body
    file.seek(0, os.SEEK_END)
    if file.tell() % 2:
        file.write(b"\0")
    file.write(b"LIST" + struct.pack("<I", len(info)) + info)
    size = file.tell() - 8
    file.seek(4)
    file.write(struct.pack("<I", size))


def chunks(path: str | os.PathLike[str]) -> Iterator[tuple[bytes, int, int]]:
    """(name, offset, length) of the chunks of a RIFF or RF64 file with sound; nothing for other files.

    The length of an RF64's sound is that of its "ds64" chunk.
    """
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
            return
        long = None
        while len(header := file.read(8)) == 8:
            name, length = header[:4], struct.unpack("<I", header[4:])[0]
            offset = file.tell()
            if name == b"ds64" and head[:4] != b"RIFF":
                file.seek(offset + 8)
                long = int.from_bytes(file.read(8), "little")
            if name == b"data" and long is not None and length == 0xFFFFFFFF:
                length = long
            yield name, offset, length
            file.seek(offset + length + length % 2)


@dataclass
class Mended:
    """What a WAV's header should have been.

    Attributes:
        changes: {where: the bytes that belong there}.
        shift: bits by which its integers are to be shifted up.
        note: what is wrong, as the end of a sentence, or "".
    """

    changes: dict[int, bytes] = field(default_factory=dict)
    shift: int = 0
    note: str = ""


def mended(path: str | os.PathLike[str]) -> Mended:
    """Look at the sizes that a WAV states: of its sound and of its samples.

    Raises:
        SonopaintError: its samples lie in their bytes in no known way.
    """
    result = Mended()
    size = os.stat(path).st_size
    form: tuple[int, bytes] | None = None
    long = 0  # where a length of 64 bits stands
    with open(path, "rb") as file:
        for name, offset, length in chunks(path):
            if name == b"ds64" and length >= 16:
                long = offset + 8
            elif name == b"fmt " and 16 <= length:
                file.seek(offset)
                form = offset, file.read(min(length, 40))
            elif name == b"data":
                if form is not None:
                    file.seek(offset)
                    _mend_width(result, path, *form, file.read(min(_LOOKED_AT, max(size - offset, 0))))
                after = offset + length
                if after < size and not _is_chunk(file, after + length % 2, size):
                    # A recorder that crashed, or more than 4 GB: the sound goes on to the end.
                    if length == 0 or not means_a_stream(length):
                        result.note = f"its header promises {length} bytes of sound; it was read to the end"
                    rest = size - offset
                    if long:
                        result.changes[long] = struct.pack("<Q", rest)
                    else:
                        result.changes[offset - 4] = struct.pack("<I", min(rest, 0xFFFFFFFF))
                break
    return result


def _is_chunk(file: BinaryIO, position: int, size: int) -> bool:
    """Whether a chunk begins here, or next to nothing is left."""
    file.seek(position)
    head = file.read(8)
    if len(head) < 8:
        return True
    plain = head[:4].isascii() and head[:4].decode().isprintable()
    return plain and position + 8 + struct.unpack("<I", head[4:])[0] <= size


def _mend_width(result: Mended, path: str | os.PathLike[str], offset: int, form: bytes, sound: bytes) -> None:
    """Samples whose bytes are more than their bits need: padded below, padded above, or not padded at all."""
    tag, channels, _, _, align, bits = struct.unpack_from("<HHIIHH", form)
    if tag == _EXTENSIBLE and len(form) >= 26:
        tag = struct.unpack_from("<H", form, 24)[0]
    needed = -(-bits // 8)
    if tag not in (_PCM, _FLOAT) or not 0 < channels * needed < 1 << 16 or align == channels * needed:
        return
    width = align // channels
    rows = np.frombuffer(sound[: len(sound) // width * width] if width else b"", np.uint8)
    rows = rows.reshape(-1, width) if width else rows.reshape(0, 1)
    low = high = False
    if tag == _PCM and align % channels == 0 and width > needed and len(rows):
        pad = width - needed
        sign = np.where(rows[:, needed - 1] > 127, 255, 0)[:, None]
        low, high = not rows[:, :pad].any(), bool((rows[:, needed:] == sign).all())
    if (low or high) and width > 4:
        raise SonopaintError(
            f"{Path(path).name} holds its {bits}-bit samples in {width} bytes each, which nothing "
            "here reads; save it as ordinary 16, 24 or 32 bit."
        )
    if low or high:
        result.changes[offset + 14] = struct.pack("<H", 8 * width)
        result.shift = 8 * (width - needed) if high else 0  # where both: zeros are bits of soft sounds
        if tag == _PCM and len(form) >= 26:
            result.changes[offset + 18] = struct.pack("<H", 8 * width)
    else:
        # Packed after all: the block align is what is wrong.
        result.changes[offset + 12] = struct.pack("<H", channels * needed)


def comment(path: str | os.PathLike[str]) -> str:
    """The ICMT text of a WAV, whatever its length."""
    for name, offset, length in chunks(path):
        if name != b"LIST" or length > _MAX_COMMENT_BYTES:
            continue
        with open(path, "rb") as file:
            file.seek(offset)
            body = file.read(length)
        position = 4
        while body[:4] == b"INFO" and position + 8 <= len(body):
            size = struct.unpack("<I", body[position + 4 : position + 8])[0]
            if body[position : position + 4] == b"ICMT":
                text = body[position + 8 : position + 8 + size]
                return text.rstrip(b"\0").decode("utf-8", errors="replace")
            position += 8 + size + size % 2
    return ""
