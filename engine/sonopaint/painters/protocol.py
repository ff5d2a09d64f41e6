"""The Painter protocol: what a host implements so that the tasks can paint with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sonopaint.tasks.progress import Progress
from sonopaint.tasks.settings import PaintSettings

if TYPE_CHECKING:
    from sonoconvert.edits.canvas import Canvas
    from sonoconvert.pictures.format import SpectrogramFormat
    from sonoconvert.pictures.picture import Picture


@runtime_checkable
class Painter(Protocol):
    """Repaints the masked cells of a canvas's picture to the words of a prompt.

    One whose model knows a closed list of sounds may have it as ``knowledge`` (sonopaint.knowledge); what a
    prompt names beyond it then stands in the result's settings, as "unknown".
    """

    @property
    def format(self) -> SpectrogramFormat:
        """The spectrogram format of the pictures that it paints."""
        ...

    def paint(
        self, canvas: Canvas, prompt: str, settings: PaintSettings, progress: Progress | None = None
    ) -> Picture:
        """A picture of the canvas's size; cells whose mask is 0 keep their pixels exactly.

        Equal arguments give equal pixels. ``progress`` may raise Cancelled.
        """
        ...

    def paint_between(
        self, canvas: Canvas, a: PaintSettings, b: PaintSettings, t: float, progress: Progress | None = None
    ) -> Picture:
        """The picture ``t`` (0 … 1) of the way from a's prompt and seed to b's; all else is a's.

        The ends are what ``paint`` makes of a's and of b's.
        """
        ...

    def resolve(self, settings: PaintSettings) -> PaintSettings:
        """The settings with this painter's own defaults where they say None."""
        ...

    def describe(self) -> dict[str, Any]:
        """What paints, for the settings saved with a result: model, model_hash, loras."""
        ...


@runtime_checkable
class SeedsPainter(Painter, Protocol):
    """A painter that is quicker with several seeds at once."""

    def together(self, canvas: Canvas) -> int:
        """How many seeds are painted together; 1 where that gains nothing."""
        ...

    def paint_seeds(
        self,
        canvas: Canvas,
        prompt: str,
        settings: PaintSettings,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[Picture]:
        """What ``paint`` makes with each of the seeds, but for rounding; the same seeds, the same pixels."""
        ...
