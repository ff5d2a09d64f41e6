"""What people would type for a clip: nouns, verbs, attributes, and two events at once or in turn."""

from __future__ import annotations

import random
from collections.abc import Sequence

from .kinds import KINDS, Kind

DISTANCE = {"distant": ("distant", "in the distance"), "close": ("close", "close up")}
ROOM = {"hall": ("echoing", "in a large hall"), "room": ("", "in a small room")}


def _attribute_words(
    kind: Kind, attributes: Sequence[str], rng: random.Random
) -> tuple[list[str], list[str]]:
    """Adjectives and adverbs for attributes such as ``"pitch-low"``, ``"distant"``, ``"hall"``."""
    adjectives: list[str] = []
    adverbs: list[str] = []
    for attribute in attributes:
        if attribute in DISTANCE or attribute in ROOM:
            adjective, adverb = DISTANCE.get(attribute) or ROOM[attribute]
            if adjective:
                adjectives.insert(0, adjective)
            adverbs.append(adverb)
        else:
            name, end = attribute.split("-")
            low, high, low_adverb, high_adverb = kind.traits[name]
            adjectives.append(rng.choice(low if end == "low" else high))
            adverbs.append(rng.choice(low_adverb if end == "low" else high_adverb))
    return adjectives, adverbs


def _noun(kind: Kind, adjectives: Sequence[str], rng: random.Random) -> str:
    article, noun = rng.choice(kind.nouns).split("|")
    words = ", ".join(adjectives) + (" " if adjectives else "") + noun
    return with_article(words) if article else words


def with_article(words: str) -> str:
    """A noun, with its adjectives, behind "a" or "an"."""
    return f"{'an' if words[:1].lower() in 'aeiou' else 'a'} {words}"


def single(kind: Kind, attributes: Sequence[str], rng: random.Random) -> str:
    """One phrasing of one event, with its attributes in words (all of them, or none)."""
    adjectives, adverbs = _attribute_words(kind, attributes, rng)
    style = rng.random()
    if style < 0.4:
        return _noun(kind, adjectives, rng)
    if style < 0.55:
        return f"the sound of {_noun(kind, adjectives, rng)}"
    clause = rng.choice(kind.doing if style < 0.85 else kind.does)
    return " ".join([clause, *adverbs])


def pair(first: Kind, second: Kind, relation: str, rng: random.Random) -> str:
    """One phrasing of two events: ``relation`` is "parallel" or "sequence" (first comes first)."""
    a_noun, b_noun = _noun(first, (), rng), _noun(second, (), rng)
    a_doing, b_doing = rng.choice(first.doing), rng.choice(second.doing)
    a_does, b_does = rng.choice(first.does), rng.choice(second.does)
    if relation == "sequence":
        return rng.choice(
            [
                f"{a_does}, then {b_does}",
                f"{a_noun} followed by {b_noun}",
                f"{a_doing} followed by {b_doing}",
                f"first {a_noun}, then {b_noun}",
                f"{a_doing}, then {b_doing}",
                f"{a_noun} and then {b_noun}",
            ]
        )
    return rng.choice(
        [
            f"{a_doing} while {b_does}",
            f"{a_noun} with {b_noun} in the background",
            f"{a_doing} and {b_doing}",
            f"{a_noun} and {b_noun} at the same time",
            f"{a_noun} with {b_noun}",
        ]
    )


def phrasings(
    kinds: Sequence[str], relation: str, attributes: Sequence[str], rng: random.Random, count: int = 4
) -> list[str]:
    """``count`` ways to say the same clip."""
    if relation == "single":
        return [single(KINDS[kinds[0]], attributes, rng) for _ in range(count)]
    return [pair(KINDS[kinds[0]], KINDS[kinds[1]], relation, rng) for _ in range(count)]
