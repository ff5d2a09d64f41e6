"""The host's model, queue and lists, through its public names; everything is looked up when it is used."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonoconvert.checkpoints.files import read_header
from sonoconvert.checkpoints.layouts import CONFIG_KEY
from sonoconvert.errors import Cancelled, SonopaintError
from sonoconvert.pictures.format import SpectrogramFormat, get_format
from sonopaint.models.info import format_of_loras, model_format
from sonopaint.models.one_step import ON_STUDENT_KEY, ONE_STEP_KEY, subject_of

logger = logging.getLogger(__name__)

ONE_STEP_SAMPLER = "Sonopaint one-step"
NO_CHECKPOINT = "No checkpoint is loaded: choose a Stable Diffusion 1.5 checkpoint at the top of the page."
_SAMPLERS = {
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "ddim": "DDIM",
    "heun": "Heun",
    "lcm": "LCM",
}
_LORA = re.compile(r"<lora:([^:>]+)(?::([^:>]*))?[^>]*>", re.IGNORECASE)
_PROMPT_READERS = {"prompt_parser.py", "parsing.py"}  # AUTOMATIC1111's and Forge's files
_NOTHING = re.compile(r"\s*-?0*\.?0*\s*")  # a weight at which a LoRA is not used
# Attributes by which hosts tell models apart, and what they are called.
_OTHER_MODELS = {"is_sdxl": "Stable Diffusion XL", "is_sd3": "Stable Diffusion 3", "is_flux": "Flux"}


class Refused(SonopaintError):
    """What the WebUI shows as an error, and its API answers with 422 and the sentence."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.status_code, self.detail = 422, sentence


class HostError(SonopaintError):
    """What the host could not do. status: what the API answers with; 400 where the request is at fault."""

    def __init__(self, sentence: str, status: int = 500) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Student:
    """A one-step file: ``kind`` is "lora" or "checkpoint"; ``name`` what the host calls it.

    subject: the prompt of the subject that it knows, "" for one that paints every sound.
    """

    name: str
    kind: str
    path: Path
    format: SpectrogramFormat | None
    subject: str = ""


def loaded_model() -> Any:
    """The host's model. Raises SonopaintError where none is loaded or Sonopaint can't paint with it."""
    from modules import sd_models, shared

    if is_forge():  # which loads what was chosen when somebody paints
        try:
            sd_models.forge_model_reload()
        except ValueError as error:
            logger.info("Forge has no model: %s", error)
        except Exception as error:  # noqa: BLE001 - loaders fail on odd files in every way
            raise failure(error, "") from error
    model = shared.sd_model
    if model is None or not hasattr(model, "sd_checkpoint_info"):
        raise SonopaintError(NO_CHECKPOINT)
    for attribute, kind in _OTHER_MODELS.items():
        if getattr(model, attribute, False):
            raise SonopaintError(
                f"The checkpoint {checkpoint_name(model)} is {kind}; spectrograms are painted with "
                "Stable Diffusion 1.5: choose such a checkpoint (Riffusion, or any with a sound LoRA)."
            )
    return model


def checkpoint_name(model: Any) -> str:
    """The loaded checkpoint's name as the host shows it."""
    info = getattr(model, "sd_checkpoint_info", None)
    return str(getattr(info, "name_for_extra", None) or getattr(info, "name", "the model"))


def convolutions(model: Any) -> tuple[Any, Any]:
    """The modules (U-Net, VAE) whose convolutions paint, in AUTOMATIC1111 and in Forge."""
    forge = getattr(model, "forge_objects", None)
    if forge is not None:
        return forge.unet.model.diffusion_model, forge.vae.first_stage_model
    return model.model.diffusion_model, model.first_stage_model


def is_forge() -> bool:
    """Whether this host is Forge, which loads Stable Diffusion's own sizes only."""
    from modules import sd_models

    return hasattr(sd_models, "forge_model_reload")


def chosen_checkpoint() -> Path:
    """The file of the checkpoint that is chosen at the top of the page, loaded or not."""
    from modules import sd_models

    try:
        info = sd_models.select_checkpoint()
    except FileNotFoundError:
        info = None
    if info is None:
        raise SonopaintError("There is no checkpoint yet: put one into models/Stable-diffusion.")
    return Path(info.filename)


def checkpoint_files() -> dict[str, Path]:
    """The host's checkpoints by their names."""
    from modules import sd_models

    return {str(info.name): Path(info.filename) for info in sd_models.checkpoints_list.values()}


def format_of(prompt: str, given: str = "", checkpoint: Path | None = None) -> SpectrogramFormat:
    """The spectrogram format to paint: ``given``, else that of the prompt's LoRAs, else the checkpoint's.

    checkpoint: default the chosen one. Raises SonopaintError where two LoRAs say different formats.
    """
    if given:
        return get_format(given)
    if found := format_of_loras((path.name, header_of(path)) for path in lora_files(prompt)):
        return found
    path = checkpoint if checkpoint is not None else chosen_checkpoint()
    return model_format(path, header_of(path))


def header_of(path: Path) -> dict[str, str]:
    """A safetensors file's metadata; nothing where it can't be read."""
    if path.suffix != ".safetensors" or not path.is_file():
        return {}
    try:
        return read_header(path)[1]
    except SonopaintError as error:
        logger.debug("No header in %s: %s", path, error)
        return {}


def defaults_of(path: Path) -> dict[str, Any]:
    """What a checkpoint's header says of steps, guidance_scale and sampler (the host's name of it)."""
    try:
        told = json.loads(header_of(path)[CONFIG_KEY])["defaults"]
        own = {name: told[name] for name in ("steps", "guidance_scale") if name in told}
        sampler = _SAMPLERS.get(told.get("sampler"))
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
    return own | ({"sampler": sampler} if sampler in sampler_names() else {})


def refresh_loras() -> None:
    """Let the host look for new LoRAs, where its own extension for them is on."""
    if look := getattr(sys.modules.get("networks"), "list_available_networks", None):
        look()


def lora_folder() -> Path:
    """Where the host looks for LoRAs."""
    from modules import paths, shared

    return Path(getattr(shared.cmd_opts, "lora_dir", None) or Path(paths.models_path) / "Lora")


def lora_files(prompt: str) -> list[Path]:
    """The LoRA files that a prompt uses, by file name or by alias, where they are found."""
    found: dict[Path, None] = {}
    rest = set()
    for name, weight in _LORA.findall(prompt):
        if weight and _NOTHING.fullmatch(weight):
            continue
        path = _known_lora(name.strip())
        if path is None:
            rest.add(name.strip())
        else:
            found[path] = None
    if rest:  # put there since the host last looked
        for path in sorted(lora_folder().rglob("*.safetensors")):
            if path.stem in rest or header_of(path).get("ss_output_name") in rest:
                found[path] = None
    return list(found)


def _known_lora(name: str) -> Path | None:
    """What the host's own LoRA extension loads under a name."""
    networks = sys.modules.get("networks")
    ambiguous = name.lower() in getattr(networks, "forbidden_network_aliases", {})
    table = getattr(networks, "available_networks" if ambiguous else "available_network_aliases", {})
    filename = getattr(table.get(name), "filename", None)
    return Path(filename) if filename else None


def students() -> list[Student]:
    """The one-step files among the host's LoRAs and checkpoints, by name."""
    from modules import sd_models

    loras = [(path.stem, "lora", path) for path in sorted(lora_folder().rglob("*.safetensors"))]
    checkpoints = [
        (str(info.title), "checkpoint", Path(info.filename)) for info in sd_models.checkpoints_list.values()
    ]
    found = []
    for name, kind, path in loras + checkpoints:
        header = header_of(path)
        if ONE_STEP_KEY in header or ON_STUDENT_KEY in header:
            fmt = model_format(path, header) if "sonopaint.format" in header else None
            found.append(Student(name, kind, path, fmt, subject_of(header)))
    return sorted(found, key=lambda student: student.name.lower())


def find_student(name: str) -> Student:
    """A student by its name. Raises SonopaintError where there is none."""
    there = students()
    for student in there:
        if name in (student.name, student.path.name, student.path.stem):
            return student
    known = ", ".join(student.name for student in there) or "none yet: make one on the page Train subject"
    raise SonopaintError(f"There is no one-step file {name!r}; there are {known}.")


def sampler_names() -> list[str]:
    """The host's samplers by name, those that people have not hidden."""
    from modules import sd_samplers

    try:
        return list(sd_samplers.visible_sampler_names())
    except AttributeError:  # older hosts
        return [sampler.name for sampler in sd_samplers.all_samplers]


def scheduler_names() -> list[str]:
    """The host's schedules by their labels; hosts before 1.9 have none."""
    try:
        from modules import sd_schedulers
    except ImportError:
        return []
    return [schedule.label for schedule in sd_schedulers.schedulers]


def style_names() -> list[str]:
    """The host's styles."""
    from modules import shared

    return list(getattr(getattr(shared, "prompt_styles", None), "styles", {}))


def check_names(sampler: str, scheduler: str, styles: Iterable[str] = ()) -> None:
    """Raise SonopaintError for a sampler, a schedule or a style that the host does not have."""
    for what, name, names in (
        ("sampler", sampler, sampler_names),
        ("schedule", scheduler, scheduler_names),
        *(("style", style, style_names) for style in styles),
    ):
        if name and name not in (there := names()):
            choose = f"choose one of {', '.join(there)}" if there else "there are none yet"
            raise SonopaintError(f"There is no {what} {name!r} here; {choose}.")


def missing_loras(prompt: str) -> list[str]:
    """The LoRAs that a prompt names and that are not here."""
    used = {name.strip() for name, weight in _LORA.findall(prompt) if not _NOTHING.fullmatch(weight or "1")}
    return [name for name in sorted(used) if not lora_files(f"<lora:{name}>")]


def errors_so_far() -> list[dict[str, Any]]:
    """The exceptions that the host has caught and only written to its console."""
    from modules import errors

    return list(getattr(errors, "exception_records", []))


def failure(error: Exception, prompt: str) -> HostError:
    """The sentence for what a host's function raised; its console has the rest where nobody knows why."""
    status = getattr(error, "status_code", 0)
    if status:  # of this pack's sampler and of others that know better
        return HostError(str(getattr(error, "detail", "") or error), int(status))
    files = {Path(frame.filename).name for frame in traceback.extract_tb(error.__traceback__)}
    if files & _PROMPT_READERS:
        shown = prompt if len(prompt) < 80 else prompt[:79] + "…"
        return HostError(f"The WebUI can't read the prompt “{shown}” ({error}): look at its brackets.", 400)
    logger.error("The WebUI could not paint.", exc_info=error)
    kind = type(error).__name__
    if "OutOfMemory" in kind or isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return HostError(
            "The WebUI ran out of memory: make fewer or shorter sounds, or close what else uses it."
        )
    return HostError(f"The WebUI could not paint this: {kind}: {error}")


def interrupt() -> None:
    """What the host's button of this name does."""
    from modules import shared

    shared.state.interrupt()


def skip() -> None:
    """What the host's button of this name does."""
    from modules import shared

    shared.state.skip()


def stop_if_asked(share: float = 0.0) -> None:
    """A progress that raises Cancelled when somebody has pressed Interrupt."""
    from modules import shared

    if shared.state.interrupted or getattr(shared.state, "stopping_generation", False):
        raise Cancelled("interrupted")


@contextmanager
def queued(task_id: str | None = None) -> Iterator[Any]:
    """The host's turn: one job after the other, with its progress bar; yields ``shared.state``."""
    from modules import progress, shared
    from modules.call_queue import queue_lock

    if task_id:
        progress.add_task_to_queue(task_id)
    with queue_lock:
        shared.state.begin(job=task_id or "sonopaint")
        if task_id:
            progress.start_task(task_id)
        try:
            yield shared.state
        finally:
            if task_id:
                progress.finish_task(task_id)
            shared.state.end()
            shared.state.skipped = shared.state.interrupted = False
            shared.state.textinfo = None
