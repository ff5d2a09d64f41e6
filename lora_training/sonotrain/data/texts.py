"""Text files that people bring: whatever their encoding, they become lines of Unicode, and it is said."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError

MAX_SIDECAR_BYTES = 1 << 16  # a caption, not a book
MAX_TABLE_BYTES = 1 << 29
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),  # common and harmless: not worth a word
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)


def decode(data: bytes) -> tuple[str, str]:
    """(text, name of its encoding): by its byte order mark, else UTF-16 by its zeros, UTF-8, Windows-1252.

    Windows-1252 is the superset of Latin-1 that Western Windows writes; the five bytes that it lacks are
    read as Latin-1, so that every file can be decoded.
    """
    for mark, codec, name in _BOMS:
        if data.startswith(mark):
            return data.decode(codec, errors="replace"), name
    if len(data) >= 4 and len(data) % 2 == 0:
        # Western text in UTF-16 has a zero in every other byte.
        half = len(data) // 2
        if data[1::2].count(0) > 0.6 * half:
            return data.decode("utf-16-le", errors="replace"), "UTF-16"
        if data[::2].count(0) > 0.6 * half:
            return data.decode("utf-16-be", errors="replace"), "UTF-16"
    try:
        return data.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "Latin-1"


def tidy(text: str) -> str:
    """One line without control characters, in composed form (é as one character)."""
    plain = "".join(
        c if unicodedata.category(c)[0] != "C" else " " for c in unicodedata.normalize("NFC", text)
    )
    return " ".join(plain.split())


def read_sidecar(path: Path) -> tuple[tuple[str, ...], str]:
    """(captions, encoding) of a caption file: one caption a line, empty lines left out.

    Raises SonopaintError where it can't be read or is far too long for captions.
    """
    try:
        if path.stat().st_size > MAX_SIDECAR_BYTES:
            raise SonopaintError(f"The caption file {path.name} is larger than 64 KiB: it holds no caption.")
        text, encoding = decode(path.read_bytes())
    except OSError as error:
        raise SonopaintError(f"The caption file {path.name} can't be read ({error.strerror}).") from error
    return tuple(line for line in map(tidy, text.splitlines()) if line), encoding


def read_table(path: Path) -> tuple[list[dict[str, Any]], str]:
    """(rows, encoding) of a CSV, TSV, JSON or JSON Lines file; keys in lower case, empty values left out.

    A CSV needs a line with the names of its columns; it may be a comment ("# YTID, start_seconds"), as in
    AudioSet.

    Raises:
        SonopaintError: missing, too large, without rows, or damaged (which line).
    """
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise SonopaintError(f"{path} is larger than 512 MiB; cut it into parts.")
        text, encoding = decode(path.read_bytes())
    except OSError as error:
        raise SonopaintError(f"The table {path} can't be read ({error.strerror}).") from error
    reader = _json_rows if path.suffix.lower() in (".json", ".jsonl", ".ndjson") else _csv_rows
    rows = [_row(row) for row in reader(text, path)]
    if not rows:
        raise SonopaintError(f"The table {path} has no rows.")
    return rows, encoding


def _row(row: dict[Any, Any]) -> dict[str, Any]:
    keys = ((str(key).strip().lower().replace(" ", "_"), value) for key, value in row.items())
    return {key: said for key, value in keys if (said := _value(value)) not in (None, "", [])}


def _value(value: Any) -> Any:
    """A cell without what stands for nothing: NaN is how other programs write a missing value."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [said for one in value if (said := _value(one)) not in (None, "", [])]
    return value


def json_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) of the lines that hold something; other separators than newlines are the JSON's own."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line


def _json_rows(text: str, path: Path) -> Iterator[dict[str, Any]]:
    number = 0
    try:
        if text.lstrip().startswith("["):
            for row in json.loads(text):
                number += 1
                yield _mapping(row, path, number)
            return
        for number, line in json_lines(text):
            yield _mapping(json.loads(line), path, number)
    except SonopaintError:
        raise
    except (ValueError, RecursionError) as error:
        raise SonopaintError(
            f"{path} is damaged in line {number or 1} ({error}); write one JSON object a line."
        ) from error


def _mapping(row: Any, path: Path, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise SonopaintError(f"{path} has no JSON object in line {number}; write one a line.")
    return row


_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's own first line
_SWALLOWED = re.compile(r"\n[^,;\t\n]*\.(wav|flac|ogg|opus|mp3|aiff?)\"?\s*[,;\t]", re.IGNORECASE)


def _csv_rows(text: str, path: Path) -> Iterator[dict[str, Any]]:
    lines = io.StringIO(text, newline=None).readlines()
    passed, names, delimiter = 0, [], ""
    # AudioSet's CSVs begin with comments, the last of which names the columns.
    while passed < len(lines):
        line = lines[passed].strip()
        if match := _SEPARATOR.fullmatch(line):
            delimiter = match[1]
        elif line.startswith("#"):
            names = [name.strip() for name in line.lstrip("# \t").split(",")]
        elif line:
            break
        passed += 1
    head = lines[passed] if passed < len(lines) else ""
    delimiter = delimiter or ("," if names else max("\t;,", key=head.count))
    reader = csv.reader(lines[passed:], delimiter=delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            if not names:
                names = [cell.strip() for cell in cells]
            elif any(cell.strip() for cell in cells):
                _check_cells(cells, names, delimiter, f"{path.name}, line {passed + reader.line_num}")
                yield dict(zip(names, cells, strict=False))
    except csv.Error as error:
        raise SonopaintError(f"{path} is damaged in line {passed + reader.line_num} ({error}).") from error


def _check_cells(cells: list[str], names: list[str], delimiter: str, where: str) -> None:
    """Refuse what would be lost without a word: cells beyond the columns, rows inside of an open quote."""
    if any(cell.strip() for cell in cells[len(names) :]):
        raise SonopaintError(
            f"{where}: {len(cells)} cells for {len(names)} columns; put texts with {delimiter!r} in them in "
            f'double quotes ("{delimiter.join(cells[len(names) - 1 :])[:60]}").'
        )
    if any(_SWALLOWED.search(cell) for cell in cells):
        raise SonopaintError(
            f"{where}: a cell holds whole other rows; a quotation mark before it is not closed."
        )
