"""The few things that nodes want from the running ComfyUI: progress, interruption, folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def told(items: Sequence[T]) -> Iterator[T]:
    """Go through `items`, moving the node's progress bar and stopping when the person presses Cancel."""
    from comfy.model_management import throw_exception_if_processing_interrupted
    from comfy.utils import ProgressBar

    bar = ProgressBar(len(items))
    for item in items:
        throw_exception_if_processing_interrupted()
        yield item
        bar.update(1)
