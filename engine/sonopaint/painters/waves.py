"""The protocol of painters that paint waveforms, beside that of spectrograms (``painters.protocol``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor

from sonopaint.tasks.progress import Progress
from sonopaint.tasks.settings import PaintSettings

Start = Literal["interpolated", "added"]


@dataclass(frozen=True)
class WaveJob:
    """What a waveform painter is to paint.

    samples: how many, at the painter's rate. source: float32 [channels, samples] at its rate and channels,
    or None. mask: float32 [samples], 1 = paint, or None for everything; what it keeps comes back near the
    source (putting back makes it exact). strength: as in PaintSettings; below 1 it starts from the source.
    """

    samples: int
    source: Tensor | None = None
    mask: Tensor | None = None
    strength: float = 1.0


@runtime_checkable
class WavePainter(Protocol):
    """Paints sound directly. Given to the tasks in place of a Painter of spectrograms."""

    @property
    def sample_rate(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def longest_s(self) -> float: ...

    def paint_wave(
        self, job: WaveJob, prompt: str, settings: PaintSettings, progress: Progress | None = None
    ) -> Tensor:
        """The sound, float32 [channels, samples]. Equal arguments give equal samples.

        Raises SonopaintError where it is longer than the model can or holds values that are no numbers;
        ``progress`` may raise Cancelled.
        """
        ...

    def resolve(self, settings: PaintSettings) -> PaintSettings:
        """The settings with this model's own defaults where they say None."""
        ...

    def describe(self) -> dict[str, Any]:
        """What paints, for the settings saved with a result."""
        ...
