"""The shipped model says what the corpus teaches it."""

from __future__ import annotations

import random
from pathlib import Path

from sonopaint.knowledge import KEY, Knowledge, knowledge_of
from sonotrain.data.foley import BASE_KINDS, KINDS, phrases
from sonotrain.data.knowledge import knowledge
from sonotrain.data.words import ALSO, FRAMES, NEAR

MINI = Path(__file__).resolve().parents[2] / "weights/mini"


def test_no_caption_of_the_corpus_is_called_unknown() -> None:
    """Nor one among the words that the evaluation puts around it."""
    known = Knowledge.of({KEY: knowledge()})
    assert known is not None
    rng = random.Random(5)
    for name in BASE_KINDS:
        traits = [f"{trait}-{end}" for trait in KINDS[name].traits for end in ("low", "high")]
        for _ in range(25):
            named = rng.sample(["distant", "close", "hall", "room", *traits], rng.randint(0, 2))
            other = rng.choice([kind for kind in BASE_KINDS if kind != name])
            captions = phrases.phrasings([name], "single", named, rng, 1)
            captions += phrases.phrasings([name, other], rng.choice(["parallel", "sequence"]), [], rng, 1)
            for caption in captions:
                said = rng.choice([*FRAMES, "{}"]).format(caption)
                assert known.sentence(said) == "", said


def test_the_shipped_model_says_what_the_corpus_teaches() -> None:
    assert knowledge_of(MINI) == Knowledge.of({KEY: knowledge()}), "export it again, or write its config anew"


def test_near_words_belong_to_kinds() -> None:
    names = {name.replace("_", " ") for name in BASE_KINDS}
    assert set(NEAR) <= names and set(ALSO) <= names
