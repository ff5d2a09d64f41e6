"""docs/demo/jingle: one tune, played by the shipped jingle model's instruments; and docs/images/jingle.png.

python docs/make_all.py jingle_demo

The picture shows each sound's mel spectrogram with the fundamentals that were asked for drawn over it, their
brightness the velocity.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from sonoconvert.files.clip import Clip, write_clip
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonopaint.jingles.make import make_jingles
from sonopaint.jingles.notes import curves_of_notes, parse_notes
from sonopaint.models.jingles.file import shipped_jingle

DOCS = Path(__file__).parent
TUNE = "G3:0.4:0.4 C4:0.4:0.5 E4:0.4:0.6 G4:0.6:0.8 -:0.2 A4:0.3:0.9 G4:0.3:0.7 E4:0.6:0.5 C5:1.2:1.0"
SEED, SCALE, GAP = 7, 2, 8


def main() -> None:
    jingle, fmt = shipped_jingle(), get_format("sonopaint-mini")
    rows = np.array([fmt.hz(row) for row in range(fmt.n_mels)])
    drawn = []
    for name in jingle.controls.instruments:
        curves = curves_of_notes(parse_notes(TUNE), name)
        clip = make_jingles(jingle, curves, [SEED])[0]
        path = DOCS / f"demo/jingle/{name}.ogg"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_clip(clip, path, force=True)
        drawn.append(picture(clip, curves.values["pitch"], curves.values["velocity"], rows))
    height, width = drawn[0].height, max(image.width for image in drawn)
    sheet = Image.new("RGB", (width, (height + GAP) * len(drawn) - GAP), "white")
    for number, image in enumerate(drawn):
        sheet.paste(image, (0, number * (height + GAP)))
    sheet.save(DOCS / "images/jingle.png", optimize=True)


def picture(clip: Clip, pitch: np.ndarray, velocity: np.ndarray, rows: np.ndarray) -> Image.Image:
    """The clip's spectrogram in grey, and what was asked for in teal."""
    grey = levels(clip.waveform, get_format("sonopaint-mini"))[0].flip(0).mul(255).to(torch.uint8).numpy()
    image = Image.fromarray(grey).convert("RGB").resize((grey.shape[1] * SCALE, grey.shape[0] * SCALE))
    pen = ImageDraw.Draw(image)
    for column in np.flatnonzero(pitch[: grey.shape[1]] > 0):
        y = (len(rows) - 1 - np.interp(pitch[column], rows, np.arange(len(rows)))) * SCALE
        light = 0.35 + 0.65 * float(velocity[column])
        colour = tuple(round(light * part) for part in (58, 214, 192))
        pen.rectangle((column * SCALE, y - 1, column * SCALE + SCALE, y + 2), fill=colour)
    return image


if __name__ == "__main__":
    main()
