"""What was made: sounds and pictures in the WebUI's output folder, and what the page needs to show them."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonoconvert.conversion.convert import encode
from sonoconvert.edits.source import open_source
from sonoconvert.files.clip import Clip, write_clip
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.picture import Picture, save_picture
from sonoconvert.pictures.view import peak_of, view_of

if TYPE_CHECKING:
    from sonopaint.tasks.result import Result

MAX_KEYS = 2000  # files that the page may still ask for
AUDIO_FORMATS = ("wav", "flac", "ogg")

_keys: OrderedDict[str, Path] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class Kept:
    """A result on disk."""

    sound: Path
    picture: Path
    clip: Clip
    drawn: Picture

    def view(self, title: str) -> dict[str, Any]:
        """What the page's cards show."""
        rate = f"{self.clip.sample_rate / 1000:g} kHz"
        seed = self.clip.settings.get("seed")
        note = (f"seed {seed} · " if isinstance(seed, int) else "") + f"{self.clip.duration_s:.2f} s"
        links = {path.suffix[1:].upper(): address_of(path) for path in (self.sound, self.picture)}
        return {
            **shown(self.drawn, self.clip),
            "key": secrets.token_hex(8),
            "title": title,
            "note": note,
            "detail": f"{rate} · {self.clip.num_channels} ch",
            "audio": address_of(self.sound),
            "loop": self.clip.settings.get("task") == "loop",
            "downloads": links,
            "path": str(self.sound),
        }


def outputs_folder() -> Path:
    """Where results go: "sonopaint" beside the WebUI's other outputs, one folder a day."""
    from modules import shared

    opts = shared.opts
    base = Path(opts.outdir_samples or opts.outdir_txt2img_samples)
    return (base if opts.outdir_samples else base.parent) / "sonopaint" / time.strftime("%Y-%m-%d")


def allowed_folders() -> list[Path]:
    """The WebUI's output folders: what pages and programs may name files of."""
    from modules import shared

    names = ("outdir_samples", "outdir_txt2img_samples", "outdir_img2img_samples", "outdir_save")
    given = [getattr(shared.opts, name, "") for name in names]
    return [Path(folder).resolve() for folder in given if folder] + [outputs_folder().parent.resolve()]


def keep(
    result: Result, infotext: str = "", *, audio_format: str = "wav", folder: Path | None = None
) -> Kept:
    """Write a result's sound and picture under the next free number; the picture carries the infotext."""
    folder = folder or outputs_folder()
    folder.mkdir(parents=True, exist_ok=True)
    task = re.sub(r"[^a-z]+", "-", str(result.settings.get("task", "sound")).lower())
    picture = result.picture
    if picture.peak is None:  # painted without a level: its sound's own
        picture = dataclasses.replace(encode(result.clip, picture.format), settings=picture.settings)
    text = {"parameters": infotext} if infotext else {}
    with _lock:
        number = 1 + max((int(p.name[:5]) for p in folder.glob("[0-9]" * 5 + "-*")), default=-1)
        stem = f"{number:05d}-{task}-{result.settings.get('seed', 0)}"
        sound = folder / f"{stem}.{audio_format}"
        write_clip(result.clip, sound)
        save_picture(result.picture, sound.with_suffix(".png"), other_text=text)
    return Kept(sound, sound.with_suffix(".png"), result.clip, picture)


def before(clip: Clip, path: Path, after: Picture, starts_s: float) -> dict[str, Any]:
    """The sound that was edited, for the card of its result: as bright as that, where it is as loud.

    starts_s: where in the result it begins.
    """
    picture = encode(clip, after.format)
    view = {**view_of(picture, peak_of(after)), "duration": clip.duration_s}
    return {**view, "audio": address_of(path), "starts": starts_s}


def shown(picture: Picture, clip: Clip) -> dict[str, Any]:
    """A picture's view for spectrogram.js, as long as the clip."""
    return {**view_of(picture), "duration": clip.duration_s}


def views(kind: str, value: Any, **more: str) -> str:
    """HTML that javascript/sonopaint_tab.js turns into spectrograms with players."""
    attributes = "".join(f' data-{name}="{html.escape(text)}"' for name, text in more.items())
    shown = html.escape(json.dumps(value))
    return f'<div class="sonopaint-views" data-sonopaint="{kind}" data-value="{shown}"{attributes}></div>'


def address_of(path: Path) -> str:
    """An address from which this page may load a file; nobody can guess another one's."""
    key = secrets.token_urlsafe(16)
    with _lock:
        _keys[key] = path
        while len(_keys) > MAX_KEYS:
            _keys.popitem(last=False)
    return f"sonopaint/file/{key}/{path.name}"


def path_of(key: str) -> Path | None:
    """The file behind an address's key."""
    path = _keys.get(key)
    return path if path is not None and path.is_file() else None


def open_sound(path: Path) -> Clip:
    """Read a sound, or one of our pictures as sound. SonopaintError says what is wrong with the file."""
    return open_source(path)[0]


def for_gradio(path: Path) -> str:
    """A copy where Gradio takes files from: its own temporary folder."""
    folder = Path(tempfile.gettempdir()) / "gradio" / f"sonopaint-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    return str(shutil.copy(path, folder))


def source_view(clip: Clip, fmt: SpectrogramFormat, path: Path, title: str) -> dict[str, Any]:
    """The spectrogram of a sound to edit, for the region editor."""
    picture = encode(clip.mono(), fmt.with_channels("mono"))
    return {
        **shown(picture, clip),
        "key": secrets.token_hex(8),
        "title": title,
        "note": f"{clip.duration_s:.2f} s",
        "detail": f"{clip.sample_rate / 1000:g} kHz · {clip.num_channels} ch",
        "audio": address_of(path),
    }
