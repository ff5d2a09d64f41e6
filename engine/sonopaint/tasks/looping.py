"""loop: a sound whose end runs into its start, from words or from a clip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from sonoconvert.conversion.convert import decode
from sonoconvert.defaults import SEAM_S
from sonoconvert.edits.canvas import loop_canvas
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import Clip
from sonoconvert.phase.search import PhaseSearch
from sonoconvert.pictures.picture import Picture
from sonopaint.painters.protocol import Painter
from sonopaint.painters.spans import MULTIPLE
from sonopaint.painters.waves import WavePainter
from sonopaint.tasks import waves
from sonopaint.tasks.editing import edited
from sonopaint.tasks.generation import blank_canvas, checked_seconds, from_scratch, samples_of
from sonopaint.tasks.progress import Part, Progress
from sonopaint.tasks.result import Result, agreeing, as_painter, items, normalised, record
from sonopaint.tasks.settings import PaintSettings

if TYPE_CHECKING:
    from sonopaint.models.model import Model


def loop(
    model: Model | Painter | WavePainter,
    clip: Clip | None,
    settings: PaintSettings,
    *,
    seconds: float | None = None,
    seam_s: float | None = None,
    batch: int = 1,
    progress: Progress | None = None,
) -> list[Result]:
    """Make a loop.

    clip None: a new one of ``seconds``, to the sample; time wraps in the model and in the transforms.
    Otherwise: close the clip by repainting ``seam_s`` (default SEAM_S) around the place where its end meets
    its start; its length and all other samples stay as they are, and ``seconds`` is not used.
    """
    if clip is None:
        if seam_s is not None:
            raise SonopaintError(
                f"A new loop has no seam; give {setting('seam')} only together with a sound."
            )
        checked_seconds(seconds)
    elif seconds is not None:
        raise SonopaintError(
            f"A sound that is made to loop keeps its length; leave {setting('seconds')} out."
        )
    if isinstance(model, WavePainter):
        lengths = {"seconds": seconds, "seam_s": seam_s}
        return waves.loop(model, clip, settings, batch=batch, progress=progress, **lengths)
    painter = as_painter(model)
    if clip is None:
        return _new_loop(painter, from_scratch(settings), seconds, batch, progress)
    seam_s = SEAM_S if seam_s is None else seam_s
    canvas = loop_canvas(clip, painter.format, seam_s)
    return edited("loop", painter, canvas, settings, batch, progress, seam=seam_s)


def _new_loop(
    painter: Painter, settings: PaintSettings, seconds: float | None, batch: int, progress: Progress | None
) -> list[Result]:
    fmt = painter.format
    num_samples = samples_of(seconds, fmt)
    # Models wrap at multiples of 64 columns only: paint the nearest and stretch the picture to the length.
    columns = max(1, round(num_samples / fmt.hop_length))
    wide = max(1, round(columns / MULTIPLE)) * MULTIPLE
    canvas = blank_canvas(fmt, wide, wide * fmt.hop_length, circular=True)
    if wide > fmt.width:
        settings = agreeing(painter, settings)
    results = []
    for index, item in enumerate(items(settings, batch)):
        tell = Part(progress, index, batch)
        painted = painter.paint(canvas, item.prompt, item, tell)
        picture, clip = fitted_loop(painted, num_samples, item.search, progress=tell.sound)
        results.append(Result.of(clip, picture, record("loop", painter, item, seconds=clip.duration_s)))
    if progress:
        progress(1, 1, "Done")
    return results


def fitted_loop(
    painted: Picture,
    num_samples: int,
    search: PhaseSearch | None = None,
    *,
    progress: Callable[[float], None] | None = None,
) -> tuple[Picture, Clip]:
    """A painted loop at exactly `num_samples`: the picture stretched to whole columns, and its sound.

    The sound is at the picture's own level where that is known, else its peak is −1 dBFS.
    """
    columns = max(1, round(num_samples / painted.format.hop_length))
    picture = dataclasses.replace(
        painted,
        pixels=_stretched_round(painted.pixels, columns),
        num_samples=columns * painted.format.hop_length,
    )
    clip = decode(picture, search, circular=True, progress=progress)
    if picture.peak is not None:
        return picture, _resampled_round(clip, num_samples)
    return picture, normalised(_resampled_round(normalised(clip), num_samples))


def _stretched_round(pixels: np.ndarray, columns: int) -> np.ndarray:
    """Pixels [H, W, 3] of a loop drawn over another number of columns (linear, wrapping round)."""
    width = pixels.shape[1]
    if width == columns:
        return pixels
    place = np.arange(columns) * (width / columns)
    left = place.astype(int)
    part = (place - left)[None, :, None]
    stretched = pixels[:, left] * (1 - part) + pixels[:, (left + 1) % width] * part
    return np.rint(stretched).astype(np.uint8)


def _resampled_round(clip: Clip, num_samples: int) -> Clip:
    """A loop of another number of samples: its Fourier series, which is periodic as the loop is."""
    if clip.num_samples == num_samples:
        return clip
    from scipy.signal import resample

    waveform = resample(clip.waveform.numpy(), num_samples, axis=-1).astype(np.float32)
    return dataclasses.replace(clip, waveform=torch.from_numpy(waveform))
