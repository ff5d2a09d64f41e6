"""The folder of one training run: configuration, environment, log, checkpoints, previews, lock."""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import write_text
from sonoconvert.files.hashes import sha256_of
from sonotrain.files import locks
from sonotrain.files.json_files import read_json, write_json

logger = logging.getLogger(__name__)

SAFE_TORCH = (2, 6)  # before it, torch.load(weights_only=True) could be made to run code: CVE-2025-32434
KEPT_CHECKPOINTS = 2
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def environment() -> dict[str, Any]:
    """What the run was made with: versions, processor, accelerator, command."""
    cuda = torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def processor_name() -> str:
    """The processor's name for people."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


class RunFolder:
    """A run folder, locked for this process while open (use as a context manager).

    A new run needs a folder without a run in it; `resume=True` needs one that has. Raises SonopaintError
    otherwise, or when another process holds the lock. `lock=False` only looks: for the other processes of a
    run of several, whose first one holds the lock.
    """

    def __init__(self, path: str | Path, *, resume: bool = False, lock: bool = True) -> None:
        self.path = Path(path)
        self.resume = resume
        self.lock = lock
        self._lock: Any = None

    def __enter__(self) -> RunFolder:
        if not self.lock:
            return self
        trained = any(self.checkpoints.glob("step-*.pt"))
        if trained and not self.resume:
            raise SonopaintError(
                f"{self.path} already holds a run; add {setting('resume')} to go on with it or choose "
                f"another {setting('out')}."
            )
        if self.resume and not (self.path / "config.json").is_file():
            raise SonopaintError(
                f"{self.path} holds no run to resume; leave {setting('resume')} away to start one."
            )
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.previews.mkdir(exist_ok=True)
        self._lock = locks.hold(
            self.path / "lock",
            f"{self.path} is in use by another training process; "
            f"stop that one or choose another {setting('out')}.",
        )
        (self.path / "stop").unlink(missing_ok=True)
        if not trained:
            write_json(self.path / "environment.json", environment())
        return self

    def __exit__(self, *exc: object) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def previews(self) -> Path:
        return self.path / "previews"

    def whole_checkpoints(self) -> list[int]:
        """Steps of the checkpoints that came with their SHA-256, oldest first."""
        return sorted(int(path.stem[5:]) for path in self.checkpoints.glob("step-*.sha256"))

    def ask_to_stop(self) -> None:
        """Asks the process that trains here to save and end, as Ctrl-C does."""
        (self.path / "stop").touch()

    def stop_asked(self) -> bool:
        """Whether somebody asked since the run was opened."""
        return (self.path / "stop").exists()

    def log(self, **values: Any) -> None:
        """Appends one line to log.jsonl."""
        with open(self.path / "log.jsonl", "a", encoding="utf-8") as handle:
            handle.write(json.dumps({key: _plain(value) for key, value in values.items()}) + "\n")

    def save_checkpoint(self, step: int, state: dict[str, Any]) -> Path:
        """Writes checkpoints/step-N.pt with its SHA-256 beside it; keeps the last two."""
        path = self.checkpoints / f"step-{step:08d}.pt"
        part = path.with_suffix(".part")
        try:
            torch.save(state, part)
            digest = sha256_of(part)
            with open(part, "rb") as handle:
                os.fsync(handle.fileno())
            os.replace(part, path)
            write_text(path.with_suffix(".sha256"), digest, force=True)
        except (OSError, RuntimeError) as error:  # PyTorch's writer says RuntimeError when the disk is full
            part.unlink(missing_ok=True)
            kept = self.whole_checkpoints()
            last = (
                f"the last good checkpoint is that of step {kept[-1]}" if kept else "there is none before it"
            )
            raise SonopaintError(
                f"The checkpoint of step {step} can't be written to {self.path}; {last}. "
                f"Make room on the disk and go on with {setting('resume')}."
            ) from error
        for old in sorted(self.checkpoints.glob("step-*.pt"))[:-KEPT_CHECKPOINTS]:
            old.unlink()
            old.with_suffix(".sha256").unlink(missing_ok=True)
        return path

    def load_checkpoint(self, device: str | torch.device = "cpu") -> dict[str, Any] | None:
        """The newest whole checkpoint, or None. Damaged ones are passed over with a warning."""
        for path in sorted(self.checkpoints.glob("step-*.pt"), reverse=True):
            digest = path.with_suffix(".sha256")
            if digest.is_file() and digest.read_text(encoding="utf-8").strip() == sha256_of(path):
                return _load(path, device)
            logger.warning("%s is damaged; the checkpoint before it is used.", path)
        return None


def _load(path: Path, device: str | torch.device) -> dict[str, Any]:
    """A checkpoint of ours; nothing in it can run. SonopaintError for anything else."""
    if tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])) < SAFE_TORCH:
        raise SonopaintError(
            f"{path} is not opened with PyTorch {torch.__version__}: before version 2.6 a stranger's "
            "checkpoint could run code (CVE-2025-32434); update PyTorch."
        )
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        if not isinstance(state, dict):
            raise TypeError
    except Exception as error:  # noqa: BLE001 - foreign pickles fail in every way
        raise SonopaintError(
            f"{path} is no checkpoint of one of Sonopaint's runs; remove it, and the one before it is used."
        ) from error
    return state


def load_final(folder: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(parts of the newest whole checkpoint, config.json) of a run; SonopaintError where there is none."""
    folder = Path(folder)
    config = read_json(folder / "config.json")
    saved = RunFolder(folder, resume=True).load_checkpoint()
    if saved is None:
        raise SonopaintError(f"{folder} holds no whole checkpoint; train it first.")
    if not isinstance(saved.get("parts"), dict):
        raise SonopaintError(f"The checkpoint in {folder} is of another kind of run; train it anew.")
    return saved["parts"], config


@contextmanager
def tell_full_disk(folder: Path) -> Iterator[None]:
    """Within the block a full disk becomes a SonopaintError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise SonopaintError(
            f"The disk of {folder} is full; make room and go on with {setting('resume')} (the last "
            "checkpoint is whole)."
        ) from error


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of log.jsonl in the order of their steps.

    A run that was killed and resumed wrote some steps twice: the later line counts. A line that was cut off
    is left out.
    """
    path = Path(folder) / "log.jsonl"
    lines: list[dict[str, Any]] = []
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else ():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if not isinstance(line, dict) or type(line.get("step")) is not int or not 0 <= line["step"] < 1 << 40:
            continue
        line = {key: value for key, value in line.items() if _is_shown(value)}
        while lines and lines[-1]["step"] > line["step"]:
            lines.pop()
        same = [old for old in lines[-4:] if old["step"] == line["step"] and old.keys() == line.keys()]
        lines = [old for old in lines if old not in same] if same else lines
        lines.append(line)
    return lines


def _is_shown(value: Any) -> bool:
    """False for numbers that no curve can show: NaN, infinity, and what is too large for floats."""
    return not isinstance(value, (int, float)) or abs(value) < 1e300


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.item()
    return round(value, 6) if isinstance(value, float) else value
