"""Swaps: one level from another sound, the target; what of the result is then the target's."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sonoconvert.files.clip import Clip
from sonopaint.models.blend.pyramid import fine_mel
from sonotrain.data.scales.kept import Kept, even
from sonotrain.evaluation.blend.coders import Coder
from sonotrain.evaluation.blend.heard import alike, curves, melody_f1, same_pitch
from sonotrain.evaluation.blend.timbre import Timbre, similarity
from sonotrain.evaluation.embeddings.base import Embedding
from sonotrain.evaluation.hearing import waves

# Which attributes are asked of which sounds.
ATTRIBUTES = {
    "notes": ("pitch", "timbre", "loudness"),
    "melodies": ("melody", "timbre", "loudness"),
    "corpus": ("kind", "timbre", "loudness", "brightness"),
}
NOTHING, WHOLE = "not at all", "reconstructed"  # of the target: the floor and the ceiling


@dataclass(frozen=True)
class Pair:
    """Numbers of kept sounds: what most is of, and whose level is taken."""

    base: int
    target: int


@dataclass(frozen=True)
class Swapped:
    """Means over pairs. scores[way][attribute]: for a level, NOTHING (the base itself) and WHOLE.

    clips: what was reconstructed of the targets.
    """

    scores: dict[str, dict[str, float]]
    clips: list[Clip]


def pairs_of(data: Kept, numbers: Sequence[int], count: int, seed: int) -> list[Pair]:
    """Of different kinds, and of different pitch where it is known; no target twice if they are enough."""
    rng, found = random.Random(seed), []
    targets = list(numbers)
    rng.shuffle(targets)
    for target in (targets * count)[:count]:
        labels = data.labels[target]
        others = [
            n
            for n in numbers
            if data.labels[n].kind != labels.kind
            and (labels.pitch < 0 or data.labels[n].pitch != labels.pitch)
        ]
        if others:
            found.append(Pair(rng.choice(others), target))
    return found


def swap(
    coder: Coder, data: Kept, group: str, pairs: Sequence[Pair], judge: Judge, seed: int, steps: int
) -> Swapped:
    """Each level of the bases swapped for the targets', and the targets made again."""
    bases, targets = [pair.base for pair in pairs], [pair.target for pair in pairs]
    own, theirs = coder.codes(data, bases), coder.codes(data, targets)
    ways = {WHOLE: theirs}
    if len(coder.levels) > 1:
        ways |= {level: own | {level: theirs[level]} for level in coder.levels}
    scores: dict[str, dict[str, float]] = {}
    clips: dict[str, list[Clip]] = {}
    for way, codes in ways.items():
        clips[way] = coder.sounds(codes, seed, steps)
        scores[way] = judge.scores(group, clips[way], targets)
    scores[NOTHING] = judge.scores(group, judge.sounds(bases), targets)
    return Swapped(scores, clips[WHOLE])


class Judge:
    """What hears: curves, a triplet network, an embedding. sounds: of kept numbers.

    seconds: of a sound.
    """

    def __init__(self, data: Kept, timbre: Timbre, hear: Embedding, sound: Callable[[int], Clip]) -> None:
        self.data, self.timbre, self.hear, self.sound = data, timbre, hear, sound
        self.seconds = float(data.settings["seconds"])
        self._curves: dict[int, dict[str, np.ndarray]] = {}

    def sounds(self, numbers: Sequence[int]) -> list[Clip]:
        return [self.sound(number) for number in numbers]

    def curves_of(self, number: int) -> dict[str, np.ndarray]:
        if number not in self._curves:
            self._curves[number] = curves(self.sound(number))
        return self._curves[number]

    def waves(self, clips: Sequence[Clip]) -> Tensor:
        """[N, samples] as the embedding wants them."""
        return waves(clips, self.hear.sample_rate, round(self.seconds * self.hear.sample_rate))

    def mels(self, clips: Sequence[Clip]) -> Tensor:
        """Fine mels at the level that sounds are kept at."""
        return torch.stack([fine_mel(even(clip, self.seconds), self.seconds) for clip in clips])

    def scores(self, group: str, clips: Sequence[Clip], targets: Sequence[int]) -> dict[str, float]:
        """Mean of each of the group's attributes, beside the targets'."""
        found: dict[str, list[float]] = defaultdict(list)
        names = ATTRIBUTES[group]
        heard = [curves(clip) for clip in clips]
        for one, target in zip(heard, targets, strict=True):
            labels = self.data.labels[target]
            if "pitch" in names:
                found["pitch"].append(same_pitch(one, labels.pitch))
            if "melody" in names:
                found["melody"].append(melody_f1(one, labels.notes))
            for name in ("loudness", "brightness"):
                if name in names:
                    found[name].append(alike(one, self.curves_of(target), name))
        mels, theirs = self.mels(clips), self.data.mel[list(targets)]
        width = min(mels.shape[-1], theirs.shape[-1])
        found["timbre"] = similarity(self.timbre, mels[..., :width], theirs[..., :width]).tolist()
        if "kind" in names and self.hear.kinds:
            said = self.hear(self.waves(clips)).logits
            assert said is not None
            told = [self.hear.kinds[number] for number in said.argmax(1).tolist()]
            found["kind"] = [
                float(one == self.data.labels[target].kind) for one, target in zip(told, targets, strict=True)
            ]
        return {name: float(np.mean(found[name])) for name in names if name in found}


def share(scores: dict[str, dict[str, float]], way: str, attribute: str) -> float:
    """How much of an attribute came along: 0 what the base has, 1 what reconstructing gives.

    NaN where reconstructing gives hardly more than the base has.
    """
    floor, whole = scores[NOTHING][attribute], scores[WHOLE][attribute]
    return (scores[way][attribute] - floor) / (whole - floor) if whole - floor > 0.1 else float("nan")
