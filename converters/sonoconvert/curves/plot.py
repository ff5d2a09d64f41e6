"""Curves drawn as lanes over time, with Pillow alone."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sonoconvert.curves.curves import Curves, kind_of
from sonoconvert.files.atomic import atomic_path

_ASKED, _GOT = (183, 55, 121), (40, 120, 190)
_PAPER, _INK, _LINE = (255, 255, 255), (60, 60, 67), (228, 228, 232)
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 96, 14, 24, 26, 8


def plot_curves(
    asked: Curves,
    got: Curves | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    width: int = 960,
    lane: int = 110,
    force: bool = False,
) -> Image.Image:
    """Draw each curve in a lane of its own over seconds; `got`, what a result measures, is drawn over it.

    What is free is left out. Returns an RGB image; `path` writes it as PNG, too.
    """
    height = _TOP + len(asked.names) * (lane + _GAP) + _BOTTOM
    image = Image.new("RGB", (width, height), _PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default()
    seconds = asked.duration_s if got is None else max(asked.duration_s, got.duration_s)
    draw.text((_LEFT, 6), "asked", fill=_ASKED, font=font)
    if got is not None:
        draw.text((_LEFT + 50, 6), "measured of the result", fill=_GOT, font=font)
    for index, name in enumerate(asked.names):
        top = _TOP + index * (lane + _GAP)
        box = (_LEFT, top, width - _RIGHT, top + lane)
        draw.rectangle(box, outline=_LINE)
        rows = [(asked, _ASKED)]
        if got is not None and name in got.values:
            rows.append((got, _GOT))
        low, high = _span(name, [curves.values[name] for curves, _ in rows])
        unit = kind_of(name).unit
        draw.text((6, top + lane / 2 - 6), name, fill=_INK, font=font)
        draw.text((6, top), f"{high:.4g} {unit}"[:14], fill=_INK, font=font)
        draw.text((6, top + lane - 12), f"{low:.4g}", fill=_INK, font=font)
        for curves, colour in rows:
            _line(draw, curves, name, box, seconds, (low, high), colour)
    step = next((s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300) if seconds / s <= 12), 600)
    for k in range(math.floor(seconds / step) + 1):
        x = _LEFT + k * step / seconds * (width - _LEFT - _RIGHT)
        draw.text(
            (x - 4, height - _BOTTOM + 4),
            f"{k * step:g} s" if k == 0 else f"{k * step:g}",
            fill=_INK,
            font=font,
        )
    if path is not None:
        with atomic_path(Path(path), force=force) as part:
            image.save(part, "PNG")
    return image


def _span(name: str, rows: list[np.ndarray]) -> tuple[float, float]:
    kind = kind_of(name)
    values = np.concatenate(rows)
    values = values[~np.isnan(values)]
    if kind.off is not None:
        values = values[values != kind.off]
    if kind.blend in ("peak", "hold") or not len(values):
        return kind.low, kind.high
    low, high = float(values.min()), float(values.max())
    if name == "loudness":
        return max(low, high - 70.0) - 3, high + 3
    return low * 0.9, high * 1.1


def _line(
    draw: ImageDraw.ImageDraw,
    curves: Curves,
    name: str,
    box: tuple[int, int, int, int],
    seconds: float,
    span: tuple[float, float],
    colour: tuple[int, int, int],
) -> None:
    kind, (low, high) = kind_of(name), span
    left, top, right, bottom = box
    run: list[tuple[float, float]] = []

    def flush() -> None:
        if len(run) > 1:
            draw.line(run, fill=colour, width=2)
        elif run:
            draw.ellipse((run[0][0] - 1, run[0][1] - 1, run[0][0] + 1, run[0][1] + 1), fill=colour)
        run.clear()

    for k, value in enumerate(curves.values[name].tolist()):
        x = left + k / curves.rate / seconds * (right - left)
        if math.isnan(value) or (kind.off is not None and value == kind.off):
            flush()
            continue
        if kind.blend == "log":
            share = math.log(max(value, low) / low) / math.log(high / low)
        else:
            share = (value - low) / (high - low)
        y = bottom - min(max(share, 0.0), 1.0) * (bottom - top)
        if kind.blend == "peak":
            if value > 0:
                draw.line([(x, bottom), (x, y)], fill=colour, width=2)
            continue
        run.append((x, y))
    flush()
