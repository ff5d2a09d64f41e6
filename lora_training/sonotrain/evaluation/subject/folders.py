"""The subjects that a bench is about: folders of five clips, or DreamBooth's folders of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sonoconvert.errors import SonopaintError, setting
from sonotrain.data.foley import KINDS
from sonotrain.evaluation.bench.nouns import PICTURES, Reference
from sonotrain.evaluation.sets import SUFFIXES
from sonotrain.evaluation.subject.clips import ABOUT, HELD_OUT, REFERENCES
from sonotrain.evaluation.subject.prompts import DREAMBOOTH, LIVE, LIVING, OBJECTS, SOUND, Template
from sonotrain.files.json_files import read_json

LIVING_GROUPS = {"animals", "people"}  # of the foley corpus


@dataclass(frozen=True)
class Subject(Reference):
    """One subject: its files were learnt from, the held-out ones never."""

    sounds: bool = True

    @property
    def templates(self) -> tuple[Template, ...]:
        """The 25 prompts of its kind."""
        if self.sounds:
            return SOUND
        return LIVE if self.noun in LIVING else OBJECTS


def find_subjects(path: str | Path, noun: str = "", only: tuple[str, ...] = ()) -> list[Subject]:
    """The subject in a folder, or one for each of its sub-folders, by name.

    A subject's files lie in it or in its ``clips``; others of it, never learnt, in ``held-out``. Its class is
    `noun`, else ``"class"`` of its subject.json, else DreamBooth's for its name. Raises
    SonopaintError for no files, sounds mixed with pictures, an unknown name in `only`, and a missing noun.
    """
    root = Path(path)
    if not root.is_dir():
        raise SonopaintError(f"There is no folder {root}; give a folder of subjects.")
    if _files(root) or _files(root / REFERENCES):
        folders = [root]
    else:
        folders = [f for f in sorted(root.iterdir()) if f.is_dir() and (_files(f) or _files(f / REFERENCES))]
    if not folders:
        raise SonopaintError(
            f"{root} has no sounds or pictures; give a folder with a folder for each subject."
        )
    names = [folder.resolve().name for folder in folders]
    if unknown := [name for name in only if name not in names]:
        raise SonopaintError(f"{root} has no subject {unknown[0]!r}; it has {', '.join(names)}.")
    chosen = [folder for folder, name in zip(folders, names, strict=True) if not only or name in only]
    subjects = [_subject(folder, noun) for folder in chosen]
    if len({subject.sounds for subject in subjects}) > 1:
        raise SonopaintError(f"{root} has sounds and pictures; a bench is about one of them.")
    return subjects


def _subject(folder: Path, noun: str) -> Subject:
    name = folder.resolve().name
    files = _files(folder / REFERENCES) or _files(folder)
    suffixes = {path.suffix.lower() for path in files}
    if suffixes & PICTURES and suffixes & SUFFIXES:
        raise SonopaintError(f"{folder} has sounds and pictures; a subject is one of them.")
    about = read_json(folder / ABOUT) if (folder / ABOUT).is_file() else {}
    noun = noun or str(about.get("class", "")) or DREAMBOOTH.get(name, "")
    if not noun:
        raise SonopaintError(
            f'Nothing says what {name} is; give its class, such as {setting("noun")} "dog bark".'
        )
    sounds = bool(suffixes & SUFFIXES)
    kind = KINDS.get(str(about.get("kind", "")))
    living = noun in LIVING if not sounds else kind is not None and kind.group in LIVING_GROUPS
    group = "living" if living else "objects"
    return Subject(name, noun, tuple(files), tuple(_files(folder / HELD_OUT)), group, sounds)


def _files(folder: Path) -> list[Path]:
    """The sounds and pictures right in a folder, by name."""
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES | PICTURES]
