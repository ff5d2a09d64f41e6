"""A Sound: a clip with its picture as files in the session's folder, and what a page needs to show it."""

from __future__ import annotations

import logging
import math
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonoconvert.defaults import FORMAT
from sonoconvert.edits.source import is_png
from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import atomic_path
from sonoconvert.pictures.format import SpectrogramFormat, get_format
from sonoconvert.pictures.view import grey, peak_of, row_edges, wave_of
from sonopaint_studio.names import said

if TYPE_CHECKING:
    from sonoconvert.files.clip import Clip
    from sonoconvert.pictures.picture import Picture

logger = logging.getLogger(__name__)
VIEW = "view.png"
SAVED = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3"}


@dataclass(frozen=True)
class Sound:
    """A clip on disk, in the formats that can be saved, with its spectrogram for the page."""

    key: str
    title: str
    clip_path: Path
    view_path: Path
    downloads: dict[str, Path]
    duration_s: float
    note: str
    detail: str
    format: SpectrogramFormat
    peak: float | None  # mel magnitude that is drawn at full brightness
    wave: str = ""  # the waveform's outline for the page
    settings: dict[str, Any] = field(default_factory=dict)
    made_here: bool = False  # a result of Generate, shown there
    kept: bool = False  # lies in the library
    unkept: str = ""  # why it doesn't, where it should
    favourite: bool = False

    def clip(self) -> Clip:
        """The clip as it was, sample for sample."""
        from sonoconvert.files.clip import read_clip

        return read_clip(self.clip_path)

    def view(self) -> dict[str, Any]:
        """What spectrogram.js shows: paths, seconds and the frequencies between the rows (low to high)."""
        return {
            "key": self.key,
            "title": self.title,
            "note": self.note,
            "detail": self.detail,
            "warning": " ".join(filter(None, (str(self.settings.get("unknown", "")), self.unkept))),
            "view": str(self.view_path),
            "audio": str(self.clip_path),
            "duration": self.duration_s,
            "edges": row_edges(self.format),
            "wave": self.wave,
            "loop": self.settings.get("task") == "loop",
            "kept": self.kept,
            "favourite": self.favourite,
            "downloads": {name: str(path) for name, path in self.downloads.items()},
        }


def keep(
    folder: Path,
    clip: Clip,
    *,
    title: str,
    stem: str = "",
    picture: Picture | None = None,
    form: SpectrogramFormat | None = None,
    like: Sound | None = None,
    made_here: bool = False,
) -> Sound:
    """Write `clip` into `folder` as WAV, FLAC and PNG and return it as a Sound.

    Where `picture` is not given it is made with the format `form` (default: the shipped model's). It is
    shown as bright as `like` is where they are equally loud, so that before and after can be compared.
    """
    from sonoconvert.conversion.convert import encode
    from sonoconvert.files.clip import write_clip
    from sonoconvert.pictures.picture import save_picture

    if picture is None:
        picture = encode(clip, form or get_format(FORMAT))
    stem = file_stem(stem or title)
    wav = folder / f"{stem}.wav"
    write_clip(clip, wav)
    downloads = {"WAV": wav}
    try:
        write_clip(clip, folder / f"{stem}.flac", subtype="PCM_24" if clip.subtype != "PCM_16" else "PCM_16")
        downloads["FLAC"] = folder / f"{stem}.flac"
    except SonopaintError as error:  # FLAC has at most 8 channels and 655 kHz
        logger.info("No FLAC of %s: %s", stem, error)
    save_picture(picture, folder / f"{stem}.png")
    downloads["PNG"] = folder / f"{stem}.png"
    view_path = folder / VIEW
    if picture.peak is None:  # painted without a level: show the sound as it came out
        picture = encode(clip, picture.format)
    peak = like.peak if like and like.format == picture.format else peak_of(picture)
    save_view(picture, view_path, peak)
    return Sound(
        key=f"{folder.parent.name[:8]}-{folder.name}",
        title=title,
        clip_path=wav,
        view_path=view_path,
        downloads=downloads,
        duration_s=clip.duration_s,
        note=_note(clip),
        detail=_detail(clip),
        format=picture.format,
        peak=peak,
        wave=wave_of(clip),
        settings=dict(clip.settings),
        made_here=made_here,
    )


def opened(path: Path) -> Sound:
    """A Sound from the files that ``keep`` wrote; `path`: its WAV, FLAC or OGG. What is missing is made."""
    from sonoconvert.conversion.convert import encode
    from sonoconvert.files.clip import read_clip
    from sonoconvert.pictures.picture import load_picture

    clip, folder = read_clip(path), path.parent
    pictures = [file for file in sorted(folder.glob("*.png")) if file.name != VIEW]
    picture = load_picture(pictures[0]) if pictures else encode(clip, get_format(FORMAT))
    downloads = {
        SAVED[file.suffix]: file for file in sorted(folder.iterdir(), reverse=True) if file.suffix in SAVED
    }
    if pictures:
        downloads["PNG"] = pictures[0]
    view_path = folder / VIEW
    if not view_path.exists():
        shown = encode(clip, picture.format) if picture.peak is None else picture
        save_view(shown, view_path, None)
    return Sound(
        key=folder.name,
        title=path.stem,
        clip_path=path,
        view_path=view_path,
        downloads=downloads,
        duration_s=clip.duration_s,
        note=_note(clip),
        detail=_detail(clip),
        format=picture.format,
        peak=peak_of(picture),
        wave=wave_of(clip),
        settings=dict(clip.settings),
    )


def read_settings(path: Path) -> dict[str, Any]:
    """The settings that ride along in a sound or picture; SonopaintError when there are none."""
    if is_png(path):
        from sonoconvert.pictures.picture import load_picture

        settings = load_picture(path).settings
    else:
        from sonoconvert.files.clip import read_clip

        settings = read_clip(path, duration_s=0.1).settings
    if not settings:
        raise SonopaintError("This file carries no settings: it was not made by Sonopaint.")
    return settings


def named(error: Exception, name: str, path: Path | None = None) -> str:
    """The error's sentence with the file's own name instead of where the upload lies: `path`, or any path."""
    text = said(error) if path is None else said(error).replace(str(path), name)
    return re.sub(r"(?:[A-Za-z]:)?[\\/](?:[^\s\\/]+[\\/])+[^\s\\/,;:]+", lambda _: name, text)


def _note(clip: Clip) -> str:
    """The short line of a card: "seed 7 · 5.12 s"."""
    seed = clip.settings.get("seed")
    return (f"seed {seed} · " if isinstance(seed, int) else "") + f"{clip.duration_s:.2f} s"


def _detail(clip: Clip) -> str:
    """What follows it where there is room: "32 kHz · mono · −18.2 LUFS"."""
    from sonoconvert.edits.loudness import lufs

    channels = {1: "mono", 2: "stereo"}.get(clip.num_channels, f"{clip.num_channels} channels")
    loudness = lufs(clip.waveform, clip.sample_rate)
    said = "" if loudness == -math.inf else f" · {loudness:.1f} LUFS".replace("-", "−")
    return f"{clip.sample_rate / 1000:g} kHz · {channels}{said}"


def file_stem(text: str) -> str:
    """A file name that every system takes: "Eine Tür, die knarrt!" → "eine-tür-die-knarrt"."""
    plain = unicodedata.normalize("NFC", text).lower()
    return re.sub(r"[\W_]+", "-", plain).strip("-")[:48].strip("-") or "sound"


def save_view(picture: Picture, path: Path, peak: float | None) -> None:
    """The picture in grey for the page; white is the mel magnitude `peak`, or the picture's own."""
    with atomic_path(path) as beside:
        grey(picture, peak).save(beside, format="PNG")
