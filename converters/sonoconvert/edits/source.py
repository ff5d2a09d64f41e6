"""What is to be edited: a sound's file, or a spectrogram picture that becomes sound first."""

from __future__ import annotations

from pathlib import Path

from sonoconvert.conversion.convert import decode
from sonoconvert.defaults import LONGEST_S
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.picture import Picture, load_picture


def open_source(path: Path, format: SpectrogramFormat | None = None) -> tuple[Clip, Picture | None]:
    """Read a sound, or a picture and its sound; `format` is for pictures that don't say theirs.

    Raises SonopaintError for a file that can't be read, and for more than LONGEST_S.
    """
    if is_png(path):
        picture = load_picture(path, format=format)
        if picture.duration_s > LONGEST_S:
            raise SonopaintError(f"The picture is longer than {LONGEST_S / 60:g} minutes; cut it first.")
        return decode(picture), picture
    clip = read_clip(path, duration_s=LONGEST_S + 1)
    if clip.duration_s > LONGEST_S:
        raise SonopaintError(
            f"The sound is longer than {LONGEST_S / 60:g} minutes; cut out the part to edit."
        )
    return clip, None


def is_png(path: Path) -> bool:
    """Whether the file is a PNG, by its first bytes; its name may say anything."""
    with path.open("rb") as file:
        return file.read(8) == b"\x89PNG\r\n\x1a\n"
