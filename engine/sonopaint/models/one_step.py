"""What the headers of distilled students say: files that paint with a single call of their U-Net."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sonoconvert.errors import SonopaintError

# In a student's safetensors header: JSON with the timestep at which it was trained, as {"timestep": 999}.
ONE_STEP_KEY = "sonopaint.one_step"
# In the header of a LoRA that was learnt on top of a student and doesn't hold it: JSON with the student's
# name and timestep, as {"student": "mini-one-step", "timestep": 999}.
ON_STUDENT_KEY = "sonopaint.on_student"
# In the header of a LoRA that knows one subject: JSON with the prompt that means it, as {"prompt": "…"}.
SUBJECT_KEY = "sonopaint.subject"


def header_timestep(name: str, metadata: Mapping[str, str]) -> int | None:
    """The timestep in a file's safetensors metadata, None where it is no student's."""
    return int(_fact(name, metadata, ONE_STEP_KEY, "timestep")) if ONE_STEP_KEY in metadata else None


def on_student(name: str, metadata: Mapping[str, str]) -> tuple[str, int] | None:
    """(name, timestep) of the student that a LoRA is used on top of, None where it is no such LoRA."""
    if ON_STUDENT_KEY not in metadata:
        return None
    found = [_fact(name, metadata, ON_STUDENT_KEY, key) for key in ("student", "timestep")]
    return str(found[0]), int(found[1])


def subject_of(metadata: Mapping[str, str]) -> str:
    """The prompt of the subject that a LoRA knows; "" for other files."""
    try:
        return str(json.loads(metadata[SUBJECT_KEY])["prompt"])
    except (KeyError, ValueError, TypeError):
        return ""


def _fact(name: str, metadata: Mapping[str, str], header: str, key: str) -> str | int:
    try:
        found = json.loads(metadata[header])[key]
        return int(found) if key == "timestep" else str(found)
    except (ValueError, TypeError, KeyError) as error:
        raise SonopaintError(
            f"{name} says that it paints in one step, but its header {header} is damaged; get the file anew."
        ) from error


def student_timestep(headers: Mapping[str, Mapping[str, str]]) -> int:
    """The timestep that the first one-step header among {name: safetensors metadata} gives.

    The headers are those of a checkpoint and of the LoRAs on it. Raises SonopaintError where none of them is
    a one-step student's.
    """
    for name, metadata in headers.items():
        timestep = header_timestep(name, metadata)
        if timestep is not None:
            return timestep
    for name, metadata in headers.items():
        if found := on_student(name, metadata):
            student = found[0]
            raise SonopaintError(
                f"{name} was learnt on top of the one-step student {student!r} and does not hold it: "
                f"load the LoRA {student} as well, both at strength 1."
            )
    names = " with ".join(headers) or "This model"
    raise SonopaintError(
        f"{names} needs many steps: nothing says that it was distilled to one. Use an ordinary sampler with "
        "20 steps, or load a one-step model or LoRA."
    )
