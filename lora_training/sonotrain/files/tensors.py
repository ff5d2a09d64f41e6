"""Tensors that are computed once and kept in files: what is missing or damaged is computed anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from sonoconvert.checkpoints.files import write_tensors


def keep(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes or replaces a safetensors file by rename."""
    write_tensors(path, tensors, metadata, allow_nan=True, force=True)


def kept(path: Path) -> dict[str, Tensor] | None:
    """What a file holds; None where it is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError):
        return None


def rows_in(path: Path, name: str) -> int:
    """Rows of a file's tensor, which is not read; 0 where the file is missing or damaged."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return int(file.get_slice(name).get_shape()[0])
    except (OSError, SafetensorError, RuntimeError):
        return 0
