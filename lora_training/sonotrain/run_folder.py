"""The folder of one training run: configuration, environment, log, checkpoints, previews, lock."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch

from sonoconvert.errors import SonopaintError

logger = logging.getLogger(__name__)

KEPT_CHECKPOINTS = 2


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
    otherwise, or when another process holds the lock.
    """

    def __init__(self, path: str | Path, *, resume: bool = False) -> None:
        self.path = Path(path)
        self.resume = resume
        self._lock: Any = None

    def __enter__(self) -> RunFolder:
        trained = any(self.checkpoints.glob("step-*.pt"))
        if trained and not self.resume:
            raise SonopaintError(
                f"{self.path} already holds a run; add --resume to go on with it or choose another --out."
            )
        if self.resume and not (self.path / "config.json").is_file():
            raise SonopaintError(f"{self.path} holds no run to resume; leave --resume away to start one.")
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.previews.mkdir(exist_ok=True)
        self._take_lock()
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

    def _take_lock(self) -> None:
        """Takes an advisory lock that the system releases with the process, however it ends."""
        handle = open(self.path / "lock", "a+", encoding="utf-8")  # noqa: SIM115 - held for the run
        try:
            if sys.platform == "win32":
                import msvcrt

                handle.seek(0)
                msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.close()
            raise SonopaintError(
                f"{self.path} is in use by another training process; stop that one or choose another --out."
            ) from error
        self._lock = handle

    def log(self, **values: Any) -> None:
        """Appends one line to log.jsonl."""
        with open(self.path / "log.jsonl", "a", encoding="utf-8") as handle:
            handle.write(json.dumps({key: _plain(value) for key, value in values.items()}) + "\n")

    def save_checkpoint(self, step: int, state: dict[str, Any]) -> Path:
        """Writes checkpoints/step-N.pt with its SHA-256 beside it; keeps the last two."""
        path = self.checkpoints / f"step-{step:08d}.pt"
        part = path.with_suffix(".part")
        torch.save(state, part)
        digest = _sha256(part)
        with open(part, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(part, path)
        _write_text(path.with_suffix(".sha256"), digest)
        for old in sorted(self.checkpoints.glob("step-*.pt"))[:-KEPT_CHECKPOINTS]:
            old.unlink()
            old.with_suffix(".sha256").unlink(missing_ok=True)
        return path

    def load_checkpoint(self, device: str | torch.device = "cpu") -> dict[str, Any] | None:
        """The newest whole checkpoint, or None. Damaged ones are passed over with a warning."""
        for path in sorted(self.checkpoints.glob("step-*.pt"), reverse=True):
            digest = path.with_suffix(".sha256")
            if digest.is_file() and digest.read_text(encoding="utf-8").strip() == _sha256(path):
                return torch.load(path, map_location=device, weights_only=True)
            logger.warning("%s is damaged; the checkpoint before it is used.", path)
        return None


def load_final(folder: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(parts of the newest whole checkpoint, config.json) of a run; SonopaintError where there is none."""
    folder = Path(folder)
    config = read_json(folder / "config.json")
    saved = RunFolder(folder, resume=True).load_checkpoint()
    if saved is None:
        raise SonopaintError(f"{folder} holds no whole checkpoint; train it first.")
    return saved["parts"], config


def read_json(path: str | Path) -> dict[str, Any]:
    """Reads a JSON object; SonopaintError names the file when it is missing or broken."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SonopaintError(f"{path} is missing; run the step that makes it first.") from error
    except (OSError, ValueError) as error:
        raise SonopaintError(f"{path} cannot be read ({error}); make it anew.") from error
    if not isinstance(value, dict):
        raise SonopaintError(f"{path} holds no JSON object; make it anew.")
    return value


def write_json(path: str | Path, value: dict[str, Any]) -> None:
    """Writes a JSON object by rename, so that a reader never sees half of it."""
    _write_text(Path(path), json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.item()
    return round(value, 6) if isinstance(value, float) else value


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
