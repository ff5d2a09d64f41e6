"""What a bench can vary with: BACK-END[:MODEL][+LORA…], or command:COMMAND LINE."""

from __future__ import annotations

from sonopaint.variations.backends import BACKENDS, Choice, open_variator
from sonopaint.variations.protocol import Variator
from sonotrain.evaluation.variation.simple import PitchAndGain

SIMPLE = PitchAndGain.name
METHODS = (*BACKENDS, SIMPLE)


def kind_of(what: str) -> str:
    """The back-end that a method names: what the matrix of requirements has statements of."""
    return what.partition(":")[0].partition("+")[0]


def open_method(what: str, model: str = "mini", *, device: str = "auto") -> Variator:
    """A variator; SonopaintError for an unknown name and for missing files. `model`: where WHAT says none."""
    kind, rest = kind_of(what), what[len(kind_of(what)) :]
    if kind == SIMPLE:
        return PitchAndGain()
    if kind == "command":
        return open_variator(Choice(kind, command=rest.removeprefix(":").strip()))
    named, *loras = rest.removeprefix(":").split("+")
    used = tuple((lora, 1.0) for lora in loras)
    return open_variator(Choice(kind, named or model, used, device=None if device == "auto" else device))
