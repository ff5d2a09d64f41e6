"""Progress: how a task tells what it is doing, and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

# Called often as progress(step, total, message) with what is done and what comes now; it may raise Cancelled.
Progress: TypeAlias = Callable[[int, int, str], None]


def silent(step: int, total: int, message: str) -> None:
    """The progress of somebody who does not look."""


class Part:
    """Progress of part ``index`` of ``count`` equal parts, told in the steps of the whole.

    One more step than the part itself counts is kept for making the sound (``sound``).
    """

    def __init__(self, progress: Progress | None, index: int, count: int) -> None:
        self._report = progress or silent
        self._index, self._count = index, count
        self._total = 1

    def __call__(self, step: int, total: int, message: str) -> None:
        self._total = total
        each = total + 1
        self._report(self._index * each + step, self._count * each, message)

    def sound(self, share: float) -> None:
        """What ``decode`` and ``put_back`` tell: the part's own steps are done, its sound is being made."""
        self(self._total, self._total, "Making the sound")
