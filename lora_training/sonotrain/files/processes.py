"""Work that several processes share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from sonoconvert.errors import SonopaintError, setting


@contextmanager
def several(count: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """`map` over so many processes of one thread each, in order; this one alone where that is enough.

    Work that is under way when the block is left is broken off. SonopaintError where a process was killed.
    """
    if count <= 1:
        yield map
        return
    pool = ProcessPoolExecutor(count, get_context("spawn"), start_worker)

    def run(work: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Any]:
        waiting = deque(pool.submit(work, job) for job in jobs)
        while waiting:
            yield waiting.popleft().result()  # what was taken is kept no longer

    try:
        yield run
    except BrokenProcessPool as error:
        raise SonopaintError(
            "A process that shared the work was ended by the system, perhaps for want of memory; go on with "
            f"fewer ({setting('workers')} 1)."
        ) from error
    finally:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(cancel_futures=True)


def start_worker() -> None:
    """One thread, ends with its parent, and Ctrl+C is the parent's business."""
    import signal

    import torch

    from sonoconvert.conversion.batch import end_with_parent

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    end_with_parent()
