"""Edit's painted actions: what was asked for, and the work that the queue does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sonoconvert.defaults import FEATHER_S
from sonoconvert.edits.region import Region
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.pictures.drawing import read_drawing
from sonopaint.tasks.settings import ONE_STEP, PaintSettings
from sonopaint_studio import curves_part
from sonopaint_studio.context import Chosen, Context
from sonopaint_studio.jobs import Report
from sonopaint_studio.session import Session
from sonopaint_studio.sounds import Sound

if TYPE_CHECKING:
    from sonoconvert.curves.curves import Curves
    from sonopaint.tasks import Edit

TASKS = {"Repaint": "inpaint", "Extend": "extend", "Loop": "loop", "Vary": "vary"}
DONE = {"Repaint": "Repainted", "Extend": "Extended", "Loop": "Loop", "Vary": "Variation"}
MAX_EXTEND_S = 60.0


def read_region(text: str, *, feather_s: float = FEATHER_S, inverted: bool = False) -> Region:
    """What the canvas marked (see read_drawing). SonopaintError when that is nothing, or damaged."""
    region = read_drawing(text, feather_s=feather_s, inverted=inverted)
    if not region.boxes and region.brush is None:
        raise SonopaintError("Nothing is marked: drag a box or paint over what is to change.")
    return region


def asked(action: str, region: Region, left: float | None, right: float | None) -> Edit:
    """The edit that a page's action means. SonopaintError where seconds to add are missing or too many."""
    from sonopaint.tasks import Edit

    if action == "Extend":
        for name, value in (("left", left or 0.0), ("right", right or 0.0)):
            if not 0 <= value <= MAX_EXTEND_S:
                raise SonopaintError(f"{setting(name)} must be from 0 to {MAX_EXTEND_S:g}, not {value:g}.")
        if not left and not right:
            raise SonopaintError("Say how many seconds to add before or after.")
    return Edit(TASKS[action], region, left or 0.0, right or 0.0)


def painting(
    context: Context,
    session: Session,
    source: Sound,
    chosen: Chosen,
    action: str,
    edit: Edit,
    settings: PaintSettings,
    takes: int,
    curves: Curves | None = None,
    exact: bool = True,
) -> tuple[str, Callable[[Report], list[Sound]]]:
    """(title, the job's work) of painting on a sound; curves: to follow, exact: brought to them then, too."""
    title = f"{DONE[action]} · {settings.prompt or 'no prompt'}"

    def work(report: Report) -> list[Sound]:
        report(0, 0, "Reading the sound")
        clip = source.clip()
        one_step = settings.sampler == ONE_STEP
        with context.store.use(chosen.model, chosen.loras, report, one_step=one_step) as model:
            painter, asked = curves_part.following(model, curves, settings.prompt)
            results = edit.paint(painter, clip, settings, batch=takes, progress=report)
        results, session.edit_followed = curves_part.finished(results, asked, exact and action == "Vary")
        form = context.store.format(chosen.model)
        report(1, 1, "Saving")
        name = Path(source.downloads["WAV"]).stem
        sounds = [
            session.add(
                context.library.keep(
                    session.new_folder, result.clip, title=title,
                    stem=f"{name} {action} {result.settings['seed']}", form=form, like=source,
                )
            )
            for result in results
        ]  # fmt: skip
        session.history.made(source, sounds)
        return sounds

    return title, work
