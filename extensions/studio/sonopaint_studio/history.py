"""Undo and redo: a list of what the editor showed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sonopaint_studio.sounds import Sound

LONGEST = 50  # steps that are remembered


@dataclass(frozen=True)
class Step:
    """What the editor shows at one moment: the sound before, and what was made of it."""

    source: Sound
    takes: tuple[Sound, ...] = ()


@dataclass
class History:
    """A line of steps with a position in it; a new step forgets what was undone."""

    steps: list[Step] = field(default_factory=list)
    position: int = -1

    @property
    def now(self) -> Step | None:
        return self.steps[self.position] if self.steps else None

    @property
    def can_undo(self) -> bool:
        return self.position > 0

    @property
    def can_redo(self) -> bool:
        return self.position + 1 < len(self.steps)

    def add(self, step: Step) -> None:
        self.steps = [*self.steps[: self.position + 1], step][-LONGEST:]
        self.position = len(self.steps) - 1

    def made(self, source: Sound, takes: Sequence[Sound]) -> None:
        """Show what was made of a sound, unless another one was opened meanwhile."""
        if self.now is not None and self.now.source is source:
            self.add(Step(source, tuple(takes)))

    def undo(self) -> Step | None:
        if self.can_undo:
            self.position -= 1
        return self.now

    def redo(self) -> Step | None:
        if self.can_redo:
            self.position += 1
        return self.now
