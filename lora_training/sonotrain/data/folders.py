"""Where people's datasets lie, and which there are."""

from __future__ import annotations

import os
from pathlib import Path

from sonopaint.models.folders import shipped_folder
from sonotrain.data.dataset import is_dataset

DATASETS_VARIABLE = "SONOPAINT_DATASETS"


def datasets_folder() -> Path:
    """$SONOPAINT_DATASETS, else ``datasets`` in the repository, else ``~/.sonopaint/datasets``."""
    if os.environ.get(DATASETS_VARIABLE):
        return Path(os.environ[DATASETS_VARIABLE]).expanduser()
    if shipped_folder().is_dir():
        return shipped_folder().parent / "datasets"
    return Path.home() / ".sonopaint" / "datasets"


def list_datasets() -> list[Path]:
    """The datasets in that folder, by name."""
    folder = datasets_folder()
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if is_dataset(path)), key=lambda path: path.name.lower())
