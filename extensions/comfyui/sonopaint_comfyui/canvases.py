"""From sonoconvert's Canvas to what a sampler gets, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from sonoconvert.edits.canvas import Canvas
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.picture import Picture
from sonopaint.painters.spans import fill_masked, padded, paint_spans
from sonopaint_comfyui.kinds import EditContext
from sonopaint_comfyui.sounds import pixels_of

CELL = 8  # pixels that one latent covers, each way


def for_sampler(
    canvases: Sequence[Canvas], fill: str, lead: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, EditContext]:
    """(IMAGE, MASK, context) of canvases of one size.

    The picture is cut to what is painted and its surroundings, and filled up on the right to a multiple of
    64 columns. The mask is that of the canvas on the latent's grid: a cell of 8 × 8 pixels is either free or
    kept, so that scaling it down to the latents is exact. fill "noise": what is painted over is drawn as
    lines between its surroundings, so that the model sees no edges; "original": it stays. lead: of the model,
    see `paint_spans`.
    """
    first = canvases[0]
    mask = np.ascontiguousarray(first.mask[::-1])  # top row first, as pixels have it
    spans = paint_spans(mask, first.picture.format.width, lead)
    start, stop = spans[0][0], min(spans[-1][1], mask.shape[1])
    part, width = mask[:, start:stop], padded(spans[-1][1] - start)
    right = width - (stop - start)
    images = []
    for canvas in canvases:
        pixels = canvas.picture.pixels[:, start:stop].astype(np.float32)
        if fill == "noise":
            pixels = fill_masked(pixels, part, circular=canvas.circular)
        images.append(np.pad(pixels, ((0, 0), (0, right), (0, 0)), mode="edge"))
    image = torch.from_numpy(np.stack(images)) / 255
    free = torch.from_numpy(np.pad(part, ((0, 0), (0, right)), constant_values=1.0))
    cells = F.max_pool2d((free > 0).float()[None, None], CELL, ceil_mode=True)
    on_grid = F.interpolate(cells, scale_factor=CELL, mode="nearest")[0, :, : free.shape[0], : free.shape[1]]
    return (
        image,
        on_grid.expand(len(canvases), -1, -1).clone(),
        EditContext(tuple(canvases), start, stop, width),
    )


def from_sampler(image: torch.Tensor, canvas: Canvas, context: EditContext) -> Picture:
    """The canvas's picture with one painted image [rows, columns, channels] in its free cells.

    Raises SonopaintError where the image is not of the size that the canvas gave.
    """
    rows, columns = canvas.mask.shape[0], context.stop - context.start
    if image.shape[0] != rows or image.shape[1] not in (columns, context.width):
        raise SonopaintError(
            f"The painted picture is {image.shape[1]} × {image.shape[0]} pixels, but its canvas was "
            f"{context.width} × {rows}; connect the picture as it was painted, not scaled or cropped."
        )
    pixels = canvas.picture.pixels.copy()
    mask = canvas.mask[::-1, context.start : context.stop, None] > 0
    painted = pixels_of(image[:, :columns], grey=True)
    old = pixels[:, context.start : context.stop]
    pixels[:, context.start : context.stop] = np.where(mask, painted, old)
    return dataclasses.replace(canvas.picture, pixels=pixels)
