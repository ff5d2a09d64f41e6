"""Sets of sounds to compare: a folder, a dataset, or the folder that `sonotrain evaluate --model` filled."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.suffixes import SOUNDS
from sonotrain.data.dataset import METADATA, SPLITS, is_dataset, load_dataset
from sonotrain.data.recordings import Found
from sonotrain.data.texts import decode, json_lines

logger = logging.getLogger(__name__)

SUFFIXES = SOUNDS
NAME_FIELDS = ("audio", "file_name", "file", "filename", "name", "key", "youtube_id", "audiocap_id", "id")
YOUTUBE_ID = 11  # characters
TEXT_FIELDS = ("text", "caption", "captions", "texts", "more_texts", "prompt")


@dataclass(frozen=True)
class Sound:
    """One clip of a set. `key` pairs it with a clip of the other set; `texts` are all its captions."""

    path: Path
    key: str
    texts: tuple[str, ...] = ()
    label: str | None = None

    @property
    def text(self) -> str | None:
        return self.texts[0] if self.texts else None


@dataclass(frozen=True)
class Caption:
    """What to paint: all captions of one clip, the clip's key and its label, if it has one."""

    key: str
    texts: tuple[str, ...]
    label: str | None = None


def read_set(path: str | Path, split: str = "") -> list[Sound]:
    """The sounds of a folder (its sub-folders are labels, a .txt beside a sound is its caption), of a folder
    with metadata.jsonl, or of a dataset (`split`: train, validation, test or all; default test, or all
    where there is no test). Sorted by path.

    Raises SonopaintError for a folder without sounds and for an unknown split.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise SonopaintError(f"There is no folder {folder}; give a folder of sounds or a dataset.")
    if is_dataset(folder):
        found = _dataset(folder, split)
    elif split:
        raise SonopaintError(
            f"{folder} is not a dataset, so it has no split {split!r}; leave {setting('split')} away."
        )
    elif (folder / METADATA).is_file():
        found = _listed(folder)
    else:
        found = _plain(folder)
    if not found:
        raise SonopaintError(
            f"{folder} has no sounds; give a folder with WAV, FLAC, OGG or MP3 files (sub-folders count too)."
        )
    return found


def read_captions(path: str | Path, split: str = "") -> list[Caption]:
    """Captions from .jsonl, .json or .csv (a header with a name and a caption column, AudioCaps' too), or
    from whatever `read_set` reads. Several lines of one clip are its several captions.

    Raises SonopaintError for a file that can't be read or has no captions.
    """
    source = Path(path)
    if source.is_dir():
        listed = [Caption(sound.key, sound.texts, sound.label) for sound in read_set(source, split)]
    elif source.is_file():
        listed = [_caption(line, source, number) for number, line in enumerate(_lines(source), 1)]
    else:
        raise SonopaintError(
            f"There is no {source}; give a .jsonl, .json or .csv with captions, or a dataset."
        )
    merged: dict[str, Caption] = {}
    for caption in listed:
        if caption.key in merged:
            known = merged[caption.key]
            caption = replace(known, texts=tuple(dict.fromkeys(known.texts + caption.texts)))
        merged[caption.key] = caption
    found = [caption for caption in merged.values() if caption.texts]
    if not found:
        raise SonopaintError(f"{source} holds no captions; each line needs a caption (or text) and a name.")
    if len(found) < len(merged):
        logger.warning("%d of %d clips in %s have no caption.", len(merged) - len(found), len(merged), source)
    return found


def with_captions(
    sounds: Sequence[Sound], captions: Sequence[Caption], source: str | Path, *, strict: bool = True
) -> list[Sound]:
    """The sounds with the captions, labels and keys of the captions that are theirs.

    They belong together by path or by file name without suffix; AudioCaps' and AudioSet's clips may be called
    ID, YID or YID_start_end. Raises SonopaintError where most sounds have none, unless not `strict`: then the
    file belongs to other sounds.
    """
    by_key = {caption.key: caption for caption in captions}
    stems = Counter(Path(caption.key).name for caption in captions)
    by_stem = {stem: caption for caption in captions if stems[stem := Path(caption.key).name] == 1}
    result, missing = [], []
    for sound in sounds:
        stem = Path(sound.key).name
        bare = stem.removeprefix("Y")
        places = (by_key.get(sound.key), *(by_stem.get(n) for n in (stem, bare, bare[:YOUTUBE_ID])))
        fits = next((caption for caption in places if caption is not None), None)
        if fits is None:
            missing.append(sound)
            result.append(sound)
        else:
            label = sound.label or fits.label
            result.append(replace(sound, key=fits.key, texts=fits.texts, label=label))
    if strict and 2 * len(missing) > len(sounds):
        raise SonopaintError(
            f"{source} has no caption for {len(missing)} of {len(sounds)} sounds (such as "
            f"{Path(missing[0].key).name!r}); its names must be the sounds' file names."
        )
    if strict and missing:
        logger.warning("%s has no caption for %d of %d sounds.", source, len(missing), len(sounds))
    return result


def pairs(generated: Sequence[Sound], reference: Sequence[Sound]) -> tuple[list[tuple[int, int]], str]:
    """Which generated clip belongs to which reference clip, and by what: "file name", "caption" or "".

    By key, by file name without folders, else by caption; only names and captions that occur once on the
    reference's side count.
    """
    names = (
        [[sound.key for sound in side] for side in (generated, reference)],
        [[Path(sound.key).name for sound in side] for side in (generated, reference)],
    )
    texts = [[sound.text or "" for sound in side] for side in (generated, reference)]
    for way, (ours, theirs) in (("file name", names[0]), ("file name", names[1]), ("caption", texts)):
        place: dict[str, int] = {}
        for index, name in enumerate(theirs):
            place[name] = -1 if name in place else index
        place.pop("", None)
        matched = [(i, place[name]) for i, name in enumerate(ours) if place.get(name, -1) >= 0]
        if matched:
            return matched, way
    return [], ""


def _dataset(folder: Path, split: str) -> list[Sound]:
    if split not in ("", "all", *SPLITS):
        raise SonopaintError(f"{split!r} is no split; choose train, validation, test or all.")
    dataset = load_dataset(folder)
    chosen = [split] if split in SPLITS else ["test"] if not split and dataset.test else list(SPLITS)
    return [
        Sound(example.audio, example.audio.stem, _texts([example.text, *example.more_texts]), example.label)
        for name in chosen
        for example in dataset.splits[name]
    ]


def _listed(folder: Path) -> list[Sound]:
    """Sounds of a metadata.jsonl; names that lead out of the folder are refused."""
    found = []
    for number, line in enumerate(_lines(folder / METADATA), 1):
        name = next((line[field] for field in ("audio", "file_name") if isinstance(line.get(field), str)), "")
        path = folder / name
        if not name or os.path.isabs(name) or ".." in Path(name).parts or path.suffix.lower() not in SUFFIXES:
            raise SonopaintError(f"{folder / METADATA} names no sound of this folder in line {number}.")
        if not os.path.isfile(path):  # False for names that no file can have
            raise SonopaintError(f"{folder} lacks {name}, which its {METADATA} names in line {number}.")
        key = line["key"] if isinstance(line.get("key"), str) else Path(name).with_suffix("").as_posix()
        label = line["label"] if isinstance(line.get("label"), str) else None
        found.append(Sound(path, key, _texts(_all_texts(line)), label))
    return found


def _plain(folder: Path) -> list[Sound]:
    found, beside = [], Found("folder")
    for parent, folders, files in os.walk(folder):  # symbolic links to folders are not followed: no loops
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(parent, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                inside = path.relative_to(folder)
                label = inside.parts[0] if len(inside.parts) > 1 else None
                found.append(Sound(path, inside.with_suffix("").as_posix(), _sidecar(path, beside), label))
    return found


def _sidecar(path: Path, beside: Found) -> tuple[str, ...]:
    try:
        there = beside.existing(path.with_suffix(".txt"))
        return _texts([decode(there.read_bytes())[0]]) if there else ()
    except OSError as error:
        logger.warning("The captions beside %s can't be read (%s).", path, error)
        return ()


def _lines(path: Path) -> list[Mapping[str, Any]]:
    """The records of a .jsonl, .json or .csv file."""
    try:
        text, _ = decode(path.read_bytes())
        if path.suffix.lower() == ".csv":
            found: Any = list(csv.DictReader(io.StringIO(text, newline="")))
        elif path.suffix.lower() == ".json":
            found = json.loads(text)
            if isinstance(found, dict):  # {"name": "caption", …}
                found = [{"key": name, "texts": value} for name, value in found.items()]
        else:
            found = [json.loads(line) for _, line in json_lines(text)]
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise SonopaintError(f"{path} can't be read ({error}); give UTF-8 .jsonl, .json or .csv.") from error
    if not isinstance(found, list) or not all(isinstance(line, dict) for line in found):
        raise SonopaintError(f"{path} holds no records of names and captions.")
    return found


def _caption(line: Mapping[str, Any], source: Path, number: int) -> Caption:
    name = next((line[field] for field in NAME_FIELDS if line.get(field) not in (None, "")), number)
    key = str(name)
    if Path(key).suffix.lower() in SUFFIXES | {".png"}:
        key = Path(key).with_suffix("").as_posix()
    if ".." in Path(key).parts or os.path.isabs(key) or "\0" in key:
        raise SonopaintError(f"{source} names {key!r} in line {number}, which leads out of the folder.")
    label = line.get("label")
    return Caption(key, _texts(_all_texts(line)), label if isinstance(label, str) and label else None)


def _all_texts(line: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for field in TEXT_FIELDS:
        value = line.get(field)
        several = value if isinstance(value, (list, tuple)) else (value,)
        found += [text for text in several if isinstance(text, str)]
    return found


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(clean for text in texts if (clean := " ".join(text.split()))))
