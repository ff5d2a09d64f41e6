"""docs/demo/curves: a hum becomes a train horn, a drawn loudness footsteps; and docs/images/curves.png.

python docs/make_all.py curves_demo

The picture shows each sound's mel spectrogram, and below it what was asked and what the sound measures.
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from sonoconvert.curves.curves import Curves
from sonoconvert.curves.plot import plot_curves
from sonoconvert.curves.points import parse_points
from sonoconvert.curves.reading import read_curves
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonopaint.models.loading import load_model
from sonopaint.painters.diffusers_painter import DiffusersPainter
from sonopaint.painters.following import followed, following
from sonopaint.tasks import PaintSettings, generate
from sonopaint.tasks.following import exactly, measured

DOCS = Path(__file__).parent
HUM = DOCS.parent / "extensions/comfyui/sonopaint_comfyui/examples/humming.ogg"
STEPS = "0:-40 2.5:-3 5:-40"
SEED, WIDTH, GAP = 7, 480, 10


def main() -> None:
    folder = DOCS / "demo/curves"
    folder.mkdir(parents=True, exist_ok=True)
    write_clip(read_clip(HUM), folder / "hum.ogg", force=True)
    model = load_model("mini", device="cpu")
    asked = {
        ("horn", "a train horn"): read_curves(HUM, ("loudness", "pitch")),
        ("footsteps", "footsteps"): parse_points("loudness", STEPS, 5.0),
    }
    columns = []
    for (name, prompt), curves in asked.items():
        curves = followed(curves)
        painter = DiffusersPainter(model, following(model, curves))
        result = generate(painter, PaintSettings(prompt, seed=SEED), seconds=round(curves.duration_s, 2))[0]
        result = exactly(result, curves)
        write_clip(result.clip, folder / f"{name}.ogg", force=True)
        columns.append(column(result.clip, curves, measured(result, curves)))
    height = max(image.height for image in columns)
    sheet = Image.new("RGB", (WIDTH * len(columns) + GAP, height), "white")
    for number, image in enumerate(columns):
        sheet.paste(image, (number * (WIDTH + GAP), 0))
    sheet.save(DOCS / "images/curves.png", optimize=True)


def column(clip: Clip, asked: Curves, got: Curves) -> Image.Image:
    """The clip's spectrogram in grey over its curves."""
    grey = levels(clip.waveform, get_format("sonopaint-mini"))[0].flip(0).mul(255).to(torch.uint8).numpy()
    lanes = plot_curves(asked, got, width=WIDTH)
    image = Image.new("RGB", (WIDTH, 160 + lanes.height), "white")
    # As wide as the lanes are, which leave room for their names.
    image.paste(Image.fromarray(grey).convert("RGB").resize((WIDTH - 96 - 14, 160)), (96, 0))
    image.paste(lanes, (0, 160))
    return image


if __name__ == "__main__":
    main()
