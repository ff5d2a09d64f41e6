"""Curves as tables: CSV with a column for the time in seconds and one for each curve; empty = free."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from contextlib import suppress
from pathlib import Path

import numpy as np

from sonoconvert.curves.curves import RATE_HZ, Curves, kind_of
from sonoconvert.curves.points import _drawn
from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import atomic_path

_MOST_BYTES = 1 << 26
_TIMES = ("time", "times", "t", "second", "seconds", "s", "zeit")


def write_csv(curves: Curves, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write curves as CSV with decimal points. SonopaintError where the file exists, without `force`."""
    with atomic_path(Path(path), force=force) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["time", *curves.names])
        for k, row in enumerate(zip(*curves.values.values(), strict=True)):
            writer.writerow([f"{k / curves.rate:.6g}", *("" if np.isnan(v) else f"{v:.6g}" for v in row)])


def read_csv(path: str | os.PathLike[str], rate: float = RATE_HZ) -> Curves:
    """Read curves from a table with commas, semicolons or tabs, and with decimal points or commas.

    The first row names the columns: "time" and curves, which may have their unit behind them ("pitch_hz",
    "loudness (dB)"). Times may be uneven but must rise. Raises SonopaintError for anything else.
    """
    path = Path(path)
    if path.stat().st_size > _MOST_BYTES:
        raise SonopaintError(f"{path} is no table of curves: it has over {_MOST_BYTES >> 20} MB.")
    text = path.read_bytes().decode("utf-8-sig", "replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) < 2:
        raise SonopaintError(f"{path} holds no curves; give a table with a row of names and rows of values.")
    delimiter = next((mark for mark in "\t;," if mark in lines[0]), ",")
    try:
        rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter))
    except csv.Error as error:
        raise SonopaintError(f"{path} is no table of curves ({error}); export it again.") from error
    names = [_name(cell) for cell in rows[0]]
    if "time" not in names or len(names) < 2:
        raise SonopaintError(
            f'{path} holds no curves: its first row must name the columns, as in "time{delimiter}loudness".'
        )
    columns = [[_cell(row[k] if k < len(row) else "", path) for row in rows[1:]] for k in range(len(names))]
    times = np.array(columns[names.index("time")])
    if np.isnan(times).any() or (np.diff(times) < 0).any() or times[0] < 0:
        raise SonopaintError(
            f"The times in {path} must be numbers that rise from row to row; sort the table."
        )
    if times[-1] > 3600:
        raise SonopaintError(f"{path} lasts {times[-1]:.0f} s; curves may last an hour.")
    last = times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1 / rate)
    grid = np.arange(max(1, math.ceil(last * rate - 1e-6))) / rate
    values = {}
    for name, column in zip(names, columns, strict=True):
        if name != "time":
            kind = kind_of(name)
            values[name] = _drawn(list(zip(times.tolist(), column, strict=True)), grid, kind.blend, kind.off)
    return Curves(rate, values)


def _name(cell: str) -> str:
    """A column's name without its unit."""
    bare = re.sub(r"\s*[(\[].*", "", cell.strip()).lower()
    bare = re.sub(r"_(hz|db)$", "", bare)
    return "time" if bare in _TIMES else bare


def _cell(text: str, path: Path) -> float:
    text = text.strip()
    if text.lower() in ("", "free", "nan", "none"):
        return math.nan
    with suppress(ValueError):
        if math.isfinite(value := float(text.replace(",", "."))):
            return value
    raise SonopaintError(f"{path} holds {text[:40]!r}, which is no number; leave cells empty for free.")
