"""Plots as PNG files, where matplotlib is installed."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
