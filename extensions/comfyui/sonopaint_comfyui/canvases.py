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
    """(IMAGE, MASK, context) of canvases of one size, with a picture for each span of each canvas.

    The pictures are cut to what is painted and its surroundings, and filled up on the right to a multiple of
    64 columns. The masks are those of the canvas on the latent's grid: a cell of 8 × 8 pixels is either free
    or kept, so that scaling it down to the latents is exact. fill "noise": what is painted over is drawn as
    lines between its surroundings, so that the model sees no edges; "original": it stays. lead: of the model,
    see `paint_spans`.
    """
    first = canvases[0]
    mask = np.ascontiguousarray(first.mask[::-1])  # top row first, as pixels have it
    spans, width = equal_spans(mask, first.picture.format.width, lead)
    images, masks = [], []
    for canvas in canvases:
        for start, stop in spans:
            pixels = canvas.picture.pixels[:, start:stop].astype(np.float32)
            if fill == "noise":
                pixels = fill_masked(pixels, mask[:, start:stop], circular=canvas.circular)
            right = width - (stop - start)
            images.append(np.pad(pixels, ((0, 0), (0, right), (0, 0)), mode="edge"))
            masks.append(on_grid(np.pad(mask[:, start:stop], ((0, 0), (0, right)), constant_values=1.0)))
    image = torch.from_numpy(np.stack(images)) / 255
    return image, torch.stack(masks), EditContext(tuple(canvases), spans, width)


def equal_spans(mask: np.ndarray, width: int, lead: int | None) -> tuple[tuple[tuple[int, int], ...], int]:
    """The spans (start, stop) to paint of a mask [rows, columns], and the width of a picture that holds each.

    A batch has pictures of one width; where one picture of all spans is no wider than theirs together, that
    one is taken.
    """
    spans, columns = paint_spans(mask, width, lead), mask.shape[1]
    widest = max(padded(stop - start) for start, stop in spans)
    whole = padded(spans[-1][1] - spans[0][0])
    if len(spans) * widest >= whole:
        spans, widest = [(spans[0][0], spans[-1][1])], whole
    return tuple((start, min(start + widest, columns)) for start, _ in spans), widest


def on_grid(free: np.ndarray) -> torch.Tensor:
    """A mask [rows, columns] on the latents' grid: a cell is 1 where any of its pixels is."""
    cells = F.max_pool2d(torch.from_numpy(free > 0).float()[None, None], CELL, ceil_mode=True)
    return F.interpolate(cells, scale_factor=CELL, mode="nearest")[0, 0, : free.shape[0], : free.shape[1]]


def pictures_by_canvas(image: torch.Tensor, context: EditContext) -> list[torch.Tensor]:
    """The batch [N, rows, columns, channels] as pictures [spans, rows, columns, channels] of each canvas.

    Raises SonopaintError where pictures are missing.
    """
    parts = len(context.spans)
    if image.shape[0] % parts:
        raise SonopaintError(
            f"The region is painted in {parts} parts, but {image.shape[0]} pictures came; connect all that "
            "its canvas gave."
        )
    return list(image.split(parts))


def from_sampler(images: torch.Tensor, canvas: Canvas, context: EditContext) -> Picture:
    """The canvas's picture with the painted images [spans, rows, columns, channels] in its free cells.

    Raises SonopaintError where an image is not of the size that the canvas gave.
    """
    rows, widest = canvas.mask.shape[0], max(stop - start for start, stop in context.spans)
    if images.shape[1] != rows or images.shape[2] not in (widest, context.width):
        raise SonopaintError(
            f"The painted picture is {images.shape[2]} × {images.shape[1]} pixels, but its canvas was "
            f"{context.width} × {rows}; connect the picture as it was painted, not scaled or cropped."
        )
    pixels = canvas.picture.pixels.copy()
    for index, (start, stop) in enumerate(context.spans):
        # A part that goes on into the next one leaves that to it.
        stop = min([stop, *(first for first, _ in context.spans[index + 1 :])])
        mask = canvas.mask[::-1, start:stop, None] > 0
        painted = pixels_of(images[index, :, : stop - start], grey=True)
        pixels[:, start:stop] = np.where(mask, painted, pixels[:, start:stop])
    return dataclasses.replace(canvas.picture, pixels=pixels)
