"""Spectrograms with axes, drawn with Pillow alone (hosts and Studio have no matplotlib)."""

from __future__ import annotations

import math
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from sonoconvert.conversion.convert import encode
from sonoconvert.defaults import FORMAT
from sonoconvert.edits.region import Region
from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import atomic_path
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import PRESETS
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.spectrogram import from_levels

# Dark violet over magenta and orange to pale yellow, in equal steps of level (a magma-like ramp).
_COLOURS = (
    (0, 0, 4),
    (20, 14, 54),
    (59, 15, 112),
    (100, 26, 128),
    (140, 41, 129),
    (183, 55, 121),
    (222, 73, 104),
    (247, 112, 92),
    (254, 159, 109),
    (254, 207, 146),
    (252, 253, 191),
)
_HERTZ_TICKS = (50, 100, 200, 500, 1000, 2000, 4000, 8000, 16_000)
_LIGHT = {"paper": (255, 255, 255), "ink": (60, 60, 67), "outline": (255, 255, 255)}
_DARK = {"paper": (24, 24, 27), "ink": (200, 200, 208), "outline": (255, 255, 255)}
_RANGE_DB = 80.0
_SCALE_FROM = 300  # pixels of width


def plot_spectrogram(
    sound: Clip | Picture,
    *,
    path: str | os.PathLike[str] | None = None,
    size: tuple[int, int] = (960, 360),
    region: Region | None = None,
    dark: bool = False,
    force: bool = False,
) -> Image.Image:
    """Draw a clip or a picture over time (s) and frequency (Hz, on the format's mel scale).

    Colours span 80 dB below level 1 (a sound's loudest cell) whatever the format's own curve; their scale
    stands on the right where there is room. Stereo is averaged.

    Args:
        path: also write it there, as PNG.
        size: (width, height) of the whole drawing in pixels.
        region: boxes and brush strokes to outline.
        dark: light text on a dark ground.
        force: replace an existing `path`.

    Returns:
        An RGB image.
    """
    picture = encode(sound, PRESETS[FORMAT]) if isinstance(sound, Clip) else sound
    fmt, duration = picture.format, picture.duration_s
    theme = _DARK if dark else _LIGHT
    with_scale = size[0] >= _SCALE_FROM
    left, top, right, bottom = 46, 10, 70 if with_scale else 14, 30
    width, height = size[0] - left - right, size[1] - top - bottom
    if width < 16 or height < 16:
        raise SonopaintError(
            f"A plot of {size[0]} × {size[1]} pixels is too small; make it at least 80 × 60."
        )
    image = Image.new("RGB", size, theme["paper"])
    image.paste(_coloured(picture).resize((width, height), Image.Resampling.BILINEAR), (left, top))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default()

    def x_at(seconds: float) -> float:
        return left + min(max(seconds / duration, 0), 1) * width

    def y_at(hz: float) -> float:
        # The centre of row 0 lies half a row above the lower edge.
        share = (fmt.mel_row(hz) + 0.5) / fmt.n_mels
        return top + (1 - min(max(share, 0), 1)) * height

    step = _time_step(duration, width)
    for index in range(int(duration / step + 1e-6) + 1):
        x = x_at(index * step)
        draw.line([(x, top + height), (x, top + height + 4)], fill=theme["ink"])
        label = f"{index * step:g}" + (" s" if index == 0 else "")
        draw.text((x, top + height + 6), label, fill=theme["ink"], font=font, anchor="ma")
    previous = math.inf
    for hz in _HERTZ_TICKS:
        y = y_at(hz)
        if not fmt.f_min <= hz <= fmt.f_max or previous - y < 14:
            continue
        previous = y
        draw.line([(left - 4, y), (left, y)], fill=theme["ink"])
        label = f"{hz // 1000} kHz" if hz >= 1000 else f"{hz} Hz"
        draw.text((left - 6, y), label, fill=theme["ink"], font=font, anchor="rm")
    if region is not None:
        outline = _outline(region.mask(fmt, picture.columns), (width, height))
        image.paste(theme["outline"], (left, top), outline)
    if with_scale:
        colours = Image.fromarray(_colour_table()[::-1, None]).resize((10, height))
        image.paste(colours, (left + width + 14, top))
        for decibels in range(0, -int(_RANGE_DB) - 1, -20):
            place = (left + width + 28, top - decibels / _RANGE_DB * height)
            draw.text(place, _decibels(decibels), fill=theme["ink"], font=font, anchor="lm")
    if path is not None:
        with atomic_path(Path(path), force=force) as beside:
            image.save(beside, format="PNG")
    return image


def _coloured(picture: Picture) -> Image.Image:
    """One pixel for each cell, top row highest."""
    relative = from_levels(picture.levels(), picture.format).mean(dim=0).numpy()
    levels = 1 + 20 / _RANGE_DB * np.log10(np.maximum(relative, 1e-12))
    index = np.clip(levels * 255, 0, 255).astype(np.uint8)
    return Image.fromarray(_colour_table()[index[::-1]])


def _outline(mask: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The border of a mask [n_mels, columns], row 0 lowest, two pixels wide."""
    whole = Image.fromarray((mask[::-1] * 255).astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    return ImageChops.difference(whole, whole.filter(ImageFilter.MinFilter(5)))


def _decibels(value: int) -> str:
    return "0 dB" if value == 0 else str(value)  # a hyphen: Pillow's font has no minus


@lru_cache(maxsize=1)
def _colour_table() -> np.ndarray:
    """uint8 [256, 3]."""
    steps = np.linspace(0, 255, len(_COLOURS))
    channels = [np.interp(np.arange(256), steps, channel) for channel in zip(*_COLOURS, strict=True)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def _time_step(duration: float, width: int) -> float:
    """A round number of seconds that keeps labels some 70 pixels apart."""
    least = duration * 70 / width
    power = 10.0 ** math.floor(math.log10(max(least, 1e-6)))
    return next((power * factor for factor in (1, 2, 5) if power * factor >= least), power * 10)
