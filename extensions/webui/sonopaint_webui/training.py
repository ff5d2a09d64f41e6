"""Training runs as the page starts them: where they lie, what they learn from, where their LoRAs go."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import atomic_path, safe_name
from sonoconvert.files.hashes import sha256_of
from sonopaint.models.one_step import ON_STUDENT_KEY, ONE_STEP_KEY, subject_of
from sonopaint_webui import host, results, shipped, trainers
from sonotrain.training import runs

RUNS_VARIABLE = "SONOPAINT_RUNS"
MINI = "Sonopaint Mini"
MOST_CLIPS = 50  # of a subject; a LoRA learns from any number
COPIED = "copied.sha256"  # in a run's folder: the LoRA that was copied out of it
_LOCAL = {"127.0.0.1", "::1", "localhost"}

# Runs that this process started; those of others are known by their files.
_processes: dict[Path, subprocess.Popen[bytes]] = {}


def runs_folder() -> Path:
    """$SONOPAINT_RUNS, else "runs" beside the sounds in the host's output folder."""
    named = os.environ.get(RUNS_VARIABLE)
    return (Path(named).expanduser() if named else results.outputs_folder().parent / "runs").resolve()


def only_here(request: Any) -> None:
    """Raise SonopaintError for who is not at the host's own computer, unless the host trusts everybody."""
    from modules import shared

    options = shared.cmd_opts
    if getattr(options, "enable_insecure_extension_access", False):
        return
    tunnel = getattr(options, "share", False) or getattr(options, "ngrok", None)
    if tunnel or getattr(getattr(request, "client", None), "host", None) not in _LOCAL:
        raise SonopaintError(
            "Training starts programs: only the computer that the WebUI runs on may do so, without --share; "
            "--enable-insecure-extension-access lets everybody."
        )


def models() -> list[str]:
    """What can be trained on: Mini, where the host can load it, and the host's other checkpoints."""
    others = [name for name, path in host.checkpoint_files().items() if not shipped.is_mini(path)]
    return others if host.is_forge() else [MINI, *others]


def names(command: str) -> list[str]:
    """The runs of a trainer, newest first."""
    return runs.names(runs_folder(), command)


def state(name: str | None) -> runs.RunState:
    """How a run is."""
    folder = runs.folder_of(runs_folder(), name)
    return runs.read(folder, _processes.get(folder))


def going() -> str | None:
    """The name of a run that is training now."""
    for folder in sorted(runs_folder().glob("*/")):
        process = _processes.get(folder)
        if (process is not None and process.poll() is None) or runs.is_locked(folder):
            return folder.name
    return None


def start(
    command: str,
    name: str,
    model: str | None,
    options: Mapping[str, Any],
    files: Sequence[Path],
    folder: str,
) -> str:
    """Begin a run on the dropped sounds, which are copied, or on those of a folder; the run's name.

    Raises SonopaintError with one sentence for what is missing or wrong.
    """
    if not model:
        raise SonopaintError("There is no checkpoint to learn on: put one into models/Stable-diffusion.")
    sounds = "dataset" if command == "lora" else "clips"
    _free_to_start()
    target = runs.new_folder(runs_folder(), name)
    if folder.strip():
        given = Path(folder.strip()).expanduser()
        if not given.is_dir():
            raise SonopaintError(f"There is no folder {given}; check its path.")
    elif not files:
        raise SonopaintError("There are no sounds to learn from: drop some, or name a folder of them.")
    elif any(not path.stat().st_size for path in files):  # Gradio 3 sends what is on its way as empty files
        raise SonopaintError(
            "The sounds are not all here yet: wait a moment, then press Train again; if that does not help, "
            "remove them and drop them anew."
        )
    elif command == "subject" and len(files) > MOST_CLIPS:
        raise SonopaintError(
            f"{len(files)} clips are too many for one subject: choose 4 to 6 good ones, or train a LoRA."
        )
    else:
        given = target / "clips"  # "dataset" is what the trainer makes of them
        shutil.rmtree(given, ignore_errors=True)
        given.mkdir(parents=True)
        for number, path in enumerate(files):
            copy = given / safe_name(path.name)
            shutil.copyfile(path, copy if not copy.exists() else given / f"{number}-{copy.name}")
    base = "mini" if model == MINI else str(host.checkpoint_files().get(model, ""))
    if not base:
        raise SonopaintError(f"There is no checkpoint {model!r} any more; choose another one.")
    _launch(target, command, {**options, sounds: str(given), "model": base, "name": target.name})
    return target.name


def resume(command: str, name: str | None) -> None:
    """Go on with a run that was stopped or failed."""
    folder = runs.folder_of(runs_folder(), name)
    _free_to_start()
    _launch(folder, command, {}, resume=True)


def stop(name: str | None) -> str:
    """End a run after its present step; the sentence about it."""
    folder = runs.folder_of(runs_folder(), name)
    process = _processes.get(folder)
    if process is not None and process.poll() is None and not runs.is_locked(folder):
        process.terminate()  # it has not opened its folder yet, so that it can't be asked
        del _processes[folder]
        return "Stopped before it began."
    runs.stop(folder)
    return "Stopping after this step; everything is saved …"


@dataclass(frozen=True)
class Learnt:
    """What a run made, among the host's LoRAs.

    checkpoint: Mini's title in the host's list, where it needs that. one_step: whether it paints in one step.
    prompt: what calls it, without the LoRA itself.
    """

    name: str
    told: str
    checkpoint: str
    one_step: bool
    prompt: str


def use(name: str | None) -> Learnt:
    """Copy a run's LoRA among the host's; Mini, too, where that is what it was learnt on."""
    file = state(name).file
    if file is None:
        raise SonopaintError("This run has no LoRA yet.")
    header = host.header_of(file)
    mini = shipped.learnt_on_mini(header)
    if mini and host.is_forge():
        raise SonopaintError(
            f"{file.name} works with {MINI}, which Forge can't load; Studio, ComfyUI and AUTOMATIC1111 can."
        )
    _copy(file)
    host.refresh_loras()
    checkpoint = shipped.add_mini() if mini else ""
    base = f" It works with {MINI}, which the WebUI loads now." if mini else ""
    return Learnt(
        file.stem,
        f"{file.stem} is among the LoRAs: <lora:{file.stem}:1>.{base}",
        checkpoint,
        ONE_STEP_KEY in header or ON_STUDENT_KEY in header,
        subject_of(header) or header.get("modelspec.trigger_phrase", ""),
    )


def _copy(file: Path) -> None:
    folder = host.lora_folder()
    target = folder / file.name
    mark = file.parent / COPIED  # a run that went on replaces its own earlier copy
    copied = mark.read_text(encoding="ascii") if mark.is_file() else ""
    if target.exists() and sha256_of(target) not in (copied, sha256_of(file)):
        raise SonopaintError(
            f"There is another {target.name} in {folder} already: move it away, or rename it first."
        )
    for source in (file, file.with_suffix(".png")):  # the picture is the card among the extra networks
        if source.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(folder / source.name, force=True) as beside:
                shutil.copyfile(source, beside)
    mark.write_text(sha256_of(target), encoding="ascii")


def _free_to_start() -> None:
    if trainers.installation.running:
        raise SonopaintError("The trainers are being installed; wait until that is done.")
    if (other := going()) is not None:
        raise SonopaintError(f"The run {other} is training already: stop it first, or wait for its end.")


def _launch(folder: Path, command: str, options: Mapping[str, Any], *, resume: bool = False) -> None:
    _processes[folder] = runs.start(
        folder, options, resume=resume, command=command, python=str(trainers.python())
    )
