"""Plots as PNG files, where matplotlib is installed."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from sonoconvert.files.atomic import atomic_path

logger = logging.getLogger(__name__)


def plot(path: Path, size: tuple[float, float], draw: Callable[[Any], None], dpi: int = 110) -> Path | None:
    """`draw` fills a matplotlib Figure of `size` inches, which is written; None without matplotlib."""
    try:
        figures = importlib.import_module("matplotlib.figure")
    except ImportError:
        logger.info("matplotlib is not installed, so there is no %s", path.name)
        return None
    figure = figures.Figure(figsize=size, dpi=dpi, layout="constrained")
    draw(figure)
    with atomic_path(path, force=True) as beside:
        figure.savefig(beside, format="png")
    return path


def save_confusion(confusion: Mapping[str, Mapping[str, int]], path: Path, title: str) -> Path | None:
    """Confusion matrix {label: {guess: clips}} as PNG: what was asked for downwards, heard to the right."""
    kinds = list(confusion)
    guesses = {guess for row in confusion.values() for guess in row}
    columns = kinds + sorted(guesses - set(kinds))
    counts = torch.tensor([[float(confusion[kind].get(guess, 0)) for guess in columns] for kind in kinds])
    shares = (counts / counts.sum(1, keepdim=True).clamp_min(1)).numpy()

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="magma", vmin=0, vmax=1)
        names = [name.replace("_", " ") for name in columns]
        axes.set_xticks(range(len(columns)), names, rotation=90, fontsize=6)
        axes.set_yticks(range(len(kinds)), [name.replace("_", " ") for name in kinds], fontsize=6)
        axes.set(xlabel="heard", ylabel="asked for", title=title)
        figure.colorbar(image, ax=axes, shrink=0.6, label="share of clips")

    return plot(path, (4 + 0.17 * len(columns), 3 + 0.17 * len(kinds)), draw, dpi=130)
