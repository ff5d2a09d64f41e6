"""Words around captions that say nothing about the sound."""

from __future__ import annotations

import random
import re
from itertools import chain
from pathlib import Path

import torch

from sonotrain.data.corpus import Corpus, Record, write_shard
from sonotrain.data.words import FRAMES, SOUNDS
from sonotrain.trainers.mini.phrasings import Phrasings, foley_captions, learn_tokenizer


def test_fillers_stand_around_a_caption_and_say_nothing(tmp_path: Path) -> None:
    records = [Record(["rain", "a siren, then rain"], ["rain"], "single", [])]
    write_shard(tmp_path, 0, {"levels": torch.zeros(1, 128, 320, dtype=torch.uint8)}, records)
    corpus = Corpus(tmp_path)
    tokenizer = learn_tokenizer(corpus, tmp_path / "tokenizer", 2300)
    phrasings = Phrasings(corpus, tokenizer)
    fillers, end = phrasings.fillers(tokenizer), tokenizer.eos_token_id
    said = set(tokenizer(" ".join(phrasings.texts + foley_captions() + SOUNDS)).input_ids)
    marks = {*fillers.colon, *fillers.comma}
    for words in (fillers.words, [fillers.inner], [fillers.last]):
        assert words and not said.intersection(chain.from_iterable(words))
    frames = {word for frame in FRAMES for word in re.findall(r"\w+", frame)}
    everyday = {tokenizer.decode(ids) for ids in fillers.words}
    assert len(everyday) > 100 and not frames & everyday

    ids, rng = phrasings.ids[phrasings.texts.index("rain")], random.Random(3)
    [rain] = ids[1 : int((ids == end).int().argmax())].tolist()
    places = set()
    for _ in range(200):
        more = fillers.around(ids, rng)
        assert more.shape == ids.shape and more[0] == ids[0] and more[-1] == end
        inside = more[1:].tolist()
        inside = inside[: inside.index(end)]
        assert inside.count(rain) == 1 and set(more[len(inside) + 1 :].tolist()) == {end}
        others = [token for token in inside if token != rain and token not in marks]
        assert others and not said.intersection(others)
        places.add((inside[0] == rain, inside[-1] == rain))
    assert places == {(True, False), (False, True), (False, False)}
    full = torch.cat([ids[:1], torch.full((75,), rain), ids[-1:]])
    assert fillers.around(full, rng).shape == full.shape and fillers.around(full, rng)[-1] == end
