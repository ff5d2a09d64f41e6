"""Which candidates are good: neither silent, nor copies, nor something else than the reference.

Two sounds are compared by the sound classifier's features: 1 − their cosine, 0 for the same. What is near and
what is far was measured on the corpus (``python benchmarks/variation_thresholds.py`` prints it): a sound that
only went through a picture and back lies within 0.0005 of itself; of pairs of takes of one and the same dog,
drum or owl, 99 in 100 lie 0.005 apart or more (0.002 where only one second of them is heard); of pairs of
different kinds one in a hundred lies within 0.31, of pairs of one kind nine in ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sonoconvert.defaults import FORMAT
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonopaint.variations.measures import heard

if TYPE_CHECKING:
    from sonopaint.models.sound_classifier import SoundClassifier

COPY = 0.001
DRIFT = 0.31
SURE = 0.8  # the reference's kind is believed from this chance on …
OTHER = 0.5  # … and a candidate's from this: then the two can be different
LEAST_COLUMNS, LONGEST_S = 64, 5.12  # the classifier hears at least 1.02 s (silence follows), and at most


@dataclass(frozen=True)
class Heard:
    """Sounds as the classifier hears them: features [N, 512] of length 1, chances [N, kinds]."""

    features: Tensor
    chances: Tensor
    kinds: Sequence[str]

    def kind(self, index: int) -> tuple[str, float]:
        """The most probable kind of a sound, with its chance."""
        chance, at = self.chances[index].max(dim=0)
        return self.kinds[int(at)].replace("_", " "), float(chance)


class Judge:
    """Hears and compares; the shipped classifier unless another one is given."""

    def __init__(self, classifier: SoundClassifier | None = None) -> None:
        self._given = classifier

    @cached_property
    def classifier(self) -> SoundClassifier:
        if self._given is not None:
            return self._given
        from sonopaint.models.sound_classifier import load_classifier

        return load_classifier()[0]

    @torch.no_grad()
    def hear(self, clips: Sequence[Clip]) -> Heard:
        """Each clip by itself, so that what is heard of one does not depend on the others."""
        fmt = get_format(FORMAT)
        network = self.classifier
        rows = []
        for clip in clips:
            wave = Clip(heard(clip)[None], clip.sample_rate).resampled(fmt.sample_rate).waveform
            wave = wave[:, : round(LONGEST_S * fmt.sample_rate)]
            # Its own width only: what short sounds share in silence would make them all alike.
            columns = max(fmt.frames(wave.shape[1]), LEAST_COLUMNS)
            rows.append(network.features(levels(wave, fmt)[..., :columns]))
        features = torch.cat(rows)
        logits = network.head(features)
        chances = logits.sigmoid() if network.several else logits.softmax(dim=1)
        return Heard(normalize(features, dim=1), chances, network.kinds)

    def guess(self, clip: Clip) -> tuple[str, float]:
        """What a sound is, with its chance: for those who are asked for a class and give none."""
        return self.hear([clip]).kind(0)


def distances(one: Tensor, other: Tensor) -> Tensor:
    """1 − cosine of each feature [N, D] to each of the others [M, D]: [N, M]."""
    return (1 - one @ other.T).clamp_min(0)


def verdict(candidate: Heard, index: int, reference: Heard) -> str:
    """Why a candidate is not good, beside its reference; empty where it is."""
    apart = float(distances(candidate.features[index : index + 1], reference.features)[0, 0])
    if apart < COPY:
        return "a copy of the reference"
    if apart > DRIFT:
        return "drifted too far"
    (own, sure), (other, chance) = reference.kind(0), candidate.kind(index)
    if own != other and sure >= SURE and chance >= OTHER:
        return f"sounds like {other}"
    return ""


def most_different(features: Tensor, reference: Tensor, count: int, most: float | None = None) -> list[int]:
    """Indices of `count` sounds that differ most from each other: farthest point first.

    features: [N, D] of those to choose from; reference: [1, D]. Each next one is the one whose nearest among
    the chosen is farthest, less what its own distance from the reference weighs; that weight grows until the
    chosen are on average no farther from the reference than `most` (default: than all are), so that
    diversity is not bought with drift. No two of the chosen are copies of each other where that can be had.
    """
    own = distances(features, reference)[:, 0]
    between = distances(features, features)
    most = float(own.mean()) if most is None else most
    chosen: list[int] = []
    for weight in (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0):
        chosen = _spread(between, own, min(count, len(own)), weight)
        if float(own[chosen].mean()) <= most + 1e-6:
            break
    return chosen


def _spread(between: Tensor, own: Tensor, count: int, weight: float) -> list[int]:
    chosen = [int(own.argmin())]
    while len(chosen) < count:
        nearest = between[:, chosen].min(dim=1).values
        score = nearest - weight * own - 10.0 * (nearest < COPY)
        score[chosen] = -torch.inf
        chosen.append(int(score.argmax()))
    return sorted(chosen)


def diversity(features: Tensor) -> float:
    """The documents' figure: mean pairwise L2 distance of features [N, D] of length 1; 0 for one sound."""
    return float(torch.pdist(features).mean()) if len(features) > 1 else 0.0


def alignment(features: Tensor, reference: Tensor) -> float:
    """The documents' figure: mean cosine of features [N, D] to the reference's [1, D]."""
    return float((features @ reference.T).mean())
