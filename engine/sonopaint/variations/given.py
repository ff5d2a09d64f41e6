"""Candidates that somebody else has made: chosen from as any others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sonoconvert.errors import SonopaintError
from sonopaint.tasks.progress import Progress, silent
from sonopaint.variations.judge import Judge
from sonopaint.variations.make import Maker
from sonopaint.variations.protocol import Ask, Candidate

if TYPE_CHECKING:
    from sonoconvert.files.clip import Clip


class GivenVariator:
    """A list of clips; the seed of each is its place, from 0 on."""

    name = "given"

    def __init__(self, clips: Sequence[Clip]) -> None:
        self.clips = clips

    def candidates(
        self, reference: Clip, ask: Ask, seeds: Sequence[int], progress: Progress | None = None
    ) -> Iterator[Candidate]:
        """See Variator."""
        tell = progress or silent
        for index, seed in enumerate(seeds):
            tell(index, len(seeds), "Listening")
            if seed >= len(self.clips):
                raise SonopaintError(f"There are only {len(self.clips)} candidates; make more of them.")
            yield Candidate(self.clips[seed], seed)

    def describe(self) -> dict[str, Any]:
        """See Variator."""
        return {"variator": self.name, "candidates": len(self.clips)}


def chosen_of(
    clips: Sequence[Clip],
    reference: Clip,
    ask: Ask,
    *,
    choose: bool = True,
    judge: Judge | None = None,
    progress: Progress | None = None,
) -> Maker:
    """All of them judged, and up to `ask.count` chosen (``Maker.chosen``); `ask.seed` must be 0.

    Raises SonopaintError for a reference that can't be varied, and where no candidate is good.
    """
    maker = Maker(GivenVariator(clips), reference, ask, choose=choose, judge=judge)
    for _ in maker.more(len(clips), len(clips), progress):
        pass
    if not maker.choose_again():
        left = "; ".join(f"{count} {why}" for why, count in maker.figures([])["left_out"].items())
        raise SonopaintError(
            f"None of the {len(clips)} candidates can be handed over ({left}); try another strength or other "
            "words."
        )
    return maker
