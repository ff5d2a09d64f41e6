"""What spectrogram.js shows of a picture: a small grey PNG with its seconds and its rows' frequencies."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from sonoconvert.pictures.picture import Picture

WIDEST = 8192  # columns; browsers refuse much wider pictures


def view_of(picture: Picture) -> dict[str, Any]:
    """What spectrogram.js shows but for the sound: a grey PNG as data URL, seconds, the rows' edges in Hz."""
    levels = picture.levels().mean(dim=0).flip(0).numpy()
    shrink = -(-levels.shape[1] // WIDEST)
    if shrink > 1:  # the loudest of neighbouring columns, so that clicks stay visible
        levels = np.pad(levels, ((0, 0), (0, -levels.shape[1] % shrink)))
        levels = levels.reshape(levels.shape[0], -1, shrink).max(axis=2)
    file = io.BytesIO()
    Image.fromarray((levels * 255).round().astype(np.uint8)).save(file, format="PNG")
    fmt = picture.format
    edges = [round(max(fmt.hz(row - 0.5), 0.0), 2) for row in range(fmt.n_mels + 1)]
    encoded = base64.b64encode(file.getvalue()).decode("ascii")
    return {
        "view": f"data:image/png;base64,{encoded}",
        "duration": picture.duration_s,
        "edges": edges,
    }
