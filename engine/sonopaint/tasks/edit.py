"""An edit by its name, for the doors in which people choose one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sonoconvert.edits.region import Region
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonopaint.painters.protocol import Painter
from sonopaint.painters.waves import WavePainter
from sonopaint.tasks.editing import extend, inpaint, vary
from sonopaint.tasks.looping import loop
from sonopaint.tasks.progress import Progress
from sonopaint.tasks.result import Result
from sonopaint.tasks.settings import PaintSettings

if TYPE_CHECKING:
    from sonopaint.models.loading import Model

EDITS = ("inpaint", "extend", "loop", "vary")


@dataclass(frozen=True)
class Edit:
    """What is to be done with a clip: one of EDITS, and what it needs beside PaintSettings.

    region: of inpaint. left_s, right_s, left_prompt, right_prompt: of extend. seam_s: of loop.
    """

    action: str
    region: Region | None = None
    left_s: float = 0.0
    right_s: float = 0.0
    left_prompt: str | None = None
    right_prompt: str | None = None
    seam_s: float | None = None

    def paint(
        self,
        model: Model | Painter | WavePainter,
        clip: Clip,
        settings: PaintSettings,
        *,
        batch: int = 1,
        progress: Progress | None = None,
    ) -> list[Result]:
        """Do it. Raises SonopaintError for an unknown action, and what the task raises."""
        if self.action == "inpaint":
            region = self.region or Region()
            return inpaint(model, clip, region, settings, batch=batch, progress=progress)
        if self.action == "extend":
            return extend(
                model,
                clip,
                self.left_s,
                self.right_s,
                settings,
                left_prompt=self.left_prompt,
                right_prompt=self.right_prompt,
                batch=batch,
                progress=progress,
            )
        if self.action == "loop":
            return loop(model, clip, settings, seam_s=self.seam_s, batch=batch, progress=progress)
        if self.action == "vary":
            return vary(model, clip, settings, batch=batch, progress=progress)
        raise SonopaintError(f"There is no edit {self.action!r}; choose one of {', '.join(EDITS)}.")
