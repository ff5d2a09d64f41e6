"""Variations by masking: random pieces of the reference taken out and healed, as the documents use A²SB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sonopaint.heal.heal import HealSettings, heal
from sonopaint.heal.marks import Mark, merged
from sonopaint.models.bridge import STEPS, load
from sonopaint.tasks.progress import Part, Progress
from sonopaint.variations.protocol import Ask, Candidate

if TYPE_CHECKING:
    from sonoconvert.files.clip import Clip

SHORTEST_S, LONGEST_S = 0.3, 1.0  # of a piece; of a short clip, at most half
MOST = 0.7  # of a clip that is made anew at strength 1


class MaskedVariator:
    """Makes pieces of SHORTEST_S … LONGEST_S anew, from what is around them: by the bridge where it is there.

    `ask.strength` says how much of the reference is replaced: at 1, MOST of it. Every other sample is the
    reference's own. No words are needed, and none are looked at.
    """

    name = "masked"

    def __init__(self, steps: int = STEPS) -> None:
        self.method, self.steps = "bridge" if load() else "continue", steps

    def candidates(
        self, reference: Clip, ask: Ask, seeds: Sequence[int], progress: Progress | None = None
    ) -> Iterator[Candidate]:
        """See Variator."""
        rate = reference.sample_rate
        for index, seed in enumerate(seeds):
            part = Part(progress, index, len(seeds))
            marks = pieces(reference.num_samples, rate, MOST * ask.strength, np.random.default_rng(seed))
            part(0, 1, "Healing")
            made = heal(reference, marks, HealSettings(self.method, seed, self.steps), progress=part.sound)
            spans = tuple((mark.start / rate, mark.stop / rate) for mark in marks)
            told = {"method": self.method, "pieces": [list(span) for span in spans]}
            yield Candidate(made.clip, seed, spans, told)

    def describe(self) -> dict[str, Any]:
        """See Variator."""
        return {"variator": self.name, "method": self.method, "steps": self.steps}


def pieces(total: int, rate: int, share: float, rng: np.random.Generator) -> list[Mark]:
    """Marks of random pieces: about `share` of `total` samples, at least one piece and never all."""
    marks: list[Mark] = []
    longest = min(LONGEST_S * rate, total / 2)
    shortest = min(SHORTEST_S * rate, longest)
    for _ in range(1000):
        count = max(int(rng.uniform(shortest, longest)), 1)
        start = int(rng.integers(0, total - count + 1))
        more = merged([*marks, Mark(start, start + count)], rate)
        if marks and sum(mark.stop - mark.start for mark in more) > share * total:
            break
        marks = more
    return marks
