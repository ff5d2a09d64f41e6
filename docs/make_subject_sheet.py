"""docs/images/subjects.png: a clip of each shipped subject, and what its file paints in one step.

python docs/make_subject_sheet.py [--clips runs/subjects]

The clips are those that `sonotrain bench subject-clips --out runs/subjects` writes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from sonoconvert.files.atomic import atomic_path
from sonoconvert.files.clip import Clip, read_clip
from sonoconvert.pictures.plot import plot_spectrogram
from sonopaint.models.loading import load_model
from sonopaint.tasks import generate
from sonopaint.tasks.settings import PaintSettings

SUBJECTS = {"giant-dog": "a prt dog bark", "timbale": "a prt snare drum", "tiny-owl": "a prt owl"}
WORDS = ("", "", " in the distance")
CELL, LINE = (420, 190), 22


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, default=Path("runs/subjects"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images/subjects.png")
    args = parser.parse_args()
    columns = 1 + len(WORDS)
    sheet = Image.new("RGB", (columns * CELL[0], len(SUBJECTS) * (CELL[1] + LINE)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, prompt) in enumerate(SUBJECTS.items()):
        model = load_model("mini", loras=[(name, 1.0)])
        clip = read_clip(args.clips / name / "clips/01.wav")
        cells: list[tuple[str, Clip]] = [(f"{name}: one of the five clips", clip)]
        for seed, words in enumerate(WORDS, 1):
            made = generate(model, PaintSettings(prompt=prompt + words, seed=seed))[0]
            cells.append((f"{prompt}{words}, seed {seed}", made.clip))
        for column, (title, clip) in enumerate(cells):
            place = (column * CELL[0], row * (CELL[1] + LINE))
            draw.text((place[0] + 8, place[1] + 6), title, fill="black", font_size=13)
            sheet.paste(plot_spectrogram(clip, size=CELL), (place[0], place[1] + LINE))
    with atomic_path(args.out, force=True) as beside:
        sheet.quantize(128).save(beside, format="PNG", optimize=True)


if __name__ == "__main__":
    main()
