"""Results brought to the curves that they were to follow: what the adapter leaves over."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sonoconvert.conversion.convert import decode
from sonoconvert.curves.curves import Curves
from sonoconvert.curves.fit import bent, brighter_and_darker, louder_and_softer, semitones_apart
from sonoconvert.curves.measure import measure
from sonopaint.tasks.result import Result, normalised
from sonopaint.tasks.settings import PaintSettings

EXACT = ("loudness", "pitch", "brightness")  # what can be brought to its curve after painting


def exactly(result: Result, curves: Curves, exact: Sequence[str] = EXACT) -> Result:
    """A whole painted sound with its pitch bent (an octave at most), its tilt and gain ridden to the curves.

    `exact`: which of EXACT; nothing is done where a curve is free. The peak is −1 dBFS again, and the notes
    of the curves join the result's.
    """
    picture, clip = result.picture, result.clip
    curves = curves.at(curves.rate, max(1, round(clip.duration_s * curves.rate)))
    if "pitch" in exact and (apart := semitones_apart(clip, curves)) is not None:
        picture = bent(picture, apart, curves.rate)
        search = PaintSettings.from_dict(result.settings).search
        clip = dataclasses.replace(decode(picture, search), settings=clip.settings)
    if "brightness" in exact:
        clip = brighter_and_darker(clip, curves)
    if "loudness" in exact:
        clip = louder_and_softer(clip, curves)
    notes = list(dict.fromkeys([*result.settings.get("notes", []), *curves.notes]))
    done = [name for name in exact if name in curves.names]
    settings = {**result.settings, "curves_exact": done} | ({"notes": notes} if notes else {})
    return Result.of(normalised(clip), picture, settings)


def measured(result: Result, curves: Curves) -> Curves:
    """What a result measures of the curves that were asked of it, at their rate."""
    return measure(result.clip, curves.names, curves.rate)
