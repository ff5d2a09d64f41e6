"""Opens a back-end by its name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from sonoconvert.errors import SonopaintError, setting
from sonopaint.painters.waves import WavePainter
from sonopaint.tasks.settings import PaintSettings
from sonopaint.variations.protocol import Variator

BACKENDS = ("vary", "masked", "healed", "one-step", "command", "flow", "envelope")  # the first is the default


@dataclass(frozen=True)
class Choice:
    """Which back-end, and what it is opened with.

    name: of BACKENDS. model: a name or path, of spectrograms or waveforms; loras: (name, weight).
    one_step: use the model's one-step student. command: for "command". settings: of painting.
    """

    name: str = BACKENDS[0]
    model: str = "mini"
    loras: tuple[tuple[str, float], ...] = ()
    one_step: bool = False
    command: str = ""
    device: str | None = None
    settings: PaintSettings = field(default_factory=PaintSettings)


def open_variator(choice: Choice) -> Variator:
    """The back-end. Raises SonopaintError where there is none of that name, or its weights are missing."""
    if choice.name not in BACKENDS:
        raise SonopaintError(
            f"There is no {setting('backend')} {choice.name!r}; choose one of {', '.join(BACKENDS)}."
        )
    if choice.name == "command":
        from sonopaint.variations.command import CommandVariator

        return CommandVariator(choice.command)
    if choice.name == "healed":
        from sonopaint.variations.masked import MaskedVariator

        return MaskedVariator()
    from sonopaint.models.students import with_student
    from sonopaint.painters.diffusers_waves.loading import open_model

    model: Any = choice.model
    loras: list[Any] = list(choice.loras)
    if choice.one_step or (choice.name == "one-step" and not loras):
        model, loras = with_student(model, loras)
    opened = open_model(model, device=choice.device, loras=loras)
    label = choice.model if choice.name == "vary" else choice.name
    if choice.name == "masked":
        from sonopaint.variations.pieces import PieceVariator

        return PieceVariator(opened, choice.settings)
    from sonopaint.variations.mel import EnvelopeVariator, MelVariator, SubjectVariator

    if choice.name == EnvelopeVariator.name:
        if isinstance(opened, WavePainter):
            raise SonopaintError(
                f"{choice.model} paints waveforms, which follow none; take the {setting('backend')} vary."
            )
        return EnvelopeVariator(opened, choice.settings)
    if choice.name == "flow":
        if isinstance(opened, WavePainter):
            raise SonopaintError(
                f"{choice.model} paints waveforms, and by its own flow; take the {setting('backend')} vary."
            )
        return MelVariator(opened, replace(choice.settings, sampler="flow"), choice.name)
    if choice.name == "one-step":
        return SubjectVariator(opened, choice.settings)  # type: ignore[arg-type]
    return MelVariator(opened, choice.settings, label)
