"""Whether what was painted into a mark is heard as the kind of sound that was asked for."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from sonoconvert.defaults import FORMAT
from sonoconvert.edits.canvas import Canvas
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.picture import Picture

if TYPE_CHECKING:
    from sonopaint.models.sound_classifier import SoundClassifier

FIRST = 3  # of the judge's kinds; one that is among so many is heard


def place_of(kind: str, canvas: Canvas, painted: Picture) -> int | None:
    """How many kinds the judge of parts names before `kind` (in a model's words) in what was painted.

    None where nobody can say: without the judge, in a format that it can't read, of a kind that it does not
    know, and of several marks, each of which may hold a part of the sound.
    """
    judge, name, fmt = _judge(), kind.replace(" ", "_"), painted.format
    if judge is None or name not in judge.kinds or fmt != get_format(FORMAT):
        return None
    mask = canvas.mask >= 0.5
    columns = np.flatnonzero(mask.any(axis=0))
    if not len(columns) or columns[-1] - columns[0] >= len(columns):
        return None
    levels = torch.from_numpy(np.where(mask, painted.levels()[0].numpy(), 0.0)).float()
    part = levels[:, columns[0] : columns[-1] + 1][:, : fmt.width]
    part = torch.where(part > 0, part + 1 - part.max(), 0.0).clamp_min(0)
    heard = torch.zeros(1, len(part), fmt.width)
    heard[0, :, : part.shape[1]] = part
    with torch.no_grad():
        order = judge(heard)[0].argsort(descending=True).tolist()
    return order.index(judge.kinds.index(name))


@lru_cache(maxsize=1)
def _judge() -> SoundClassifier | None:
    from sonopaint.models.sound_classifier import PARTS, load_classifier, shipped_classifier

    path = shipped_classifier().with_name(PARTS)
    return load_classifier(path)[0] if path.is_file() else None
