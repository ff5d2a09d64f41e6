"""16-bit PNGs with colours or alpha, which Pillow reads as 8 bits and can't write.

Source: W3C PNG specification, third edition.

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


def write(path: Path, pixels: np.ndarray, chunks: Iterable[tuple[bytes, bytes]] = (), level: int = 6) -> None:
    """Write uint16 [rows, columns, 3] with zlib's `level`.

    `chunks` are (name, content) of what stands before the pixels.
    """
    rows, columns, _ = pixels.shape
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        # 16 bits, colour type 2 (RGB), the only compression and filter method, not interlaced.
        file.write(_chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 16, 2, 0, 0, 0)))
        for name, content in chunks:
            file.write(_chunk(name, content))
        packer = zlib.compressobj(level)
        for block in _filtered(pixels):
            if packed := packer.compress(block):
                file.write(_chunk(b"IDAT", packed))
        file.write(_chunk(b"IDAT", packer.flush()))
        file.write(_chunk(b"IEND", b""))


# How Pillow names the samples of a 16-bit PNG → what it is told that they are, to give the other byte.
_OTHER_BYTE = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA"}


def is_16_bit(image: Image.Image) -> bool:
    """Whether an opened, not yet loaded image is a 16-bit PNG of RGB, RGBA or grey with alpha."""
    tiles = getattr(image, "tile", None) or []
    known = len(tiles) == 1 and tiles[0][3] in _OTHER_BYTE
    return known and image.format == "PNG" and image.mode in ("RGB", "RGBA")


def read_16_bit(image: Image.Image) -> np.ndarray:
    """uint16 [rows, columns, 3] of an opened, not yet loaded 16-bit PNG, without its alpha; loads it.

    Pillow gives the first byte of each sample. Told that the samples are little-endian, it takes the second
    byte for the upper one; so the file is unpacked once for each byte. Grey and alpha of two bytes each are
    read as four samples of one byte.
    """
    kind = getattr(image, "tile", [])[0][3]
    stream: Any = getattr(image, "fp", None)
    position = stream.tell()
    stream.seek(0)
    copy = io.BytesIO(stream.read())
    stream.seek(position)
    with Image.open(copy, formats=("PNG",)) as again:
        tile: Any = again.tile[0]
        # A named tuple since Pillow 11.
        other = _OTHER_BYTE[kind]
        told: Any = tile._replace(args=other) if hasattr(tile, "_replace") else (*tile[:3], other)
        again.tile = [told]
        if kind == "LA;16B":
            image.load()
            samples = np.asarray(again, dtype=np.uint16)
            return np.repeat((samples[:, :, :1] << 8) | samples[:, :, 1:2], 3, axis=2)
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
