"""Which models paint in one step, and the student that lies beside a model."""

from __future__ import annotations

import logging
from pathlib import Path

from sonoconvert.errors import SonopaintError
from sonopaint.models.info import ModelInfo, describe, find_model
from sonopaint.models.lora import Loras, find_lora, headers_of
from sonopaint.models.one_step import header_timestep, on_student, student_timestep

logger = logging.getLogger(__name__)


def paints_in_one_step(info: ModelInfo) -> bool:
    """Whether a listed model or LoRA is a student, or is used on top of one, by its header.

    A damaged header counts as none: loading the file says what is wrong with it.
    """
    try:
        marks = (header_timestep(info.name, info.metadata), on_student(info.name, info.metadata))
    except SonopaintError as error:
        logger.debug("%s", error)
        return False
    return any(mark is not None for mark in marks)


def student_beside(path: Path) -> Path | None:
    """The student of the model at `path`: a model, or a LoRA on it, in the folder ``<its name>-one-step``."""
    folder = path.with_name(f"{path.name.removesuffix('.safetensors')}-one-step")
    if (folder / "unet.safetensors").is_file() or (folder / "model_index.json").is_file():
        return folder
    return next(iter(sorted(folder.glob("*.safetensors"))), None)


def student_of(model: str | Path, student: str | Path) -> tuple[Path, list[tuple[str | Path, float]]]:
    """(model, LoRAs) of a student that is named: a model of its own, or a LoRA on `model`.

    Raises SonopaintError for a name that neither is found for.
    """
    file = find_lora(student)
    if file.is_file() and describe(file).kind == "lora":
        return find_model(model), [(file, 1.0)]
    return find_model(student), []


def with_student(name_or_path: str | Path, loras: Loras = ()) -> tuple[Path, list[tuple[str | Path, float]]]:
    """(model, LoRAs) that paint in one step: those given, else with the student beside the model.

    Raises SonopaintError where there is none.
    """
    path = find_model(name_or_path)
    info, used = describe(path), list(loras)
    headers = {info.name: info.metadata, **headers_of(loras)}
    if any(header_timestep(name, header) is not None for name, header in headers.items()):
        return path, used
    student = student_beside(path)
    if student is None:
        student_timestep(headers)  # raises, with what to do
    elif student.is_dir():
        return student, used
    else:
        used.insert(0, (student, 1.0))
    return path, used


def with_needed_student(
    name_or_path: str | Path, loras: Loras = ()
) -> tuple[Path, list[tuple[str | Path, float]]]:
    """(model, LoRAs), with the student beside the model where a LoRA was learnt on top of one.

    Raises SonopaintError where there is none.
    """
    if any(on_student(name, header) for name, header in headers_of(loras).items()):
        return with_student(name_or_path, loras)
    return find_model(name_or_path), list(loras)
