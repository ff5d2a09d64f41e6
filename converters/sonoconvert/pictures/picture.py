"""Picture: a spectrogram image that knows its format and its absolute level."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import atomic_path
from sonoconvert.files.damage import colour_notes, exif_of, fit, read_pixels
from sonoconvert.pictures import png16, riffusion_exif
from sonoconvert.pictures.format import PRESETS, SpectrogramFormat, get_format

logger = logging.getLogger(__name__)

# 64 million pixels: 20 minutes of riffusion-v1. Checked before anything is decompressed.
MAX_PIXELS = 1 << 26
_READABLE = ("PNG", "JPEG", "WEBP", "BMP")
# Of zlib: half the time of its usual 6, for files of 0.94 to 1.03 times the size.
PNG_LEVEL = 3


@dataclass(frozen=True)
class Picture:
    """A spectrogram as an image.

    Attributes:
        pixels: uint8, or uint16 for pictures of 16 bits, [rows, columns, 3] as stored; the top row is the
            highest band.
        format: how to read it.
        peak: mel magnitude of level 1, for all planes (`format.num_planes`) or one for each; None if
            unknown, then the sound is normalised to −1 dBFS when decoded.
        num_samples: exact length of the clip at the format's rate; None: all columns.
        settings: how it was made (JSON-able).
        damage: what had happened to the file that it was read from ("is a JPEG …").
    """

    pixels: np.ndarray
    format: SpectrogramFormat
    peak: float | list[float] | None = None
    num_samples: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    damage: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.pixels.dtype not in (np.uint8, np.uint16) or len(shape) != 3 or shape[2] != 3 or not shape[1]:
            raise SonopaintError(
                f"A picture needs 8 or 16-bit pixels of [rows, columns, 3], not {self.pixels.dtype} {shape}."
            )
        if shape[0] != self.format.rows:
            raise SonopaintError(
                f"The picture is {shape[0]} pixels high, but {self.format.name} has {self.format.rows} "
                "rows; use the unscaled picture, or the format that made it."
            )
        peaks = self.peak if isinstance(self.peak, list) else [self.peak]
        if len(peaks) not in (1, self.format.num_planes):
            raise SonopaintError(
                f"The picture has {len(peaks)} peaks for {self.format.num_planes} spectrograms."
            )
        for value in peaks:
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise SonopaintError(f"The picture's peak is {value!r}; it must be a finite number ≥ 0.")
        if self.num_samples is not None and self.format.frames(self.num_samples) != shape[1]:
            raise SonopaintError(
                f"The picture is {shape[1]} columns wide, but {self.num_samples} samples make "
                f"{self.format.frames(self.num_samples)}; it was scaled or cropped: use the original picture."
            )

    @property
    def columns(self) -> int:
        return self.pixels.shape[1]

    @property
    def duration_s(self) -> float:
        if self.num_samples is not None:
            return self.num_samples / self.format.sample_rate
        return self.format.seconds(self.columns)

    @property
    def depth(self) -> int:
        """Bits of each red, green and blue: 8 or 16."""
        return 8 * self.pixels.dtype.itemsize

    def levels(self) -> torch.Tensor:
        """Levels float32 [planes, n_mels, columns] in [0, 1]; row 0 is the lowest band."""
        flipped = self.pixels[::-1]
        channels = self.format.channels
        if channels == "mono":
            # A painter's channels differ a little; their mean is the best guess. Ours are equal.
            values = flipped.mean(axis=2, dtype=np.float32)[None]
        elif channels == "rgb":
            values = flipped.transpose(0, 2, 1).reshape(1, self.format.n_mels, -1).astype(np.float32)
        else:
            first = 3 - self.format.num_planes
            values = flipped[:, :, first:].transpose(2, 0, 1).astype(np.float32)
        top = (1 << self.depth) - 1
        if self.format.inverted:
            # Floored: the middle of the step is half a step further up. White is silence.
            values = top - 0.5 - values
        return torch.from_numpy(np.clip(values / top, 0, 1))

    @classmethod
    def from_levels(
        cls,
        levels: torch.Tensor,
        format: SpectrogramFormat,
        peak: float | list[float] | None = None,
        num_samples: int | None = None,
        settings: dict[str, Any] | None = None,
        *,
        depth: int = 8,
    ) -> Picture:
        """Draw levels [planes, n_mels, columns] (row 0 lowest) in 8 or 16 bits; the inverse of `levels`."""
        expected = format.num_planes
        if levels.ndim != 3 or tuple(levels.shape[:2]) != (expected, format.n_mels):
            raise SonopaintError(
                f"{format.name} needs levels of [{expected}, {format.n_mels}, columns], "
                f"not {list(levels.shape)}."
            )
        if depth not in (8, 16):
            raise SonopaintError(f"A picture has 8 or 16 bits, not {depth}.")
        top = (1 << depth) - 1
        values = levels.detach().cpu().float().numpy() * top
        # Riffusion: (255 − 255·level) cut to uint8, in float32, as numpy's astype does.
        grey = (top - values if format.inverted else np.round(values)).astype(f"uint{depth}")
        if format.channels == "mono":
            rgb = np.broadcast_to(grey[0][:, :, None], (*grey[0].shape, 3))
        elif format.channels == "rgb":
            rgb = grey[0].reshape(format.rows, 3, -1).transpose(0, 2, 1)
        else:
            nothing = [np.zeros_like(grey[0])] * (3 - expected)
            rgb = np.stack([*nothing, *grey], axis=-1)
        return cls(np.ascontiguousarray(rgb[::-1]), format, peak, num_samples, settings or {})


def save_picture(
    picture: Picture,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    other_text: dict[str, str] | None = None,
) -> None:
    """Write a PNG with all that is needed to decode it.

    Text chunks: "sonopaint.format", "sonopaint.picture" (peak, samples, size) and "sonopaint.settings", as
    JSON, beside `other_text` (a host's own metadata). Riffusion's formats get its EXIF tags too. 16-bit
    pictures become 16-bit PNGs: grey where they have no colour, else RGB.

    Raises:
        SonopaintError: not a .png name, or an existing file without `force`.
    """
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise SonopaintError(f"Can't write {target.name} as a picture: the suffix must be .png.")
    text = PngInfo()
    for key, value in (other_text or {}).items():
        text.add_itxt(key, value)
    for key, value in picture_text(picture).items():
        text.add_text(key, value)
    exif = riffusion_exif.to_exif(picture.format, picture.peak)
    more: dict[str, Any] = {"pnginfo": text, "compress_level": PNG_LEVEL}
    if exif is not None:
        more["exif"] = exif
    with atomic_path(target, force=force) as beside:
        if picture.depth == 8:
            Image.fromarray(picture.pixels).save(beside, format="PNG", **more)
        elif (picture.pixels == picture.pixels[:, :, :1]).all():
            grey = np.ascontiguousarray(picture.pixels[:, :, 0])
            Image.fromarray(grey).save(beside, format="PNG", **more)
        else:
            chunks = [(chunk[0], chunk[1]) for chunk in text.chunks]
            if exif is not None:
                chunks.append((b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
            png16.write(beside, picture.pixels, chunks, PNG_LEVEL)


def picture_text(picture: Picture) -> dict[str, str]:
    """The PNG text chunks that describe a picture (for hosts that write the PNG themselves)."""
    details = {
        "peak": picture.peak,
        "num_samples": picture.num_samples,
        "rows": picture.pixels.shape[0],
        "columns": picture.columns,
    }
    return {
        "sonopaint.format": json.dumps(picture.format.to_dict()),
        "sonopaint.picture": json.dumps(details),
        "sonopaint.settings": json.dumps(picture.settings),
    }


def load_picture(path: str | os.PathLike[str], *, format: str | SpectrogramFormat | None = None) -> Picture:
    """Read a picture with its own chunks, else Riffusion's EXIF, else as `format`.

    Raises:
        SonopaintError: not a picture, more than MAX_PIXELS, scaled, or of unknown format.
    """
    source = Path(path)
    if not source.is_file():
        raise SonopaintError(f"There is no picture {source}.")
    if source.stat().st_size == 0:
        raise SonopaintError(f"{source} is empty (0 bytes); give a PNG picture.")
    try:
        with Image.open(source, formats=_READABLE) as image:
            if image.width * image.height > MAX_PIXELS:
                raise SonopaintError(_too_large(source, f"{image.width} × {image.height} pixels"))
            return picture_from_image(image, format=format, name=str(source))
    except Image.DecompressionBombError as error:
        raise SonopaintError(_too_large(source, "far too many pixels")) from error
    except UnidentifiedImageError as error:
        raise SonopaintError(f"{source} is not a picture that can be read; give a PNG.") from error
    except SonopaintError:
        raise
    except Exception as error:  # noqa: BLE001 - Pillow's readers fail on damaged chunks in every way there is
        raise SonopaintError(f"{source} is a damaged picture ({error}); use an intact copy.") from error


def picture_from_image(
    image: Image.Image, *, format: str | SpectrogramFormat | None = None, name: str = "The picture"
) -> Picture:
    """`load_picture` for an opened Pillow image."""
    details: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    # PNG chunks may follow the pixels.
    pixels, notes = read_pixels(image)
    text = getattr(image, "text", {})
    if "sonopaint.format" in text:
        found = get_format(_parse(text["sonopaint.format"], name))
        details = _parse(text.get("sonopaint.picture", "{}"), name)
        settings = _parse(text.get("sonopaint.settings", "{}"), name)
    elif riffusion_exif.SAMPLE_RATE in (tags := exif_of(image)):
        found = riffusion_exif.from_exif(tags, pixels.shape[0], name)
        details = {"peak": riffusion_exif.peak_of(tags)}
    elif format is not None:
        found = get_format(format)
    else:
        raise SonopaintError(
            f"{name} does not say which spectrogram format it has; choose a {setting('format')}: "
            f"{', '.join(PRESETS)}."
        )
    rows, columns = details.get("rows"), details.get("columns")
    peak, num_samples = details.get("peak"), details.get("num_samples")
    if not (_is_peak(peak) and all(map(_is_count, (rows, columns, num_samples)))):
        raise SonopaintError(f"{name} has a damaged sonopaint.picture chunk; use the original picture.")
    pixels, changes, shorter = fit(pixels, found, rows, columns, name)
    notes += changes + colour_notes(pixels, found)
    for note in notes:
        logger.warning("%s %s.", name, note)
    return Picture(pixels, found, peak, None if shorter else num_samples, settings, tuple(notes))


def _is_count(value: Any) -> bool:
    return value is None or (type(value) is int and 0 < value <= MAX_PIXELS)


def _is_peak(value: Any) -> bool:
    values: Sequence[Any] = value if isinstance(value, list) else [value]
    return all(item is None or type(item) in (int, float) for item in values) and len(values) > 0


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SonopaintError(f"{name} has a damaged sonopaint chunk; use the original picture.") from error
    if not isinstance(value, dict):
        raise SonopaintError(f"{name} has a damaged sonopaint chunk; use the original picture.")
    return value


def _too_large(source: Path, size: str) -> str:
    return (
        f"{source} has {size}, more than the {MAX_PIXELS // 10**6} million that are read; cut it into parts."
    )
