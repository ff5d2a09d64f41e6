"""What a bench is made of: references, shots, back-ends and a judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

REAL, BASE = "held-out clips", "base"  # the rows of what nobody made, and of a model that learnt nothing
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}  # suffixes; all other files of a bench are sounds


@dataclass(frozen=True)
class Reference:
    """What is learnt from or varied: files of one thing, others of it that are kept back, and its class.

    group: references of one group are also averaged apart from the others.
    """

    name: str
    noun: str
    files: tuple[Path, ...]
    held_out: tuple[Path, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Shot:
    """One output that is asked for. number: 0 is the plain one, 1 … are the bench's prompts (if it has any).

    text: what the back-end is told; words: the same for anybody else, without a token that only it knows.
    """

    number: int
    seed: int
    text: str = ""
    words: str = ""

    @property
    def stem(self) -> str:
        return f"p{self.number:02d}-s{self.seed}"


Make = Callable[[Shot, Path], None]


class BackEnd(Protocol):
    """Whatever makes outputs for a reference: weights that learnt it, a model that varies it, a program.

    suffix: of its files.
    """

    name: str
    suffix: str

    def shots(self, reference: Reference) -> list[Shot]:
        """What it is asked for."""

    def facts(self, reference: Reference) -> dict[str, Any]:
        """What its outputs hang on beside the shots (hashes, settings), JSON-able."""

    def open(self, reference: Reference) -> tuple[Make, dict[str, Any]]:
        """(a function that makes one shot into a file, figures of that such as nfe). Loads what it needs."""

    def cost(self, reference: Reference) -> dict[str, Any]:
        """Figures of what came before, such as minutes of training."""


class Judge(Protocol):
    """Turns files into the figures of a cell (see report.COLUMNS)."""

    def about(self) -> str:
        """Which networks gave the figures."""

    def measure(self, reference: Any, shots: Sequence[Shot], files: Sequence[Path]) -> dict[str, Any]:
        """The figures of one back-end for one reference."""

    def real(self, reference: Any) -> dict[str, Any]:
        """What the reference's held-out files score: the best that can be asked for."""

    def together(
        self, references: Sequence[Any], made: Mapping[str, Sequence[Path]]
    ) -> Mapping[str, Mapping[str, Any]]:
        """{reference: figures} that need what one back-end made for all of them, {reference: files}."""
