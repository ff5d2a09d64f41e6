"""Long jobs: run beside the page, tell how far they are and how long it still takes, stop when asked."""

from __future__ import annotations

import html
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from sonoconvert.errors import Cancelled, SonopaintError
from sonopaint_studio.disk import FULL_DISK, is_full
from sonopaint_studio.names import said
from sonopaint_studio.session import Session

logger = logging.getLogger(__name__)
T = TypeVar("T")
Report = Callable[[int, int, str], None]
TOLD_EVERY_S = 0.15


@dataclass(frozen=True)
class Running:
    """A job on its way: `done` in 0…1, `left_s` None while nobody can tell."""

    message: str
    done: float = 0.0
    left_s: float | None = None


@dataclass(frozen=True)
class Finished(Generic[T]):
    value: T
    took_s: float


@dataclass(frozen=True)
class Failed:
    """The job ended without a result; `sentence` says why. Stopped by the person: `stopped`."""

    sentence: str
    stopped: bool = False


def run_job(session: Session, work: Callable[[Report], T]) -> Iterator[Running | Finished[T] | Failed]:
    """Run `work` in a thread; yield how it goes and, last, Finished or Failed.

    Stops at the next progress report after `session.cancel` is set, or when the page goes away.
    """
    if not session.busy.acquire(blocking=False):
        yield Failed("This tab is still busy: wait until it is done, or stop it.")
        return
    session.cancel.clear()
    news: queue.SimpleQueue[Running | Finished[T] | Failed] = queue.SimpleQueue()
    clock = _Clock()

    def report(step: int, total: int, message: str) -> None:
        if session.cancel.is_set():
            raise Cancelled
        news.put(clock.running(step, total, message))

    def body() -> None:
        outcome: Finished[T] | Failed
        try:
            value = work(report)
            if session.cancel.is_set():
                raise Cancelled
            outcome = Finished(value, clock.elapsed_s)
        except Cancelled:
            outcome = Failed("Stopped.", stopped=True)
        except SonopaintError as error:
            outcome = Failed(FULL_DISK if is_full(error) else said(error))
        except MemoryError:
            outcome = Failed("There is not enough memory for this: make it shorter or the batch smaller.")
        except Exception as error:  # noqa: BLE001 - the page must go on whatever a model does
            logger.exception("A job failed")
            kind = type(error).__name__
            inside = f"Something went wrong inside Studio ({kind}); the log says more."
            outcome = Failed(FULL_DISK if is_full(error) else inside)
        session.busy.release()  # before the page hears of it: it may start the next job at once
        news.put(outcome)

    yield Running("Starting")
    threading.Thread(target=body, daemon=True, name="sonopaint-job").start()
    try:
        while True:
            event = news.get()
            while isinstance(event, Running) and not news.empty():
                event = news.get()  # only the newest report matters
            yield event
            if not isinstance(event, Running):
                return
            time.sleep(TOLD_EVERY_S)
    except GeneratorExit:
        session.cancel.set()
        raise


class _Clock:
    """Time since the start, and since the first report of a step (loading a model says nothing about it)."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.first: tuple[float, float] | None = None

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    def running(self, step: int, total: int, message: str) -> Running:
        if total <= 0:
            return Running(message)
        now, done = time.monotonic(), min(max(step / total, 0.0), 1.0)
        if self.first is None or done < self.first[1]:
            self.first = (now, done)
        since, walked = now - self.first[0], done - self.first[1]
        left = since / walked * (1 - done) if walked > 0 and since > 0.5 else None
        return Running(message, done, left)


def status_html(event: Running | Finished[T] | Failed | None) -> str:
    """The line under the button: a bar with time left, what was done, or what went wrong."""
    if event is None:
        return ""
    if isinstance(event, Running):
        left = "" if event.left_s is None else f"{_duration(event.left_s)} left"
        return (
            f'<div class="sp-progress" role="progressbar" aria-valuemin="0" aria-valuemax="100"'
            f' aria-valuenow="{100 * event.done:.0f}"><i style="width:{event.done:.1%}"></i></div>'
            f'<div class="sp-progress-text"><span>{html.escape(event.message)}</span>'
            f"<span>{left}</span></div>"
        )
    if isinstance(event, Failed):
        kind = "sp-quiet" if event.stopped else "sp-error"
        return f'<div class="{kind}" role="alert">{html.escape(event.sentence)}</div>'
    return f'<div class="sp-quiet">Done in {_duration(event.took_s)}.</div>'


def error_html(error: str | Exception) -> str:
    """What went wrong, in the words of the page."""
    sentence = said(error) if isinstance(error, Exception) else error
    return status_html(Failed(sentence)) if sentence else ""


def note_html(sentence: str) -> str:
    return f'<div class="sp-quiet">{html.escape(sentence)}</div>' if sentence else ""


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(seconds, 0):.0f} s" if seconds >= 10 else f"{max(seconds, 0):.1f} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if hours < 1:
        return f"{minutes:.0f} min {int(seconds % 60)} s" if minutes < 10 else f"{minutes:.0f} min"
    return f"{hours:.0f} h {minutes % 60:.0f} min" if days < 2 else f"{days:.0f} days {hours % 24:.0f} h"
