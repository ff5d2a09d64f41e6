"""Captions of two events, in sequence and at once: are both heard?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonotrain.data.corpus import FORMAT
from sonotrain.trainers.mini.sound_classifier import (
    MIXTURES,
    SoundClassifier,
    load_classifier,
    shipped_classifier,
)
from sonotrain.training.painting import paint, to_sound

FIRST = 3  # kinds that a judge names of a mixture
BATCH = 24


def in_order(
    model: Any,
    classifier: SoundClassifier,
    kinds: Sequence[str],
    count: int,
    seed: int,
    settings: dict[str, Any],
) -> dict[str, float]:
    """Two events in sequence, painted and (as ``real_``…) out of the corpus; see order_heard."""
    from sonotrain.data import foley
    from sonotrain.data.foley import phrases

    if count < 1 or len(kinds) < 2:
        return {}
    rng = random.Random(seed)
    pairs = [rng.sample(list(kinds), 2) for _ in range(count)]
    said = [phrases.pair(foley.KINDS[a], foley.KINDS[b], "sequence", rng) for a, b in pairs]
    fmt, parts = get_format(FORMAT), []
    for first in range(0, count, BATCH):
        pictures = paint(model, said[first : first + BATCH], seed=seed + first, **settings)
        parts.append(levels(to_sound(pictures), fmt))
    real = foley.batch(count, seed, kinds, relations=[("sequence", 1.0)])
    made, best = (
        order_heard(classifier, sounds, wanted)
        for sounds, wanted in ((torch.cat(parts), pairs), (levels(real.waveforms, fmt), real.kinds))
    )
    return {"sequences": count, **made, **{f"real_{name}": share for name, share in best.items()}}


def order_heard(
    classifier: SoundClassifier, sounds: Tensor, pairs: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Shares of `sounds` (levels [N, 128, W]), which ought to be the kinds A then B of `pairs`.

    `order`: "A then B" fits the clip's ends better than "B then A". `both`: the classifier names A in the
    first and B in the last 40 %, out of all kinds.
    """
    first, last = (part.log_softmax(-1) for part in classifier.judge_halves(sounds))
    order = both = 0
    for row, pair in enumerate(pairs):
        i, j = map(classifier.kinds.index, pair)
        order += bool(first[row, i] + last[row, j] > first[row, j] + last[row, i])
        both += bool(first[row].argmax() == i and last[row].argmax() == j)
    return {"order": order / len(pairs), "both": both / len(pairs)}


def judge_of_mixtures(classifier: str | Path = "") -> SoundClassifier:
    """What has learnt to name both of two sounds: the file beside the classifier, else the classifier."""
    path = Path(classifier) if classifier else shipped_classifier()
    beside = (path if path.is_dir() else path.parent) / MIXTURES
    return load_classifier(beside if beside.is_file() else path)[0]


def at_once(
    model: Any, judge: SoundClassifier, kinds: Sequence[str], count: int, seed: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """Two simultaneous sounds: in how many clips both are named, "made" by the model and "real".

    "knows_mixtures": whether the judge has learnt to name two.
    """
    from sonotrain.data import foley

    if count < 1 or len(kinds) < 2:
        return {}
    clips = foley.batch(count, seed + 77, kinds, relations=[("parallel", 1.0)])
    made = to_sound(paint(model, clips.captions, seed=seed + 77, **settings))
    return {
        "clips": count,
        "made": both_named(judge, made, clips.kinds),
        "real": both_named(judge, clips.waveforms, clips.kinds),
        "knows_mixtures": judge.several,
    }


def both_named(judge: SoundClassifier, waveforms: Tensor, pairs: Sequence[Sequence[str]]) -> float:
    """Share of waveforms [N, samples] at 32 kHz whose two kinds are among the judge's first three."""
    named = judge.judge(waveforms)[0].topk(FIRST).indices.tolist()
    heard = [{judge.kinds[index] for index in row} for row in named]
    return sum(set(pair) <= found for pair, found in zip(pairs, heard, strict=True)) / len(pairs)
