"""Work that several processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any


@contextmanager
def several(count: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """`map` over so many processes of one thread each, in order; this one alone where that is enough."""
    if count <= 1:
        yield map
        return
    with get_context("spawn").Pool(count, start_worker) as pool:
        yield pool.imap


def start_worker() -> None:
    """One thread, ends with its parent, and Ctrl+C is the parent's business."""
    import signal

    import torch

    from sonoconvert.conversion.batch import end_with_parent

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    end_with_parent()
