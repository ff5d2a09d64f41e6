"""What the browser marked becomes a region, or one clear sentence."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from sonoconvert.edits.region import Box
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.drawing import DATA_URL, read_drawing


def brush(alpha: np.ndarray) -> str:
    pixels = np.full((*alpha.shape, 4), 255, dtype=np.uint8)
    pixels[..., 3] = alpha
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(file, format="PNG")
    return DATA_URL + base64.b64encode(file.getvalue()).decode()


def test_boxes_and_strokes() -> None:
    alpha = np.zeros((4, 6), dtype=np.uint8)
    alpha[1, 2:5] = 255
    text = {"boxes": [{"start": 0.5, "end": 1, "low": None, "high": 4000}], "brush": brush(alpha)}
    region = read_drawing(json.dumps(text), feather_s=0.1, inverted=True)
    assert region.boxes == (Box(0.5, 1.0, None, 4000.0),)
    assert region.feather_s == 0.1 and region.inverted
    assert region.brush is not None and np.array_equal(region.brush, alpha / 255)


@pytest.mark.parametrize("text", ["", "{}", json.dumps({"brush": brush(np.zeros((3, 3), dtype=np.uint8))})])
def test_nothing_marked_is_an_empty_region(text: str) -> None:
    region = read_drawing(text)
    assert region.boxes == () and region.brush is None


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"boxes": [{}]}', '{"boxes": 3}', '{"brush": "x"}', '{"brush": "' + DATA_URL + 'AAAA"}'],
)
def test_damage_is_said_in_one_sentence(text: str) -> None:
    with pytest.raises(SonopaintError, match="could not be read"):
        read_drawing(text)
