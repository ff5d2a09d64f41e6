"""Draws docs/images/foley.png, two clips of every kind of the foley corpus as spectrograms, and
docs/images/mini.png, a clip of the corpus (left) beside what Sonopaint Mini paints for its caption (right).

Run: python docs/make_contact_sheet.py [foley] [mini]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonotrain.data.foley import BASE_KINDS, HELD_OUT, KINDS, batch, synthesise

COLUMNS, CELL, TITLE = 8, (200, 80), 14
IMAGES = Path(__file__).parent / "images"


def save_sheet(cells: list[tuple[str, torch.Tensor]], path: Path) -> None:
    """Cells of (label, levels [128, 320]), eight in a row.

    Time to the right (5.12 s), mel frequency upwards (20 Hz to 16 kHz), 80 dB from black to white.
    """
    rows = -(-len(cells) // COLUMNS)
    sheet = Image.new("L", (COLUMNS * (CELL[0] + 4), rows * (CELL[1] + TITLE + 4)), 32)
    draw = ImageDraw.Draw(sheet)
    for index, (label, picture) in enumerate(cells):
        x, y = index % COLUMNS * (CELL[0] + 4), index // COLUMNS * (CELL[1] + TITLE + 4)
        image = Image.fromarray((picture.flip(0).clamp(0, 1) * 255).byte().numpy()).resize(CELL)
        sheet.paste(image, (x, y + TITLE))
        draw.text((x + 2, y + 1), label[:34], fill=255)
    path.parent.mkdir(exist_ok=True)
    sheet.quantize(24).save(path, optimize=True)


def foley() -> None:
    """Every kind; those that Mini is not trained on have a star."""
    fmt, cells = get_format("sonopaint-mini"), []
    for name in KINDS:
        clips, attributes = synthesise(name, 2, torch.Generator().manual_seed(1))
        for picture, words in zip(levels(clips, fmt), attributes, strict=True):
            cells.append((f"{name}{' *' if name in HELD_OUT else ''} {', '.join(words)}", picture))
    save_sheet(cells, IMAGES / "foley.png")


def mini() -> None:
    """One caption of every kind that Mini knows, from a seed that its training did not see."""
    from sonopaint.models.loading import load_model
    from sonotrain.training.painting import paint

    model, fmt = load_model("mini"), get_format("sonopaint-mini")
    cells = []
    for name in BASE_KINDS:
        clip = batch(1, 7000, [name], relations=[("single", 1.0)])
        steps, scale = model.defaults["steps"], model.defaults["guidance_scale"]
        painted = paint(model, clip.captions, seed=1, steps=steps, guidance_scale=scale)
        cells += [(f"corpus: {clip.captions[0]}", levels(clip.waveforms, fmt)[0]), ("Mini", painted[0])]
    save_sheet(cells, IMAGES / "mini.png")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or ["foley", "mini"]:
        {"foley": foley, "mini": mini}[wanted]()
