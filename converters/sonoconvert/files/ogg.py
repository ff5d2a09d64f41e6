"""The links of an Ogg file: streams behind each other, as radio recorders and `cat` leave them (RFC 3533)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BEGIN, _END = 2, 4  # flags of a page's header
_WINDOW = 1 << 16  # the longest page has 65 307 bytes


@dataclass(frozen=True)
class Links:
    """Where each link lies, [(first byte, byte after the last)], and whether the last one has its end."""

    spans: list[tuple[int, int]]
    complete: bool


def find_links(path: str | os.PathLike[str]) -> Links | None:
    """Walk the pages of an Ogg file; None for other files."""
    size = os.stat(path).st_size
    starts: list[int] = []
    opened: set[bytes] = set()  # streams that were begun and have not ended
    heading = complete = False  # among the first pages of a link, of which there may be several streams
    position = 0
    with Path(path).open("rb") as file:
        if file.read(4) != b"OggS":
            return None
        while position < size:
            file.seek(position)
            head = file.read(27)
            if len(head) < 27 or head[:4] != b"OggS":
                position = _next_page(file, position + 1, size)
                continue
            table = file.read(head[26])
            end = position + 27 + head[26] + sum(table)
            flags, serial = head[5], head[14:18]
            if flags & _BEGIN:
                if not heading:
                    starts.append(position)
                opened.add(serial)
            heading = bool(flags & _BEGIN)
            if end > size:
                complete = False
                break
            if flags & _END:
                opened.discard(serial)
            complete = not opened
            position = end
    ends = [*starts[1:], size] if starts else []  # damage may have taken the only beginning
    return Links([*zip(starts, ends, strict=True)], complete)


def _next_page(file: BinaryIO, position: int, size: int) -> int:
    """Where the next page begins after damaged bytes; the file's size if there is none."""
    while position < size:
        file.seek(position)
        found = file.read(_WINDOW).find(b"OggS")
        if found >= 0:
            return position + found
        position += _WINDOW - 3
    return size
