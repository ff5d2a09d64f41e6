"""Which models paint in one step, and the student that lies beside a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from sonoconvert.checkpoints.files import read_header
from sonoconvert.errors import SonopaintError
from sonopaint.models.info import ModelInfo, describe, find_model
from sonopaint.models.lora import find_lora
from sonopaint.samplers.one_step import header_timestep, student_timestep

logger = logging.getLogger(__name__)
Loras = Sequence[tuple[str | Path, float]]


def one_step_of(info: ModelInfo) -> int | None:
    """The timestep of a listed student, by its header; None for a model or LoRA that is none.

    A damaged header counts as none: loading the file says what is wrong with it.
    """
    try:
        return header_timestep(info.name, info.metadata)
    except SonopaintError as error:
        logger.debug("%s", error)
        return None


def student_beside(path: Path) -> Path | None:
    """The student of the model at `path`: a model, or a LoRA on it, in the folder ``<its name>-one-step``."""
    folder = path.with_name(f"{path.name.removesuffix('.safetensors')}-one-step")
    if (folder / "unet.safetensors").is_file() or (folder / "model_index.json").is_file():
        return folder
    return next(iter(sorted(folder.glob("*.safetensors"))), None)


def with_student(name_or_path: str | Path, loras: Loras = ()) -> tuple[Path, list[tuple[str | Path, float]]]:
    """(model, LoRAs) that paint in one step: those given, else with the student beside the model.

    Raises SonopaintError where there is none.
    """
    path = find_model(name_or_path)
    info, used = describe(path), list(loras)
    if one_step_of(info) is not None:
        return path, used
    for lora, weight in used:
        file = find_lora(lora)
        if weight and file.is_file() and header_timestep(file.name, read_header(file)[1]) is not None:
            return path, used
    student = student_beside(path)
    if student is None:
        student_timestep({info.name: info.metadata})  # raises, with what to do
    elif student.is_dir():
        return student, used
    else:
        used.insert(0, (student, 1.0))
    return path, used
