"""Pictures of a bench: identity beside diversity, and contact sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from sonoconvert.files.atomic import atomic_path
from sonoconvert.files.clip import read_clip
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonotrain.data.corpus import FORMAT
from sonotrain.evaluation.bench.nouns import PICTURES, REAL
from sonotrain.files.plots import plot

COLUMNS, CELL, TITLE, GAP = 7, (180, 80), 14, 4
COLOURS = ("#0a7d72", "#b3381f", "#5a4fcf", "#b8860b", "#2f6fb0", "#a0306f", "#5c6b2f", "#444444")


def save_plot(
    cells: Mapping[tuple[str, str], Mapping[str, Any]], average: Mapping[str, Mapping[str, Any]], path: Path
) -> Path | None:
    """Identity to the right, diversity within a prompt upwards; ● one step, ■ many, ★ real clips.

    Large: averaged over the references; small: each of them. None where matplotlib is not installed, or
    where there was one seed and so no diversity.
    """
    points = {row: figures for row, figures in average.items() if figures.get("intra")}
    if not points:
        return None

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for index, (row, mean) in enumerate(points.items()):
            colour, marker = COLOURS[index % len(COLOURS)], "*" if row == REAL else "s"
            marker, nfe = "o" if mean.get("nfe") == 1 else marker, mean.get("nfe")
            for (name, _), one in cells.items():
                if name == row and one.get("intra"):
                    axes.plot(one["identity"], one["intra"][0], marker, color=colour, ms=5, alpha=0.35)
            label, size = row + (f", NFE {nfe:.0f}" if nfe else ""), 13 if row == REAL else 10
            axes.plot(mean["identity"], mean["intra"][0], marker, color=colour, ms=size, label=label)
        axes.set(xlabel="identity to the references →", ylabel="diversity within a prompt →")
        axes.grid(alpha=0.25)
        axes.margins(0.12)
        axes.legend(frameon=False, fontsize=9)

    return plot(path, (8, 5), draw)


def save_sheet(rows: Mapping[str, Sequence[Path]], path: Path) -> Path:
    """One row for each back-end, COLUMNS of its files spread over its prompts; sounds as Mini sees them."""
    sounds = not any(file.suffix.lower() in PICTURES for files in rows.values() for file in files)
    width, height = CELL if sounds else (CELL[0], CELL[0])
    size = (COLUMNS * (width + GAP), len(rows) * (height + TITLE + GAP))
    sheet = Image.new("RGB", size, (32, 32, 32))
    draw = ImageDraw.Draw(sheet)
    for line, (name, files) in enumerate(rows.items()):
        top = line * (height + TITLE + GAP)
        chosen = [files[len(files) * column // COLUMNS] for column in range(min(COLUMNS, len(files)))]
        for column, file in enumerate(chosen):
            left = column * (width + GAP)
            sheet.paste(_picture(file, sounds).resize((width, height)), (left, top + TITLE))
            label = f"{name}: {file.stem}" if column == 0 else file.stem
            draw.text((left + 2, top + 1), label[:30], fill=(235, 235, 235))
    with atomic_path(path, force=True) as beside:
        sheet.save(beside, format="PNG")
    return path


def _picture(file: Path, sounds: bool) -> Image.Image:
    if not sounds:
        with Image.open(file) as image:
            return image.convert("RGB")
    fmt = get_format(FORMAT)
    sound = read_clip(file, duration_s=fmt.seconds(fmt.width)).mono().resampled(fmt.sample_rate)
    picture = levels(sound.waveform, fmt)[0].flip(0).clamp(0, 1)
    return Image.fromarray((picture * 255).to(torch.uint8).numpy()).convert("RGB")
