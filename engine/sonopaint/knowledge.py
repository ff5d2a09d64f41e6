"""What a model knows, and the words of a prompt that it does not know.

A model that learnt a closed list of sounds says so in its configuration, under "knows" (see
``sonotrain.data.knowledge``). Models without that, such as Stable Diffusion's, know what nobody can list: for
them nothing is said.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sonoconvert.checkpoints.files import read_header
from sonoconvert.checkpoints.layouts import CONFIG_KEY
from sonoconvert.errors import SonopaintError

KEY = "knows"
STUDENT = "-one-step"  # what the file of a model's student ends with: it knows the same
NEAREST = 2  # kinds that are named
ALIKE = 0.8  # of two words, for one of them to be a slip of the pen (difflib's ratio)
ARTICLES = ("a", "an", "the", "ein", "eine", "der", "die", "das")
_ASIDE = re.compile(r"<[^>]*>|:[\d.]+\)|[()\[\]\\{}\"“”„_]")  # LoRAs and weights: no words
_LORA = re.compile(r"<lora:([^:>]+)", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
# A sound may follow after these …
_PARTS = re.compile(
    r"[,.;:!?|/&+]|\b(?:and|then|with|while|plus|over|of|like|followed|by|und|mit|AND|BREAK)\b", re.IGNORECASE
)
# … and only a place or a time after these.
_PLACES = frozenset(
    "in inside into on onto at near from under behind beside below above through across during before after "
    "against around along outside toward towards between against for within".split()
)


@dataclass(frozen=True)
class Knowledge:
    """The kinds of sound that a model learnt, and the words that it is called by.

    kinds: {kind: phrases for it}. other: words that name no sound, such as adjectives and places.
    also: {word: kind} for words that the model was found to understand beside its captions'.
    near: {word: kinds that come nearest} for words that people ask for and that it does not know.
    hertz: {kind: (lowest, highest) of its pitch}, of kinds that have one.
    """

    kinds: Mapping[str, Sequence[str]]
    other: frozenset[str]
    also: Mapping[str, str]
    near: Mapping[str, Sequence[str]]
    hertz: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Knowledge | None:
        """What a model's configuration says; None where it says nothing, or nothing that makes sense."""
        told: Any = config.get(KEY)
        try:
            kinds = {str(kind): tuple(says.split("; ")) for kind, says in told["kinds"].items()}
            other = frozenset(told["other"].split())
            also = {word: str(kind) for kind, words in told["also"].items() for word in words.split()}
            near: dict[str, list[str]] = {}
            for kind, words in told["near"].items():
                for word in words.split():
                    near.setdefault(word, []).append(str(kind))
            hertz = {
                str(kind): (float(low), float(high)) for kind, (low, high) in told.get("hertz", {}).items()
            }
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        return cls(kinds, other, also, near, hertz)

    def with_kinds(self, names: Iterable[str]) -> Knowledge:
        """This, and more kinds that are called by their names alone."""
        more = {name: () for name in names if name not in self.kinds}
        return replace(self, kinds={**self.kinds, **more}) if more else self

    # --- words ----------------------------------------------------------------------------------------------

    @cached_property
    def _things(self) -> frozenset[str]:
        """Stems of what kinds are called by: the last word of a name, or what does something in a phrase."""
        found = {_stem(word) for word in self.also}
        for kind, phrases in self.kinds.items():
            for words in map(_words, (kind, *phrases)):
                verb = next((index for index, word in enumerate(words) if index and _does(word)), len(words))
                found |= {_stem(word) for word in words[verb - 1 : verb] if word not in self.other}
        return frozenset(found)

    @cached_property
    def _used(self) -> frozenset[str]:
        """Stems of all words of the captions."""
        return frozenset(
            _stem(word) for kind, says in self.kinds.items() for word in _words(" ".join([kind, *says]))
        )

    @cached_property
    def _ignored(self) -> frozenset[str]:
        return frozenset(map(_stem, self.other))

    def _strange(self, word: str) -> bool:
        """Whether a word is no sound of the model's, is in no caption, and is none that says little."""
        stem = _stem(word)
        if stem in self._things:
            return False
        if word in self.near and not (_does(word) and stem in self._used):
            return True
        return not (stem in self._used or stem in self._ignored or len(word) < 3 or word.endswith("ly"))

    # --- prompts --------------------------------------------------------------------------------------------

    def unknown(self, prompt: str) -> list[str]:
        """What a prompt names that the model never learnt, in the prompt's own words: "a didgeridoo".

        A word that only goes before a known one ("a gorgeous dog") or says where ("in a cave") is not meant.
        """
        found = []
        for part in _parts(prompt):
            words = _words(part)
            known = any(_stem(word) in self._things and not _does(word) for word in words)
            strange = [word for word in words if self._strange(word)]
            if strange and not known:
                found.append(_named(part, strange))
        return list(dict.fromkeys(found))

    def _names_nothing(self, prompt: str) -> bool:
        """Whether no word of a prompt is in a caption, or those that are say little ("a beautiful day")."""
        words = _words(" ".join(_parts(prompt)))
        telling = self._things | (self._used - self._ignored)
        return bool(words) and not any(_stem(word) in telling for word in words)

    def nearest(self, words: str, count: int = NEAREST) -> list[str]:
        """The kinds that come nearest to these words: by what they mean, else by how they are written."""
        stems = {_stem(word) for word in _words(words)}
        meant = [kind for word, kinds in self.near.items() if _stem(word) in stems for kind in kinds]
        if meant:
            return list(dict.fromkeys(meant))[:count]
        marks = {
            kind: max(
                _alike(one, other)
                for one in [word for word in _words(words) if len(word) > 2] or [words]
                for other in _words(" ".join([kind, *phrases]))
            )
            for kind, phrases in self.kinds.items()
        }
        best = sorted(marks, key=lambda kind: -marks[kind])
        slips = [kind for kind in best if marks[kind] >= ALIKE]
        return (slips or best)[:count]

    def kind_of(self, prompt: str) -> str | None:
        """The kind that a prompt names; None where it names none, or several equally well."""
        said = {_stem(word) for word in _words(" ".join(_parts(prompt)))} - self._ignored
        marks = {
            kind: len(said & {_stem(word) for word in _words(" ".join([kind, *phrases]))})
            for kind, phrases in self.kinds.items()
        }
        best = max(marks.values(), default=0)
        found = [kind for kind, mark in marks.items() if mark == best]
        return found[0] if best and len(found) == 1 else None

    def sentence(self, prompt: str, model: str = "mini") -> str:
        """What is said of a prompt that names what the model does not know; empty for one that doesn't.

        LoRAs in the prompt (but for a one-step student) know more than the model: then nothing is said.
        """
        if any(not name.strip().endswith(STUDENT) for name in _LORA.findall(prompt)):
            return ""
        model = "Mini" if model == "mini" else model
        unknown = self.unknown(prompt)
        if not unknown:
            shown = " ".join(_ASIDE.sub(" ", prompt).split())[:60]
            return f"“{shown}” names no sound that {model} knows." if self._names_nothing(prompt) else ""
        near = list(dict.fromkeys(kind for words in unknown for kind in self.nearest(words)))
        return f"{model} does not know {_listed(unknown)}; nearest: {', '.join(near)}."


def knowledge_of(path: str | Path, loras: Iterable[str] = ()) -> Knowledge | None:
    """What the model in a folder or single file knows.

    None where it does not say, and where a LoRA other than its one-step student has taught it more.
    """
    if any(not name.endswith(STUDENT) for name in loras):
        return None
    path = Path(path)
    try:
        if path.is_dir():
            text = (path / "config.json").read_text(encoding="utf-8")
        else:
            text = read_header(path)[1].get(CONFIG_KEY, "")
        config = json.loads(text or "{}")
    except (OSError, ValueError, SonopaintError):
        return None  # whoever loads it says what is wrong with it
    return Knowledge.of(config) if isinstance(config, dict) else None


def _words(text: str) -> list[str]:
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def _parts(prompt: str) -> Iterator[str]:
    """What of a prompt may name a sound: its parts, each up to where it says where or when."""
    for part in _PARTS.split(_ASIDE.sub(" ", prompt)):
        words = part.split()
        place = next((index for index, word in enumerate(words) if word.lower() in _PLACES), len(words))
        if place:
            yield " ".join(words[:place])


def _does(word: str) -> bool:
    return word.endswith(("ing", "ed"))


def _stem(word: str) -> str:
    """A word without its ending: barks, barking, barked → bark."""
    word = word.removesuffix("'s")
    for ending, instead in (("ies", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""), ("e", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending) + instead
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def _alike(one: str, other: str) -> float:
    """How much two words look alike, 0 … 1; letters in another order are a slip of the pen."""
    return 1.0 if sorted(one) == sorted(other) else difflib.SequenceMatcher(None, one, other).ratio()


def _named(part: str, strange: Sequence[str]) -> str:
    """The unknown words of a part as one would say them: with their article, without what they do."""
    things = [word for word in strange if not _does(word)]
    words = part.split()
    if not things:
        return " ".join(words)
    kept = [word for word in words if set(_words(word)) & set(things)]
    return " ".join([*(words[:1] if words[0].lower() in ARTICLES else ()), *kept][:5])


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} or {items[-1]}"
