"""Curves out of any file: a recording, MIDI, a table, a video, or a sound or picture made with curves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sonoconvert.curves.curves import Curves
from sonoconvert.errors import SonopaintError

KEY = "curves"  # in the settings of a sound or picture
_VIDEOS = frozenset(".mp4 .mov .webm .mkv .avi .m4v .gif .mpg .mpeg .3gp".split())
_TABLES = frozenset(".csv .tsv .txt".split())


def read_curves(path: str | os.PathLike[str], names: Sequence[str] | None = None) -> Curves:
    """The curves that a file tells; of `names` only, where given.

    A sound is measured; MIDI, CSV and videos are read as what they are; a picture gives those that it was
    made with. Raises SonopaintError for files that tell none, and for a name that is not among them.
    """
    from sonoconvert.curves.measure import MEASURED, measure

    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise SonopaintError(f"There is no file {path}.")
    if suffix in (".mid", ".midi"):
        from sonoconvert.curves.midi import midi_curves, read_midi

        curves = midi_curves(read_midi(path))
    elif suffix in _TABLES:
        from sonoconvert.curves.tables import read_csv

        curves = read_csv(path)
    elif suffix == ".png":
        from sonoconvert.pictures.picture import load_picture

        found = curves_in(load_picture(path).settings)
        if found is None:
            raise SonopaintError(f"{path} was not made with curves; give a sound, MIDI, CSV or video.")
        curves = found
    elif suffix in _VIDEOS and _moves(path):
        from sonoconvert.curves.video import video_curves

        curves = video_curves(path)
    else:
        from sonoconvert.files.clip import read_clip

        return measure(read_clip(path), tuple(names or MEASURED))
    return curves if names is None else curves.only(names)


def curves_in(settings: Mapping[str, Any]) -> Curves | None:
    """The curves that a sound or picture was made with, from its settings; None where there are none."""
    return Curves.from_dict(settings[KEY]) if settings.get(KEY) else None


def _moves(path: Path) -> bool:
    from sonoconvert.curves.video import has_video

    return has_video(path)
