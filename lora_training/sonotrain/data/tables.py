"""Recordings that a table names: CSV, TSV, JSON and JSON Lines of anybody, ESC-50, AudioCaps, AudioSet.

Formats of the public datasets: https://github.com/karolpiczak/ESC-50 (meta/esc50.csv),
https://github.com/cdjkim/audiocaps (audiocap_id, youtube_id, start_time, caption) and
https://research.google.com/audioset/download.html (# YTID, start_seconds, end_seconds, positive_labels).
The clips of the last two are those that the person has; rows without a clip are counted and passed over.
"""

from __future__ import annotations

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.suffixes import SOUNDS
from sonotrain.data.options import DatasetOptions
from sonotrain.data.recordings import (
    SPLIT_NAMES,
    TABLES,
    Found,
    Recording,
    Skipped,
    iter_sounds,
    sidecar_texts,
)
from sonotrain.data.texts import read_table, tidy

Row = dict[str, Any]

FILE = (
    "file_name",
    "filename",
    "file",
    "path",
    "audio",
    "audio_path",
    "audio_file",
    "wav",
    "filepath",
    "location",
)
TEXT = ("text", "caption", "captions", "description", "prompt", "sentence")
LABEL = ("label", "class", "category", "class_name")
START = ("start_s", "start", "start_time", "start_seconds", "onset")
END = ("end_s", "end", "end_time", "end_seconds", "offset")
LENGTH = ("duration_s", "duration", "length_s")
GROUP = ("group", "recording", "recording_id", "youtube_id", "ytid", "fsid")
_ROOT_TABLES = ("metadata", "captions", "labels")
_CLIP_S = 10.0  # AudioSet's and AudioCaps' clips
_YOUTUBE = re.compile(r"^[\w-]{11}$")


def guess_layout(root: Path) -> str:
    """What a folder or table looks like: esc50, audiocaps, audioset, table or folder."""
    if root.is_dir() and (root / "meta" / "esc50.csv").is_file():
        return "esc50"
    tables = _tables(root)
    if not tables:
        return "folder"
    names = _columns(tables[0][0])
    if {"youtube_id", "caption"} <= names:
        return "audiocaps"
    if {"ytid", "positive_labels"} <= names:
        return "audioset"
    return "table"


def read_layout(layout: str, root: Path, options: DatasetOptions, exclude: Path | None) -> Found:
    """The recordings of a source with a table. SonopaintError where it is not of that layout."""
    found = Found(layout)
    if layout == "esc50":
        return _read_esc50(root, found)
    tables = _tables(root)
    if not tables:
        raise SonopaintError(f"{root} holds no table ({', '.join(TABLES)}) with the names of its sounds.")
    clips = Path(options.audio).expanduser() if options.audio else (root if root.is_dir() else root.parent)
    if not clips.is_dir():
        raise SonopaintError(
            f"There is no folder {clips} for {setting('audio')}; give the one that holds the clips."
        )
    read = {"audiocaps": _read_audiocaps, "audioset": _read_audioset}.get(layout, _read_any)
    for path, split in tables:
        rows, encoding = read_table(path)
        found.saw_encoding(encoding, path.name)
        read(_Table(rows, path, split), clips, found, options, exclude)
    found.recordings = _joined(found.recordings)
    return found


@dataclass(frozen=True)
class _Table:
    rows: list[Row]
    path: Path
    split: str | None


def _tables(root: Path) -> list[tuple[Path, str | None]]:
    """The tables of a source, each with its split: the file itself, metadata.csv, or train.csv …"""
    if root.is_file():
        return [(root, None)]
    for stem in _ROOT_TABLES:
        for suffix in TABLES:
            if (root / f"{stem}{suffix}").is_file():
                return [(root / f"{stem}{suffix}", None)]
    found: list[tuple[Path, str | None]] = [
        (path, SPLIT_NAMES[path.stem.lower()])
        for path in sorted(root.iterdir())
        if path.suffix.lower() in TABLES and path.stem.lower() in SPLIT_NAMES
    ]
    return found if any(split == "train" for _, split in found) else []


def _columns(path: Path) -> set[str]:
    """The names in a table's first row, in lower case."""
    rows, _ = read_table(path)
    return {key for row in rows[:50] for key in row}


# --- anybody's table ----------------------------------------------------------------------------------------


def _read_any(
    table: _Table, clips: Path, found: Found, options: DatasetOptions, exclude: Path | None
) -> None:
    """A row for each sound (or part of one); columns are known by their usual names."""
    names = {key for row in table.rows for key in row}
    if not names & set(FILE):
        raise SonopaintError(
            f"{table.path.name} has no column with the names of the files; call it file_name "
            f"(it has: {', '.join(sorted(names)[:12])})."
        )
    for number, row in enumerate(table.rows, 2):
        name = _first(row, FILE)
        if name is None:
            found.skipped.append(Skipped(f"{table.path.name}, row {number}", "refused", "it names no file"))
            continue
        if not stays_inside(name):
            reason = "its path leads out of the folder of the clips (--audio names that folder)"
            found.skipped.append(Skipped(name, "refused", reason))
            continue
        relative = PurePosixPath(name.replace("\\", "/"))
        file = _existing(clips, relative)
        if file is None:
            found.skipped.append(Skipped(name, "missing", f"there is no such file in {clips}"))
            continue
        try:
            start, duration = _part(row)
        except ValueError as error:
            found.skipped.append(Skipped(name, "refused", str(error)))
            continue
        label = _first(row, LABEL)
        named = str(row.get("split", "")).lower()
        found.recordings.append(
            Recording(
                file,
                file.relative_to(clips).as_posix(),
                texts=_texts(row) or sidecar_texts(file, found),
                label=tidy(label) if label else None,
                start_s=start,
                duration_s=duration,
                group=tidy(_first(row, GROUP) or ""),
                split=SPLIT_NAMES.get(named, table.split),
            )
        )


def stays_inside(name: str) -> bool:
    """Whether a path from a table is relative and has no "..": tables may come from strangers.

    Links inside the folder are followed: only the person can have put them there.
    """
    if "\0" in name or PureWindowsPath(name).drive or PureWindowsPath(name).root:
        return False
    return ".." not in PureWindowsPath(name).parts and not PurePosixPath(name).is_absolute()


def _existing(folder: Path, relative: PurePosixPath) -> Path | None:
    """The file of that name, with any suffix of a sound if it has none."""
    path = folder / relative
    try:
        if os.path.isfile(path):
            return path
        if path.suffix.lower() not in SOUNDS:
            candidates = (path.with_name(path.name + suffix) for suffix in sorted(SOUNDS))
            return next((one for one in candidates if os.path.isfile(one)), None)
    except OSError:  # a name that no file can have
        pass
    return None


def _texts(row: Row) -> tuple[str, ...]:
    """All captions of a row: text, captions (a list), caption_1 … (Clotho)."""
    values: list[Any] = []
    for key in (*TEXT, *sorted(key for key in row if re.fullmatch(r"(caption|text)_?\d+", key))):
        value = row.get(key)
        values += value if isinstance(value, list) else [value]
    texts = (tidy(str(value)) for value in values if isinstance(value, (str, int, float)))
    return tuple(dict.fromkeys(text for text in texts if text))


def _part(row: Row) -> tuple[float, float | None]:
    """(start, duration) in seconds. ValueError says which value is wrong."""
    start = _number(row, START) or 0.0
    duration, end = _number(row, LENGTH), _number(row, END)
    if end is not None and duration is None:
        duration = end - start
    if start < 0 or (duration is not None and duration <= 0):
        raise ValueError(f"its part from {start:g} s for {duration} s makes no sense")
    return start, duration


def _number(row: Row, names: Iterable[str]) -> float | None:
    text = _first(row, names)
    if text is None:
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        raise ValueError(f"{text!r} is not a number of seconds") from None
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a number of seconds")
    return value


def _first(row: Row, names: Iterable[str]) -> str | None:
    return next((str(row[name]) for name in names if isinstance(row.get(name), (str, int, float))), None)


def _joined(recordings: list[Recording]) -> list[Recording]:
    """Rows of the same part of the same file become one recording with all their captions."""
    same: dict[tuple[Path, float, float | None], list[Recording]] = defaultdict(list)
    for recording in recordings:
        same[recording.path, recording.start_s, recording.duration_s].append(recording)
    joined = []
    for alike in same.values():
        texts = dict.fromkeys(text for recording in alike for text in recording.texts)
        joined.append(replace(alike[0], texts=tuple(texts)))
    return joined


# --- public datasets ----------------------------------------------------------------------------------------


def _read_esc50(root: Path, found: Found) -> Found:
    """ESC-50 as it is unpacked (audio/, meta/esc50.csv); takes of one Freesound clip are one recording."""
    rows, _ = read_table(root / "meta" / "esc50.csv")
    for row in rows:
        name = str(row.get("filename", ""))
        path = root / "audio" / name
        if not name or not stays_inside(name) or not os.path.isfile(path):
            found.skipped.append(Skipped(name or "?", "missing", "there is no such file in audio/"))
            continue
        label = str(row.get("category", "")).replace("_", " ") or None
        clip = str(row.get("src_file") or name)
        found.recordings.append(Recording(path, f"audio/{name}", label=label, group=f"freesound-{clip}"))
    return found


class _Clips:
    """The sound files of a folder by YouTube id, whatever the downloader called them.

    Known names: ID.wav, YID.wav, ID_30.wav, YID_30.000_40.000.wav, ID_30000_40000.flac …
    """

    def __init__(self, folder: Path, exclude: Path | None, found: Found) -> None:
        self.folder = folder
        self.by_stem: dict[str, Path] = {}
        self.by_id: dict[str, list[Path]] = defaultdict(list)
        for path in iter_sounds(folder, exclude, found):
            stem = path.name[: -len(path.suffix)]
            self.by_stem.setdefault(stem, path)
            for name in {stem[:11], stem[1:12] if stem.startswith("Y") else ""}:
                rest = stem.removeprefix("Y").removeprefix(name) if not stem.startswith(name) else stem[11:]
                if _YOUTUBE.match(name) and (not rest or rest[0] in "_-. "):
                    self.by_id[name].append(path)

    def find(self, identity: str, start_s: float, other: str = "") -> tuple[Path, bool] | None:
        """(file, whether its name says that it begins at `start_s`)."""
        times = {
            f"{start_s:g}",
            f"{start_s:.1f}",
            f"{start_s:.3f}",
            f"{start_s * 1000:.0f}",
            f"{start_s:.0f}",
        }
        named = re.compile(r"[_\-. ](" + "|".join(map(re.escape, sorted(times))) + r")(?:[_\-. ]|$)")
        plain = None
        for path in self.by_id.get(identity, ()):
            rest = path.name[: -len(path.suffix)].split(identity, 1)[1]
            if named.match(rest):
                return path, True
            if not rest:
                plain = path
        found = plain or (self.by_stem.get(other) if other else None)
        return (found, False) if found else None


def _read_audiocaps(
    table: _Table, clips: Path, found: Found, options: DatasetOptions, exclude: Path | None
) -> None:
    """audiocap_id, youtube_id, start_time, caption; several rows of a clip are its several captions."""
    index = _Clips(clips, exclude, found)
    for row in table.rows:
        identity, start = str(row.get("youtube_id", "")), _seconds(row.get("start_time"))
        at = index.find(identity, start, str(row.get("audiocap_id", "")))
        if at is None:
            found.skipped.append(Skipped(identity, "missing", f"there is no clip of it in {clips}"))
            continue
        found.recordings.append(_clip(at, clips, identity, start, table.split, texts=_texts(row)))


def _read_audioset(
    table: _Table, clips: Path, found: Found, options: DatasetOptions, exclude: Path | None
) -> None:
    """YTID, start_seconds, end_seconds, positive_labels; names from class_labels_indices.csv beside it."""
    places = [folder / "class_labels_indices.csv" for folder in (table.path.parent, clips)]
    names_file = next((path for path in places if path.is_file()), None)
    if names_file is None:
        raise SonopaintError(
            f"{table.path.name} names classes by their codes; put AudioSet's class_labels_indices.csv beside "
            "it."
        )
    names = {str(row.get("mid")): tidy(str(row.get("display_name", ""))) for row in read_table(names_file)[0]}
    index, wanted = _Clips(clips, exclude, found), options.labels()
    for row in table.rows:
        identity, start = str(row.get("ytid", "")), _seconds(row.get("start_seconds"))
        labels = [names.get(code.strip(), "") for code in str(row.get("positive_labels", "")).split(",")]
        labels = [label for label in labels if label]
        at = index.find(identity, start)
        if at is None:
            found.skipped.append(Skipped(identity, "missing", f"there is no clip of it in {clips}"))
        elif labels:
            labels = [label for label in labels if label.lower() in wanted] or labels
            text = ", ".join(label.lower() for label in labels)
            said = {"texts": (text,), "label": labels[0]}
            found.recordings.append(_clip(at, clips, identity, start, table.split, **said))


def _clip(
    at: tuple[Path, bool], clips: Path, identity: str, start: float, split: str | None, **said: Any
) -> Recording:
    """A clip of YouTube: a file of its own, or a part of the whole video."""
    path, own = at
    return Recording(
        path,
        path.relative_to(clips).as_posix(),
        start_s=0.0 if own else start,
        duration_s=None if own else _CLIP_S,
        may_be_cut=not own,
        group=f"youtube-{identity}",
        split=split,
        **said,
    )


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return 0.0
    return seconds if math.isfinite(seconds) and seconds >= 0 else 0.0
