"""Captions as tokens: the tokenizer learnt from the corpus, and every phrasing encoded once."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonotrain.data.cache import Corpus
from sonotrain.data.words import WORDS

MAX_LENGTH = 77
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
    from sonotrain.data.foley import KINDS, captions

    rng = random.Random(seed)
    texts = []
    for name, kind in KINDS.items():
        named = ["distant", "close", "hall", "room"]
        named += [f"{trait}-{end}" for trait in kind.traits for end in ("low", "high")]
        for _ in range(each // 4):
            texts += captions.phrasings([name], "single", rng.sample(named, rng.randint(0, 2)), rng)
    return texts


class Phrasings:
    """All captions of a corpus as token ids, each text once.

    `ids`: int64 [texts, 77], padded with the end token; `lengths`: up to and with the end token; text 0 is
    the empty caption. `of_clip[i]`: the texts of clip i.
    """

    def __init__(self, corpus: Corpus, tokenizer: Any) -> None:
        numbers: dict[str, int] = {"": 0}
        self.of_clip = [
            [numbers.setdefault(text, len(numbers)) for text in record.phrasings] for record in corpus.records
        ]
        self.texts = list(numbers)
        self.ids = encode(tokenizer, self.texts)
        end = tokenizer.eos_token_id
        self.lengths = (self.ids == end).int().argmax(1) + 1

    def choose(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """One random phrasing for each clip, as numbers of texts."""
        draws = torch.rand(len(clips), generator=generator).tolist()
        options = [self.of_clip[clip] for clip in clips.tolist()]
        return torch.tensor([o[int(draw * len(o))] for o, draw in zip(options, draws, strict=True)])


def encode(tokenizer: Any, texts: list[str]) -> Tensor:
    """Token ids int64 [texts, 77], cut and padded as CLIP does."""
    batch = tokenizer(texts, padding="max_length", truncation=True, max_length=MAX_LENGTH)
    return torch.tensor(batch.input_ids)
