"""What every command line here does: names that no terminal can show are shown all the same, and SIGTERM
ends a program as Ctrl-C does, so that it cleans up behind itself."""

from __future__ import annotations

import io
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_TERMINATED = 128 + signal.SIGTERM


@contextmanager
def polite() -> Iterator[None]:
    """For the time of a command."""
    show_all_names()
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def show_all_names() -> None:
    """Let what the terminal has no characters for be printed as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _end(*_: Any) -> None:
    raise SystemExit(_TERMINATED)
