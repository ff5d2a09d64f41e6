"""What a prompt adds to the subject, measured: is the clip duller, slower, in a hall, followed by a siren?

Each clip is compared with the one that the plain prompt made of the same seed, so that only the words differ.
"""

from __future__ import annotations

from collections.abc import Sequence

from sonotrain.evaluation.subject.prompts import Template
from sonotrain.evaluation.traits import LOGIT, OCTAVES, RATIO, SHARE, Traits


def agrees(template: Template, clip: Traits, plain: Traits, kinds: Sequence[str]) -> bool | None:
    """Whether the clip differs from the plain one of the same seed as the prompt says; None: not measured.

    fuller, higher, lower, faster, slower, more, fewer: that trait, by more than what counts as changed.
    two: exactly two events. beside, after, before: the classifier's logit of the kind has risen in the whole
    clip, its end, or its beginning. A model that ignores its prompt scores 0, one whose clips differ at
    random a little below 0.5.
    """
    change = template.change
    if not change:
        return None
    if change in ("beside", "after", "before"):
        part = {"beside": "whole", "after": "late", "before": "early"}[change]
        kind = kinds.index(template.kind)
        return bool(getattr(clip, part)[kind] > getattr(plain, part)[kind] + LOGIT)
    return {
        "fuller": clip.fullness > plain.fullness + SHARE,
        "higher": clip.brightness > plain.brightness + OCTAVES,
        "lower": clip.brightness < plain.brightness - OCTAVES,
        "faster": clip.rate > plain.rate * RATIO,
        "slower": clip.rate < plain.rate / RATIO,
        "more": clip.events > plain.events,
        "fewer": clip.events < plain.events,
        "two": clip.events == 2,
    }[change]
