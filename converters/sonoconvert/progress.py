"""How long jobs tell how far they are, and how they are stopped."""

from __future__ import annotations

from collections.abc import Callable

# Told the share that is done, 0 … 1; may raise `errors.Cancelled` (or a host's own exception) to stop.
Progress = Callable[[float], None]


def silent(share: float) -> None:
    """Tells nobody."""


def portion(progress: Progress | None, low: float, high: float) -> Progress:
    """A part's own progress as that of the whole, of which the part is what lies between two shares."""
    return silent if progress is None else lambda share: progress(low + share * (high - low))


def shares(report: Callable[[int, int, str], None], message: str, part: int = 0, parts: int = 1) -> Progress:
    """A progress for what is told steps: a thousandth of one of its `parts` is a step."""
    return lambda share: report(round(1000 * (part + share)), 1000 * parts, message)


class Steps:
    """A progress that is told by counting: each call is one of `total` steps that begin."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total, self.begun = progress, max(total, 1), 0

    def __call__(self) -> None:
        self.progress(min(self.begun / self.total, 1.0))
        self.begun += 1
