"""generate: a sound from words, of any length."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from sonoconvert.conversion.convert import decode
from sonoconvert.edits.canvas import Canvas
from sonoconvert.edits.region import Region
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.picture import Picture
from sonopaint.painters.protocol import Painter
from sonopaint.painters.waves import WavePainter
from sonopaint.tasks import waves
from sonopaint.tasks.progress import Part, Progress
from sonopaint.tasks.result import Result, agreeing, as_painter, gain_db, items, normalised, record
from sonopaint.tasks.settings import PaintSettings

if TYPE_CHECKING:
    from sonopaint.models.model import Model

MIN_SECONDS = 0.1
MAX_SECONDS = 3600.0


def generate(
    model: Model | Painter | WavePainter,
    settings: PaintSettings,
    *,
    seconds: float | None = None,
    batch: int = 1,
    progress: Progress | None = None,
) -> list[Result]:
    """Make ``batch`` sounds from ``settings.prompt``, each of ``seconds`` (default: the model's own length).

    Longer sounds are painted in overlapping windows and turned into sound once. The peak is −1 dBFS;
    the settings' ``gain_db`` is what brought it there from the level that was painted.
    Equal settings give equal samples; item i equals a single run with seed + i.
    Raises SonopaintError for impossible lengths or batches; whatever ``progress`` raises.
    """
    settings = from_scratch(settings)
    if isinstance(model, WavePainter):
        checked_seconds(seconds)
        return waves.generate(model, settings, seconds=seconds, batch=batch, progress=progress)
    painter = as_painter(model)
    fmt = painter.format
    num_samples = samples_of(seconds, fmt)
    canvas = blank_canvas(fmt, fmt.frames(num_samples), num_samples)
    if canvas.mask.shape[1] > fmt.width:
        settings = agreeing(painter, settings)
    results = []
    for index, item in enumerate(items(settings, batch)):
        tell = Part(progress, index, batch)
        picture = painter.paint(canvas, item.prompt, item, tell)
        painted = decode(picture, item.search, progress=tell.sound)
        clip = normalised(painted)
        more = {"seconds": clip.duration_s, "gain_db": round(gain_db(painted, clip), 2)}
        results.append(Result.of(clip, picture, record("generate", painter, item, **more)))
    if progress:
        progress(1, 1, "Done")
    return results


def from_scratch(settings: PaintSettings) -> PaintSettings:
    """The settings without what only edits know: on a blank canvas there is nothing to start from."""
    return dataclasses.replace(settings, strength=1.0, fill="noise")


def samples_of(seconds: float | None, fmt: SpectrogramFormat) -> int:
    """Samples of a sound of ``seconds``, or of the format's standard picture."""
    checked_seconds(seconds)
    return fmt.width * fmt.hop_length if seconds is None else round(seconds * fmt.sample_rate)


def checked_seconds(seconds: float | None) -> None:
    """Raise SonopaintError for a length that can't be made."""
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        raise SonopaintError(f"{setting('seconds')} must be a number, not {seconds!r}.")
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise SonopaintError(
            f"{setting('seconds')} must be from {MIN_SECONDS:g} to {MAX_SECONDS:g}, not {seconds:g}."
        )


def blank_canvas(fmt: SpectrogramFormat, columns: int, num_samples: int, *, circular: bool = False) -> Canvas:
    """A silent canvas with everything to be painted."""
    silence = 255 if fmt.inverted else 0
    pixels = np.full((fmt.rows, columns, 3), silence, dtype=np.uint8)
    return Canvas(
        picture=Picture(pixels=pixels, format=fmt, peak=None, num_samples=num_samples, settings={}),
        mask=np.ones((fmt.rows, columns), dtype=np.float32),
        source=Clip(torch.zeros(fmt.num_channels, num_samples), fmt.sample_rate),
        region=Region(inverted=True),
        kind="loop" if circular else "generate",
        circular=circular,
    )


def sound_of(
    picture: Picture, settings: PaintSettings, progress: Callable[[float], None] | None = None
) -> Clip:
    """The painted picture as sound, peak at −1 dBFS, exactly as long as the picture says."""
    return normalised(decode(picture, settings.search, progress=progress))
