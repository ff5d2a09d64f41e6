"""Reading safetensors: one sentence for each way in which a weights file can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from sonoconvert.errors import SonopaintError

PICKLES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
MAX_HEADER = 100_000_000  # bytes; safetensors' own limit


def check_weights_path(path: str | Path) -> Path:
    """The path of a readable .safetensors file, or a SonopaintError that says what to do."""
    path = Path(path)
    if path.suffix.lower() in PICKLES:
        raise SonopaintError(
            f"{path.name} is a pickle, which can run code when opened; convert it to .safetensors first "
            '(for instance in the WebUI: Checkpoint Merger, "No interpolation", safetensors).'
        )
    if not path.is_file():
        raise SonopaintError(f"There is no file {path}; check the name or the models folder.")
    if path.suffix.lower() != ".safetensors":
        raise SonopaintError(
            f"{path.name} is not a .safetensors file, the only kind of weights that is read."
        )
    return path


def read_header(path: str | Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """({tensor name: shape}, metadata) of a safetensors file, without reading its tensors."""
    path = check_weights_path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER):
            raise SonopaintError(f"{path.name} is truncated or no safetensors file; download it again.")
        try:
            header: dict[str, Any] = json.loads(file.read(length))
            metadata = header.pop("__metadata__", {})
            shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
            if not isinstance(metadata, dict):
                raise TypeError("metadata")
            end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
            raise SonopaintError(f"{path.name} has a damaged header; download it again.") from error
    if not shapes:
        raise SonopaintError(f"{path.name} holds no tensors.")
    if end != size - 8 - length:
        raise SonopaintError(
            f"{path.name} is truncated or damaged: it holds {size - 8 - length} bytes of weights where its "
            f"header says {end}; download it again."
        )
    return shapes, metadata


def read_tensors(path: str | Path, *, dtype: torch.dtype | None = torch.float32) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file, on the CPU; floating ones as `dtype` (None: as stored)."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    read_header(path)
    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise SonopaintError(f"{Path(path).name} is damaged ({error}); download it again.") from error
    if dtype is None:
        return tensors
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}
