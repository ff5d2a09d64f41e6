"""Where to paint: boxes in seconds and hertz, brush masks, or both; with a feather."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from sonoconvert.defaults import FEATHER_S
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.pictures.format import SpectrogramFormat

MAX_BRUSH_PIXELS = 32_000_000  # larger mask images are refused before they are decoded
MAX_OVERSHOOT_S = 0.05  # an end this little past the clip's end is rounding, not a mistake
FEATHER_ROWS = 2.0  # reach of the soft mask along frequency, in mel bins

Span = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A rectangle of time (seconds) and frequency (hertz); None means "to the edge".

    Raises SonopaintError when the box is empty, reversed, negative or not a number.
    """

    start_s: float = 0.0
    end_s: float | None = None
    low_hz: float | None = None
    high_hz: float | None = None

    def __post_init__(self) -> None:
        _check_range("time", "s", self.start_s, self.end_s)
        _check_range("frequency", "Hz", self.low_hz, self.high_hz)

    def __str__(self) -> str:
        """The text that `parse_region` reads back."""
        time = f"{_number(self.start_s)}:{_number(self.end_s)}"
        if self.low_hz is None and self.high_hz is None:
            return time
        return f"{time},{_number(self.low_hz)}:{_number(self.high_hz)}"


@dataclass(frozen=True, eq=False)
class Region:
    """The union of boxes and a brush mask; everything else when `inverted`.

    brush: float [height, width] of any size, 1 = paint, top row = highest frequency, left to right = the
    whole clip. feather_s: seconds on either side of the painted time over which the samples cross-fade.
    """

    boxes: tuple[Box, ...] = ()
    brush: np.ndarray | None = None
    feather_s: float = FEATHER_S
    inverted: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.feather_s) and self.feather_s >= 0):
            raise SonopaintError(f"{setting('feather')} must be 0 s or more, not {self.feather_s} s.")
        if self.brush is not None and (self.brush.ndim != 2 or self.brush.size == 0):
            raise SonopaintError(
                f"The brush mask must be one picture of height × width, not {self.brush.shape}."
            )

    def check(self, duration_s: float, format: SpectrogramFormat) -> None:
        """Raise SonopaintError unless every box lies in a clip of `duration_s` seconds and in the format."""
        if not self.boxes and self.brush is None and not self.inverted:
            raise SonopaintError("The region is empty: give at least one box or a brush mask.")
        for box in self.boxes:
            if box.start_s >= duration_s:
                raise SonopaintError(
                    f"The region {box} starts outside the clip, which lasts {duration_s:.3f} s; "
                    f"start it before {duration_s:.3f} s."
                )
            if box.end_s is not None and box.end_s > duration_s + MAX_OVERSHOOT_S:
                raise SonopaintError(
                    f"The region {box} ends outside the clip, which lasts {duration_s:.3f} s; "
                    f'end it there or leave the end open ("{_number(box.start_s)}:").'
                )
            if (box.low_hz or 0.0) >= format.f_max or (box.high_hz or math.inf) <= format.f_min:
                raise SonopaintError(
                    f"The region {box} lies outside the frequencies of {format.name}, "
                    f"{format.f_min:g} to {format.f_max:g} Hz; choose hertz between them."
                )

    def mask(
        self, format: SpectrogramFormat, columns: int, *, first: int = 0, total: int | None = None
    ) -> np.ndarray:
        """Return float32 [n_mels, columns], 1 = paint, row 0 = lowest frequency.

        `columns` columns from column `first` of a clip that has `total` (default: columns). A cell belongs to
        a box when its centre does; a box thinner than a cell still gets the nearest one.
        """
        painted = np.zeros((format.n_mels, columns), dtype=np.float32)
        for box in self.boxes:
            bottom, top = _cells(
                None if box.low_hz is None else format.mel_row(max(box.low_hz, format.f_min)),
                None if box.high_hz is None else format.mel_row(min(box.high_hz, format.f_max)),
                format.n_mels,
            )
            rate = format.sample_rate / format.hop_length
            end = None if box.end_s is None else box.end_s * rate
            left, right = _cells(box.start_s * rate, end, total or columns)
            painted[bottom:top, max(left - first, 0) : max(right - first, 0)] = 1.0
        if self.brush is not None:
            stretched = _stretch(self.brush, format.n_mels, columns, first, total or columns)
            painted = np.maximum(painted, stretched)
        return 1.0 - painted if self.inverted else painted

    def soft_mask(
        self, format: SpectrogramFormat, columns: int, *, first: int = 0, total: int | None = None
    ) -> np.ndarray:
        """`mask`, falling to 0 outside by a raised cosine: the feather in time, two rows in frequency."""
        from scipy.ndimage import distance_transform_edt

        hard = self.mask(format, columns, first=first, total=total)
        if self.feather_s == 0 or not hard.any():
            return hard
        feather_columns = self.feather_s * format.sample_rate / format.hop_length
        distance = distance_transform_edt(hard == 0, sampling=(1 / FEATHER_ROWS, 1 / feather_columns))
        return (0.5 + 0.5 * np.cos(np.pi * np.minimum(distance, 1.0))).astype(np.float32)

    def spans(self, duration_s: float) -> list[Span]:
        """The times in which anything is painted, without the feather: merged, sorted (start_s, end_s)."""
        solid = [b for b in self.boxes if not self.inverted or b.low_hz is b.high_hz is None]
        times = [(b.start_s, duration_s if b.end_s is None else b.end_s) for b in solid]
        if self.brush is not None:
            painted = self.brush >= 0.5
            used = painted.all(axis=0) if self.inverted else painted.any(axis=0)
            edges = np.flatnonzero(np.diff(np.concatenate(([0], used.astype(np.int8), [0]))))
            step = duration_s / painted.shape[1]
            times += [(a * step, b * step) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        merged = merge_spans(times, duration_s)
        return _complement(merged, duration_s) if self.inverted else merged

    def time_support(self, duration_s: float) -> list[Span]:
        """The times in which samples may change, feather included: merged, sorted (start_s, end_s)."""
        feather = self.feather_s
        return merge_spans([(a - feather, b + feather) for a, b in self.spans(duration_s)], duration_s)


def parse_region(text: str) -> Box:
    """Read "start:end" in seconds, optionally ",low:high" in hertz; any end may be left open ("1.0:").

    Raises SonopaintError when the text is not of this form or the box is empty, reversed or negative.
    """
    parts = [part.split(":") for part in text.split(",")]
    try:
        if len(parts) > 2 or any(len(part) != 2 for part in parts):
            raise ValueError(text)
        numbers = [float(n) if n.strip() else None for part in parts for n in part]
    except ValueError as error:
        raise SonopaintError(
            f"The region {text!r} cannot be read: write start:end in seconds, optionally followed by "
            "low:high in hertz, as in 1.0:2.5,200:4000."
        ) from error
    start, end, low, high = numbers + [None] * (4 - len(numbers))
    return Box(start or 0.0, end, low, high)


def load_brush(path: str | PathLike[str]) -> np.ndarray:
    """Read a mask image: float32 [height, width] in 0…1, white = paint, transparent = keep.

    Raises SonopaintError when the file is missing, not an image, too large, or has nothing painted.
    """
    from PIL import Image

    name = Path(path).name
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_BRUSH_PIXELS:
                raise SonopaintError(
                    f"The mask {name} has {image.width} × {image.height} pixels; "
                    f"at most {MAX_BRUSH_PIXELS // 1_000_000} million are read, so make it smaller."
                )
            pixels = np.asarray(image.convert("LA"), dtype=np.float32) / 255
    except FileNotFoundError as error:
        raise SonopaintError(f"The mask {name} does not exist; check its path.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, SonopaintError):
            raise
        raise SonopaintError(f"The mask {name} is not an image that can be read; give a PNG.") from error
    brush = pixels[..., 0] * pixels[..., 1]
    if not (brush >= 0.5).any():
        raise SonopaintError(f"The mask {name} has nothing painted: what is to be painted must be white.")
    return brush


def merge_spans(spans: Sequence[Span], duration_s: float, gap_s: float = 0.0) -> list[Span]:
    """Sort, clip to 0…duration_s, and join spans that overlap or lie at most `gap_s` apart."""
    merged: list[Span] = []
    for start, end in sorted((max(a, 0.0), min(b, duration_s)) for a, b in spans):
        if end <= start:
            continue
        if merged and start <= merged[-1][1] + gap_s:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _complement(spans: Sequence[Span], duration_s: float) -> list[Span]:
    edges = [0.0, *(t for span in spans for t in span), duration_s]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]


def _check_range(what: str, unit: str, low: float | None, high: float | None) -> None:
    shown = f"{_number(low)}:{_number(high)} {unit}"
    given = [value for value in (low, high) if value is not None]
    if not all(math.isfinite(value) and value >= 0 for value in given):
        raise SonopaintError(f"The region's {what} {shown} is not usable: give numbers of 0 or more.")
    if high is not None and (low or 0.0) > high:
        raise SonopaintError(f"The region's {what} {shown} is reversed: give the lower number first.")
    if high is not None and (low or 0.0) == high:
        raise SonopaintError(f"The region's {what} {shown} is empty: its end must be greater than its start.")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"


def _cells(low: float | None, high: float | None, count: int) -> tuple[int, int]:
    """First and last + 1 of the cells 0…count−1 with centres (whole numbers) in low…high; at least one."""
    first = 0 if low is None else math.ceil(low)
    last = count - 1 if high is None else math.floor(high)
    if last < first:
        middle = 0.5 * ((low or 0.0) + (count - 1 if high is None else high))
        first = last = round(middle)
    return min(max(first, 0), count - 1), min(max(last, 0), count - 1) + 1


def _stretch(brush: np.ndarray, rows: int, columns: int, first: int, total: int) -> np.ndarray:
    """A part of the brush stretched over [rows, total columns]: 1 where half of a cell is painted."""
    from PIL import Image

    image = Image.fromarray((brush >= 0.5).astype(np.float32))
    scale = brush.shape[1] / total
    part = (first * scale, 0.0, min((first + columns) * scale, brush.shape[1]), float(brush.shape[0]))
    cells = image.resize((columns, rows), Image.Resampling.BOX, box=part)
    return (np.asarray(cells)[::-1] >= 0.5).astype(np.float32)
