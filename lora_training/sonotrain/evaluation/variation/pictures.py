"""Mel pictures and energy curves of each method with the mask marked, and the curve of a strength sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sonoconvert.files.clip import read_clip
from sonotrain.evaluation.bench.drawing import COLOURS
from sonotrain.evaluation.variation.back_ends import changed_of
from sonotrain.evaluation.variation.measures import STEP_S, energy_db, mel_levels
from sonotrain.files.plots import plot

SHOWN = 3  # variations of a method
MASK = "#2fbf4a"


def save_panel(reference: Any, rows: Mapping[str, Sequence[Path]], path: Path) -> Path | None:
    """The reference above; below it for each method some mel pictures and its energy curves, dB over s.

    A mask is a green box in the pictures and a green span under the curves. None without matplotlib.
    """
    original = read_clip(reference.files[0])
    curve = energy_db(original)
    times = np.arange(len(curve)) * STEP_S

    def draw(figure: Any) -> None:
        grid = figure.subplots(1 + len(rows), SHOWN + 1, squeeze=False)
        _mel(grid[0][0], original, f"{reference.name}: reference", None)
        for axes in grid[0][1:-1]:
            axes.set_axis_off()
        _curves(grid[0][-1], times, curve, [])
        for line, (name, files) in zip(grid[1:], rows.items(), strict=True):
            for axes, file in zip(line, files, strict=False):
                _mel(axes, read_clip(file), f"{name}: {file.stem}", changed_of(file))
            for axes in line[min(len(files), SHOWN) : -1]:
                axes.set_axis_off()
            _curves(line[-1], times, curve, files)

    return plot(path, (3.1 * (SHOWN + 1), 1.9 * (1 + len(rows))), draw, dpi=80)


def _mel(axes: Any, clip: Any, title: str, spans: Sequence[Sequence[float]] | None) -> None:
    picture = mel_levels(clip).numpy()
    axes.imshow(
        picture, origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=1,
        extent=(0, picture.shape[1] * 0.016, 0, len(picture)),
    )  # fmt: skip
    axes.set_xlim(0, clip.duration_s)
    axes.set_title(title, fontsize=8, loc="left")
    axes.set_yticks([])
    axes.tick_params(labelsize=7)
    for start, end in spans or ():
        axes.axvspan(start, end, fill=False, edgecolor=MASK, linewidth=2)


def _curves(axes: Any, times: np.ndarray, own: np.ndarray, files: Sequence[Path]) -> None:
    for file in files:
        for start, end in changed_of(file) or ():
            axes.axvspan(start, end, color=MASK, alpha=0.06, linewidth=0)
    for file in files:
        other = energy_db(read_clip(file))
        axes.plot(np.arange(len(other)) * STEP_S, other, color=COLOURS[0], linewidth=0.7, alpha=0.5)
    axes.plot(times, own, color="black", linewidth=1.1)
    axes.set_ylim(-82, 0)
    axes.set_title("energy, dB over s", fontsize=8, loc="left")
    axes.tick_params(labelsize=7)


def save_sweep(
    points: Mapping[str, Mapping[float, Mapping[str, Any]]], path: Path, columns: Sequence[tuple[str, str]]
) -> Path | None:
    """Figures over strength, a line for each method. points: {method: {strength: figures}}."""
    shown = {name: dict(sorted(one.items())) for name, one in points.items() if len(one) > 1}
    if not shown:
        return None

    def draw(figure: Any) -> None:
        for axes, (key, heading) in zip(figure.subplots(1, len(columns)), columns, strict=True):
            for colour, (name, one) in zip(COLOURS * 4, shown.items(), strict=False):
                values = {s: _value(f.get(key)) for s, f in one.items() if f.get(key) is not None}
                axes.plot(list(values), list(values.values()), "o-", color=colour, label=name)
            axes.set(xlabel="strength", title=heading)
            axes.grid(alpha=0.25)
        figure.axes[0].legend(frameon=False, fontsize=8)

    return plot(path, (4 * len(columns), 3.4), draw)


def _value(figure: Any) -> float:
    return float(figure[0] if isinstance(figure, (tuple, list)) else figure)
