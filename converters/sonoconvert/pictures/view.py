"""What spectrogram.js shows of a picture: a small grey PNG with its seconds and its rows' frequencies."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.picture import Picture

WAVE_COLUMNS = 4096
WIDEST = 8192  # columns; browsers refuse much wider pictures


def view_of(picture: Picture, peak: float | None = None) -> dict[str, Any]:
    """What spectrogram.js shows but for the sound: a grey PNG as data URL, seconds, the rows' edges in Hz.

    peak: see `grey`.
    """
    file = io.BytesIO()
    grey(picture, peak).save(file, format="PNG")
    encoded = base64.b64encode(file.getvalue()).decode("ascii")
    return {
        "view": f"data:image/png;base64,{encoded}",
        "duration": picture.duration_s,
        "edges": row_edges(picture.format),
    }


def row_edges(fmt: SpectrogramFormat) -> list[float]:
    """The frequencies in Hz between the rows of a picture, lowest first."""
    return [round(max(fmt.hz(row - 0.5), 0.0), 2) for row in range(fmt.n_mels + 1)]


def wave_of(clip: Clip) -> str:
    """A waveform's outline for spectrogram.js: lowest and highest sample of at most WAVE_COLUMNS columns.

    Base64 of pairs of bytes: 128 ± 127 · √|x|, so that soft sounds have steps, too. All channels in one.
    """
    samples = clip.waveform.detach().cpu().numpy()
    columns = min(WAVE_COLUMNS, samples.shape[1])
    starts = np.arange(columns) * samples.shape[1] // columns
    outline = np.stack(
        [
            np.minimum.reduceat(samples.min(axis=0), starts),
            np.maximum.reduceat(samples.max(axis=0), starts),
        ],
        axis=1,
    ).clip(-1, 1)
    packed = 128 + np.round(127 * np.sign(outline) * np.sqrt(np.abs(outline)))
    return base64.b64encode(packed.astype(np.uint8).tobytes()).decode("ascii")


def grey(picture: Picture, peak: float | None = None) -> Image.Image:
    """The picture with its top row high, loud as white, channels averaged, at most WIDEST columns wide.

    peak: the mel magnitude that is white, so that pictures can be compared; else the picture's own.
    """
    levels = picture.levels().mean(dim=0).flip(0).numpy()
    own, fmt = peak_of(picture), picture.format
    if own and peak and own != peak:
        if fmt.curve == "db":
            levels = levels - 20 * np.log10(own / peak) / fmt.floor_db * (levels > 0)
        else:
            levels = levels * (own / peak) ** fmt.exponent
        levels = levels.clip(0, 1)
    shrink = -(-levels.shape[1] // WIDEST)
    if shrink > 1:  # the loudest of neighbouring columns, so that clicks stay visible
        levels = np.pad(levels, ((0, 0), (0, -levels.shape[1] % shrink)))
        levels = levels.reshape(levels.shape[0], -1, shrink).max(axis=2)
    return Image.fromarray((levels * 255).round().astype(np.uint8))


def peak_of(picture: Picture) -> float | None:
    """The loudest channel's peak; None where the picture does not know it."""
    return max(picture.peak) if isinstance(picture.peak, list) else picture.peak
