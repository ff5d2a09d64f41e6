"""Recordings: sound files, what is said of them, and those under a folder."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import printable
from sonoconvert.files.suffixes import SOUNDS
from sonotrain.data.dataset import is_dataset
from sonotrain.data.texts import read_sidecar

TABLES = (".csv", ".tsv", ".jsonl", ".json", ".ndjson")
SPLIT_NAMES = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test", "eval": "test",
}  # fmt: skip
_NO_LABELS = {
    "audio", "audios", "wav", "wavs", "flac", "mp3", "clips", "sounds", "samples", "data", "files", "mono",
    "stereo",
}  # fmt: skip
_SIDECARS = (".txt", ".caption")
_KOHYA = re.compile(r"(\d{1,3})_(.+)")


@dataclass(frozen=True)
class Recording:
    """One sound file, or a part of one, and what is said of it.

    Attributes:
        source: its path relative to the folder that was given, with "/".
        texts: captions by people; the first one counts most.
        start_s, duration_s: the part of the file; None: to its end.
        may_be_cut: the file may already hold nothing but that part (clips of AudioSet usually do).
        group: recordings of one group never come into different splits.
        split: where the source says it itself.
        repeats: as in Example.
    """

    path: Path
    source: str
    texts: tuple[str, ...] = ()
    label: str | None = None
    start_s: float = 0.0
    duration_s: float | None = None
    may_be_cut: bool = False
    group: str = ""
    split: str | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        # What is written into tables and reports, hashed and shown has to be text; the path stays as it is.
        for name in ("source", "label", "group"):
            if value := getattr(self, name):
                object.__setattr__(self, name, printable(value))


@dataclass(frozen=True)
class Skipped:
    """What was left out and why. `kind`: unreadable, refused, missing, short, silent, clipped, duplicate."""

    source: str
    kind: str
    reason: str
    start_s: float | None = None


@dataclass
class Found:
    """What a source holds: recordings in a fixed order, what can't be used, and what people should know."""

    layout: str
    recordings: list[Recording] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    encodings: dict[str, list[str]] = field(default_factory=dict)  # name → files that were not UTF-8
    _listed: dict[Path, dict[str, Path]] = field(default_factory=dict)

    def saw_encoding(self, encoding: str, name: str) -> None:
        if encoding != "UTF-8":
            self.encodings.setdefault(encoding, []).append(name)

    def existing(self, path: Path) -> Path | None:
        """The file of that name, also in capitals or in another Unicode form (é in one character or two)."""
        if os.path.isfile(path):  # False for names that are too long, too
            return path
        if path.parent not in self._listed:
            names = sorted(path.parent.iterdir(), reverse=True)
            self._listed[path.parent] = {_folded(one.name): one for one in names if one.is_file()}
        return self._listed[path.parent].get(_folded(path.name))


def scan_folder(root: Path, exclude: Path | None = None) -> Found:
    """Every sound under a folder, with the captions beside it; the folder that it lies in is its label.

    Folders called train, validation (val, dev) and test at the top are splits where there are no others.
    """
    found = Found("folder")
    if not root.is_dir():
        raise SonopaintError(f"{root} is not a folder; give the folder that your sounds are in.")
    files = list(iter_sounds(root, exclude, found))
    tops = {
        path.relative_to(root).parts[0].lower() for path in files if len(path.relative_to(root).parts) > 1
    }
    loose = any(len(path.relative_to(root).parts) == 1 for path in files)
    has_splits = "train" in tops and tops <= set(SPLIT_NAMES) and not loose
    repeats = _repeats(files)
    for path in files:
        folders = list(path.relative_to(root).parts[:-1])
        split = SPLIT_NAMES[folders.pop(0).lower()] if has_splits else None
        named = [name for name in folders if name.lower() not in _NO_LABELS]
        label, times = repeats.get(named[-1], (named[-1], 1)) if named else (None, 1)
        found.recordings.append(
            Recording(
                path,
                path.relative_to(root).as_posix(),
                texts=sidecar_texts(path, found),
                label=label,
                split=split,
                repeats=times,
            )
        )
    for name, (label, times) in sorted(repeats.items()):
        if times > 1:
            found.notes.append(
                f"The folder {name} was read as {label!r}, repeated {times} times (as by kohya)."
            )
    return found


def iter_sounds(root: Path, exclude: Path | None, found: Found) -> Iterator[Path]:
    """Sound files under `root`, sorted. Links are followed, each folder is entered once (so loops end)."""
    entered: set[tuple[int, int]] = set()
    avoid = exclude.resolve() if exclude else None
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in entered or folder.resolve() == avoid:
                continue
            if folder != root and is_dataset(folder):
                found.notes.append(f"{folder.relative_to(root)} is a finished dataset and was left out.")
                continue
            entered.add((status.st_dev, status.st_ino))
            entries = sorted(folder.iterdir(), key=lambda path: path.name)
        except OSError as error:
            found.notes.append(f"The folder {folder} can't be read ({error.strerror}).")
            continue
        folders = []
        for path in entries:
            if path.name.startswith("."):  # hidden, or the resource forks that macOS leaves
                continue
            if path.is_dir():
                folders.append(path)
            elif path.suffix.lower() in SOUNDS:
                yield path
        waiting.extend(reversed(folders))


def sidecar_texts(path: Path, found: Found) -> tuple[str, ...]:
    """The captions beside a sound: bark.txt, bark.caption or bark.wav.txt."""
    for suffix in _SIDECARS:
        for beside in (path.with_suffix(suffix), path.with_name(path.name + suffix)):
            try:
                there = found.existing(beside)
                if there is None:
                    continue
                texts, encoding = read_sidecar(there)
            except (SonopaintError, OSError) as error:
                found.notes.append(str(error))
                continue
            found.saw_encoding(encoding, there.name)
            return texts
    return ()


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _repeats(files: list[Path]) -> dict[str, tuple[str, int]]:
    """{name of a folder of these files: (label, repeats)}, where it is named as for kohya's trainer: 10_dog.

    Folders that are only numbered (01_rain, 1_rain beside 2_wind) lose the number and repeat nothing.
    """
    matches = (_KOHYA.fullmatch(name) for name in {path.parent.name for path in files})
    named = {match[0]: match for match in matches if match}
    counts = sorted(int(match[1]) for match in named.values())
    numbered = len(counts) > 1 and counts == list(range(counts[0], counts[0] + len(counts))) and counts[0] < 2
    return {
        name: (match[2], 1 if numbered or match[1].startswith("0") else int(match[1]))
        for name, match in named.items()
    }
