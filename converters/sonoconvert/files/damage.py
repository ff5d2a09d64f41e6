"""Pictures that were not kept as they were made: what happened to them, and what can still be read.

Chat and gallery programs scale pictures, make JPEGs of them, drop what was written beside the pixels, turn
them, and change their colours. What can be undone is undone and said in a sentence; what can't is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import PRESETS, SpectrogramFormat
from sonoconvert.pictures.png16 import is_16_bit, read_16_bit

_ORIENTATION = 274  # EXIF
# How often `np.rot90` turns, and whether it is mirrored first: EXIF orientations 2 to 8.
_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False)}
# Scaled to a quarter, hardly more than the loudest partials is left.
_SMALLEST, _LARGEST = 0.25, 8.0
_SAME_ASPECT = 0.02
_MOST_CELLS = 1 << 26
# Mean difference of red, green and blue in 255ths: a painter's pictures stay far below.
_COLOURED = 12
_FEW_COLOURS = 64
_TRANSPARENT = "has transparent parts, whose colours were taken as they are; flatten it"


def read_pixels(image: Image.Image) -> tuple[np.ndarray, list[str]]:
    """An opened image of any mode as uint8 or uint16 [rows, columns, 3], the right way up.

    Returns:
        The pixels, and what is wrong with them as predicates ("is a JPEG …").
    """
    notes: list[str] = []
    if image.format == "JPEG":
        notes.append("is a JPEG: its compression adds noise to the sound; use PNG")
    elif image.format == "WEBP":
        notes.append("is a WebP: if it was compressed with losses, that adds noise to the sound; use PNG")
    if is_16_bit(image):
        pixels = read_16_bit(image)
        if "A" in image.getbands() and (np.asarray(image.getchannel("A")) < 255).any():
            notes.append(_TRANSPARENT)
    elif image.mode.startswith("I;16"):
        pixels = np.repeat(np.asarray(image).astype(np.uint16)[:, :, None], 3, axis=2)
    else:
        pixels = _to_rgb(image, notes)
    # Only now: asking a PNG for its EXIF reads the pixels too.
    turned = exif_of(image, notes).get(_ORIENTATION, 1)
    if isinstance(turned, int) and turned in _TURNS:
        times, mirrored = _TURNS[turned]
        pixels = np.ascontiguousarray(np.rot90(pixels[:, ::-1] if mirrored else pixels, times))
        notes.append("was turned by a camera's or gallery's EXIF tag; it was turned upright")
    return pixels, notes


def exif_of(image: Image.Image, notes: list[str] | None = None) -> dict[int, Any]:
    """An image's EXIF tags; none, and a note, where they are damaged: the pixels may be whole."""
    try:
        return dict(image.getexif())
    except Exception as error:  # noqa: BLE001 - Pillow's reader fails on damaged tags in every way there is
        if notes is not None:
            notes.append(f"has damaged EXIF tags ({type(error).__name__}), which were passed over")
        return {}


def _to_rgb(image: Image.Image, notes: list[str]) -> np.ndarray:
    image.load()
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        notes.append(f"has {image.mode} colours, whose conversion changes levels a little; use RGB")
    if image.mode == "1":
        notes.append("is black and white only; use a picture with all its greys")
    colours = len(image.getcolors() or ()) if image.mode == "P" else 256
    if colours <= _FEW_COLOURS:
        notes.append(f"has only {colours} colours; use a picture with all its greys")
    if image.mode in ("I", "F"):
        # Whole numbers of any size (Pillow ≤ 10 reads 16-bit grey so), which convert() would clip at 255.
        values = np.asarray(image, dtype=np.float64)
        scale = 1.0 if values.max(initial=0) <= 255 else 255 / 65535
        grey = np.clip(np.round(values * scale), 0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = np.array(image.convert("RGBA"))
        if (rgba[:, :, 3] < 255).any():
            notes.append(_TRANSPARENT)
        return np.ascontiguousarray(rgba[:, :, :3])
    # A copy: Pillow's own buffer is read-only.
    return np.array(image.convert("RGB"), dtype=np.uint8)


def colour_notes(pixels: np.ndarray, fmt: SpectrogramFormat) -> list[str]:
    """What the colours tell: a mono picture that is coloured, or a coloured one that became grey."""
    top = np.iinfo(pixels.dtype).max
    sample = pixels[:, :: max(1, pixels.shape[1] // 1024)].astype(np.int32)
    spread = float((sample.max(axis=2) - sample.min(axis=2)).mean()) * 255 / top
    if fmt.channels == "mono" and spread > _COLOURED:
        return [
            f"is coloured, but {fmt.name} pictures are grey (a plot, or a stereo picture); the mean of red, "
            "green and blue was taken"
        ]
    silence = top if fmt.inverted else 0
    if spread == 0 and not (sample == silence).all():
        if fmt.channels == "stereo" and sample.any():
            return ["has lost its colours: left and right are the same"]
        if fmt.channels == "rgb" and (sample != sample[0, 0]).any():
            return ["has lost its colours, which held two thirds of its bands"]
    return []


def fit(
    pixels: np.ndarray, fmt: SpectrogramFormat, rows: int | None, columns: int | None, name: str
) -> tuple[np.ndarray, list[str], bool]:
    """Bring scaled pixels back to the format's rows.

    Args:
        rows, columns: the picture's own size, where it tells it.
        name: of the picture, for errors.

    Returns:
        The pixels, notes, and whether columns are missing (its length is then what is left).

    Raises:
        SonopaintError: cropped so that frequencies are missing, scaled unevenly or to too little, or turned.
    """
    height, width = pixels.shape[:2]
    told = columns is not None
    if rows is None or columns is None:
        rows, columns = fmt.rows, _likely_columns(width, height, fmt)
    if (height, width) == (rows, columns):
        return pixels, [], False
    size = f"{width} × {height} pixels"
    if height == rows and width < columns:
        note = (
            f"was cropped from {columns} to {width} columns; the sound is what is left, "
            f"{fmt.seconds(width):.2f} s"
        )
        return pixels, [note], True
    if height == rows and told and width > columns:  # scaling would have changed the height, too
        note = (
            f"is {width} columns wide, though it says {columns}: somebody made it longer; taken as it is, "
            f"{fmt.seconds(width):.2f} s"
        )
        return pixels, [note], True
    scale = height / rows
    even = abs(width / columns / scale - 1) <= _SAME_ASPECT or abs(width - columns * scale) <= 1.5
    sensible = _SMALLEST < scale <= _LARGEST and rows * columns <= _MOST_CELLS
    sensible = sensible and (told or not _other_preset(height, fmt))
    cut = not told and height < rows and width == fmt.width  # rows are missing, columns are not
    if not sensible or cut or not even:
        if told:
            turned = " (it looks turned by 90 degrees)" if (width, height) == (rows, columns) else ""
            raise SonopaintError(
                f"{name} is {size}, but a {fmt.name} picture of this sound is {columns} × {rows}; it was "
                f"scaled or cropped in a way that can't be undone{turned}: use the original picture."
            )
        raise SonopaintError(
            f"{name} is {size}, but {fmt.name} has {fmt.rows} rows; use the unscaled picture, or the format "
            f"that made it{_other_preset(height, fmt)}."
        )
    length = "" if told else f" and taken to last {fmt.seconds(columns):.2f} s"
    note = (
        f"was scaled to {size}; it was brought back to {columns} × {rows}{length}, without the detail that "
        "scaling lost: use the original picture"
    )
    return resized(pixels, columns, rows), [note], False


def resized(pixels: np.ndarray, columns: int, rows: int) -> np.ndarray:
    """[h, w, 3] → [rows, columns, 3] of the same type, bicubic."""
    top = np.iinfo(pixels.dtype).max
    result = np.empty((rows, columns, 3), dtype=pixels.dtype)
    for plane in range(3):
        whole = Image.fromarray(np.ascontiguousarray(pixels[:, :, plane].astype(np.float32)))
        values = np.asarray(whole.resize((columns, rows), Image.Resampling.BICUBIC))
        result[:, :, plane] = np.clip(np.round(values), 0, top).astype(pixels.dtype)
    return result


def _likely_columns(width: int, height: int, fmt: SpectrogramFormat) -> int:
    """Columns before scaling, for a picture that does not tell: sides are scaled alike."""
    if height == fmt.rows:
        return width
    columns = width * fmt.rows / height
    # A model's own size is likelier than one that differs from it by rounding.
    return fmt.width if abs(columns / fmt.width - 1) <= _SAME_ASPECT else max(1, round(columns))


def _other_preset(height: int, fmt: SpectrogramFormat) -> str:
    """ ", such as …" if another preset has just this height."""
    names = [preset.name for preset in PRESETS.values() if preset.rows == height != fmt.rows]
    return f", such as {names[0]}" if names else ""
