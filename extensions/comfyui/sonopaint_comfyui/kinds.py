"""The types that go through Sonopaint's own sockets, and the helper that makes node schemas."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from comfy_api.latest import io

from sonoconvert.edits.canvas import Canvas
from sonoconvert.pictures.format import SpectrogramFormat

CATEGORY = "audio/sonopaint"
METADATA = "sonopaint_metadata"  # attachment of a MODEL: the safetensors header of its U-Net
LORA_METADATA = "lora_metadata"  # that of its last LoRA, as ComfyUI keeps it


@dataclass(frozen=True)
class PictureInfo:
    """What a SONOPAINT_FORMAT socket carries: the format, and what is known of the pictures made with it.

    peaks: level of white for each picture of a batch; empty: not known, sounds are normalised.
    num_samples: exact length at the format's rate; None: all columns.
    loop: time wraps round.
    lead: of the model that paints, see `paint_spans`.
    """

    format: SpectrogramFormat
    peaks: tuple[float | list[float] | None, ...] = ()
    num_samples: int | None = None
    loop: bool = False
    lead: int | None = None


@dataclass(frozen=True)
class EditContext:
    """What a SONOPAINT_CONTEXT socket carries from a canvas to Put Back.

    canvases: one for each clip of the batch, all of the same size.
    spans: columns (start, stop) of the canvas that the painter got, a picture for each; those of one canvas
    stand together in the batch. width: columns of every picture, with what fills it up on the right.
    """

    canvases: tuple[Canvas, ...]
    spans: tuple[tuple[int, int], ...]
    width: int


Format = io.Custom("SONOPAINT_FORMAT")
Region = io.Custom("SONOPAINT_REGION")
Context = io.Custom("SONOPAINT_CONTEXT")
Drawing = io.Custom("SONOPAINT_DRAWING")
Curves = io.Custom("SONOPAINT_CURVES")  # sonoconvert.curves.Curves
Lanes = io.Custom("SONOPAINT_LANES")  # JSON of those drawn in a widget

_KNOWN = {field.name for field in dataclasses.fields(io.Schema)}


def schema(node_id: str, display_name: str, *, group: str = "", **values: Any) -> io.Schema:
    """A schema in Sonopaint's category; keys that an older ComfyUI does not know are left out."""
    category = f"{CATEGORY}/{group}" if group else CATEGORY
    known = {key: value for key, value in values.items() if key in _KNOWN}
    return io.Schema(node_id=node_id, display_name=display_name, category=category, **known)


def advanced() -> dict[str, Any]:
    """`extra_dict` of an input that newer front ends fold away."""
    return {"advanced": True}
