"""The queue: jobs of all pages and tabs, one after the other in each lane, whether a page looks on or not."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sonoconvert.errors import Cancelled, SonopaintError
from sonopaint_studio.disk import FULL_DISK, is_full
from sonopaint_studio.jobs import Clock, Event, Failed, Finished, Report, Running
from sonopaint_studio.names import said
from sonopaint_studio.session import Session

logger = logging.getLogger(__name__)
PAINTING = "painting"  # the lane of everything that uses the model; other pages have lanes of their own
ENDED_KEPT = 20  # ended jobs that the list still shows
TOLD_EVERY_S = 0.15
IDLE_S = 600.0  # after so long without a job the lane's `idle` is called


@dataclass(eq=False)
class Job:
    """One piece of work. `event` says how it is: Running (also while it waits), Finished or Failed."""

    session: Session
    page: str
    title: str
    work: Callable[[Report], Any]
    lane: str
    size: float  # what its time grows with (0: unknown), see JobQueue.waits_s
    number: int
    event: Event = field(default_factory=lambda: Running("Waiting"))
    cancel: threading.Event = field(default_factory=threading.Event)
    clock: Clock | None = None  # once it runs
    told: bool = False  # whether a page has heard how it ended
    version: int = 0

    @property
    def live(self) -> bool:
        return isinstance(self.event, Running)

    @property
    def waiting(self) -> bool:
        return self.live and self.clock is None


class JobQueue:
    """All jobs of a Studio, in the order in which they come; safe to use from any thread."""

    def __init__(self, idle: Callable[[], None] = lambda: None) -> None:
        self._idle = idle  # called by the painting lane when it had nothing to do for IDLE_S
        self._news = threading.Condition()
        self._jobs: list[Job] = []
        self._lanes: set[str] = set()
        self._followers: dict[tuple[int, str], object] = {}
        self._numbers = itertools.count(1)
        self._seconds_per_size: dict[str, float] = {}  # by page, as the last job of it took

    # What pages do -----------------------------------------------------------------------------------------

    def add(
        self,
        session: Session,
        page: str,
        title: str,
        work: Callable[[Report], Any],
        *,
        lane: str = "",
        size: float = 0.0,
    ) -> Job:
        """Put `work` at the end of its lane (default: the page's own). It goes on when the page is closed."""
        with self._news:
            job = Job(session, page, title, work, lane or page, size, next(self._numbers))
            self._jobs.append(job)
            session.working += 1
            if job.lane not in self._lanes:  # lanes keep their thread: each new one costs memory for good
                self._lanes.add(job.lane)
                name = f"sonopaint-{job.lane}"
                threading.Thread(target=self._run_lane, args=(job.lane,), daemon=True, name=name).start()
            self._news.notify_all()
            return job

    def follow(self, session: Session, page: str) -> Iterator[Event]:
        """What happens to a tab's jobs of a page, the oldest first, until all are done or another follows."""
        me, seen = object(), None
        with self._news:
            self._followers[id(session), page] = me
            self._news.notify_all()
        while True:
            with self._news:
                while True:
                    if self._followers.get((id(session), page)) is not me:
                        return
                    jobs = [j for j in self._jobs if j.session is session and j.page == page and not j.told]
                    if not jobs:
                        del self._followers[id(session), page]
                        return
                    job = min(jobs, key=lambda j: j.live)  # those that have ended first
                    before = self._before(job)
                    if (job, job.version, before) != seen:
                        break
                    self._news.wait()
                seen, event = (job, job.version, before), job.event
                job.told = not job.live
                more = len(jobs) - 1
            if isinstance(event, Running):
                message = f"Waiting for {before} other job{'s' * (before > 1)}" if before else event.message
                message += f" · {more} more in the queue" if more else ""
                event = Running(message, event.done, event.left_s)
            yield event
            if isinstance(event, Running):
                time.sleep(TOLD_EVERY_S)

    def busy(self, session: Session, page: str) -> bool:
        """Whether a tab has jobs of a page that wait or run."""
        with self._news:
            return any(j.live and j.session is session and j.page == page for j in self._jobs)

    def stop(self, session: Session, page: str) -> None:
        """Stop the tab's oldest job of a page."""
        with self._news:
            live = [j for j in self._jobs if j.live and j.session is session and j.page == page]
            running = [j for j in live if not j.waiting]
            for job in (running or live)[:1]:
                self._cancel(job)

    # What the list of jobs does ----------------------------------------------------------------------------

    def jobs(self) -> list[Job]:
        """All jobs that wait or run, and the last that ended, in their order."""
        with self._news:
            return list(self._jobs)

    def cancel(self, number: int) -> None:
        """Stop a job at its next report, or take it out while it waits."""
        with self._news:
            for job in self._jobs:
                if job.number == number:
                    self._cancel(job)
                    return

    def move(self, number: int, places: int) -> None:
        """Let a waiting job come earlier (places < 0) or later among those that wait in its lane."""
        with self._news:
            job = next((j for j in self._jobs if j.number == number and j.waiting), None)
            if job is None:
                return
            at = [i for i, j in enumerate(self._jobs) if j.waiting and j.lane == job.lane]
            now = at.index(self._jobs.index(job))
            other = at[min(max(now + places, 0), len(at) - 1)]
            self._jobs.insert(other, self._jobs.pop(at[now]))
            self._news.notify_all()

    def waits_s(self) -> dict[int, float]:
        """Seconds until each live job is likely done, by its number; without those that nobody can tell.

        A waiting job takes as long for its `size` as the last job of its page, or the one that runs, did.
        """
        with self._news:
            told: dict[int, float] = {}
            until: dict[str, float | None] = {}
            for job in self._jobs:
                if not job.live:
                    continue
                before = until.get(job.lane, 0.0)
                own: float | None
                if job.clock is not None:
                    own = job.event.left_s if isinstance(job.event, Running) else None
                    if own is not None and job.size:
                        self._seconds_per_size.setdefault(job.page, (job.clock.elapsed_s + own) / job.size)
                else:
                    rate = self._seconds_per_size.get(job.page)
                    own = rate * job.size if rate and job.size else None
                total = None if before is None or own is None else before + own
                until[job.lane] = total
                if total is not None:
                    told[job.number] = total
            return told

    def close(self) -> None:
        """Stop every job."""
        with self._news:
            for job in self._jobs:
                self._cancel(job)

    # Running -----------------------------------------------------------------------------------------------

    def _before(self, job: Job) -> int:
        """How many jobs a waiting one waits for."""
        if not job.waiting:
            return 0
        lane = [j for j in self._jobs if j.live and j.lane == job.lane]
        return lane.index(job)

    def _cancel(self, job: Job) -> None:
        job.cancel.set()
        if job.waiting:
            self._end(job, Failed("Stopped.", stopped=True))

    def _end(self, job: Job, event: Event) -> None:
        job.event, job.version = event, job.version + 1
        job.work = _nothing  # what it holds (clips, settings) may go
        job.session.working -= 1
        ended = [j for j in self._jobs if not j.live]
        for old in ended[: max(0, len(ended) - ENDED_KEPT)]:
            self._jobs.remove(old)
        self._news.notify_all()

    def _run_lane(self, lane: str) -> None:
        while True:
            with self._news:
                job = next((j for j in self._jobs if j.waiting and j.lane == lane), None)
                if job is None:
                    heard = self._news.wait(IDLE_S)
                else:
                    job.clock = Clock()
                    self._tell(job, Running("Starting"))
            if job is not None:
                event = self._run(job)
                with self._news:
                    if isinstance(event, Finished) and job.size:
                        self._seconds_per_size[job.page] = event.took_s / job.size
                    self._end(job, event)
            elif not heard and lane == PAINTING:
                self._idle()

    def _tell(self, job: Job, event: Running) -> None:
        job.event, job.version = event, job.version + 1
        self._news.notify_all()

    def _run(self, job: Job) -> Event:
        clock = job.clock or Clock()

        def report(step: int, total: int, message: str) -> None:
            if job.cancel.is_set():
                raise Cancelled
            with self._news:
                self._tell(job, clock.running(step, total, message))

        try:
            value = job.work(report)
            if job.cancel.is_set():
                raise Cancelled
            return Finished(value, clock.elapsed_s)
        except Cancelled:
            return Failed("Stopped.", stopped=True)
        except SonopaintError as error:
            return Failed(FULL_DISK if is_full(error) else said(error))
        except MemoryError:
            return Failed("There is not enough memory for this: make it shorter or the batch smaller.")
        except Exception as error:  # noqa: BLE001 - the page must go on whatever a model does
            logger.exception("A job failed")
            kind = type(error).__name__
            inside = f"Something went wrong inside Studio ({kind}); the log says more."
            return Failed(FULL_DISK if is_full(error) else inside)


def _nothing(report: Report) -> None:
    return None
