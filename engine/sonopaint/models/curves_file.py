"""Adapters for curves as files: any of ``VARIANTS`` in one safetensors, with what it is in the header."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sonoconvert.checkpoints.files import read_header, read_tensors, write_tensors
from sonoconvert.errors import SonopaintError
from sonopaint.models.classes import LENGTH, words_of
from sonopaint.models.curves import CurveAdapter, points_of
from sonopaint.models.curves_output import OUTPUT, OutputAdapter

KEY = "sonopaint.curves"  # of the header
CLASS = "classes."  # before a class's name: its vectors [k, D]


def save_adapter(
    adapter: Any, path: str | os.PathLike[str], metadata: Mapping[str, str], *, force: bool = False
) -> None:
    """Write any adapter as safetensors in fp16, with what `load_adapter` needs in the header."""
    about = {"variant": adapter.variant, "channels": adapter.channels, "points": adapter.points}
    about |= {"classes": list(adapter.classes)} if adapter.classes else {}
    values = adapter.state_dict() | {CLASS + name: vectors for name, vectors in adapter.classes.items()}
    tensors = {name: value.detach().cpu().half().contiguous() for name, value in values.items()}
    write_tensors(Path(path), tensors, {"format": "pt", KEY: json.dumps(about), **metadata}, force=force)


def new_adapter(variant: str, points: Mapping[str, tuple[int, int]], channels: int) -> Any:
    """An adapter of one of VARIANTS that changes nothing yet, for a U-Net of such points (`points_of`)."""
    if variant == OUTPUT:
        return OutputAdapter(channels)
    return CurveAdapter(variant, points, channels)


def load_adapter(path: str | os.PathLike[str]) -> Any:
    """The adapter of a file (float32, CPU). SonopaintError where it holds none."""
    path = Path(path)
    _, metadata = read_header(path)
    try:
        about = json.loads(metadata[KEY])
        points = {str(name): (int(count), int(level)) for name, (count, level) in about["points"].items()}
        channels = int(about["channels"])
        if not points or len(points) > 64 or not 8 <= channels <= 1024:
            raise ValueError("sizes")
        if any(not 1 <= count <= 1 << 14 or not 0 <= level <= 8 for count, level in points.values()):
            raise ValueError("sizes")
        adapter = new_adapter(str(about["variant"]), points, channels)
        tensors = {name: value.float() for name, value in read_tensors(path).items()}
        adapter.classes = {name: _vectors(name, tensors) for name in list(about.get("classes", []))}
        adapter.load_state_dict(tensors)
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise SonopaintError(f"{path.name} is no adapter for curves; get the file anew.") from error
    return adapter.eval().requires_grad_(False)


def _vectors(name: str, tensors: dict[str, Tensor]) -> Tensor:
    """Takes a class's vectors out of a file's tensors; ValueError where they are none."""
    vectors = tensors.pop(CLASS + name)
    if (
        not words_of(name)
        or vectors.ndim != 2
        or not 1 <= len(vectors) <= LENGTH
        or not vectors.isfinite().all()
    ):
        raise ValueError(f"class {name}")
    return vectors


def fits(adapter: Any, unet: Any) -> bool:
    """Whether an adapter was made for such a U-Net."""
    if any(vectors.shape[1] != unet.config.cross_attention_dim for vectors in adapter.classes.values()):
        return False
    if adapter.variant == OUTPUT:
        return bool(adapter.points == {OUTPUT: (unet.config.out_channels, 0)})
    return bool(adapter.points == points_of(unet))
