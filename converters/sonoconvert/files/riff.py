"""Chunks of RIFF/WAVE files: the comment tag, of any length, which libsndfile limits."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

_MAX_COMMENT_BYTES = 1 << 24


def append_comment(path: Path, text: str) -> None:
    """Append a LIST/INFO/ICMT chunk to a finished WAV (libsndfile's own is limited in length)."""
    body = text.encode("ascii") + b"\0"
    body += b"\0" * (len(body) % 2)
    info = b"INFO" + b"ICMT" + struct.pack("<I", len(body)) + body
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        if file.tell() % 2:
            file.write(b"\0")
        file.write(b"LIST" + struct.pack("<I", len(info)) + info)
        size = file.tell() - 8
        file.seek(4)
        file.write(struct.pack("<I", size))


def chunks(path: str | os.PathLike[str]) -> Iterator[tuple[bytes, int, int]]:
    """(name, offset, length) of a RIFF/WAVE file's chunks; nothing for other files."""
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return
        while len(header := file.read(8)) == 8:
            length = struct.unpack("<I", header[4:])[0]
            offset = file.tell()
            yield header[:4], offset, length
            file.seek(offset + length + length % 2)


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
