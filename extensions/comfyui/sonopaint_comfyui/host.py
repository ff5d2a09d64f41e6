"""The few things that nodes want from the running ComfyUI: progress, interruption, folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from sonoconvert.progress import Progress

T = TypeVar("T")
PARTS = 1000  # of the progress bar


def stoppable(share: float = 0.0) -> None:
    """A progress of `sonoconvert`'s that stops when the person presses Cancel."""
    from comfy.model_management import throw_exception_if_processing_interrupted

    throw_exception_if_processing_interrupted()


def told(items: Sequence[T]) -> Iterator[tuple[T, Progress]]:
    """Go through `items`, each with a progress that moves its part of the node's bar and stops on Cancel."""
    from comfy.utils import ProgressBar

    bar = ProgressBar(PARTS)
    for index, item in enumerate(items):

        def progress(share: float, index: int = index) -> None:
            stoppable()
            bar.update_absolute(round(PARTS * (index + share) / len(items)))

        progress(0.0)
        yield item, progress
    bar.update_absolute(PARTS)
