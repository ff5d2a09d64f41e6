"""Measures of generated sounds as plain functions over features [N, D], logits [N, C] and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

KL_EPSILON = 1e-6  # what AudioLDM's evaluation adds to the generated clip's probabilities


def inception_score(logits: Tensor, *, splits: int = 10, seed: int = 2020) -> tuple[float, float]:
    """exp(mean KL(p(y|x) ‖ p(y))) over each split: (mean, standard deviation) (Salimans et al. 2016).

    Softmax over `logits` [N, C], clips shuffled by NumPy's RandomState(seed), as AudioLDM's evaluation does.
    From 1 (all clips alike, or no class certain) to min(C, N / splits). Raises ValueError where N < splits.
    """
    count = len(logits)
    if not 1 <= splits <= count:
        raise ValueError(f"{count} clips can't be split into {splits} parts.")
    order = torch.from_numpy(np.random.RandomState(seed).permutation(count))
    log_p = logits.double()[order].log_softmax(1)
    scores = []
    for part in range(splits):
        mine = log_p[part * count // splits : (part + 1) * count // splits]
        marginal = mine.exp().mean(0, keepdim=True)
        divergence = torch.where(mine.exp() > 0, mine.exp() * (mine - marginal.log()), 0.0).sum(1)
        scores.append(divergence.mean().exp().item())
    return float(np.mean(scores)), float(np.std(scores))


def kl_softmax(generated: Tensor, reference: Tensor, epsilon: float = KL_EPSILON) -> Tensor:
    """KL(reference ‖ generated) [N] of each pair of clips, from their logits [N, C], softmax over classes.

    AudioGen's and AudioLDM's figure. The latter's `epsilon` limits what one class may cost, and makes equal
    clips score −C·epsilon at the lowest; 0 gives the exact divergence.
    """
    log_p = reference.double().log_softmax(1)
    if epsilon:
        log_q = (generated.double().softmax(1) + epsilon).log()
    else:
        log_q = generated.double().log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def kl_sigmoid(generated: Tensor, reference: Tensor, epsilon: float = KL_EPSILON) -> Tensor:
    """The same with one sigmoid per class [N], AudioLDM's second figure.

    Its sums are no divergence of distributions (classes don't add up to 1), so it can be below 0.
    """
    p = reference.double().sigmoid()
    return (p * (F.logsigmoid(reference.double()) - (generated.double().sigmoid() + epsilon).log())).sum(1)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine similarity of each pair of rows [N, D] and [N, D] → [N]: CLAP score, alignment."""
    return F.cosine_similarity(a.double(), b.double(), dim=1)


def similarities(a: Tensor, b: Tensor) -> Tensor:
    """Cosine similarity of all rows [N, D] to all rows [M, D] → [N, M]."""
    return F.normalize(a.double(), dim=1) @ F.normalize(b.double(), dim=1).T


def diversity(features: Tensor, *, measure: str = "cosine") -> float:
    """Mean distance of all pairs of clips [N, D], N ≥ 2; 0 where all are the same.

    `measure`: "cosine" (1 − similarity, 0 … 2) or "l2" (Euclidean).
    """
    count = len(features)
    if count < 2:
        raise ValueError("Diversity needs at least two clips.")
    if measure == "l2":
        return F.pdist(features.double()).mean().item()
    return 1.0 - ((similarities(features, features).sum() - count) / (count * (count - 1))).item()


@dataclass(frozen=True)
class Nearest:
    """How near each generated clip is to the reference clip that is nearest to it.

    distance: cosine distance [N]; index: which reference clip [N]. typical: median distance between a
    reference clip and its own nearest neighbour. close: share of generated clips that are nearer than 95 %
    of the reference clips are to theirs: about 0.05 for new clips of the same kind, near 1 for recited ones.
    """

    distance: Tensor
    index: Tensor
    typical: float
    close: float


CLOSE = 0.05  # of the reference's own neighbours lie nearer than what counts as close


def nearest(generated: Tensor, reference: Tensor) -> Nearest:
    """Nearest-reference distances of features [N, D] from [M, D], M ≥ 2: a check for memorisation."""
    if len(reference) < 2:
        raise ValueError("A check for copies needs at least two reference clips.")
    distance, index = (1.0 - similarities(generated, reference)).clamp_min(0.0).min(1)
    among = (1.0 - similarities(reference, reference)).clamp_min(0.0)
    neighbours = among.fill_diagonal_(float("inf")).min(1).values
    close = (distance < neighbours.quantile(CLOSE)).double().mean().item()
    return Nearest(distance, index, neighbours.median().item(), close)


def found(logits: Tensor, kinds: Sequence[str], wanted: str) -> float:
    """Share of clips [N, C] that the classifier, which knows `kinds`, calls `wanted` (0 … 1)."""
    if wanted not in kinds:
        raise ValueError(f"The classifier does not know {wanted!r}.")
    return (logits.argmax(1) == list(kinds).index(wanted)).double().mean().item()


def top1(guesses: Sequence[str], labels: Sequence[str]) -> float:
    """Share of clips whose guess is their label."""
    return sum(a == b for a, b in zip(guesses, labels, strict=True)) / max(1, len(labels))


def guesses(logits: Tensor, kinds: Sequence[str]) -> list[str]:
    """The most probable kind of each clip [N, C]."""
    return [kinds[index] for index in logits.argmax(1).tolist()]


def confusion(guesses: Sequence[str], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """{label: {guess: clips}}, guesses most frequent first, labels in their order of appearance."""
    counts: dict[str, Counter[str]] = {}
    for label, guess in zip(labels, guesses, strict=True):
        counts.setdefault(label, Counter())[guess] += 1
    return {label: dict(counter.most_common()) for label, counter in counts.items()}


def taken_for(counts: Mapping[str, int], label: str) -> str:
    """What the clips of `label` are most often taken for instead; empty where they never are."""
    wrong = {name: count for name, count in counts.items() if name != label}
    return max(wrong, key=lambda name: wrong[name]) if wrong else ""
