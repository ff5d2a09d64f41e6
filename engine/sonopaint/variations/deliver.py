"""A soundbank on disk: name_01.wav …, a contact sheet, variations.json, a page that plays them, a zip."""

from __future__ import annotations

import html
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sonoconvert.conversion.convert import encode
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import atomic_path, refuse_existing, write_text
from sonoconvert.files.clip import Clip, write_clip
from sonoconvert.pictures.format import get_format
from sonopaint.variations.keep import faded
from sonopaint.variations.make import Maker, Variation

BITS = {16: "PCM_16", 24: "PCM_24"}
VIEW = "full-48k"
SILENT_DB = 60.0  # below the peak, what trails is silence
FADE_S = 0.005
CROSSFADE_S = 0.1  # of a loop, at most a quarter of it
REFERENCE, LIST, PAGE, SHEET = "reference.wav", "variations.json", "index.html", "sheet.png"
THUMB = (220, 96)  # pixels of a sound on the contact sheet
COLUMNS = 5
_PAGE = Path(__file__).with_name("web") / "page.html"


def finished(clip: Clip, *, trim: bool = False, loop: bool = False) -> Clip:
    """As a game engine takes it.

    trim: without the silence after it (60 dB below its peak), faded out. loop: its end laid over its start,
    so that it goes round without a click; shorter by the cross-fade.
    """
    wave, rate = clip.waveform, clip.sample_rate
    if trim:
        level = wave.abs().amax(dim=0)
        heard = (level > float(level.max()) * 10 ** (-SILENT_DB / 20)).nonzero()
        stop = min(int(heard[-1]) + 1 + round(FADE_S * rate), wave.shape[1]) if len(heard) else wave.shape[1]
        wave = wave[:, :stop]
    if loop:
        over = min(round(CROSSFADE_S * rate), wave.shape[1] // 4)
        turn = torch.linspace(0, np.pi / 2, over + 2)[1:-1]
        wave, end = wave[:, :-over].clone(), wave[:, -over:]
        wave[:, :over] = wave[:, :over] * turn.sin() + end * turn.cos()
    elif trim:
        wave = faded(wave, 0, round(FADE_S * rate))
    return replace(clip, waveform=wave.contiguous(), exact=None)


def safe_stem(name: str) -> str:
    """A name that every game engine takes: a to z, 0 to 9 and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40].strip("_") or "variation"


def check_target(folder: Path, bits: int, *, force: bool = False) -> None:
    """Raise SonopaintError for other bits, or where a soundbank lies already: before any work is done."""
    if bits not in BITS:
        raise SonopaintError(f"{setting('bits')} must be 16 or 24, not {bits!r}.")
    if folder.exists() and not folder.is_dir():
        raise SonopaintError(f"{folder} is a file; give a folder for the variations.")
    refuse_existing(folder / LIST, force=force)


def deliver(
    maker: Maker,
    chosen: Sequence[Variation],
    folder: Path,
    *,
    name: str = "",
    bits: int = 16,
    trim: bool = False,
    loop: bool = False,
    options: dict[str, Any] | None = None,
    force: bool = False,
) -> list[Path]:
    """Write the chosen ones and all that goes with them; the sound files come back.

    name: of the files, default from what the reference is. options: how they were made, to be told and to
    make more. Raises SonopaintError where there are none, a file exists (without `force`) or for other bits.
    """
    if not chosen:
        raise SonopaintError("There are no variations to write: none was good enough; try another strength.")
    check_target(folder, bits, force=force)
    stem = safe_stem(name or maker.ask.kind)
    width = max(2, len(str(len(chosen))))
    paths = [folder / f"{stem}_{number:0{width}d}.wav" for number in range(1, len(chosen) + 1)]
    others = [folder / other for other in (REFERENCE, LIST, PAGE, SHEET)]
    for path in [*paths, *others]:
        refuse_existing(path, force=force)
    clips = [finished(one.clip, trim=trim, loop=loop) for one in chosen]
    for one, clip, path in zip(chosen, clips, paths, strict=True):
        settings = one.settings | {"task": "variations", "seed": one.seed, "figures": one.figures}
        write_clip(replace(clip, settings=settings), path, subtype=BITS[bits], force=force)
    write_clip(maker.reference, others[0], subtype=None, force=force)
    facts = listing(maker, chosen, paths, options or {})
    write_text(others[1], json.dumps(facts, indent=1, ensure_ascii=False) + "\n", force=force)
    write_text(others[2], page(facts), force=force)
    with atomic_path(others[3], force=force) as beside:
        contact_sheet([maker.reference, *clips], ["reference", *(path.stem for path in paths)]).save(beside)
    return paths


def listing(
    maker: Maker, chosen: Sequence[Variation], paths: Sequence[Path], options: dict[str, Any]
) -> dict[str, Any]:
    """What variations.json says: what was asked, what made it, each file's figures, and those of all."""
    ask = asdict(maker.ask)
    return {
        "format": 1,
        "reference": REFERENCE,
        "ask": ask,
        "made_by": maker.variator.describe(),
        "options": options,
        "figures": maker.figures(chosen),
        "notes": maker.notes(chosen),
        "variations": [
            {"file": path.name, "seed": one.seed, "changed": one.changed, **one.figures}
            for one, path in zip(chosen, paths, strict=True)
        ],
    }


def page(facts: dict[str, Any]) -> str:
    """A page that plays the files beside it: no address is asked, everything is in it."""
    title = f"{facts['ask']['kind'] or 'Variations'} × {len(facts['variations'])}"
    data = json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c")
    text = _PAGE.read_text(encoding="utf-8")
    return text.replace("$TITLE", html.escape(title)).replace("$FACTS", data)


def contact_sheet(clips: Sequence[Clip], labels: Sequence[str]) -> Any:
    """A picture of all sounds: spectrograms with the same scale of time, the first one framed."""
    from PIL import Image, ImageDraw

    wide, high = THUMB
    line = 16
    longest = max(clip.duration_s for clip in clips)
    columns = min(COLUMNS, len(clips))
    rows = -(-len(clips) // columns)
    sheet = Image.new("RGB", (columns * (wide + 8) + 8, rows * (high + line + 8) + 8), (18, 18, 22))
    draw = ImageDraw.Draw(sheet)
    for index, (clip, label) in enumerate(zip(clips, labels, strict=True)):
        left, top = 8 + index % columns * (wide + 8), 8 + index // columns * (high + line + 8)
        pixels = encode(clip.mono(), get_format(VIEW)).pixels
        thumb = Image.fromarray(pixels[..., 0]).resize(
            (max(round(wide * clip.duration_s / longest), 1), high), Image.Resampling.BOX
        )
        sheet.paste(_tinted(thumb), (left, top + line))
        draw.text((left, top), label, fill=(235, 235, 240))
        if index == 0:
            draw.rectangle(
                (left - 2, top + line - 2, left + wide + 1, top + line + high + 1), outline=(255, 176, 0)
            )
    return sheet


def _tinted(image: Any) -> Any:
    """Grey as dark blue, purple and yellow."""
    from PIL import Image

    grey = np.asarray(image, dtype=np.float32) / 255
    colours = np.stack(
        [np.clip(1.6 * grey - 0.2, 0, 1), grey**1.6, 0.35 + 0.4 * np.sin(np.pi * grey)], axis=-1
    )
    colours *= np.minimum(grey * 6, 1)[..., None]
    return Image.fromarray((colours * 255).astype(np.uint8))


def export_zip(paths: Sequence[Path], target: Path, *, force: bool = False) -> Path:
    """The sound files in a zip, with their list; names are those that game engines take."""
    with (
        atomic_path(target, force=force) as beside,
        zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as file,
    ):
        for path in paths:
            file.write(path, path.name)
        beside_them = paths[0].with_name(LIST)
        if beside_them.is_file():
            file.write(beside_them, LIST)
    return target
