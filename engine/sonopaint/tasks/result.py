"""Result: a clip, its picture and the settings that made them; and what all tasks share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.picture import Picture
from sonopaint.painters.protocol import Painter
from sonopaint.painters.waves import WavePainter
from sonopaint.tasks.settings import FEW_STEPS, ONE_STEP, PaintSettings

if TYPE_CHECKING:
    from sonopaint.knowledge import Knowledge
    from sonopaint.models.model import Model

PEAK = 10 ** (-1 / 20)  # −1 dBFS: what generated clips are normalised to
MAX_BATCH = 100


@dataclass(frozen=True)
class Result:
    """What a task made. ``settings`` is JSON-able and is also carried by the clip and the picture."""

    clip: Clip
    picture: Picture
    settings: dict[str, Any]

    @classmethod
    def of(cls, clip: Clip, picture: Picture, settings: dict[str, Any]) -> Result:
        """A result whose clip and picture carry its settings."""
        return cls(
            clip=dataclasses.replace(clip, settings=settings),
            picture=dataclasses.replace(picture, settings=settings),
            settings=settings,
        )


def as_painter(model: Model | Painter) -> Painter:
    """The painter itself, or a DiffusersPainter around a model."""
    if isinstance(model, Painter):
        return model
    from sonopaint.painters.diffusers_painter import DiffusersPainter

    return DiffusersPainter(model)


def record(
    task: str, painter: Painter | WavePainter, settings: PaintSettings, **extra: Any
) -> dict[str, Any]:
    """The settings saved with a result: everything that is needed to make it again."""
    try:
        own_version = version("sonopaint")
    except PackageNotFoundError:  # run from a checkout that was never installed
        own_version = "unknown"
    resolved = painter.resolve(settings)
    told = painter.describe()
    entries = {"task": task, **resolved.to_dict(), **told, **extra}
    if notes := [*told.get("notes", []), *extra.get("notes", [])]:
        entries["notes"] = notes
    if unknown := _unknown(painter, entries):
        entries["unknown"] = unknown
    if ignored := settings.ignored(resolved):
        entries["ignored"] = ignored
    return {**entries, "version": own_version}


def _unknown(painter: Painter | WavePainter, entries: Mapping[str, Any]) -> str:
    """What the painter's model does not know of all that was asked for, in a sentence."""
    known: Knowledge | None = getattr(painter, "knowledge", None)
    if known is None:
        return ""
    others = ("left_prompt", "right_prompt", "down_prompt", "up_prompt")
    asked = [entries["prompt"], *(entries.get(name) for name in others)]
    asked.append(entries.get("to", {}).get("prompt"))
    said = [known.sentence(prompt, str(entries.get("model", "The model"))) for prompt in asked if prompt]
    return " ".join(dict.fromkeys(filter(None, said)))


def agreeing(painter: Painter, settings: PaintSettings) -> PaintSettings:
    """Settings for work in which parts must agree (what is kept, several windows): one step can't do that.

    A distilled model takes a few, unless somebody said how many.
    """
    if settings.steps is None and painter.resolve(settings).sampler == ONE_STEP:
        return dataclasses.replace(settings, steps=FEW_STEPS)
    return settings


def items(settings: PaintSettings, batch: int) -> Iterable[PaintSettings]:
    """The settings of each item of a batch: seeds count up, so that item i equals a single run."""
    if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= MAX_BATCH:
        raise SonopaintError(
            f"{setting('batch')} must be a whole number from 1 to {MAX_BATCH}, not {batch!r}."
        )
    return [settings.for_item(index) for index in range(batch)]


def gain_db(before: Clip, after: Clip) -> float:
    """By how many dB the peak has changed; 0 for silence."""
    peaks = [float(clip.waveform.abs().max()) for clip in (before, after)]
    return 20 * math.log10(peaks[1] / peaks[0]) if min(peaks) > 0 else 0.0


def normalised(clip: Clip) -> Clip:
    """The clip at a peak of −1 dBFS; silence stays silence."""
    peak = float(clip.waveform.abs().max()) if clip.waveform.numel() else 0.0
    if peak == 0.0:
        return clip
    return dataclasses.replace(clip, waveform=clip.waveform * (PEAK / peak))
