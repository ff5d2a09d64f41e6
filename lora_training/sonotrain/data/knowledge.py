"""What a model that learnt the foley corpus knows, for its configuration (see ``sonopaint.knowledge``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sonotrain.data.foley import BASE_KINDS, KINDS
from sonotrain.data.foley.phrases import DISTANCE, ROOM
from sonotrain.data.words import ALSO, DESCRIBING, EVERYDAY, FRAMES, NEAR, SOURCES


def knowledge(kinds: Sequence[str] = BASE_KINDS) -> dict[str, Any]:
    """As ``Knowledge.of`` reads it: texts, so that the configuration stays one that people can read.

    {"kinds": {kind: phrases}, "other": words that name no sound, "also": {kind: synonyms that the model
    understands}, "near": {kind: words for which it comes nearest}, "hertz": {kind: [lowest, highest] of its
    pitch}}
    """
    phrases = {
        name.replace("_", " "): sorted(
            {noun.split("|")[1] for noun in KINDS[name].nouns} | {*KINDS[name].doing, *KINDS[name].does}
        )
        for name in kinds
    }
    attributes = [words for pair in (*DISTANCE.values(), *ROOM.values()) for words in pair]
    attributes += [
        words for name in kinds for ends in KINDS[name].traits.values() for end in ends for words in end
    ]
    other = {word for text in (*attributes, *FRAMES) for word in text.replace("{}", "").lower().split()}
    other |= {*EVERYDAY, *DESCRIBING} - set(SOURCES)
    # A kind's own name is a sound: the last word of it, as in "horse hooves" or "fire".
    other -= {words.split()[-1] for name, says in phrases.items() for words in (name,)}
    other -= {noun.split("|")[1].split()[-1] for name in kinds for noun in KINDS[name].nouns}
    other |= {"person", "people", "someone", "child", "children"}
    return {
        "kinds": {kind: "; ".join(says) for kind, says in phrases.items()},
        "other": " ".join(sorted(filter(str.isalpha, other))),
        "also": {kind: words for kind, words in ALSO.items() if kind in phrases},
        "near": {kind: words for kind, words in NEAR.items() if kind in phrases},
        "hertz": {
            name.replace("_", " "): list(KINDS[name].hertz or ()) for name in kinds if KINDS[name].hertz
        },
    }
