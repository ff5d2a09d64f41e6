"""A training run as a subprocess: start, watch, stop, resume. For pages and hosts; imports nothing heavy.

Only files speak between the page and the run (`state.json`, `log.jsonl`, `previews/`, `lock`), so a page can
be closed and opened again, or watch a run that somebody started in a terminal.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import safe_name
from sonotrain.files import locks
from sonotrain.files.json_files import read_json, write_json
from sonotrain.files.options import WATCHED
from sonotrain.training.run_folder import RunFolder, read_log

OUTPUT = "output.txt"  # what the process says
STARTED = "started.json"  # which trainer a page started, in a run that may end before it has a configuration
ABOUT = {"PYTHONUNBUFFERED": "1", WATCHED: "1"}  # what its environment tells it
RUNNING = ("preparing", "training", "finishing")
# Trainers whose command on the line is not their name.
WORDS = {name: ("base", name) for name in ("vae", "text", "diffusion", "inpaint", "classifier")}
WORDS |= {"vocoder": ("vocoder", "train"), "curves": ("curves", "train"), "tune": ("curves", "tune")}
PAGES = ("lora", "subject")  # trainers with a page of their own
PHASES = {"none", *RUNNING, "finished", "stopped", "failed"}
KINDS: dict[str, type] = {
    **dict.fromkeys(("phase", "doing", "file", "command"), str),
    **dict.fromkeys(("step", "total"), int),
    **dict.fromkeys(("seconds", "left_s", "memory_mb", "share"), float),
    **dict.fromkeys(("notes", "prompts"), list),
}
# What tells Python which environment it is in.
FOREIGN = {"PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "VIRTUAL_ENV", "CONDA_PREFIX", "__PYVENV_LAUNCHER__"}


@dataclass(frozen=True)
class Preview:
    """One prompt's newest paintings and sounds; paths, None where there is none yet."""

    prompt: str
    picture_with: Path | None
    sound_with: Path | None
    picture_without: Path | None
    sound_without: Path | None


@dataclass(frozen=True)
class RunState:
    """What a run is doing. `phase`: none, preparing, training, finishing, finished, stopped or failed."""

    folder: Path
    command: str = ""  # of the trainer
    phase: str = "none"
    doing: str = ""
    step: int = 0
    total: int = 0  # steps; 0 where the run ends by the clock
    share: float = 0.0  # of the whole run
    seconds: float = 0.0
    left_s: float | None = None
    memory_mb: float = 0.0
    message: str = ""  # the sentence that a failed run ended with
    notes: tuple[str, ...] = ()  # what else is to be said of the run: too few clips, a collapse
    file: Path | None = None  # what was made, where that is one file and it is there
    log: list[dict[str, Any]] = field(default_factory=list, repr=False)
    previews: list[Preview] = field(default_factory=list)
    sheet: Path | None = None  # all previews of that step in one picture
    preview_step: int = 0

    @property
    def done(self) -> float:
        """Share of the run that is done, 0 … 1."""
        return self.step / self.total if self.total else self.share

    @property
    def running(self) -> bool:
        return self.phase in RUNNING

    @property
    def resumable(self) -> bool:
        """Stopped, failed or killed before its end, with something to go on from."""
        return self.phase in ("stopped", "failed") and (self.folder / "config.json").is_file()


def start(
    folder: str | Path,
    options: Mapping[str, Any],
    *,
    resume: bool = False,
    words: Sequence[str] = (),
    command: str = "lora",
    python: str = sys.executable,
) -> subprocess.Popen[bytes]:
    """Starts a trainer in a process of its own that outlives the page; `options` by their flags.

    A resumed run is gone on with by its own trainer, whatever `command` says.

    `words`: further ones of the command line (--dry-run). `python`: the interpreter of the environment that
    has the trainer (a host's own has not). Raises SonopaintError where a run is going on in the folder.
    """
    folder = Path(folder)
    if is_locked(folder):
        raise SonopaintError(
            f"{folder} is in use by another training process; stop that one or choose another."
        )
    if resume:
        command = str(_json(folder / "config.json").get("command", command))
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("state.json", OUTPUT):
        (folder / name).unlink(missing_ok=True)
    write_json(folder / STARTED, {"command": command})
    line = [python, "-m", "sonotrain", *WORDS.get(command, (command,)), "--out", str(folder)]
    line += flags(options)
    line += ["--resume", *words] if resume else list(words)
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    with open(folder / OUTPUT, "ab") as output:
        return subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(python),
            **apart,
        )


def names(parent: str | Path, command: str) -> list[str]:
    """The runs in a folder that a trainer's page shows, newest first.

    They are its own, those included that failed before they began; the LoRA page also shows those of trainers
    without a page.
    """

    def shown(path: Path) -> bool:
        found = _json(path / "config.json").get("command") or _json(path / STARTED).get("command", "")
        return found == command or (command == "lora" and bool(found) and found not in PAGES)

    found = {path.parent for name in ("config.json", STARTED) for path in Path(parent).glob(f"*/{name}")}
    return [path.name for path in sorted(filter(shown, found), key=lambda path: -path.stat().st_mtime)]


def new_folder(parent: str | Path, name: str) -> Path:
    """The folder of a run that is to begin; SonopaintError where there is one already."""
    folder = Path(parent) / safe_name(name)
    if any(folder.glob("checkpoints/step-*.pt")):
        raise SonopaintError(
            f"There is a run {folder.name} already: resume it, or give this one another name."
        )
    return folder


def folder_of(parent: str | Path, name: str | None) -> Path:
    """A run's folder by its name; nothing outside of `parent` can be reached with it."""
    if not name or safe_name(name) != name:
        raise SonopaintError(f"There is no run {name!r} here; choose another one.")
    return Path(parent) / name


def stop(folder: str | Path) -> None:
    """Asks the run to save and end after its present step; it can be resumed."""
    RunFolder(folder, lock=False).ask_to_stop()


def flags(options: Mapping[str, Any]) -> list[str]:
    """Options as words of the command line."""
    words: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, list | tuple):
            words += [flag, *map(str, value)]
        else:
            words.append(f"{flag}={value}")
    return words


def is_locked(folder: str | Path) -> bool:
    """Whether a process trains in the folder."""
    path = Path(folder) / "lock"
    if not path.is_file():
        return False
    try:
        locks.hold(path, "in use").close()
    except SonopaintError:
        return True
    return False


def read(folder: str | Path, process: subprocess.Popen[bytes] | None = None) -> RunState:
    """The state of the run in `folder`. A process that died without a word is "failed"; `process`, where
    known, tells so at once.
    """
    folder = Path(folder)
    state = _json(folder / "state.json")
    config = _json(folder / "config.json")
    phase = str(state.get("phase", "none"))
    starting = process is not None and process.poll() is None
    if phase == "none" and starting:
        phase = "preparing"
    message = ""
    if phase in RUNNING and not starting and not is_locked(folder):
        phase, message = "failed", last_sentence(folder)
    elif phase == "none" and (process is not None or (folder / STARTED).is_file() and not is_locked(folder)):
        phase, message = "failed", last_sentence(folder)
    number, sheet, previews = _previews(folder, list(config.get("prompts", [])))
    name = state.get("file")
    return RunState(
        folder=folder,
        command=str(config.get("command", "")),
        phase=phase,
        doing=str(state.get("doing", "")),
        step=int(state.get("step", 0)),
        total=int(state.get("total", _checked({"total": config.get("steps")}).get("total", 0))),
        share=float(state.get("share", 0.0)),
        seconds=float(state.get("seconds", 0.0)),
        left_s=state.get("left_s"),
        memory_mb=float(state.get("memory_mb", 0.0)),
        message=message,
        notes=tuple(map(str, state.get("notes", ()))),
        file=folder / str(name) if name and (folder / str(name)).is_file() else None,
        log=read_log(folder),
        previews=previews,
        sheet=sheet,
        preview_step=number,
    )


def last_sentence(folder: Path) -> str:
    """Why a run ended: the last line that it wrote, without the program's name."""
    path = folder / OUTPUT
    text = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
    if not text:
        return "The run ended without a word; resume it to go on from its last checkpoint."
    return text.splitlines()[-1].removeprefix("sonotrain: ")


def foreign_environment() -> dict[str, str]:
    """This process's environment for another one's Python: nothing that leads to packages of this one."""
    return {name: value for name, value in os.environ.items() if name not in FOREIGN}


def _environment(python: str) -> dict[str, str]:
    """What a run's process gets.

    Its own interpreter gets this process's import paths, so that a checkout works uninstalled; another
    environment's gets none, because a host's packages would hide its own.
    """
    if python != sys.executable:
        return {**foreign_environment(), **ABOUT}
    roots = os.pathsep.join(path for path in sys.path if path)
    return {**os.environ, "PYTHONPATH": roots, **ABOUT}


def _json(path: Path) -> dict[str, Any]:
    try:
        return _checked(read_json(path))
    except SonopaintError:
        return {}


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """Without the values that can't be what pages show: another program may have written the file."""
    kept = dict(values)
    for key, kind in KINDS.items():
        value = kept.get(key)
        if kind is list and isinstance(value, list):
            kept[key] = [one for one in value if isinstance(one, str)]
        elif isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
            kept.pop(key, None)
        elif isinstance(value, (int, float)) and not abs(value) < 1e12:  # true for NaN, too
            del kept[key]
    if kept.get("phase") not in PHASES:
        kept.pop("phase", None)
    if (
        len(kept.get("file", "")) > 250
        or "file" in kept
        and Path(kept["file"]).name != kept["file"].replace("\0", "")
    ):
        del kept["file"]
    return kept


def _previews(folder: Path, prompts: list[str]) -> tuple[int, Path | None, list[Preview]]:
    """(step, sheet, previews) of the newest whole sheet."""
    every = folder.glob("previews/step-*/sheet.png")
    sheets = sorted(sheet for sheet in every if sheet.parent.name[5:].isdecimal())
    if not sheets:
        return 0, None, []
    target = sheets[-1].parent

    def there(name: str) -> Path | None:
        return target / name if (target / name).is_file() else None

    found = []
    for index, prompt in enumerate(prompts):
        files = [there(f"{index}-{kind}.{end}") for kind in ("with", "without") for end in ("png", "wav")]
        found.append(Preview(prompt, *files))
    return int(target.name.removeprefix("step-")), sheets[-1], found
