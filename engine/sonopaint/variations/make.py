"""Makes candidates, fits each to what is kept of the reference, throws bad ones away and chooses."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonopaint.tasks.progress import Progress
from sonopaint.variations.judge import COPY, Judge, alignment, distances, diversity, most_different, verdict
from sonopaint.variations.keep import fitted, like
from sonopaint.variations.measures import is_silent, kept
from sonopaint.variations.protocol import Ask, Candidate, Variator
from sonopaint.variations.reference import checked, in_phase

POOL = 1.5  # good candidates for each one that is asked for, when they are chosen from
MOST = 4  # candidates for each one that is asked for; then there is what there is
PATIENCE = 3  # failures one after the other, after which a back-end is not asked again


@dataclass(frozen=True)
class Variation:
    """A judged candidate.

    clip: as it is handed over. why: why it is not good; empty where it is. figures: JSON-able; likeness (the
    cosine to the reference), sounds_like and its chance, and what ``measures.kept`` says. features: [D] of
    length 1, none for silence. changed, settings: the candidate's.
    """

    clip: Clip
    seed: int
    why: str
    figures: dict[str, Any]
    features: Tensor = field(repr=False, compare=False)
    changed: tuple[tuple[float, float], ...] | None
    settings: dict[str, Any] = field(compare=False)


class Maker:
    """The variations of one reference, made step by step: some, then more where some are rejected.

    choose: whether bad candidates are replaced and the most different of the good are taken; without it, the
    first `ask.count` are what there is.
    Raises SonopaintError for a reference that can't be varied (see ``reference.checked``).
    """

    def __init__(
        self,
        variator: Variator,
        reference: Clip,
        ask: Ask,
        *,
        choose: bool = True,
        judge: Judge | None = None,
    ) -> None:
        self.variator, self.reference, self.ask = variator, checked(reference), ask
        self.choose, self.judge = choose, judge or Judge()
        self.heard = self.judge.hear([reference])
        self.made: list[Variation] = []
        self.rejected: set[int] = set()  # seeds that somebody did not like
        self.failed: list[tuple[int, str]] = []  # (seed, what the back-end said)
        self._seeds: list[int] = []  # of what is chosen
        self._source, self._signs = in_phase(reference)
        self._next = ask.seed

    # --- making ---------------------------------------------------------------------------------------------

    def make(self, progress: Progress | None = None) -> list[Variation]:
        """As many as were asked for, where they can be had.

        Raises SonopaintError where the back-end fails before anything was made; later failures are in
        ``notes``. What was made before Cancelled is kept (``choose_again``).
        """
        count = self.ask.count
        wanted = math.ceil(count * POOL) if self.choose and count > 1 else count
        for _ in self.more(wanted, count * MOST if self.choose else count, progress):
            pass
        if progress:
            progress(1, 1, "Done")
        return self.choose_again()

    def more(self, wanted: int, most: int, progress: Progress | None = None) -> Iterator[Variation]:
        """Go on until there are `wanted` good ones, or `most` in all; each as soon as it is judged.

        The back-end is asked for as many at once as are missing, as some are quicker together.
        """
        failures = 0
        while (missing := wanted - len(self.good())) > 0 and (room := most - self.tried) > 0:
            seeds = range(self._next, self._next + min(missing, room))
            tell = _Share(progress, len(self.good()), len(seeds), wanted)
            try:
                for candidate in self.variator.candidates(self._source, self.ask, seeds, tell):
                    self._next, failures = candidate.seed + 1, 0
                    self.made.append(self.judged(candidate))
                    yield self.made[-1]
            except SonopaintError as error:
                self.failed.append((self._next, str(error)))
                self._next += 1
                failures += 1
                if not self.made:
                    raise
                if failures >= PATIENCE:
                    return

    @property
    def tried(self) -> int:
        """Seeds that were asked for."""
        return len(self.made) + len(self.failed)

    def reject(self, seed: int, progress: Progress | None = None) -> Variation | None:
        """Throw one away; returns what takes its place: a good one that is left over, else one made anew."""
        self.rejected.add(seed)
        self._seeds = [one for one in self._seeds if one != seed]
        if len(self.good()) < self.ask.count:
            most = self.tried + (MOST if self.choose else 1)
            for _ in self.more(self.ask.count, most, progress):
                pass
        held = self.chosen()
        rest = [one for one in self.good() if one.seed not in self._seeds]
        if not rest:
            return None
        far = [min((_apart(one.features, other.features) for other in held), default=0.0) for one in rest]
        new = rest[far.index(max(far))] if self.choose else rest[0]
        self._seeds.append(new.seed)
        return new

    def adopt(self, clip: Clip, seed: int) -> None:
        """Take over one that was made and chosen earlier, as it is; what is made next has later seeds."""
        self.made.append(replace(self.judged(Candidate(clip, seed, ())), why=""))
        self._seeds.append(seed)
        self._next = max(self._next, seed + 1)

    def judged(self, candidate: Candidate) -> Variation:
        """The candidate as it would be handed over, with its figures."""
        clip, seed = candidate.clip, candidate.seed
        more: dict[str, Any] = {"changed": candidate.changed, "settings": candidate.settings}
        if is_silent(clip.waveform):
            why = "silent" if bool(torch.isfinite(clip.waveform).all()) else "not a number"
            return Variation(clip, seed, why, {}, torch.zeros(0), **more)
        if candidate.changed is None:
            clip = fitted(clip, self._source, self.ask.keep)
        else:  # all but a piece is the reference's own, and stays so
            clip = like(clip, self._source)
        clip = replace(clip, waveform=clip.waveform * self._signs, subtype=self.reference.subtype)
        heard = self.judge.hear([clip])
        kind, chance = heard.kind(0)
        figures = {
            "likeness": round(alignment(heard.features, self.heard.features), 4),
            "sounds_like": kind,
            "chance": round(chance, 3),
            **kept(clip, self.reference),
        }
        why = verdict(heard, 0, self.heard)
        near = [
            one.seed for one in self.made if not one.why and _apart(one.features, heard.features[0]) < COPY
        ]
        if not why and near:
            why = f"a copy of seed {near[0]}"
        return Variation(clip, seed, why, figures, heard.features[0], **more)

    # --- choosing -------------------------------------------------------------------------------------------

    def good(self) -> list[Variation]:
        """Those that may be handed over: without choosing, all that nobody rejected."""
        return [one for one in self.made if one.seed not in self.rejected and not (self.choose and one.why)]

    def chosen(self) -> list[Variation]:
        """What is handed over, by seed."""
        return [one for one in self.made if one.seed in self._seeds]

    def choose_again(self) -> list[Variation]:
        """Choose from all that there are: with choosing on, the most different of the good."""
        good, count = self.good(), self.ask.count
        if self.choose and len(good) > count:
            features = torch.stack([one.features for one in good])
            good = [good[index] for index in most_different(features, self.heard.features, count)]
        self._seeds = [one.seed for one in good[:count]]
        return self.chosen()

    # --- what there is to say -------------------------------------------------------------------------------

    def figures(self, variations: Sequence[Variation]) -> dict[str, Any]:
        """Of a set: diversity (mean pairwise L2), alignment (mean cosine), why candidates were left out."""
        heard = [one.features for one in variations if len(one.features)]
        left: dict[str, int] = {}
        for why in (one.why for one in self.made if one.why):
            why = "a copy of another" if why.startswith("a copy of seed") else why
            left[why] = left.get(why, 0) + 1
        told: dict[str, Any] = {"count": len(variations), "candidates": len(self.made), "left_out": left}
        if heard:
            features = torch.stack(heard)
            told["diversity"] = round(diversity(features), 4)
            told["alignment"] = round(alignment(features, self.heard.features), 4)
        return told

    def notes(self, variations: Sequence[Variation]) -> list[str]:
        """What a person should hear of, in sentences."""
        told = []
        if len(variations) < self.ask.count:
            left = self.figures([])["left_out"]
            why = "; ".join(f"{count} {reason}" for reason, count in left.items())
            told.append(
                f"Only {len(variations)} of {self.ask.count} variations were good enough"
                f"{f' ({why})' if why else ''}; try another strength or other words."
            )
        if self.failed:
            told.append(f"{len(self.failed)} could not be made: {self.failed[-1][1]}")
        return told

    def said(self, variations: Sequence[Variation]) -> list[str]:
        """How good a set is, in a line, and its notes."""
        facts = self.figures(variations)
        line = (
            f"{facts['count']} of {facts['candidates']} candidates; "
            f"diversity {facts.get('diversity', 0):.2f}, alignment {facts.get('alignment', 0):.2f}."
        )
        return [line, *self.notes(variations)]


def _apart(one: Tensor, other: Tensor) -> float:
    return float(distances(one[None], other[None])[0, 0])


class _Share:
    """The progress of `count` candidates as that of all `wanted`, of which `done` are there."""

    def __init__(self, progress: Progress | None, done: int, count: int, wanted: int) -> None:
        self.progress, self.done, self.count = progress, done, count
        self.wanted = max(wanted, done + count)

    def __call__(self, step: int, total: int, message: str) -> None:
        if self.progress and message != "Done":
            done = self.done + self.count * (min(step / total, 1.0) if total else 0.0)
            number = min(int(done) + 1, self.wanted)
            self.progress(round(1000 * done), 1000 * self.wanted, f"Variation {number}: {message}")
