"""The corpus's captions: the tokenizer learnt from them, every phrasing encoded once, filler words."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonotrain.data.corpus import Corpus
from sonotrain.data.words import EVERYDAY, FRAMES, SOUNDS, WORDS
from sonotrain.training.inputs.tokens import Captions, encode

WORD_WEIGHT = 40  # how often each everyday word is shown, so that it becomes one token


def learn_tokenizer(corpus: Corpus, folder: Path, vocab_size: int) -> Any:
    """Learns a BPE on the corpus's captions, on captions of all kinds, and on everyday English."""
    from sonopaint.models.tokenizer import load_tokenizer, train_tokenizer

    texts = [text for record in corpus.records for text in record.phrasings]
    texts += foley_captions() + WORDS * WORD_WEIGHT
    train_tokenizer(texts, folder, vocab_size)
    return load_tokenizer(folder)


def foley_captions(each: int = 40, seed: int = 0) -> list[str]:
    """Captions of all kinds, those that the base model is not trained on included."""
    from sonotrain.data.foley import KINDS, phrases

    rng = random.Random(seed)
    texts = []
    for name, kind in KINDS.items():
        named = ["distant", "close", "hall", "room"]
        named += [f"{trait}-{end}" for trait in kind.traits for end in ("low", "high")]
        for _ in range(each // 4):
            texts += phrases.phrasings([name], "single", rng.sample(named, rng.randint(0, 2)), rng)
    return texts


class Phrasings(Captions):
    """All captions of a corpus; `lengths`: of each text in tokens, the end token included."""

    def __init__(self, corpus: Corpus, tokenizer: Any) -> None:
        super().__init__(tokenizer, [record.phrasings for record in corpus.records])
        self.lengths = (self.ids == tokenizer.eos_token_id).int().argmax(1) + 1

    def first(self, clips: int) -> Tensor:
        """Token ids [clips, 77] of the captions of the first so many clips."""
        return self.ids[[numbers[0] for numbers in self.of_clip[:clips]]]

    def fillers(self, tokenizer: Any) -> Fillers:
        """Words that no caption holds and that name no sound."""
        said = torch.cat([self.ids, encode(tokenizer, foley_captions() + SOUNDS)]).unique()
        return Fillers(tokenizer, set(said.tolist()))


class Fillers:
    """Words that say nothing about the sound, as token ids: everyday words, and words made of random pieces.

    People write more than a sound's name ("my recording of …, best quality"), and a word that was never seen
    would change the sound. The words of the evaluation's frames are left out, so that it goes on judging
    with unseen captions.

    `said`: the token ids that captions are made of; none of them is in a filler.
    """

    def __init__(self, tokenizer: Any, said: set[int]) -> None:

        judged = set(re.findall(r"\w+", " ".join(FRAMES)))
        everyday = [word for word in EVERYDAY if word not in judged]
        tokens = tokenizer(everyday, add_special_tokens=False).input_ids
        self.words = [ids for ids in tokens if not said.intersection(ids)]
        self.colon, self.comma = (tokenizer(mark, add_special_tokens=False).input_ids for mark in ":,")
        pieces = {
            token: number
            for token, number in sorted(tokenizer.get_vocab().items())
            if number not in said
            and token.isascii()
            and token.islower()
            and token.removesuffix("</w>").isalpha()
        }
        self.inner = [number for token, number in pieces.items() if not token.endswith("</w>")]
        self.last = [number for token, number in pieces.items() if token.endswith("</w>")]

    def around(self, ids: Tensor, rng: random.Random) -> Tensor:
        """A caption's ids, int64 [77], with one to three such words before it, behind it, or on both sides.

        Cut and padded as `encode` does.
        """
        end = int(ids[-1])
        start, *caption = ids[ids != end].tolist()
        before = behind = []
        sides = rng.random()
        if sides < 0.6:
            before = self._words(rng) + rng.choice([[], self.colon])
        if sides > 0.4:
            behind = rng.choice([[], self.comma]) + self._words(rng)
        kept = [start, *before, *caption, *behind][: len(ids) - 1]
        return torch.tensor(kept + [end] * (len(ids) - len(kept)))

    def _words(self, rng: random.Random) -> list[int]:
        found: list[int] = []
        for _ in range(rng.randint(1, 3)):
            if self.words and rng.random() < 0.5:
                found += rng.choice(self.words)
            else:
                found += rng.choices(self.inner, k=rng.randint(1, 3)) + [rng.choice(self.last)]
        return found
