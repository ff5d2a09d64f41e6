"""Subjects: one dog, one drum, one owl, of kinds that Mini knows but from outside its training.

A subject is a kind with traits beyond the ends of the corpus, and with all that makes its timbre nearly the
same from clip to clip; when its events come, how many there are and their noise stay free.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .draw import Draw, unit
from .kinds import KINDS

SPREAD = 0.35  # of a parameter's range: what differs between two clips of one subject
TAKES = 0.1  # of a trait's range: between two takes of one thing


@dataclass(frozen=True)
class Subject:
    """What is known of a subject.

    noun: of its class, without an article; ranges: lowest and highest value of each trait
    of the kind; timbre: seed of all that its clips share.
    """

    name: str
    kind: str
    noun: str
    about: str
    ranges: dict[str, tuple[float, float]]
    timbre: int


_ALL = (
    Subject(
        "giant-dog",
        "dog_bark",
        "dog bark",
        "barks at 120 to 140 Hz; the corpus's dogs bark at 220 to 800 Hz",
        {"pitch": (120, 140), "count": (0.25, 0.9)},
        1,
    ),
    Subject(
        "timbale",
        "snare_drum",
        "snare drum",
        "its skin is tuned to 480 to 520 Hz; the corpus's drums have 150 to 260 Hz",
        {"pitch": (480, 520), "rate": (1.6, 3.6)},
        2,
    ),
    Subject(
        "tiny-owl",
        "owl",
        "owl",
        "hoots at 720 to 790 Hz; the corpus's owls hoot at 260 to 460 Hz",
        {"pitch": (720, 790)},
        5,
    ),
)
SUBJECTS: dict[str, Subject] = {subject.name: subject for subject in _ALL}


class SubjectDraw(Draw):
    """The random choices of ``n`` clips of one subject."""

    def __init__(self, subject: Subject, n: int, generator: torch.Generator) -> None:
        super().__init__(n, generator)
        self.subject = subject
        self.shared = torch.Generator().manual_seed(subject.timbre)
        self.free = False

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        own = super().uniform(low, high, *shape)
        if self.free:
            return own
        centre = torch.rand(1, *(shape or (1,)), generator=self.shared)
        return torch.lerp(low + (high - low) * centre, own, SPREAD)

    def trait(self, name: str, low: float, high: float) -> Tensor:
        return super().trait(name, *self.subject.ranges[name])

    def steady(self, rate: Tensor, limit: int, jitter: float = 0.05, start: float = 0.4) -> Tensor:
        self.free = True  # when it begins is no part of who it is
        try:
            return super().steady(rate, limit, jitter, start)
        finally:
            self.free = False


def subject_clips(name: str, n: int, seed: int = 0) -> Tensor:
    """``n`` clips of a subject, float32 ``[n, 163840]`` at 32 kHz, peak 0.97, no two alike."""
    subject = SUBJECTS[name]
    generator = torch.Generator().manual_seed(seed)
    return 0.97 * unit(torch.nan_to_num(KINDS[subject.kind].make(SubjectDraw(subject, n, generator))))


class TakeDraw(SubjectDraw):
    """The random choices of ``n`` takes of one thing of any kind, whose traits are those of its seed."""

    def trait(self, name: str, low: float, high: float) -> Tensor:
        centre = torch.rand(1, generator=self.shared)
        u = torch.lerp(centre, self.rand(1), TAKES)
        self.traits[name] = u[:, 0]
        return low * (high / low) ** u


def takes(kind: str, n: int, seed: int = 0) -> Tensor:
    """``n`` takes of one thing of a kind (`seed` says which), as ``subject_clips``; no two alike."""
    thing = Subject(kind, kind, "", "", {}, seed)
    generator = torch.Generator().manual_seed(seed)
    return 0.97 * unit(torch.nan_to_num(KINDS[kind].make(TakeDraw(thing, n, generator))))
