"""What a browser's region editor marked, as a Region."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np

from sonoconvert.defaults import FEATHER_S
from sonoconvert.edits.region import MAX_BRUSH_PIXELS, Box, Region
from sonoconvert.errors import SonopaintError

DATA_URL = "data:image/png;base64,"


def read_drawing(text: str, *, feather_s: float = FEATHER_S, inverted: bool = False) -> Region:
    """The region in the JSON that region_editor.js gives.

    ``{"boxes": [{start, end, low, high}], "brush": url}``: seconds and hertz, null means "to the edge";
    `brush` is a PNG whose opaque pixels are painted. The region may be empty.
    Raises SonopaintError where the text is damaged.
    """
    try:
        marked = json.loads(text or "{}")
        boxes = tuple(
            Box(float(box["start"]), float(box["end"]), _hz(box["low"]), _hz(box["high"]))
            for box in marked.get("boxes", [])
        )
        brush = _brush(marked.get("brush") or "")
    except SonopaintError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise SonopaintError("The marks on the picture could not be read: clear and mark again.") from error
    if brush is not None and not (brush >= 0.5).any():
        brush = None
    return Region(boxes, brush, feather_s, inverted)


def _hz(value: Any) -> float | None:
    return None if value is None else float(value)


def _brush(url: str) -> np.ndarray | None:
    """float32 [height, width] in 0…1 from the canvas's PNG."""
    from PIL import Image

    if not url:
        return None
    if not url.startswith(DATA_URL):
        raise ValueError("not a PNG")
    with Image.open(io.BytesIO(base64.b64decode(url.removeprefix(DATA_URL))), formats=["PNG"]) as image:
        if image.width * image.height > MAX_BRUSH_PIXELS:
            raise ValueError("too large")
        alpha = image.convert("RGBA").getchannel("A")
    return np.asarray(alpha, dtype=np.float32) / 255
