"""The trainers' own environment, Sonopaint's .venv: is it there, and its installation beside the host.

The host's Python never gets the trainers' packages: its pins and theirs don't go together.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from sonoconvert.errors import SonopaintError
from sonotrain.training import runs

ROOT = Path(__file__).resolve().parents[3]
LOG_LINES = 12  # that the page shows
# Measured with `python install.py train`, which prints it at its end; CUDA builds of PyTorch are far larger.
SIZE = "about 1.8 GB, with an NVIDIA card several GB more"


def python() -> Path:
    """The interpreter that has the trainers. Raises SonopaintError where they are not installed."""
    found = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    try:
        extras = set(json.loads((ROOT / ".venv" / "sonopaint.json").read_text(encoding="utf-8"))["extras"])
    except (OSError, ValueError, KeyError, TypeError):
        extras = set()
    if not extras & {"train", "studio", "dev"} or not found.exists():
        raise SonopaintError("The trainers are not installed yet: press “Install the trainers” first.")
    return found


def installed() -> bool:
    """Whether a run can be started."""
    try:
        return bool(python())
    except SonopaintError:
        return False


class Installation:
    """One run of `install.py train`, as a process beside the host."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.log: Path | None = None
        self.cancelled = False

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, log: Path) -> None:
        """Begin; what it says goes to `log`. Raises SonopaintError where one is going on already."""
        if self.running:
            raise SonopaintError("The trainers are being installed already.")
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log, self.cancelled = log, False
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "install.py"), "train"],
                cwd=ROOT,
                env=runs.foreign_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def cancel(self) -> None:
        """End it; the next one goes on from there."""
        if self.process is None or not self.running:
            return
        self.cancelled = True
        if sys.platform == "win32":  # pip is a child of its own there
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(self.process.pid)], capture_output=True)
        else:
            self.process.terminate()

    def lines(self) -> list[str]:
        """The last of what it said."""
        if self.log is None or not self.log.is_file():
            return []
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]

    def failure(self) -> str:
        """Why it ended without the trainers; "" where it has not."""
        if self.process is None or self.process.poll() in (None, 0):
            return ""
        if self.cancelled:
            return "The installation was cancelled; press the button again to go on from there."
        hints = [line for line in self.lines() if line.startswith("How to go on: ")]
        hint = hints[-1].removeprefix("How to go on: ") if hints else "See the lines below."
        return f"The trainers could not be installed. {hint}"


installation = Installation()
