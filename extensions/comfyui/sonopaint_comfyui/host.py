"""The few things that nodes want from the running ComfyUI: progress, interruption, folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def stoppable(share: float = 0.0) -> None:
    """A progress of `sonoconvert`'s that stops when the person presses Cancel."""
    from comfy.model_management import throw_exception_if_processing_interrupted

    throw_exception_if_processing_interrupted()


def told(items: Sequence[T]) -> Iterator[T]:
    """Go through `items`, moving the node's progress bar and stopping when the person presses Cancel."""
    from comfy.utils import ProgressBar

    bar = ProgressBar(len(items))
    for item in items:
        stoppable()
        yield item
        bar.update(1)
