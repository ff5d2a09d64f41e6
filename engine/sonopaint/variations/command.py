"""Variations by any other program, named by a command line: docs/variations.md has recipes."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import read_clip, write_clip
from sonopaint.tasks.progress import Progress, silent
from sonopaint.variations.protocol import Ask, Candidate

if TYPE_CHECKING:
    from sonoconvert.files.clip import Clip

logger = logging.getLogger(__name__)

FIELDS = ("reference", "class", "strength", "seed", "out")
TIMEOUT_S = 600.0
ASKED_EVERY_S = 0.1
MOST_SAID = 300  # characters of what a program that failed said last


class CommandVariator:
    """Runs a program once for each seed.

    command: a line with {out} and {seed}, and what else it needs of {reference} {class} {strength}; each of
    its words is one argument, and no shell reads it. timeout_s: after which a program hangs.
    Raises SonopaintError for a line without {out} or {seed}, or with unknown fields.
    """

    name = "command"

    def __init__(self, command: str, timeout_s: float = TIMEOUT_S) -> None:
        self.command, self.timeout_s = command, timeout_s
        try:
            self.words = shlex.split(command, posix=os.name != "nt")
            self._filled({name: "" for name in FIELDS})
        except (ValueError, KeyError, IndexError) as error:
            raise SonopaintError(
                f"The command {command!r} can't be read ({error}); write it with the fields "
                f"{' '.join('{' + name + '}' for name in FIELDS)}."
            ) from error
        for needed in ("{out}", "{seed}"):
            if needed not in command:
                raise SonopaintError(
                    f"The command {command!r} lacks {needed}: without it all variations would be the "
                    "same, or none be found."
                )

    def candidates(
        self, reference: Clip, ask: Ask, seeds: Sequence[int], progress: Progress | None = None
    ) -> Iterator[Candidate]:
        """See Variator."""
        report = progress or silent
        with tempfile.TemporaryDirectory(prefix="sonopaint-") as folder:
            given = Path(folder) / "reference.wav"
            write_clip(reference, given, subtype="FLOAT")
            for index, seed in enumerate(seeds):
                out = Path(folder) / f"{seed}.wav"
                values = {"reference": given, "class": ask.prompt, "strength": f"{ask.strength:g}"}
                words = self._filled({**values, "seed": seed, "out": out})
                self._run(words, folder, lambda index=index: report(index, len(seeds), "Waiting"))
                if not out.is_file():
                    raise SonopaintError(f"{words[0]} ended without writing {out.name}, its {{out}}.")
                yield Candidate(read_clip(out), seed)

    def describe(self) -> dict[str, Any]:
        """See Variator."""
        return {"variator": self.name, "command": self.command}

    def _filled(self, values: dict[str, Any]) -> list[str]:
        return [word.format(**values) for word in self.words]

    def _run(self, words: list[str], folder: str, ask: Any) -> None:
        """Run a program to its end; kill it with its children where it hangs or `ask` raises."""
        log = Path(folder) / "said.txt"
        with log.open("wb") as said:
            try:
                process = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                    start_new_session=os.name == "posix",
                )  # fmt: skip
            except OSError as error:
                raise SonopaintError(
                    f"{words[0]} can't be started ({error.strerror}); name the program with its whole path."
                ) from error
            until = time.monotonic() + self.timeout_s
            try:
                while process.poll() is None:
                    ask()
                    if time.monotonic() > until:
                        raise SonopaintError(f"{words[0]} did not end within {self.timeout_s:g} s; it hangs.")
                    time.sleep(ASKED_EVERY_S)
            finally:
                _end(process)
        if process.returncode:
            text = log.read_text(encoding="utf-8", errors="replace").strip()
            last = text.splitlines()[-1][-MOST_SAID:] if text else "it said nothing"
            raise SonopaintError(f"{words[0]} failed ({process.returncode}): {last}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """A program and its children."""
    if process.poll() is not None:
        return
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
