"""Options that trainers have in common: declared once, so that each means, is called and may change alike.

`seed: int = common.seed()` in a trainer's options; where it stands among them, and its default, are theirs.
"""

from __future__ import annotations

from typing import Any

from sonotrain.files.options import THREADS, option


def seed(of: str = "weights and data") -> Any:
    return option(0, f"seed of {of}")


def threads() -> Any:
    return option(0, THREADS, free=True)


def batch(default: int, what: str = "clips") -> Any:
    return option(default, f"{what} a step")


def warmup(steps: int) -> Any:
    return option(steps, "steps of warm-up")


def warmup_share(default: float = 0.05) -> Any:
    """Of a run whose steps are counted."""
    return option(default, "steps of warm-up, or below 1 the share of all steps")


def ema(decay: float, of: str = "the") -> Any:
    return option(decay, f"decay of {of} moving average")


def checkpoint_minutes(minutes: float = 5.0) -> Any:
    return option(minutes, "minutes between checkpoints", free=True)


def preview_minutes(what: str = "previews", minutes: float = 10.0) -> Any:
    return option(minutes, f"minutes between {what}", free=True)


def checkpoint_every(steps: int = 100) -> Any:
    return option(steps, "steps between checkpoints", free=True)


def log_every(steps: int = 10) -> Any:
    return option(steps, "steps between lines of the log", free=True)
