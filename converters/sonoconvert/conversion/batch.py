"""Many files: in this process, in worker processes, or on the machines of a Dask cluster.

Each way is a generator of outcomes in the order in which they are finished. Few jobs are handed out at a
time, so that a stop leaves little behind and a million files need no million futures.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from sonoconvert.conversion.jobs import Job, Outcome, attempt
from sonoconvert.errors import SonopaintError, setting

T = TypeVar("T")
_AHEAD = 2  # jobs handed out for each worker
_STOPS = (signal.SIGINT, signal.SIGTERM)
_CLEANING_S = 2.0


def shard(items: Iterable[T], which: tuple[int, int]) -> list[T]:
    """Every `count`-th item from number `index` (from 1) on: the same files on every machine."""
    index, count = which
    return list(items)[index - 1 :: count]


def run(
    jobs: list[Job], workers: int, cluster: str | None = None, share: Callable[[float], None] | None = None
) -> Iterator[Outcome]:
    """Convert all jobs.

    Args:
        workers: processes; 1 works in this one. For a cluster, those of `cluster="local"`.
        share: is told how much of the file in work is done, 0 … 1, where it is done in this process.
        cluster: address of a Dask scheduler ("tcp://10.0.0.1:8786"), or "local" for one made here.

    Raises:
        SonopaintError: the cluster can't be used. Jobs that fail are outcomes, not errors.
    """
    if cluster is not None:
        return _on_cluster(jobs, workers, cluster)
    if workers == 1 or len(jobs) == 1:
        return (attempt(job, share) for job in jobs)
    return _in_processes(jobs, workers)


def _in_processes(jobs: list[Job], workers: int) -> Iterator[Outcome]:
    waiting, suspects = deque(jobs), deque[Job]()
    while waiting or suspects:
        # When a worker dies (out of memory, a crash in a decoder), nobody knows which job it was: those
        # that were handed out are done again one by one.
        alone = bool(suspects)
        yield from _one_pool(suspects if alone else waiting, suspects, 1 if alone else workers, alone)


def _one_pool(jobs: deque[Job], suspects: deque[Job], workers: int, alone: bool) -> Iterator[Outcome]:
    """Work off `jobs` until they are done or a worker dies; what was in work then goes to `suspects`."""
    # Fresh processes: forking a process with torch's threads can hang.
    pool = ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), set_up_worker, (workers,))
    running: dict[Future[Outcome], Job] = {}
    lost: list[Job] = []
    try:
        while (jobs or running) and not lost:
            while jobs and len(running) < (1 if alone else _AHEAD * workers):
                job = jobs.popleft()
                with _children_deaf():
                    running[pool.submit(_attempt_in_worker, job)] = job
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                job = running.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    lost.append(job)
                    continue
                yield outcome
        for future, job in running.items():
            if future.done() and future.exception() is None:
                yield future.result()
            else:
                lost.append(job)
    except BrokenProcessPool:  # submit() noticed first
        lost += [job, *running.values()]
    except BaseException:  # stopped: what is in work need not be finished
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if alone:
        for job in lost:
            sentence = (
                f"{job.source} ended its worker process (out of memory?); convert it in parts (--parts)."
            )
            yield Outcome(job, error=sentence)
    else:
        suspects.extend(lost)


def _attempt_in_worker(job: Job) -> Outcome:
    """Ctrl-C and SIGTERM end a job, which cleans up; between jobs they are ignored."""
    for number in _STOPS:
        signal.signal(number, _stop)
    try:
        return attempt(job)
    finally:
        _be_deaf()


def _stop(*_: Any) -> None:
    _be_deaf()  # nothing disturbs the cleaning up
    raise KeyboardInterrupt


def _be_deaf() -> None:
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _children_deaf() -> Iterator[None]:
    """Ctrl-C waits in processes that are started here until `set_up_worker` has made them ready for it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def set_up_worker(workers: int) -> None:
    """One thread for each of several workers; no traceback when an idle one is interrupted."""
    import torch

    _be_deaf()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    end_with_parent()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    if workers > 1:
        torch.set_num_threads(1)


def end_with_parent() -> None:
    """Let this worker process end when its parent was killed; it would wait for work for ever."""
    threading.Thread(target=_watch_parent, daemon=True).start()


def _watch_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGINT)  # a job in work cleans up
        time.sleep(_CLEANING_S)
        os._exit(1)


def _on_cluster(jobs: list[Job], workers: int, address: str) -> Iterator[Outcome]:
    try:
        from distributed import Client, KilledWorker, LocalCluster, as_completed
    except ImportError as error:
        raise SonopaintError(
            f"{setting('cluster')} needs Dask, which is not installed: pip install 'sonopaint[cluster]' on "
            "every machine."
        ) from error
    made: Any = None
    try:
        if address == "local":
            made = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        client = Client(made or address, timeout=20)
    except (OSError, TimeoutError, ValueError) as error:
        raise SonopaintError(
            f"There is no Dask scheduler at {address}; start one (dask scheduler) and give its address."
        ) from error
    waiting = deque(jobs)
    try:
        threads = sum(client.nthreads().values())
        if not threads:
            raise SonopaintError(f"The Dask scheduler at {address} has no workers; start some (dask worker).")

        def submit() -> tuple[Any, Job]:
            job = waiting.popleft()
            return client.submit(_attempt_on_machine, job, pure=False), job

        running = dict(submit() for _ in range(min(_AHEAD * threads, len(waiting))))
        queue = as_completed(list(running))
        for future in queue:
            job = running.pop(future)
            try:
                outcome = future.result()
            except KilledWorker:
                outcome = Outcome(job, error=f"{job.source} ended its worker (out of memory?); use --parts.")
            if waiting:
                added, next_job = submit()
                running[added] = next_job
                queue.add(added)
            yield outcome
    finally:
        client.close()
        if made is not None:
            made.close()


def _attempt_on_machine(job: Job) -> Outcome:
    import torch

    torch.set_num_threads(1)
    return attempt(job)
