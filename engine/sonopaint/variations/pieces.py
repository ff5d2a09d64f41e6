"""Variations in which only a piece is new: repainted, with every sample outside it the reference's own."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sonoconvert.edits.region import Box, Region
from sonopaint.painters.protocol import Painter
from sonopaint.painters.waves import WavePainter
from sonopaint.tasks.editing import inpaint
from sonopaint.tasks.progress import Part, Progress
from sonopaint.tasks.settings import PaintSettings
from sonopaint.variations.mel import painter_of
from sonopaint.variations.protocol import Ask, Candidate

if TYPE_CHECKING:
    from sonoconvert.files.clip import Clip
    from sonopaint.models.model import Model

PIECE_S = (0.3, 1.0)  # as the documents mask for A²SB
MOST = 0.6  # of the reference
FEATHER_S = 0.02


class PieceVariator:
    """Repaints one piece of 0.3 to 1 s of the reference (at most 60 % of it), somewhere.

    seeds_per_piece: how many seeds in a row repaint the same piece (the documents' K restorations of one
    mask).
    """

    name = "masked"

    def __init__(
        self,
        model: Model | Painter | WavePainter,
        settings: PaintSettings | None = None,
        seeds_per_piece: int = 1,
    ) -> None:
        self.painter, self.settings = painter_of(model), settings or PaintSettings()
        self.seeds_per_piece = max(seeds_per_piece, 1)

    def candidates(
        self, reference: Clip, ask: Ask, seeds: Sequence[int], progress: Progress | None = None
    ) -> Iterator[Candidate]:
        """See Variator."""
        for index, seed in enumerate(seeds):
            start, end = piece(reference.duration_s, seed // self.seeds_per_piece)
            wanted = replace(self.settings, prompt=ask.prompt, strength=ask.strength, seed=seed)
            region = Region((Box(start, end),), feather_s=min(FEATHER_S, (end - start) / 4))
            tell = Part(progress, index, len(seeds))
            (result,) = inpaint(self.painter, reference, region, wanted, progress=tell)
            changed = tuple(region.time_support(reference.duration_s))
            yield Candidate(result.clip, seed, changed, result.settings)

    def describe(self) -> dict[str, Any]:
        """See Variator."""
        return {"variator": self.name, **self.painter.describe()}


def piece(duration_s: float, seed: int) -> tuple[float, float]:
    """The piece (start_s, end_s) that a seed repaints."""
    draw = random.Random(seed)
    length = min(draw.uniform(*PIECE_S), MOST * duration_s)
    start = draw.uniform(0, duration_s - length)
    return round(start, 4), round(start + length, 4)
