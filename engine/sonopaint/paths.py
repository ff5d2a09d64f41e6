"""Where results go, and what they are called when nobody says."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import refuse_existing

OUTPUTS_VARIABLE = "SONOPAINT_OUTPUTS"
SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".mp3")


def outputs_folder() -> Path:
    """$SONOPAINT_OUTPUTS, else ``outputs`` in the current folder. It may not exist."""
    named = os.environ.get(OUTPUTS_VARIABLE)
    return Path(named).expanduser() if named else Path("outputs")


def default_name(prompt: str, task: str, seed: int, *, suffix: str = ".wav") -> str:
    """A file name from the first words of the prompt (else the task) and the seed."""
    words = re.sub(r"[^\w]+", "-", prompt.lower()).strip("-_")[:60].strip("-_")
    return f"{words or task}-{seed}{suffix}"


def output_paths(
    given: str | os.PathLike[str] | None,
    default: str,
    count: int,
    *,
    picture: bool = False,
    force: bool = False,
) -> list[Path]:
    """The sound files that ``count`` results are written to, checked before any work is done.

    ``given`` may be a file (numbered -1, -2 … for more than one result) or an existing folder; without it the
    files go to the outputs folder. ``picture``: a PNG of the same name goes beside each.
    Raises SonopaintError for a suffix that can't be written, a file that exists (without ``force``) or a
    folder that can't be written to.
    """
    if given is None:
        path = outputs_folder() / default
    else:
        path = Path(given).expanduser()
        path = path / default if path.is_dir() else path
    if path.suffix.lower() not in SOUND_SUFFIXES:
        raise SonopaintError(
            f"{path.name} can't be written: give a name that ends in .wav, .flac, .ogg or .mp3."
        )
    paths = [path]
    if count > 1:
        paths = [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(1, count + 1)]
    for one in [*paths, *(picture_paths(paths) if picture else [])]:
        refuse_existing(one, force=force)
        _refuse_unwritable(one.parent)
    return paths


def picture_paths(paths: Sequence[Path]) -> list[Path]:
    """The PNGs that belong to sound files."""
    return [path.with_suffix(".png") for path in paths]


def _refuse_unwritable(folder: Path) -> None:
    """Raise unless ``folder``, or the nearest one above it that exists, lets us write."""
    existing = next((one for one in (folder, *folder.absolute().parents) if one.exists()), folder)
    if not existing.is_dir():
        raise SonopaintError(f"{existing} is a file, not a folder; choose another place for the result.")
    if not os.access(existing, os.W_OK):
        raise SonopaintError(f"The folder {existing} can't be written to; choose another output folder.")
