"""Curves of a run: raw points and their moving average, as PNG and for TensorBoard or Weights & Biases."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sonoconvert.errors import setting
from sonotrain.files.plots import plot
from sonotrain.training.run_folder import read_log

logger = logging.getLogger(__name__)

SMOOTHING = 0.9  # of one logged point to the next
PANELS = {
    "loss": "training loss",
    "validation_loss": "validation loss",
    "prior": "loss of the class sounds",
    "margin": "preference for the clips",
    "matching": "distance to the teachers",
    "target": "target teacher's loss",
    "fake": "fake teacher's loss",
    "student_gan": "student's adversarial loss",
    "critic_gan": "discriminator's loss",
    "spread": "variety between seeds",
    "norm": "gradient norm",
    "lr": "learning rate",
}
NO_CURVES = {"step", "seconds", "seconds_per_step"}
STEADY = {"validation_loss", "spread", "lr"}  # the others are noisy, and drawn smoothed as well


def smoothed(values: Sequence[float], decay: float = SMOOTHING) -> list[float]:
    """Exponential moving average without the bias of its start (as Adam's moments, Kingma & Ba 2015)."""
    average, result = 0.0, []
    for count, value in enumerate(values, 1):
        average = decay * average + (1 - decay) * value
        result.append(average / (1 - decay**count))
    return result


def series(lines: Sequence[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """(steps, values) of one quantity in the log."""
    found = [(line["step"], float(line[name])) for line in lines if isinstance(line.get(name), int | float)]
    return [step for step, _ in found], [value for _, value in found]


def panels(lines: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What the log holds numbers of, with a title each: PANELS first, then the trainer's own."""
    logged = dict.fromkeys(
        name
        for line in lines
        for name, value in line.items()
        if name not in NO_CURVES and isinstance(value, int | float)
    )
    own = {name: name.replace("_", " ") for name in logged if name not in PANELS}
    return {**{name: title for name, title in PANELS.items() if name in logged}, **own}


def draw_curves(run: Path, path: Path) -> Path | None:
    """curves.png: each of `panels` that was logged twice or more, over the steps; raw and smoothed.

    None where matplotlib (an extra) is missing, or nothing was logged twice yet.
    """
    lines = read_log(run)
    if not lines:
        return None
    titles = panels(lines)
    found = {name: series(lines, name) for name in titles}
    found = {name: values for name, values in found.items() if len(values[0]) > 1}  # a point is no curve
    if not found:
        return None
    rows = -(-len(found) // 2)

    def draw(figure: Any) -> None:
        for place, (name, (steps, values)) in enumerate(found.items(), 1):
            axis = figure.add_subplot(rows, 2, place)
            noisy = name not in STEADY
            axis.plot(steps, values, color="#9ab8d6" if noisy else "#1f5f99", linewidth=1, label="raw")
            if noisy and len(values) > 2:
                axis.plot(steps, smoothed(values), color="#1f5f99", linewidth=1.6, label=f"EMA {SMOOTHING}")
                axis.legend(frameon=False, fontsize=8)
            axis.set_title(titles[name], fontsize=10)
            axis.set_xlabel("step", fontsize=8)
            axis.tick_params(labelsize=8)
            axis.grid(alpha=0.25)

    return plot(path, (9, 2.75 * rows), draw)


class Trackers:
    """TensorBoard and Weights & Biases beside log.jsonl, where they are installed and wanted."""

    def __init__(self, run: Path, config: dict[str, Any], *, tensorboard: bool, wandb: bool) -> None:
        self.board: Any = None
        self.wandb: Any = None
        if tensorboard:
            try:
                self.board = importlib.import_module("torch.utils.tensorboard").SummaryWriter(
                    str(run / "tensorboard")
                )
            except ImportError:
                logger.info("TensorBoard is not installed: the curves are in curves.png and log.jsonl only.")
        if wandb:
            try:
                self.wandb = importlib.import_module("wandb")
                self.wandb.init(
                    project="sonopaint", name=run.name, dir=str(run), config=config, resume="allow"
                )
            except ImportError:
                logger.warning(
                    "%s: Weights & Biases is not installed (pip install wandb); going on without.",
                    setting("wandb"),
                )

    def log(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            if self.board is not None:
                self.board.add_scalar(name, value, step)
        if self.wandb is not None:
            self.wandb.log(values, step=step)

    def close(self) -> None:
        if self.board is not None:
            self.board.close()
        if self.wandb is not None:
            self.wandb.finish()
