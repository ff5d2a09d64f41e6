"""One Session per browser tab: its files and its editing history. A reload finds them again."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import gradio as gr

from sonoconvert.errors import SonopaintError
from sonopaint_studio.history import History
from sonopaint_studio.sounds import Sound

logger = logging.getLogger(__name__)
KEPT_AFTER_LEAVING_S = 600.0  # a tab that was loaded again, or lost its connection, finds its sounds
_TAB = re.compile(r"[0-9a-f]{32}")


class Request(Protocol):
    """What is needed of gradio.Request: the tab's own random name."""

    session_hash: str | None


@dataclass
class Session:
    """State of one browser tab. Nothing in it is shared with another tab."""

    folder: Path
    working: int = 0  # its jobs that wait or run; JobQueue counts
    pages_open: set[str] = field(default_factory=set)  # Gradio's hashes: each reload has another one
    sounds: dict[str, Sound] = field(default_factory=dict)
    history: History = field(default_factory=History)
    pages: list[Path] = field(default_factory=list)  # folders with the clips of a dataset's pages
    waiting_picture: Path | None = None  # a PNG that doesn't say its format, until somebody chooses one
    variations: Any = None  # the Bank of the page Variations
    followed: Any = None  # the Curves that the last result measures, where it was to follow some
    edit_followed: Any = None  # the same of Edit
    jingles: list[Sound] = field(default_factory=list)  # of the page Jingle, oldest first
    match: Any = None  # the Bench of the page Match
    blend: Any = None  # the Desk of the page Blend
    left_at: float | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new_folder(self) -> Path:
        """A fresh folder inside the session's own, for the files of one sound."""
        folder = self.folder / f"{next(self._numbers):04d}"
        folder.mkdir(parents=True)
        return folder

    def add(self, sound: Sound) -> Sound:
        self.sounds[sound.key] = sound
        return sound

    def forget_results(self, most: int) -> None:
        """Drop the oldest results of Generate beyond `most` from the page; the library has them."""
        made = [sound for sound in self.sounds.values() if sound.made_here]
        for sound in made[: max(0, len(made) - most)]:
            del self.sounds[sound.key]


class Sessions:
    """All open tabs; folders lie under one root that goes when Studio ends."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or Path(tempfile.mkdtemp(prefix="sonopaint-studio-"))
        self.uploads = self.root / "uploads"  # what browsers send; never served
        self.outputs = self.root / "outputs"  # what is served
        for folder in (self.uploads, self.outputs):
            folder.mkdir(parents=True, exist_ok=True)
        self._open: dict[str, Session] = {}  # by Gradio's hash of a page
        self._tabs: dict[str, Session] = {}  # by the name that the browser's tab keeps
        self._lock = threading.Lock()
        atexit.register(shutil.rmtree, self.root, ignore_errors=True)

    def of(self, request: Request) -> Session:
        """The session of the tab that a request came from; made when it is new."""
        with self._lock:
            self._sweep()
            return self._visited(request.session_hash or "", None)

    def found_again(self, request: Request, tab: str) -> Session:
        """The session that the browser's tab had before it was loaded again. `tab`: its own secret name."""
        with self._lock:
            self._sweep()
            known = self._tabs.get(tab)
            session = self._visited(request.session_hash or "", known)
            if _TAB.fullmatch(tab):
                self._tabs[tab] = session
            return session

    def _visited(self, page: str, known: Session | None) -> Session:
        before = self._open.get(page)
        session = known or before
        if session is None:
            folder = self.outputs / uuid.uuid4().hex
            folder.mkdir()
            session = Session(folder)
        if before is not None and before is not session:  # asked for before the tab had said its name
            shutil.rmtree(before.folder, ignore_errors=True)
        self._open[page] = session
        session.pages_open.add(page)
        session.left_at = None
        return session

    def leave_tab(self, request: gr.Request) -> None:
        """The page was closed: its jobs go on; its files go a while later (see KEPT_AFTER_LEAVING_S)."""
        page = request.session_hash or ""
        with self._lock:
            session = self._open.get(page)
            if session is not None:
                session.pages_open.discard(page)
                if not session.pages_open:
                    session.left_at = time.monotonic()

    def close_all(self) -> None:
        """Remove every file."""
        with self._lock:
            self._open.clear()
            self._tabs.clear()
        shutil.rmtree(self.root, ignore_errors=True)

    def _sweep(self) -> None:
        now = time.monotonic()
        gone = {
            id(session): session
            for session in self._open.values()
            if session.left_at is not None
            and now - session.left_at > KEPT_AFTER_LEAVING_S
            and not session.working
        }
        for names in (self._open, self._tabs):
            for name in [name for name, session in names.items() if id(session) in gone]:
                del names[name]
        for session in gone.values():
            shutil.rmtree(session.folder, ignore_errors=True)
            logger.info("Removed the files of a closed tab")

    def all_uploaded(self, event: Any) -> list[tuple[Path, str]]:
        """(path, name) of each file that was dropped, as ``uploaded`` checks them."""
        return [(self.uploaded(file["path"]), str(file["name"])) for file in event.files]

    def uploaded(self, path: Any) -> Path:
        """The path of a file that this browser uploaded; SonopaintError for any other."""
        resolved = Path(os.path.realpath(str(path)))
        if not resolved.is_file() or not resolved.is_relative_to(os.path.realpath(self.uploads)):
            raise SonopaintError("This file was not uploaded here: drop it on the page.")
        return resolved
