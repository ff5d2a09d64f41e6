"""What a batch did, one line of JSON for each file: to resume after a stop, and to look up afterwards."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sonoconvert.conversion.jobs import Job, Outcome
from sonoconvert.errors import SonopaintError

logger = logging.getLogger(__name__)

NAME = "manifest.jsonl"
# Options that change what is written; the others only say how.
_TELLING = (
    "command format channels depth start duration split parts type subtype iterations learned seed loop"
).split()


class Manifest:
    """A JSONL file with one object for each attempt.

    Keys: "source", "bytes" and "modified" (nanoseconds) of the source, "target", "options" (a digest),
    "status" ("done" or "failed"), "outputs", "error", "seconds". Lines are only ever appended: the
    last one on a file counts, and a line that was cut by a crash is skipped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: dict[tuple[str, str], dict[str, Any]] = {}

    def read(self, others: Iterable[Path] = ()) -> None:
        """Read what this file and `others` (of other shards) say was done.

        Raises:
            SonopaintError: a file can't be read.
        """
        for path in (*others, self.path):
            try:
                lines = path.read_text(encoding="utf-8-sig", errors="replace").split("\n")
            except FileNotFoundError:
                continue
            except OSError as error:
                raise SonopaintError(f"The manifest {path} can't be read ({error.strerror}).") from error
            for line in filter(str.strip, lines):
                entry = _parse(line)
                if entry is None:
                    logger.warning("%s has a line that makes no sense; it was skipped.", path)
                else:
                    self._entries[entry["source"], entry["target"]] = entry

    def finished(self, job: Job) -> bool:
        """Whether the job was done before with the same source and options, and its files still exist."""
        entry = self._entries.get(_key(job))
        if entry is None or entry["status"] != "done":
            return False
        same = {key: entry.get(key) for key in ("bytes", "modified", "options")} == _state(job)
        return same and all(os.path.exists(output) for output in entry.get("outputs", []))

    def made(self, job: Job) -> bool:
        """Whether this batch made the job's target before (from an older source or with other options)."""
        entry = self._entries.get(_key(job))
        return entry is not None and entry["status"] == "done"

    def add(self, outcome: Outcome) -> None:
        """Append a line and see it to the disk's cache, so that a crash loses nothing.

        Raises:
            SonopaintError: the file can't be written.
        """
        source, target = _key(outcome.job)
        entry = {"source": source, "target": target, **_state(outcome.job)}
        entry |= {
            "status": "failed" if outcome.error else "done",
            "outputs": [os.path.abspath(path) for path in outcome.outputs],
            "error": outcome.error,
            "seconds": round(outcome.seconds, 3),
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            cut = self.path.exists() and not _ends_with_newline(self.path)
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(("\n" if cut else "") + json.dumps(entry, ensure_ascii=False) + "\n")
        except OSError as error:
            raise SonopaintError(
                f"The manifest {self.path} can't be written ({error.strerror}); choose another one."
            ) from error


def _key(job: Job) -> tuple[str, str]:
    return os.path.abspath(job.source), os.path.abspath(job.target)


def _state(job: Job) -> dict[str, Any]:
    """What must be the same for a result to be still right."""
    try:
        status = job.source.stat()
        size, modified = status.st_size, status.st_mtime_ns
    except OSError:
        size = modified = -1
    told = {name: getattr(job.options, name, None) for name in _TELLING}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    return {"bytes": size, "modified": modified, "options": digest}


def _parse(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("outputs", []), list):
        return None
    told = all(isinstance(entry.get(key), str) for key in ("source", "target", "status"))
    return entry if told else None


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
