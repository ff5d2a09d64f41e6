"""vary, inpaint, extend: edits of a clip that keep its rate, its channels and every untouched sample."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from sonoconvert.edits.canvas import Canvas, extend_canvas, inpaint_canvas
from sonoconvert.edits.edit import put_back
from sonoconvert.edits.region import Region
from sonoconvert.edits.surroundings import SILENT_DB, loudness_db
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.picture import Picture
from sonopaint.painters.protocol import Painter
from sonopaint.painters.waves import WavePainter
from sonopaint.tasks import waves
from sonopaint.tasks.likeness import FIRST, place_of
from sonopaint.tasks.progress import Part, Progress
from sonopaint.tasks.result import Result, agreeing, as_painter, items, record
from sonopaint.tasks.settings import PaintSettings, wants_silence

if TYPE_CHECKING:
    from sonopaint.models.model import Model


def vary(
    model: Model | Painter | WavePainter,
    clip: Clip,
    settings: PaintSettings,
    *,
    batch: int = 1,
    progress: Progress | None = None,
) -> list[Result]:
    """Repaint the whole clip, starting part-way from what it is (audio img2img).

    ``settings.strength``: how far from the source (VARY_STRENGTH is a good start; 1 leaves hardly anything of
    it but its length).
    Raises SonopaintError for a clip that can't be edited.
    """
    if isinstance(model, WavePainter):
        return waves.vary(model, clip, settings, batch=batch, progress=progress)
    painter = as_painter(model)
    canvas = inpaint_canvas(clip, Region(feather_s=0.0, inverted=True), painter.format, kind="vary")
    settings = dataclasses.replace(settings, fill="original")
    return edited("vary", painter, canvas, settings, batch, progress)


def inpaint(
    model: Model | Painter | WavePainter,
    clip: Clip,
    region: Region,
    settings: PaintSettings,
    *,
    batch: int = 1,
    progress: Progress | None = None,
) -> list[Result]:
    """Repaint ``region`` of the clip to the prompt; samples outside it and its feather stay as they are.

    Raises SonopaintError for an empty region or one outside the clip.
    """
    if isinstance(model, WavePainter):
        return waves.inpaint(model, clip, region, settings, batch=batch, progress=progress)
    painter = as_painter(model)
    canvas = inpaint_canvas(clip, region, painter.format)
    extra: dict[str, Any] = {"regions": [str(box) for box in region.boxes], "feather": region.feather_s}
    if region.brush is not None:
        extra["brush"] = list(region.brush.shape)
    return edited("inpaint", painter, canvas, settings, batch, progress, **extra)


def extend(
    model: Model | Painter | WavePainter,
    clip: Clip,
    left_s: float,
    right_s: float,
    settings: PaintSettings,
    *,
    left_prompt: str | None = None,
    right_prompt: str | None = None,
    batch: int = 1,
    progress: Progress | None = None,
) -> list[Result]:
    """Lengthen the clip by round(seconds · rate) samples before and after; its own samples stay as they are.

    left_prompt, right_prompt: words for one side where they differ from ``settings.prompt``.
    Raises SonopaintError when nothing is to be added.
    """
    if isinstance(model, WavePainter):
        one = {left_prompt, right_prompt} - {None, settings.prompt}
        if one:
            raise SonopaintError("Models that paint waveforms extend both sides to one prompt.")
        return waves.extend(model, clip, left_s, right_s, settings, batch=batch, progress=progress)
    painter = as_painter(model)
    canvas = extend_canvas(clip, left_s, right_s, painter.format)
    left = settings.prompt if left_prompt is None or not left_s else left_prompt
    right = settings.prompt if right_prompt is None or not right_s else right_prompt
    passes = [(canvas.mask, left if left_s else right)]
    if left != right and left_s and right_s:
        before = np.arange(canvas.mask.shape[1]) < _middle_column(canvas, left_s, clip)
        passes = [(canvas.mask * before, left), (canvas.mask * ~before, right)]
    extra: dict[str, Any] = {"left": left_s, "right": right_s}
    if left_prompt is not None or right_prompt is not None:
        extra |= {"left_prompt": left, "right_prompt": right}
    return edited("extend", painter, canvas, settings, batch, progress, passes=passes, **extra)


def edited(
    task: str,
    painter: Painter,
    canvas: Canvas,
    settings: PaintSettings,
    batch: int,
    progress: Progress | None,
    *,
    passes: list[tuple[np.ndarray, str]] | None = None,
    **extra: Any,
) -> list[Result]:
    """Paint a canvas ``batch`` times and put each picture back into the source.

    passes: (mask, prompt) pairs that are painted one after the other; default: the canvas's mask once.
    """
    passes = passes or [(canvas.mask, settings.prompt)]
    if not _in_one_step(painter, canvas, settings):
        settings = agreeing(painter, settings)
    results = []
    for index, item in enumerate(items(settings, batch)):
        tell = Part(progress, index, batch)
        item, picture, notes = _heard(painter, canvas, item, passes, tell)
        clip = put_back(canvas, picture, item.search, surroundings=item.surroundings, progress=tell.sound)
        more = extra | ({"notes": notes} if notes else {})
        results.append(Result.of(clip, picture, record(task, painter, item, **more)))
    if progress:
        progress(1, 1, "Done")
    return results


def _in_one_step(painter: Painter, canvas: Canvas, settings: PaintSettings) -> bool:
    """Whether a student's one step does: its event begins where it is painted, and one picture holds it.

    In a few steps such a student paints too quietly (measured: 25 dB), and the event only with luck.
    """
    anew = canvas.kind != "vary" and settings.strength == 1 and settings.fill == "noise"
    painted = int(canvas.mask.any(axis=0).sum())
    return getattr(painter, "lead", None) is not None and anew and painted <= painter.format.width


def _heard(
    painter: Painter,
    canvas: Canvas,
    settings: PaintSettings,
    passes: list[tuple[np.ndarray, str]],
    progress: Progress,
) -> tuple[PaintSettings, Picture, list[str]]:
    """(settings used, picture, what to say): painted once more, with another seed, where nothing is heard.

    And where something else is heard than the one kind that is asked for.
    """
    picture = _painted(painter, canvas, settings, passes, progress)
    if canvas.kind == "vary" or all(wants_silence(prompt) for _, prompt in passes):
        return settings, picture, []
    known = getattr(painter, "knowledge", None)
    kind = known.kind_of(passes[0][1]) if known is not None and len(passes) == 1 else None
    first = _Verdict.of(canvas, picture, kind)
    if first.well:
        return settings, picture, []
    other = settings.for_another_try()
    again = _painted(painter, canvas, other, passes, progress)
    second = _Verdict.of(canvas, again, kind)
    used = (other, again) if second.better_than(first) else (settings, picture)
    if second.silent and first.silent:
        said = (
            f"Seeds {settings.seed} and {other.seed} painted next to nothing; "
            "try another seed, another prompt or a larger mark."
        )
    elif first.silent:
        said = f"Seed {settings.seed} painted nothing; this is seed {other.seed}."
    elif second.well:
        said = f"Seed {settings.seed} did not sound like “{kind}”; this is seed {other.seed}."
    else:
        said = (
            f"Neither seed {settings.seed} nor {other.seed} sounds much like “{kind}” here; "
            "try another seed or a larger mark."
        )
    return *used, [said]


@dataclasses.dataclass(frozen=True)
class _Verdict:
    """How loud what was painted is (`loudness_db`), and how many kinds are heard before the asked one."""

    loudness: float
    place: int

    @classmethod
    def of(cls, canvas: Canvas, picture: Picture, kind: str | None) -> _Verdict:
        place = place_of(kind, canvas, picture) if kind is not None else None
        return cls(loudness_db(canvas, picture), place or 0)

    @property
    def silent(self) -> bool:
        return self.loudness < -SILENT_DB

    @property
    def well(self) -> bool:
        return not self.silent and self.place < FIRST

    def better_than(self, other: _Verdict) -> bool:
        if self.silent or other.silent:
            return self.loudness > other.loudness
        return self.place < other.place


def _painted(
    painter: Painter,
    canvas: Canvas,
    settings: PaintSettings,
    passes: list[tuple[np.ndarray, str]],
    progress: Progress,
) -> Picture:
    picture = canvas.picture
    for number, (mask, prompt) in enumerate(passes):
        view = dataclasses.replace(canvas, picture=picture, mask=mask)
        picture = painter.paint(view, prompt, settings, Part(progress, number, len(passes)))
    return picture


def _middle_column(canvas: Canvas, left_s: float, clip: Clip) -> int:
    """The column of the middle of the clip that is extended."""
    fmt = canvas.picture.format
    first_s = canvas.first / canvas.source.sample_rate
    return fmt.columns(left_s + clip.duration_s / 2 - first_s)
