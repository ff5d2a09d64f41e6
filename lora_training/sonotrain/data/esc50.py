"""ESC-50 (Piczak 2015) where the user has it: 50 classes × 40 clips of 5 s in five folds."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from sonoconvert.errors import SonopaintError, setting

TABLE = Path("meta", "esc50.csv")
FOLDS = range(1, 6)


def is_esc50(folder: str | Path) -> bool:
    """Whether this is a checkout or an unpacked download of ESC-50."""
    return (Path(folder).expanduser() / TABLE).is_file()


def esc50(folder: str | Path, folds: Collection[int]) -> list[tuple[Path, str]]:
    """(clip, its class in words) of some folds, by name; SonopaintError for missing or damaged files."""
    root = Path(folder).expanduser()
    try:
        with open(root / TABLE, encoding="utf-8", newline="") as file:
            rows = [(row["filename"], int(row["fold"]), row["category"]) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise SonopaintError(f"{root / TABLE} can't be read ({error}); get ESC-50 anew.") from error
    found = [(root / "audio" / name, kind.replace("_", " ")) for name, fold, kind in rows if fold in folds]
    if missing := [path for path, _ in found if not path.is_file()]:
        raise SonopaintError(f"{missing[0]} is missing, which {TABLE.name} names; get ESC-50 anew.")
    return sorted(found)


def read_folds(text: str) -> list[int]:
    """Folds from "1,2,3"; SonopaintError for what is none."""
    try:
        folds = [int(part) for part in text.split(",")]
    except ValueError:
        folds = []
    if not folds or not set(folds) <= set(FOLDS):
        raise SonopaintError(f"{setting('folds')} are numbers from 1 to 5 with commas between, not {text!r}.")
    return folds
