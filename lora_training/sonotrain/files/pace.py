"""How long something takes: for people, and from the speed so far."""

from __future__ import annotations

import time


def clock(seconds: float) -> str:
    """Minutes and seconds for people: 4:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Pace:
    """The speed of a job that begins now, and when it is time to tell of it, every `every_s` seconds."""

    def __init__(self, every_s: float = 0.0) -> None:
        self.start = self.told = time.monotonic()
        self.every_s = every_s

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.start

    def left(self, done: int, more: int) -> str:
        """How long `more` parts will take when `done` took as long as this, as `clock` says it."""
        return clock(self.seconds / done * more)

    def due(self) -> bool:
        """Whether it is time to tell, which then is told."""
        now = time.monotonic()
        if now - self.told <= self.every_s:
            return False
        self.told = now
        return True
