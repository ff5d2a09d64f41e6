"""The nouns of variations, and the protocol of what makes them.

A Variator makes one candidate for each seed that it is given; everything else (what is kept of the reference,
which candidates are copies or have drifted, which of the others are handed over) is the same for all of them:
``keep``, ``judge`` and ``make``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sonoconvert.errors import SonopaintError, setting
from sonopaint.tasks.progress import Progress
from sonopaint.tasks.settings import MAX_SEED

if TYPE_CHECKING:
    from sonoconvert.edits.region import Span
    from sonoconvert.files.clip import Clip

MAX_COUNT = 200  # more than anybody listens through
COUNT, STRENGTH = 10, 0.6  # the documents' N, and the middle of what they call the best compromise (0.6–0.9)


@dataclass(frozen=True)
class Keep:
    """What of the reference every variation keeps; each is done to the candidate, and measured after.

    length: to the sample. loudness: integrated (BS.1770), to 0.1 LU. onset: the first sound, to the sample.
    envelope: how loud it is over time. pitch: the fundamental, where there is one.
    """

    length: bool = True
    loudness: bool = True
    onset: bool = True
    envelope: bool = False
    pitch: bool = False

    @classmethod
    def of(cls, names: Collection[str]) -> Keep:
        """What is named, and nothing else. SonopaintError for what can't be kept."""
        if wrong := sorted(set(names) - {*KEEPS, "nothing"}):
            raise SonopaintError(f"{setting('keep')} knows {', '.join(KEEPS)}, not {wrong[0]!r}.")
        return cls(**{name: name in names for name in KEEPS})


KEEPS = tuple(item.name for item in fields(Keep))
KEPT = tuple(item.name for item in fields(Keep) if item.default)  # where nobody says


@dataclass(frozen=True)
class Ask:
    """What variations are asked for.

    kind: what the reference is, in words ("footsteps"). count: how many, 1 … 200. strength: above 0 and up
    to 1, how far from the reference; what it does is each back-end's own. seed: candidate i has seed + i.
    text: what they are to become instead of `kind` (style transfer). keep: see Keep.

    Raises SonopaintError when a value makes no sense.
    """

    kind: str = ""
    count: int = COUNT
    strength: float = STRENGTH
    seed: int = 0
    text: str = ""
    keep: Keep = field(default_factory=Keep)

    def __post_init__(self) -> None:
        _whole("count", self.count, 1, MAX_COUNT)
        _whole("seed", self.seed, 0, MAX_SEED)
        strength: object = self.strength
        number = isinstance(strength, (int, float)) and not isinstance(strength, bool)
        if not number or not math.isfinite(self.strength):
            raise SonopaintError(f"{setting('strength')} must be a number from 0 to 1, not {strength!r}.")
        if not 0 < self.strength <= 1:
            raise SonopaintError(
                f"{setting('strength')} must be above 0 (which would only copy the reference) and up to 1 "
                f"(which leaves hardly anything of it), not {self.strength:g}."
            )

    @property
    def prompt(self) -> str:
        """What a model is told."""
        return self.text or self.kind


@dataclass(frozen=True)
class Candidate:
    """What a back-end made for one seed.

    clip: of any rate, channels and length (they are brought to the reference's after). changed: the times
    (start_s, end_s) in which it may differ from the reference; None: everywhere. settings: JSON-able, what
    made it, beside what ``Variator.describe`` says.
    """

    clip: Clip
    seed: int
    changed: tuple[Span, ...] | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Variator(Protocol):
    """Makes candidates: a model, or any other program."""

    name: str  # for files and tables: "mini", "masked", "one-step", "stable-audio-open", "command"

    def candidates(
        self, reference: Clip, ask: Ask, seeds: Sequence[int], progress: Progress | None = None
    ) -> Iterator[Candidate]:
        """One candidate for each seed, in their order, each as soon as it is finished.

        A seed's candidate doesn't depend on which others are asked for; `ask.count`, `ask.seed` and
        `ask.keep` are not looked at. ``progress`` may raise Cancelled. Raises SonopaintError where no more
        can be made.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What makes them, JSON-able: model, hash, settings."""
        ...


def _whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SonopaintError(f"{setting(name)} must be a whole number from {low} to {high}, not {value!r}.")
