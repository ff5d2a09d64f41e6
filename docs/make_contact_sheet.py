"""Draws docs/images/foley.png: two clips of every kind of the foley corpus as spectrograms.

Run: python docs/make_contact_sheet.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, ImageDraw

from sonoconvert.format import get_format
from sonoconvert.spectrogram import levels
from sonotrain.data.foley import HELD_OUT, KINDS, synthesise

COLUMNS, CELL, TITLE = 8, (200, 80), 14


def main() -> None:
    """Time to the right (5.12 s), mel frequency upwards (20 Hz to 16 kHz), 80 dB from black to white."""
    names = list(KINDS)
    rows = -(-2 * len(names) // COLUMNS)
    sheet = Image.new("L", (COLUMNS * (CELL[0] + 4), rows * (CELL[1] + TITLE + 4)), 32)
    draw = ImageDraw.Draw(sheet)
    fmt = get_format("sonopaint-mini")
    for index, name in enumerate(names):
        clips, attributes = synthesise(name, 2, torch.Generator().manual_seed(1))
        for j, picture in enumerate(levels(clips, fmt)):
            cell = 2 * index + j
            x, y = cell % COLUMNS * (CELL[0] + 4), cell // COLUMNS * (CELL[1] + TITLE + 4)
            image = Image.fromarray((picture.flip(0) * 255).byte().numpy()).resize(CELL)
            sheet.paste(image, (x, y + TITLE))
            label = f"{name}{' *' if name in HELD_OUT else ''} {', '.join(attributes[j])}"
            draw.text((x + 2, y + 1), label[:34], fill=255)
    target = Path(__file__).parent / "images" / "foley.png"
    target.parent.mkdir(exist_ok=True)
    sheet.quantize(24).save(target, optimize=True)


if __name__ == "__main__":
    main()
