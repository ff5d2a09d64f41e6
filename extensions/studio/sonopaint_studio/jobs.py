"""How a job is: on its way, finished or failed; and how a page says it."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sonopaint_studio.names import said

Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Running:
    """A job on its way: `done` in 0…1, `left_s` None while nobody can tell."""

    message: str
    done: float = 0.0
    left_s: float | None = None


@dataclass(frozen=True)
class Finished:
    value: Any
    took_s: float


@dataclass(frozen=True)
class Failed:
    """The job ended without a result; `sentence` says why. Stopped by the person: `stopped`."""

    sentence: str
    stopped: bool = False


Event = Running | Finished | Failed


class Clock:
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


def status_html(event: Event | None) -> str:
    """The line under the button: a bar with time left, what was done, or what went wrong."""
    if event is None:
        return ""
    if isinstance(event, Running):
        left = "" if event.left_s is None else f"{duration(event.left_s)} left"
        return (
            f'<div class="sp-progress" role="progressbar" aria-valuemin="0" aria-valuemax="100"'
            f' aria-valuenow="{100 * event.done:.0f}"><i style="width:{event.done:.1%}"></i></div>'
            f'<div class="sp-progress-text"><span>{html.escape(event.message)}</span>'
            f"<span>{left}</span></div>"
        )
    if isinstance(event, Failed):
        kind = "sp-quiet" if event.stopped else "sp-error"
        return f'<div class="{kind}" role="alert">{html.escape(event.sentence)}</div>'
    return f'<div class="sp-quiet">Done in {duration(event.took_s)}.</div>'


def error_html(error: str | Exception) -> str:
    """What went wrong, in the words of the page."""
    sentence = said(error) if isinstance(error, Exception) else error
    return status_html(Failed(sentence)) if sentence else ""


def note_html(sentence: str) -> str:
    return f'<div class="sp-quiet">{html.escape(sentence)}</div>' if sentence else ""


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(seconds, 0):.0f} s" if seconds >= 10 else f"{max(seconds, 0):.1f} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if hours < 1:
        return f"{minutes:.0f} min {int(seconds % 60)} s" if minutes < 10 else f"{minutes:.0f} min"
    return f"{hours:.0f} h {minutes % 60:.0f} min" if days < 2 else f"{days:.0f} days {hours % 24:.0f} h"
