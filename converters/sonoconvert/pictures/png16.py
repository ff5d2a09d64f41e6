"""16-bit RGB PNGs, which Pillow reads as 8 bits and can't write (W3C PNG specification, third edition).

Samples are big-endian; each row of bytes is preceded by the number of the filter that predicts it (§ 9).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_BYTES = 6  # of one pixel
_BLOCK_ROWS = 64


def write(path: Path, pixels: np.ndarray, chunks: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Write uint16 [rows, columns, 3]; `chunks` are (name, content) of what stands before the pixels."""
    rows, columns, _ = pixels.shape
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        # 16 bits, colour type 2 (RGB), the only compression and filter method, not interlaced.
        file.write(_chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 16, 2, 0, 0, 0)))
        for name, content in chunks:
            file.write(_chunk(name, content))
        packer = zlib.compressobj(6)
        for block in _filtered(pixels):
            if packed := packer.compress(block):
                file.write(_chunk(b"IDAT", packed))
        file.write(_chunk(b"IDAT", packer.flush()))
        file.write(_chunk(b"IEND", b""))


def is_rgb16(image: Image.Image) -> bool:
    """Whether an opened, not yet loaded image is a 16-bit RGB PNG."""
    tiles = getattr(image, "tile", None) or []
    return image.format == "PNG" and len(tiles) == 1 and tiles[0][3] == "RGB;16B"


def read_rgb16(image: Image.Image) -> np.ndarray:
    """uint16 [rows, columns, 3] of an opened, not yet loaded 16-bit RGB PNG.

    Pillow gives the first byte of each sample. Told that the samples are little-endian, it takes the second
    byte for the upper one; so the file is unpacked once for each byte.
    """
    stream: Any = getattr(image, "fp", None)
    position = stream.tell()
    stream.seek(0)
    copy = io.BytesIO(stream.read())
    stream.seek(position)
    with Image.open(copy, formats=("PNG",)) as again:
        tile: Any = again.tile[0]
        # A named tuple since Pillow 11.
        told: Any = tile._replace(args="RGB;16L") if hasattr(tile, "_replace") else (*tile[:3], "RGB;16L")
        again.tile = [told]
        low = np.asarray(again.convert("RGB"), dtype=np.uint16)
    return (np.asarray(image.convert("RGB"), dtype=np.uint16) << 8) | low


def _filtered(pixels: np.ndarray) -> Iterator[bytes]:
    """Rows of bytes, each by the filter 0 (none), 1 (left) or 2 (above) that makes its bytes smallest."""
    above = np.zeros(pixels.shape[1] * _BYTES, dtype=np.uint8)
    for start in range(0, len(pixels), _BLOCK_ROWS):
        part = np.ascontiguousarray(pixels[start : start + _BLOCK_ROWS].astype(">u2"))
        plain = part.view(np.uint8).reshape(len(part), -1)
        left = plain.copy()
        left[:, _BYTES:] -= plain[:, :-_BYTES]
        up = plain - np.concatenate([above[None], plain[:-1]])
        above = plain[-1]
        tried = np.stack([plain, left, up])
        # The usual heuristic (§ 12.7): the least sum of differences, taken as signed.
        chosen = np.abs(tried.view(np.int8).astype(np.int16)).sum(axis=2, dtype=np.int64).argmin(axis=0)
        best = tried[chosen, np.arange(len(part))]
        yield np.concatenate([chosen.astype(np.uint8)[:, None], best], axis=1).tobytes()


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
