"""Text tags in finished FLAC and Ogg Vorbis files: Vorbis comments with names of one's own.

libsndfile writes a fixed set of tags; hosts look for others (ComfyUI for "prompt" and "workflow").
Formats: https://xiph.org/flac/format.html, https://xiph.org/vorbis/doc/v-comment.html, RFC 3533 (Ogg).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import atomic_path

_FLAC_COMMENT = 4  # type of the metadata block
_MAX_FLAC_BLOCK = (1 << 24) - 1
Comments = list[tuple[str, str]]


def add_tags(path: str | Path, tags: Mapping[str, str]) -> None:
    """Add `tags` to a .flac, .ogg or .oga file in place; tags of the same name are replaced.

    The sound is not touched. Raises SonopaintError for other files, and for tags that don't fit.
    """
    path = Path(path)
    data = path.read_bytes()
    if data[:4] == b"fLaC":
        tagged = _with_flac_tags(data, tags)
    elif data[:4] == b"OggS":
        tagged = _with_ogg_tags(data, tags)
    else:
        raise SonopaintError(f"{path.name} is neither FLAC nor Ogg Vorbis, so it can't hold these tags.")
    with atomic_path(path, force=True) as beside:
        beside.write_bytes(tagged)


def read_tags(path: str | Path) -> dict[str, str]:
    """All tags of a FLAC or Ogg Vorbis file by their names in lower case; none for other files."""
    data = Path(path).read_bytes()
    if data[:4] == b"fLaC":
        bodies = [body for kind, body in _flac_blocks(data)[0] if kind == _FLAC_COMMENT]
        comments = _parse(bodies[0])[1] if bodies else []
    elif data[:4] == b"OggS":
        comments = _parse(_ogg_headers(data)[0][1][7:])[1]
    else:
        return {}
    return {name.lower(): text for name, text in comments}


def _parse(body: bytes) -> tuple[bytes, Comments]:
    """(vendor, comments) of a comment header."""
    try:
        length = struct.unpack_from("<I", body)[0]
        vendor, position = body[4 : 4 + length], 4 + length
        count = struct.unpack_from("<I", body, position)[0]
        position += 4
        comments = []
        for _ in range(min(count, len(body))):
            length = struct.unpack_from("<I", body, position)[0]
            text = body[position + 4 : position + 4 + length].decode("utf-8", errors="replace")
            comments.append((text.partition("=")[0], text.partition("=")[2]))
            position += 4 + length
    except struct.error as error:
        raise SonopaintError("The file's tags are damaged; save it again.") from error
    return vendor, comments


def _rebuilt(body: bytes, tags: Mapping[str, str]) -> bytes:
    vendor, comments = _parse(body)
    names = {name.lower() for name in tags}
    # New ones first: readers that look at a file's beginning only find them.
    kept = [*tags.items(), *((name, text) for name, text in comments if name.lower() not in names)]
    texts = [f"{name}={text}".encode() for name, text in kept]
    parts = [struct.pack("<I", len(vendor)), vendor, struct.pack("<I", len(texts))]
    for text in texts:
        parts += [struct.pack("<I", len(text)), text]
    return b"".join(parts)


# FLAC ---------------------------------------------------------------------------------------------------


def _flac_blocks(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """([(type, body), …], where the frames start)."""
    blocks, position, last = [], 4, False
    while not last:
        if position + 4 > len(data):
            raise SonopaintError("The FLAC file ends in its header; save it again.")
        head = data[position]
        length = int.from_bytes(data[position + 1 : position + 4], "big")
        blocks.append((head & 0x7F, data[position + 4 : position + 4 + length]))
        position += 4 + length
        last = bool(head & 0x80)
    return blocks, position


def _with_flac_tags(data: bytes, tags: Mapping[str, str]) -> bytes:
    blocks, frames = _flac_blocks(data)
    old = next((body for kind, body in blocks if kind == _FLAC_COMMENT), struct.pack("<II", 0, 0))
    comment = _rebuilt(old, tags)
    if len(comment) > _MAX_FLAC_BLOCK:
        raise SonopaintError("The workflow is larger than the 16 MB that a FLAC file can hold.")
    # Without the padding: it is there for editors that can't move the frames.
    others = [(kind, body) for kind, body in blocks if kind not in (_FLAC_COMMENT, 1)]
    blocks = [others[0], (_FLAC_COMMENT, comment), *others[1:]]
    result = [b"fLaC"]
    for index, (kind, body) in enumerate(blocks):
        head = kind | (0x80 if index == len(blocks) - 1 else 0)
        result += [bytes([head]), len(body).to_bytes(3, "big"), body]
    return b"".join([*result, data[frames:]])


# Ogg ----------------------------------------------------------------------------------------------------


def _pages(data: bytes) -> Iterator[tuple[int, int, bytes, int]]:
    """(start, end, segment table, where the body starts) of each page."""
    position = 0
    while position + 27 <= len(data):
        if data[position : position + 4] != b"OggS":
            raise SonopaintError("The Ogg file is damaged; save it again.")
        count = data[position + 26]
        table = data[position + 27 : position + 27 + count]
        body = position + 27 + count
        end = body + sum(table)
        yield position, end, table, body
        position = end


def _ogg_headers(data: bytes) -> tuple[list[bytes], int, int]:
    """(the three header packets, where the sound's pages start, number of pages before them)."""
    packets: list[bytes] = []
    current = b""
    count = sound = 0
    for _, end, table, body in _pages(data):
        count, sound = count + 1, end
        for size in table:
            current += data[body : body + size]
            body += size
            if size < 255:
                packets.append(current)
                current = b""
        if len(packets) >= 3:
            break
    if len(packets) != 3 or packets[1][:7] != b"\x03vorbis":
        raise SonopaintError("Only Ogg files with Vorbis sound can hold these tags.")
    return packets, sound, count


def _with_ogg_tags(data: bytes, tags: Mapping[str, str]) -> bytes:
    packets, sound, old_count = _ogg_headers(data)
    first_end = next(_pages(data))[1]
    serial = data[14:18]
    comment = packets[1][:7] + _rebuilt(packets[1][7:], tags) + b"\x01"
    pages = _paged([comment, packets[2]], serial, first_sequence=1)
    shift = 1 + len(pages) - old_count
    result = [data[:first_end], *pages]
    if shift == 0:
        return b"".join([*result, data[sound:]])
    for start, end, _, _ in _pages(data[sound:]):
        page = bytearray(data[sound + start : sound + end])
        page[18:22] = struct.pack("<I", struct.unpack_from("<I", page, 18)[0] + shift)
        result.append(_checked(page))
    return b"".join(result)


def _paged(packets: list[bytes], serial: bytes, first_sequence: int) -> list[bytes]:
    """Header packets laid into pages, back to back; a packet that goes on is marked as such."""
    table, body = bytearray(), b"".join(packets)
    ends = set()
    for packet in packets:
        table += b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
        ends.add(len(table))
    pages, position = [], 0
    for sequence, start in enumerate(range(0, len(table), 255)):
        segments = bytes(table[start : start + 255])
        size = sum(segments)
        continued = start > 0 and start not in ends
        complete = any(start < end <= start + len(segments) for end in ends)
        granule = 0 if complete else -1
        head = struct.pack("<4sBBq4sIIB", b"OggS", 0, int(continued), granule, serial,
                           first_sequence + sequence, 0, len(segments))  # fmt: skip
        pages.append(_checked(bytearray(head + segments + body[position : position + size])))
        position += size
    return pages


def _checked(page: bytearray) -> bytes:
    page[22:26] = bytes(4)
    page[22:26] = struct.pack("<I", _crc(page))
    return bytes(page)


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return table


_CRC = _table()


def _crc(data: bytes | bytearray) -> int:
    """Ogg's CRC-32: polynomial 0x04C11DB7, nothing reflected, starting at 0."""
    value = 0
    for byte in data:
        value = ((value << 8) & 0xFFFFFFFF) ^ _CRC[(value >> 24) ^ byte]
    return value
