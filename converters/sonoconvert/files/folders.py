"""Where models lie: those shipped in ``weights/`` and the user's own."""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]
MODELS_VARIABLE = "SONOPAINT_MODELS"


def shipped_folder() -> Path:
    """The repository's ``weights`` folder."""
    return _ROOT / "weights"


def own_or_shipped(folder: str, name: str) -> Path | None:
    """A file of weights: the user's own before the shipped one; None where there is neither."""
    places = (user_folder() / folder / name, shipped_folder() / folder / name)
    return next((path for path in places if path.is_file()), None)


def user_folder() -> Path:
    """The folder for people's own models and LoRAs: $SONOPAINT_MODELS, else ``models`` in the repository.

    Where Sonopaint was installed without its repository it is ``~/.sonopaint/models``. It may not exist.
    """
    if os.environ.get(MODELS_VARIABLE):
        return Path(os.environ[MODELS_VARIABLE]).expanduser()
    if shipped_folder().is_dir():
        return _ROOT / "models"
    return Path.home() / ".sonopaint" / "models"
