"""A file as its header should have been: stretches of it and other bytes, read as one file."""

from __future__ import annotations

import io
import os
from pathlib import Path

Part = bytes | tuple[int, int]  # bytes of its own, or (first byte, byte after the last) of the file


class ByteView(io.RawIOBase):
    """A read-only file made of `parts`, one after the other."""

    def __init__(self, path: str | os.PathLike[str], parts: list[Part]) -> None:
        self._file = Path(path).open("rb")
        self._parts = parts
        self._position = 0
        self.size = sum(_length(part) for part in parts)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        done = first = 0
        for part in self._parts:
            length = _length(part)
            inside = self._position - first
            first += length
            if not 0 <= inside < length or done == len(view):
                continue
            count = min(length - inside, len(view) - done)
            if isinstance(part, bytes):
                got = part[inside : inside + count]
            else:
                self._file.seek(part[0] + inside)
                got = self._file.read(count)
            view[done : done + len(got)] = got
            done += len(got)
            self._position += len(got)
        return done

    def close(self) -> None:
        self._file.close()
        super().close()


def patched(path: str | os.PathLike[str], changes: dict[int, bytes]) -> list[Part]:
    """The parts of a file with some bytes replaced: {where: what is there instead}."""
    parts: list[Part] = []
    position = 0
    for where, new in sorted(changes.items()):
        parts += [(position, where), new]
        position = where + len(new)
    return [*parts, (position, os.stat(path).st_size)]


def _length(part: Part) -> int:
    return len(part) if isinstance(part, bytes) else max(part[1] - part[0], 0)
