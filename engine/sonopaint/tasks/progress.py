"""Progress: how a task tells what it is doing, and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

# Called often as progress(step, total, message) with what is done and what comes now; it may raise Cancelled.
Progress: TypeAlias = Callable[[int, int, str], None]


def silent(step: int, total: int, message: str) -> None:
    """The progress of somebody who does not look."""


def part_of(
    progress: Progress | None, index: int, count: int, *, label: str = "", finish: int = 1
) -> Progress:
    """Progress of part ``index`` of ``count`` equal parts, told in the steps of the whole.

    ``finish``: steps that follow each part's own steps (its conversion to sound).
    """
    report = progress or silent

    def tell(step: int, total: int, message: str) -> None:
        each = total + finish
        report(index * each + step, count * each, f"{label}{message}")

    return tell
