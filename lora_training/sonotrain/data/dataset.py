"""A dataset for audio training on disk: reading it, and changing its captions.

    DATASET/
      dataset.json                 format, trigger word, options, sizes
      train/ validation/ test/     each with metadata.jsonl, a picture (.png) and a clip (.flac) per line
      report.html  skipped.jsonl

Each split is an image folder as Hugging Face `datasets` reads it (`load_dataset("imagefolder", …)`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import atomic_path
from sonoconvert.pictures.format import SpectrogramFormat, get_format
from sonotrain.data.texts import decode, json_lines

VERSION = 1
SPLITS = ("train", "validation", "test")
METADATA = "metadata.jsonl"
ABOUT = "dataset.json"
MOST_REPEATS = 1000


@dataclass(frozen=True)
class Example:
    """One clip of fixed length.

    Attributes:
        picture: its spectrogram, a sonoconvert Picture of exactly `format.width` columns.
        audio: the clip itself at the format's rate, peak 1.
        text: its caption; `more_texts` are other captions of the same clip (AudioCaps' test set has five).
        label: its class, if it has one.
        source: the recording, relative to the folder that the dataset was made from.
        columns: columns with sound; the rest is padding.
        start_s: where in the recording the clip begins, in seconds.
        peak: largest sample before normalisation.
        repeats: how many times as often as one with 1 it is to be learnt from.
    """

    picture: Path
    audio: Path
    text: str
    label: str | None
    source: str
    columns: int
    more_texts: tuple[str, ...] = ()
    start_s: float = 0.0
    peak: float = 1.0
    repeats: int = 1


@dataclass(frozen=True)
class SoundDataset:
    """All examples of a dataset by split; `trigger` stands in every caption where it is not empty."""

    folder: Path
    format: SpectrogramFormat
    trigger: str
    splits: dict[str, list[Example]]

    @property
    def train(self) -> list[Example]:
        return self.splits["train"]

    @property
    def validation(self) -> list[Example]:
        return self.splits["validation"]

    @property
    def test(self) -> list[Example]:
        return self.splits["test"]

    def labels(self) -> list[str]:
        """All classes, sorted."""
        return sorted({e.label for examples in self.splits.values() for e in examples if e.label is not None})


def load_dataset(folder: str | os.PathLike[str]) -> SoundDataset:
    """Read a dataset that `sonotrain dataset` made.

    Raises:
        SonopaintError: it is no dataset, is of a newer version, has no training clips, or lacks files.
    """
    root = Path(folder)
    about = read_about(root)
    fmt = get_format(about["format"])
    splits = {
        split: [_example(root, split, line, fmt) for line in read_lines(root, split)] for split in SPLITS
    }
    if not splits["train"]:
        raise SonopaintError(f"The dataset {root} has no clips to train on; make it again from more sounds.")
    return SoundDataset(root, fmt, str(about.get("trigger", "")), splits)


def check_format(dataset: SoundDataset, model: Any) -> None:
    """SonopaintError where a dataset's pictures are not of the format that the engine's model paints."""
    if dataset.format != model.format:
        raise SonopaintError(
            f"The dataset {dataset.folder} has the format {dataset.format.name}, but {model.name} paints "
            f'{model.format.name}; make it again with "sonotrain dataset … --format {model.format.name}".'
        )


def is_dataset(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder looks like one of our datasets (`load_dataset` says what is wrong with it)."""
    return (Path(folder) / ABOUT).is_file()


def read_about(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of dataset.json, checked. SonopaintError where there is none or it can't be used."""
    root = Path(folder)
    if not root.is_dir():
        raise SonopaintError(f"There is no dataset folder {root}.")
    path = root / ABOUT
    if not path.is_file():
        raise SonopaintError(
            f'{root} is not a dataset (it has no {ABOUT}); make one with "sonotrain dataset {root} --out …".'
        )
    try:
        about = json.loads(decode(path.read_bytes())[0])
    except (OSError, ValueError, RecursionError) as error:
        raise SonopaintError(f"{path} can't be read ({error}); make the dataset again.") from error
    if not isinstance(about, dict) or not isinstance(about.get("format"), dict):
        raise SonopaintError(f"{path} does not describe a dataset; make the dataset again.")
    version = about.get("version")
    if type(version) is not int or version < 1:
        raise SonopaintError(f"{path} does not say its version; make the dataset again.")
    if version > VERSION:
        raise SonopaintError(f"The dataset {root} was made by a newer Sonopaint; update this one.")
    return about


def read_lines(folder: str | os.PathLike[str], split: str) -> list[dict[str, Any]]:
    """The lines of a split's metadata.jsonl (none without the split). SonopaintError if it is damaged."""
    path = Path(folder) / split / METADATA
    if not path.is_file():
        return []
    lines: list[dict[str, Any]] = []
    try:
        for number, text in json_lines(decode(path.read_bytes())[0]):
            lines.append(_object(json.loads(text), path, number))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, SonopaintError):
            raise
        raise SonopaintError(
            f"{path} is damaged after line {len(lines)} ({error}); make the dataset again."
        ) from error
    return lines


def write_lines(folder: str | os.PathLike[str], split: str, lines: Iterable[Mapping[str, Any]]) -> None:
    """Replace a split's metadata.jsonl as a whole."""
    with atomic_path(Path(folder) / split / METADATA, force=True) as beside:
        with beside.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            for line in lines:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def set_captions(folder: str | os.PathLike[str], texts: Mapping[str, str]) -> int:
    """Give clips new captions: {"train/ab12cd-0.png": "a dog barking", …}. Returns how many changed.

    Only metadata.jsonl changes; the captions beside the sounds stay as they are. Building the dataset again,
    for instance after adding sounds, keeps captions that were changed here.

    Raises:
        SonopaintError: the dataset has no such clip, or can't be read or written. Nothing is changed then.
    """
    root = Path(folder)
    read_about(root)
    wanted: dict[str, dict[str, str]] = {}
    for name, text in texts.items():
        split, _, file_name = name.partition("/")
        wanted.setdefault(split, {})[file_name] = " ".join(text.split())
    changed: dict[str, list[dict[str, Any]]] = {}
    count = 0
    for split, captions in wanted.items():
        lines = read_lines(root, split) if split in SPLITS else []
        known = {line.get("file_name") for line in lines}
        if missing := sorted(set(captions) - known):
            raise SonopaintError(f"The dataset {root} has no clip {split}/{missing[0]}; open it again.")
        for line in lines:
            text = captions.get(line["file_name"], line["text"])
            count += text != line["text"]
            line["text"] = text
        changed[split] = lines
    for split, lines in changed.items():
        write_lines(root, split, lines)
    return count


def _object(value: Any, path: Path, number: int) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(value.get(k), str) for k in ("file_name", "text")):
        raise SonopaintError(f"{path} lacks file_name or text in line {number}; make the dataset again.")
    return value


def _example(root: Path, split: str, line: dict[str, Any], fmt: SpectrogramFormat) -> Example:
    folder = root / split
    columns, label = line.get("columns"), line.get("label")
    more = line.get("more_texts", [])
    if type(columns) is not int or not 1 <= columns <= fmt.width:
        raise SonopaintError(
            f"{folder / METADATA} says {columns!r} columns of {line['file_name']}, which can't be in "
            f"pictures of {fmt.width}; make the dataset again."
        )
    repeats = line.get("repeats", 1)
    known = isinstance(more, list) and (label is None or isinstance(label, str)) and type(repeats) is int
    if not known or not 1 <= repeats <= MOST_REPEATS:
        raise SonopaintError(f"{folder / METADATA} has a damaged line for {line['file_name']}.")
    return Example(
        picture=_file(folder, line["file_name"]),
        audio=_file(folder, line.get("audio")),
        text=line["text"],
        label=label,
        source=str(line.get("source", "")),
        columns=columns,
        more_texts=tuple(str(text) for text in more),
        start_s=_number(folder, line, "start_s"),
        peak=_number(folder, line, "peak"),
        repeats=repeats,
    )


def _number(folder: Path, line: dict[str, Any], key: str) -> float:
    value = line.get(key) or 0.0
    if not isinstance(value, (int, float)) or not abs(value) < 1e12:  # false for NaN, too
        raise SonopaintError(
            f"{folder / METADATA} says that {key} of {line['file_name']} is {str(value)[:40]}, which is no "
            "number; make the dataset again."
        )
    return float(value)


def _file(folder: Path, name: Any) -> Path:
    """A file right inside `folder`; names that lead elsewhere are refused."""
    odd = not isinstance(name, str) or name in ("", ".", "..") or len(name) > 250
    if odd or "/" in name or "\\" in name or "\0" in name:
        raise SonopaintError(
            f"{folder / METADATA} names {str(name)[:80]!r}, which is not a file of this folder."
        )
    path = folder / name
    if not path.is_file():
        raise SonopaintError(f"The dataset lacks {path}; make it again (what is there is kept).")
    return path
