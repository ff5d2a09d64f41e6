"""interpolate: from one sound to another over several clips."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from sonoconvert.defaults import JOIN_S
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.pictures.picture import Picture
from sonopaint.painters.protocol import Painter
from sonopaint.tasks.generation import blank_canvas, from_scratch, samples_of, sound_of
from sonopaint.tasks.progress import Part, Progress
from sonopaint.tasks.result import MAX_BATCH, Result, agreeing, as_painter, record
from sonopaint.tasks.settings import CLIPS, PaintSettings

if TYPE_CHECKING:
    from sonopaint.models.model import Model


def interpolate(
    model: Model | Painter,
    settings_a: PaintSettings,
    settings_b: PaintSettings,
    n: int = CLIPS,
    *,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> list[Result]:
    """``n`` clips from A to B and, as the last result, all of them joined: n + 1 results.

    Noise goes along the great circle between the two seeds' (slerp), prompt embeddings and guidance along
    straight lines: the first picture is what ``generate`` paints of A, the last what it paints of B (steps,
    sampler and the seed of the phases are A's). The joined clip cross-fades the pictures and is turned into
    sound once, so that phases have no seams. Raises SonopaintError for fewer than 2 clips.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 2 <= n <= MAX_BATCH:
        raise SonopaintError(f"{setting('clips')} must be a whole number from 2 to {MAX_BATCH}, not {n!r}.")
    painter = as_painter(model)
    fmt = painter.format
    num_samples = samples_of(seconds, fmt)
    canvas = blank_canvas(fmt, fmt.frames(num_samples), num_samples)
    if canvas.mask.shape[1] > fmt.width:
        settings_a = agreeing(painter, settings_a)
    a, b = (painter.resolve(from_scratch(settings)) for settings in (settings_a, settings_b))

    results: list[Result] = []
    for index in range(n):
        t = index / (n - 1)
        tell = Part(progress, index, n)
        guidance = (1 - t) * (a.guidance_scale or 0.0) + t * (b.guidance_scale or 0.0)
        item = dataclasses.replace(a, guidance_scale=guidance)
        picture = painter.paint_between(canvas, item, b, t, tell)
        clip = sound_of(picture, item, tell.sound)
        extra = {"seconds": clip.duration_s, "to": b.to_dict(), "position": t, "clips": n}
        results.append(Result.of(clip, picture, record("interpolate", painter, item, **extra)))

    whole = joined([result.picture for result in results])
    clip = sound_of(whole, a, tell.sound)
    extra = {"seconds": clip.duration_s, "to": b.to_dict(), "position": "all", "clips": n}
    results.append(Result.of(clip, whole, record("interpolate", painter, a, **extra)))
    if progress:
        progress(1, 1, "Done")
    return results


def joined(pictures: list[Picture], join_s: float = JOIN_S) -> Picture:
    """One long picture in which equal neighbours cross-fade, level by level, over `join_s` seconds."""
    fmt = pictures[0].format
    columns = pictures[0].pixels.shape[1]
    overlap = min(fmt.columns(join_s), columns // 2)
    stride = columns - overlap
    rise = (np.arange(overlap) + 0.5) / max(1, overlap)
    weight = np.concatenate([rise, np.ones(columns - 2 * overlap), rise[::-1]])[None, :, None]
    total = np.zeros((fmt.rows, stride * len(pictures) + overlap, 3))
    weights = np.zeros((1, total.shape[1], 1))
    for index, picture in enumerate(pictures):
        place = slice(index * stride, index * stride + columns)
        total[:, place] += picture.pixels * weight
        weights[:, place] += weight
    return Picture(
        pixels=np.rint(total / weights).astype(np.uint8),
        format=fmt,
        peak=None,
        num_samples=total.shape[1] * fmt.hop_length,
        settings={},
    )
