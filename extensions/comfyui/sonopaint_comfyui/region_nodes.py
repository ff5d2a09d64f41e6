"""Time–Frequency Region."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image

from sonoconvert.conversion.convert import encode
from sonoconvert.defaults import FEATHER_S, FORMAT
from sonoconvert.edits.region import Box, Region, parse_region
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.drawing import read_drawing
from sonoconvert.pictures.format import PRESETS
from sonopaint.painters.spans import padded
from sonopaint_comfyui import kinds
from sonopaint_comfyui.kinds import PictureInfo, schema
from sonopaint_comfyui.sounds import clips_of
from sonopaint_comfyui.views import shown


class TimeFrequencyRegion(io.ComfyNode):
    """Where to paint: drawn on the spectrogram, typed, or from a mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintRegion",
            "Time–Frequency Region",
            description="Where a sound is repainted: boxes and brush strokes drawn on its spectrogram, boxes "
            "typed in seconds and hertz, or a mask.",
            search_aliases=["audio mask", "sound region", "inpaint audio", "spectrogram mask"],
            has_intermediate_output=True,
            inputs=[
                io.String.Input(
                    "boxes",
                    default="",
                    multiline=True,
                    placeholder="1.0:2.5,200:4000",
                    tooltip="One box in each line: start:end in seconds, then low:high in hertz if you like. "
                    "Any end may be left open: 1.0: is from one second on.",
                ),
                io.Float.Input(
                    "feather",
                    default=FEATHER_S,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Seconds over which old and new sound cross-fade, on either side.",
                ),
                io.Boolean.Input("invert", default=False, tooltip="Paint everything else."),
                kinds.Drawing.Input(
                    "drawing",
                    optional=True,
                    tooltip="Boxes and brush strokes drawn on the spectrogram; run the workflow once, or "
                    "connect a loader, to see it.",
                ),
                io.Audio.Input("audio", optional=True, tooltip="The sound to draw on."),
                io.Mask.Input(
                    "mask", optional=True, tooltip="White is painted; stretched over the whole sound."
                ),
                kinds.Format.Input(
                    "format",
                    optional=True,
                    tooltip="For a mask painted on a spectrogram: its format, which knows where the sound "
                    "ends; and the format of the preview.",
                ),
            ],
            outputs=[kinds.Region.Output(display_name="region")],
        )

    @classmethod
    def validate_inputs(cls, boxes: Any = "") -> bool | str:
        try:
            boxes_of(boxes if isinstance(boxes, str) else "")
        except SonopaintError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        boxes: str,
        feather: float,
        invert: bool,
        drawing: str | None = None,
        audio: Any = None,
        mask: torch.Tensor | None = None,
        format: PictureInfo | None = None,
    ) -> io.NodeOutput:
        drawn = read_drawing(drawing or "")
        brushes = [brush for brush in (drawn.brush, brush_of(mask, format)) if brush is not None]
        region = Region(boxes_of(boxes) + drawn.boxes, merged(brushes), feather, invert)
        if not region.boxes and region.brush is None and not invert:
            raise SonopaintError(
                "The region is empty: draw on the spectrogram, type boxes such as 1.0:2.5,200:4000, or "
                "connect a mask with something white."
            )
        if audio is None:
            return io.NodeOutput(region)
        clip = clips_of(audio)[0]
        fmt = format.format if format else PRESETS[FORMAT]
        picture = encode(clip.mono(), fmt.with_channels("mono"))
        return io.NodeOutput(region, ui=shown([picture], [clip]))


def boxes_of(text: str) -> tuple[Box, ...]:
    """Boxes typed one in a line (or separated by semicolons)."""
    lines = [line.strip() for line in text.replace(";", "\n").splitlines()]
    return tuple(parse_region(line) for line in lines if line)


def brush_of(mask: torch.Tensor | None, info: PictureInfo | None) -> np.ndarray | None:
    """A brush from the first mask [height, width]; columns after the sound's end are cut off.

    Raises SonopaintError for a mask of another size than the spectrogram that `info` knows.
    """
    if mask is None:
        return None
    brush = mask.reshape(-1, *mask.shape[-2:])[0].detach().cpu().float().numpy()
    if info is not None and info.num_samples is not None:
        rows, columns = info.format.rows, info.format.frames(info.num_samples)
        if brush.shape[0] != rows or brush.shape[1] not in (columns, padded(columns)):
            raise SonopaintError(
                f"The mask is {brush.shape[1]} × {brush.shape[0]} pixels, but the spectrogram of this format "
                f"is {padded(columns)} × {rows}; paint the mask on that spectrogram, or take the format away "
                "to stretch the mask over the whole sound."
            )
        brush = brush[:, :columns]
    return brush if (brush >= 0.5).any() else None


def merged(brushes: list[np.ndarray]) -> np.ndarray | None:
    """The union of brushes of any sizes, in the size of the finest."""
    if not brushes:
        return None
    height, width = (max(brush.shape[axis] for brush in brushes) for axis in (0, 1))
    result = np.zeros((height, width), dtype=np.float32)
    for brush in brushes:
        image = Image.fromarray((brush >= 0.5).astype(np.float32))
        resized = np.asarray(image.resize((width, height), Image.Resampling.NEAREST))
        result = np.maximum(result, resized)
    return result


NODES = [TimeFrequencyRegion]
