"""Adding models and LoRAs: names made safe, contents checked, copied into the user's models folder only."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import safe_name

if TYPE_CHECKING:
    from sonopaint.models.info import ModelInfo

logger = logging.getLogger(__name__)

_FOLDER_SUFFIXES = {".safetensors", ".json", ".txt", ".md"}  # of a diffusers folder; the rest stays behind


def add_files(files: Sequence[tuple[Path, str]], models_folder: Path) -> list[ModelInfo]:
    """Copy uploaded (path, name) pairs, names relative to what was dropped, and say what they are.

    A folder (with model_index.json, or a Mini's config.json) counts as one model. Raises SonopaintError, with
    nothing left behind, where one is no model, exists already, or is not a kind that is read.
    """
    folders: dict[str, list[tuple[Path, PurePosixPath]]] = {}
    single: list[tuple[Path, str]] = []
    for path, name in files:
        parts = PurePosixPath(name.replace("\\", "/"))
        if len(parts.parts) > 1:
            folders.setdefault(parts.parts[0], []).append((path, PurePosixPath(*parts.parts[1:])))
        else:
            single.append((path, name))
    models_folder.mkdir(parents=True, exist_ok=True)
    added = [_add_single(path, name, models_folder) for path, name in single]
    for top, members in folders.items():
        added += _add_folder(top, members, models_folder)
    if not added:
        raise SonopaintError("There was no model in it: add a .safetensors file or a diffusers folder.")
    return added


def _add_single(path: Path, name: str, models_folder: Path) -> ModelInfo:
    from sonoconvert.checkpoints.files import PICKLES, check_weights_path
    from sonopaint.models.info import describe

    target = _inside(models_folder, safe_name(name))
    if target.suffix.lower() in PICKLES:
        check_weights_path(target)  # says what to do with a pickle
    if target.suffix.lower() != ".safetensors":
        raise SonopaintError(
            f"{target.name} is not a .safetensors file, the only kind of weights that is read."
        )
    with tempfile.TemporaryDirectory(dir=models_folder, prefix=".adding-") as staging:
        staged = Path(staging) / target.name
        shutil.copyfile(path, staged)
        info = describe(staged)
        if target.exists():
            raise SonopaintError(f"There is already a model called {target.name}: rename the file first.")
        staged.rename(target)
    logger.info("Added %s (%s)", target, info.kind)
    return describe(target)


def _add_folder(top: str, members: list[tuple[Path, PurePosixPath]], models_folder: Path) -> list[ModelInfo]:
    from sonopaint.models.info import describe

    names = {str(relative) for _, relative in members}
    if not names & {"model_index.json", "unet.safetensors"}:  # a folder of checkpoints or LoRAs
        weights = [(path, rel.name) for path, rel in members if rel.suffix.lower() == ".safetensors"]
        return [_add_single(path, name, models_folder) for path, name in weights]
    target = _inside(models_folder, safe_name(top))
    if target.exists():
        raise SonopaintError(f"There is already a model called {target.name}: rename the folder first.")
    with tempfile.TemporaryDirectory(dir=models_folder, prefix=".adding-") as staging:
        staged = Path(staging) / target.name
        for path, relative in members:
            if relative.suffix.lower() not in _FOLDER_SUFFIXES:
                continue
            goal = _inside(staged, *(safe_name(part) for part in relative.parts))
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, goal)
        describe(staged)
        staged.rename(target)
    logger.info("Added the folder %s", target)
    return [describe(target)]


def _inside(folder: Path, *parts: str) -> Path:
    """folder/parts, after making sure that it does lie inside."""
    path = folder.joinpath(*parts)
    if not path.resolve().is_relative_to(folder.resolve()) or path.resolve() == folder.resolve():
        raise SonopaintError(f"{'/'.join(parts)!r} is not a usable name: rename the file.")
    return path
