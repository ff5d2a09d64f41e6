"""Picture: an 8-bit spectrogram image that knows its format and its absolute level."""

from __future__ import annotations

import dataclasses
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

from sonoconvert.errors import SonopaintError
from sonoconvert.files import atomic_path
from sonoconvert.format import PRESETS, SpectrogramFormat, get_format

logger = logging.getLogger(__name__)

# 64 million pixels: 20 minutes of riffusion-v1. Checked before anything is decompressed.
MAX_PIXELS = 1 << 26
_READABLE = ("PNG", "JPEG", "WEBP", "BMP")

# EXIF tags of Riffusion v1 (riffusion/spectrogram_params.py). Its samples are 16-bit integers, ours are
# in [−1, 1]: MAX_VALUE = peak · 32768.
_EXIF_SAMPLE_RATE = 11000
_EXIF_STEREO = 11005
_EXIF_TRIPLE_RESOLUTION = 11007
_EXIF_STEP_MS = 11010
_EXIF_WINDOW_MS = 11020
_EXIF_PADDED_MS = 11030
_EXIF_NUM_FREQUENCIES = 11040
_EXIF_MIN_FREQUENCY = 11050
_EXIF_MAX_FREQUENCY = 11060
_EXIF_POWER = 11070
_EXIF_MAX_VALUE = 11080


@dataclass(frozen=True)
class Picture:
    """A spectrogram as an image.

    Attributes:
        pixels: uint8 [n_mels, columns, 3] as stored; the top row is the highest band.
        format: how to read it.
        peak: mel magnitude of level 1, for all channels or one for each; None if unknown, then the
            sound is normalised to −1 dBFS when decoded.
        num_samples: exact length of the clip at the format's rate; None: all columns.
        settings: how it was made (JSON-able).
    """

    pixels: np.ndarray
    format: SpectrogramFormat
    peak: float | list[float] | None = None
    num_samples: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or shape[1] == 0:
            raise SonopaintError(
                f"A picture needs 8-bit pixels of [rows, columns, 3], not {self.pixels.dtype} {shape}."
            )
        if shape[0] != self.format.n_mels:
            raise SonopaintError(
                f"The picture is {shape[0]} pixels high, but {self.format.name} has {self.format.n_mels} "
                "rows; use the unscaled picture, or the format that made it."
            )
        peaks = self.peak if isinstance(self.peak, list) else [self.peak]
        if len(peaks) not in (1, self.format.num_channels):
            raise SonopaintError(
                f"The picture has {len(peaks)} peaks for {self.format.num_channels} channels."
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

    def levels(self) -> torch.Tensor:
        """Levels float32 [channels, n_mels, columns] in [0, 1]; row 0 is the lowest band."""
        flipped = np.ascontiguousarray(self.pixels[::-1])
        if self.format.channels == "stereo":
            values = flipped[:, :, 1:].transpose(2, 0, 1).astype(np.float32)
        else:
            # A painter's channels differ a little; their mean is the best guess. Ours are equal.
            values = flipped.mean(axis=2, dtype=np.float32)[None]
        if self.format.inverted:
            # Floored to 8 bits: the middle of the step is half a step further up. White is silence.
            values = 254.5 - values
        return torch.from_numpy(np.clip(values / 255, 0, 1))

    @classmethod
    def from_levels(
        cls,
        levels: torch.Tensor,
        format: SpectrogramFormat,
        peak: float | list[float] | None = None,
        num_samples: int | None = None,
        settings: dict[str, Any] | None = None,
    ) -> Picture:
        """Draw levels [channels, n_mels, columns] (row 0 lowest); the inverse of `levels`."""
        expected = format.num_channels
        if levels.ndim != 3 or levels.shape[0] != expected:
            raise SonopaintError(
                f"{format.name} needs levels of [{expected}, {format.n_mels}, columns], "
                f"not {list(levels.shape)}."
            )
        values = levels.detach().cpu().float().numpy() * 255
        # Riffusion: (255 − 255·level) cut to uint8, in float32, as numpy's astype does.
        grey = (255 - values if format.inverted else np.round(values)).astype(np.uint8)
        if expected == 2:
            rgb = np.stack([np.zeros_like(grey[0]), grey[0], grey[1]], axis=-1)
        else:
            rgb = np.repeat(grey[0][:, :, None], 3, axis=2)
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
    JSON, beside `other_text` (a host's own metadata). Riffusion's formats get its EXIF tags too.

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
    image = Image.fromarray(picture.pixels)
    exif = _riffusion_exif(picture)
    with atomic_path(target, force=force) as beside:
        if exif is None:
            image.save(beside, format="PNG", pnginfo=text)
        else:
            image.save(beside, format="PNG", pnginfo=text, exif=exif)


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
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError, MemoryError) as error:
        raise SonopaintError(f"{source} is a damaged picture ({error}); use an intact copy.") from error


def picture_from_image(
    image: Image.Image, *, format: str | SpectrogramFormat | None = None, name: str = "The picture"
) -> Picture:
    """`load_picture` for an opened Pillow image."""
    details: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    # PNG chunks may follow the pixels.
    pixels = _to_rgb(image)
    text = getattr(image, "text", {})
    if "sonopaint.format" in text:
        found = get_format(_parse(text["sonopaint.format"], name))
        details = _parse(text.get("sonopaint.picture", "{}"), name)
        settings = _parse(text.get("sonopaint.settings", "{}"), name)
    elif (tags := dict(image.getexif())) and _EXIF_SAMPLE_RATE in tags:
        found = _format_from_exif(tags, name)
        details = {"peak": _exif_peak(tags)}
    elif format is not None:
        found = get_format(format)
    else:
        raise SonopaintError(
            f"{name} does not say which spectrogram format it has; choose one with --format: "
            f"{', '.join(PRESETS)}."
        )
    if image.format == "JPEG":
        logger.warning("%s is a JPEG: its compression adds noise to the sound; use PNG.", name)
    rows, columns = details.get("rows", found.n_mels), details.get("columns", pixels.shape[1])
    if pixels.shape[:2] != (rows, columns):
        raise SonopaintError(
            f"{name} is {pixels.shape[1]} × {pixels.shape[0]} pixels, but a {found.name} picture of this "
            f"sound is {columns} × {rows}; it was scaled or cropped: use the original picture."
        )
    peak, num_samples = details.get("peak"), details.get("num_samples")
    if not _is_peak(peak) or not (num_samples is None or (type(num_samples) is int and num_samples > 0)):
        raise SonopaintError(f"{name} has a damaged sonopaint.picture chunk; use the original picture.")
    return Picture(pixels, found, peak, num_samples, settings)


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode in ("I;16", "I;16B", "I;16L"):
        grey = (np.asarray(image, dtype=np.uint32) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    image.load()
    # A copy: Pillow's own buffer is read-only.
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _is_peak(value: Any) -> bool:
    values: Sequence[Any] = value if isinstance(value, list) else [value]
    return all(item is None or type(item) in (int, float) for item in values) and len(values) > 0


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise SonopaintError(f"{name} has a damaged sonopaint chunk; use the original picture.") from error
    if not isinstance(value, dict):
        raise SonopaintError(f"{name} has a damaged sonopaint chunk; use the original picture.")
    return value


def _too_large(source: Path, size: str) -> str:
    return (
        f"{source} has {size}, more than the {MAX_PIXELS // 10**6} million that are read; cut it into parts."
    )


def _riffusion_exif(picture: Picture) -> Image.Exif | None:
    """Riffusion's tags, if the format can be said in them (whole milliseconds, power curve, HTK)."""
    fmt = picture.format
    times = [1000 * size / fmt.sample_rate for size in (fmt.hop_length, fmt.win_length, fmt.n_fft)]
    whole = (
        all(time == int(time) for time in times)
        and fmt.f_min == int(fmt.f_min)
        and fmt.f_max == int(fmt.f_max)
    )
    if not (
        whole and fmt.inverted and fmt.curve == "power" and fmt.mel_scale == "htk" and fmt.mel_norm is None
    ):
        return None
    exif = Image.Exif()
    exif[_EXIF_SAMPLE_RATE] = fmt.sample_rate
    exif[_EXIF_STEREO] = int(fmt.channels == "stereo")
    exif[_EXIF_TRIPLE_RESOLUTION] = 0
    exif[_EXIF_STEP_MS], exif[_EXIF_WINDOW_MS], exif[_EXIF_PADDED_MS] = (int(time) for time in times)
    exif[_EXIF_NUM_FREQUENCIES] = fmt.n_mels
    exif[_EXIF_MIN_FREQUENCY] = int(fmt.f_min)
    exif[_EXIF_MAX_FREQUENCY] = int(fmt.f_max)
    exif[_EXIF_POWER] = float(fmt.exponent)
    peak = max(picture.peak) if isinstance(picture.peak, list) else picture.peak
    if peak is not None:
        exif[_EXIF_MAX_VALUE] = float(peak * 32768)
    return exif


def _format_from_exif(tags: dict[int, Any], name: str) -> SpectrogramFormat:
    """A Riffusion picture's format; `riffusion-v1` itself where the tags agree with it."""
    if tags.get(_EXIF_TRIPLE_RESOLUTION):
        raise SonopaintError(
            f"{name} uses Riffusion's triple resolution, which is not supported; use a plain picture."
        )
    try:
        rate = int(tags[_EXIF_SAMPLE_RATE])

        # int(): as Riffusion rounds.
        def samples(tag: int, default: int) -> int:
            return int(float(tags.get(tag) or default) / 1000.0 * rate)

        fmt = dataclasses.replace(
            PRESETS["riffusion-v1"],
            sample_rate=rate,
            hop_length=samples(_EXIF_STEP_MS, 10),
            win_length=samples(_EXIF_WINDOW_MS, 100) // 2 * 2,
            n_fft=samples(_EXIF_PADDED_MS, 400) // 2 * 2,
            n_mels=int(tags.get(_EXIF_NUM_FREQUENCIES) or 512),
            f_min=float(tags.get(_EXIF_MIN_FREQUENCY) or 0),
            f_max=float(tags.get(_EXIF_MAX_FREQUENCY) or 10_000),
            exponent=float(tags.get(_EXIF_POWER) or 0.25),
            channels="stereo" if tags.get(_EXIF_STEREO) else "mono",
        )
    except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise SonopaintError(f"{name} has Riffusion EXIF tags that make no sense ({error}).") from error
    for preset in PRESETS.values():
        if dataclasses.replace(fmt, name=preset.name) == preset:
            return preset
    return dataclasses.replace(fmt, name="riffusion-exif")


def _exif_peak(tags: dict[int, Any]) -> float | None:
    try:
        value = float(tags[_EXIF_MAX_VALUE]) / 32768
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return value if math.isfinite(value) and value > 0 else None
