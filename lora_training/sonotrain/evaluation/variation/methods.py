"""What a bench can vary with: BACK-END or BACK-END+LORA…, by name."""

from __future__ import annotations

from sonoconvert.errors import SonopaintError
from sonopaint.variations.protocol import Variator
from sonotrain.evaluation.variation.simple import PitchAndGain

METHODS = ("vary", "one-step", "pitch-and-gain")


def kind_of(what: str) -> str:
    """The back-end that a method names: what the matrix of requirements has statements of."""
    return what.split("+")[0]


def open_method(what: str, model: str = "mini", *, device: str = "auto") -> Variator:
    """A variator from NAME or NAME+LORA…; SonopaintError for an unknown name and for missing files."""
    name, *loras = what.split("+")
    if name == "pitch-and-gain":
        return PitchAndGain()
    if name not in METHODS:
        raise SonopaintError(f"{name!r} is no back-end; there are {', '.join(METHODS)}.")
    from sonopaint.models.info import find_model
    from sonopaint.models.loading import load_model
    from sonopaint.models.students import with_student
    from sonopaint.variations.mel import MelVariator
    from sonotrain.training.compute import choose_device

    used = [(lora, 1.0) for lora in loras]
    path, both = with_student(model, used) if name == "one-step" else (find_model(model), used)
    return MelVariator(load_model(path, device=choose_device(device), loras=both), name=name)
