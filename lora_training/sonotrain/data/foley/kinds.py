"""The kinds of sound of the foley corpus: how each is made and how people say it (kinds.json)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from . import animals, machines, music, nature, people, vehicles, weapons_scifi
from .draw import Draw

# What a trait is called at its lower and its upper end, as adjective and then as adverb.
Words = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Kind:
    """One kind of sound: its synthesiser and the words for it.

    ``nouns`` carry their article after a bar ("a|dog bark", "|rain"); ``doing`` and ``does`` are the
    same event as "a dog barking" and "a dog barks". ``hertz``: between which its pitch lies, if it has one.
    """

    name: str
    group: str
    make: Callable[[Draw], Tensor]
    nouns: tuple[str, ...]
    doing: tuple[str, ...]
    does: tuple[str, ...]
    traits: dict[str, Words] = field(default_factory=dict)
    hertz: tuple[int, int] | None = None


_TABLE = json.loads(Path(__file__).with_name("kinds.json").read_text(encoding="utf-8"))
_WORDS: dict[str, Words] = {name: tuple(map(tuple, said)) for name, said in _TABLE["words"].items()}
# The function that makes a kind has its name.
_MAKERS = {
    name: made
    for module in (animals, machines, music, nature, people, vehicles, weapons_scifi)
    for name, made in vars(module).items()
    if getattr(made, "__module__", "") == module.__name__
}


def _kind(name: str, row: dict[str, Any]) -> Kind:
    nouns, doing, does = (tuple(row[column].split(";")) for column in ("nouns", "doing", "does"))
    traits = {trait: _WORDS[words] for trait, words in row["traits"].items()}
    hertz = tuple(row["hertz"]) if "hertz" in row else None
    return Kind(name, row["group"], _MAKERS[name], nouns, doing, does, traits, hertz)


KINDS: dict[str, Kind] = {name: _kind(name, row) for name, row in _TABLE["kinds"].items()}
# Kinds that no shipped model is trained on: what LoRA and subject training are tried with.
HELD_OUT = tuple(_TABLE["held_out"])
BASE_KINDS = tuple(name for name in KINDS if name not in HELD_OUT)
