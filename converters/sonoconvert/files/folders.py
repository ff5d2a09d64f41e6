"""Where models lie: those shipped in ``weights/`` and the user's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_ROOT = Path(__file__).resolve().parents[3]
MODELS_VARIABLE = "SONOPAINT_MODELS"


def shipped_folder() -> Path:
    """The repository's ``weights`` folder."""
    return _ROOT / "weights"


def own_or_shipped(folder: str, name: str) -> Path | None:
    """A file of weights: the user's own before the shipped one; None where there is neither."""
    places = (user_folder() / folder / name, shipped_folder() / folder / name)
    return next((path for path in places if path.is_file()), None)


def read_once(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """`read` whose last two answers are kept, each until its file is written anew."""
    kept = lru_cache(maxsize=2)(lambda path, changed: read(path))
    return lambda path: kept(path, path.stat().st_mtime_ns)


def user_folder() -> Path:
    """The folder for people's own models and LoRAs: $SONOPAINT_MODELS, else ``models`` in the repository.

    Where Sonopaint was installed without its repository it is ``~/.sonopaint/models``. It may not exist.
    """
    if os.environ.get(MODELS_VARIABLE):
        return Path(os.environ[MODELS_VARIABLE]).expanduser()
    if shipped_folder().is_dir():
        return _ROOT / "models"
    return Path.home() / ".sonopaint" / "models"
