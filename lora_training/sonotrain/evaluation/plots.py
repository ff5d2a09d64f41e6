"""The confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sonotrain.files.plots import plot


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
