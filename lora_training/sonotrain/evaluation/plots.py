"""Pictures of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from sonoconvert.files.atomic import atomic_path


def save_confusion(confusion: Mapping[str, Mapping[str, int]], path: Path, title: str) -> None:
    """Confusion matrix {label: {guess: clips}} as PNG: rows are what was asked for, columns what was heard.

    Raises ImportError where matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kinds = list(confusion)
    guesses = {guess for row in confusion.values() for guess in row}
    columns = kinds + sorted(guesses - set(kinds))
    counts = torch.tensor([[float(confusion[kind].get(guess, 0)) for guess in columns] for kind in kinds])
    figure = Figure(figsize=(4 + 0.17 * len(columns), 3 + 0.17 * len(kinds)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares = (counts / counts.sum(1, keepdim=True).clamp_min(1)).numpy()
    image = axes.imshow(shares, cmap="magma", vmin=0, vmax=1)
    axes.set_xticks(
        range(len(columns)), [name.replace("_", " ") for name in columns], rotation=90, fontsize=6
    )
    axes.set_yticks(range(len(kinds)), [name.replace("_", " ") for name in kinds], fontsize=6)
    axes.set_xlabel("heard")
    axes.set_ylabel("asked for")
    axes.set_title(title)
    figure.colorbar(image, ax=axes, shrink=0.6, label="share of clips")
    with atomic_path(path, force=True) as beside:
        figure.savefig(beside, dpi=130)
