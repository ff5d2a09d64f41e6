"""Figures of a bench as plain functions over features: identity, diversity, copies."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sonotrain.evaluation.metrics import similarities

COPY = 0.5  # of the references' own smallest distance, above which nothing is a copy
COPIED_SOUND = 0.075  # pattern distance: most copies through Mini's VAE lie below, 2 % of new clips
COPIED_PICTURE = 0.1  # cosine distance of DINO features; a choice
TOLERATED = 0.1  # share of clips that may look like copies before the method is said to memorise
SHIFTS = 48  # columns (0.77 s) by which a clip is moved to find what it was copied from

Distances = Callable[[Tensor, Tensor], Tensor]


def identity(generated: Tensor, reference: Tensor) -> float:
    """Mean cosine similarity of all generated [N, D] and reference [M, D] features (DINO, CLIP-I)."""
    return similarities(generated, reference).mean().item()


def by_prompt(generated: Tensor, reference: Tensor, prompts: Sequence[int]) -> float:
    """Identity per prompt, then the mean over prompts, as Uni-DAD's released code averages."""
    owner = torch.tensor(list(prompts))
    each = [identity(generated[owner == prompt], reference) for prompt in sorted(set(prompts))]
    return statistics.fmean(each)


def embedding_distances(a: Tensor, b: Tensor) -> Tensor:
    """Cosine distances [N, M] of features [N, D] and [M, D]."""
    return (1.0 - similarities(a, b)).clamp_min(0.0)


def mel_distances(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute differences [N, M] of log-mel pictures [N, F, T] and [M, F, T], in their unit."""
    return torch.stack([(row[None] - b).abs().mean((1, 2)) for row in a])


def pattern_distances(a: Tensor, b: Tensor) -> Tensor:
    """1 − correlation [N, M] of mel pictures, levels [N, F, T] and [M, F, T] in 0 … 1 of 80 dB, with each of
    `a` moved in time to where it fits best (circularly, up to SHIFTS columns).

    Of amplitudes to the power 0.3, so that neither a noise floor nor the loudest partial decides.
    """
    a, b = (10 ** (0.3 * 80 / 20 * x) for x in (a, b))

    def normal(pictures: Tensor) -> Tensor:
        flat = pictures.flatten(1).double()
        return F.normalize(flat - flat.mean(1, keepdim=True), dim=1)

    other = normal(b).T
    shifts = range(-SHIFTS, SHIFTS + 1, 2)
    return torch.stack([1.0 - normal(a.roll(shift, 2)) @ other for shift in shifts]).amin(0)


def intra(distances: Tensor, prompts: Sequence[int]) -> list[float]:
    """For each prompt the mean distance of its clips to each other: what a seed changes.

    distances [N, N] of all clips, prompts: which prompt made each. Prompts with one clip are left out.
    """
    owner = torch.tensor(list(prompts))
    found = []
    for prompt in sorted(set(prompts)):
        rows = (owner == prompt).nonzero()[:, 0]
        if (count := len(rows)) > 1:
            block = distances[rows][:, rows]
            found.append((block.sum() - block.diagonal().sum()).item() / (count * (count - 1)))
    return found


def inter(distances: Tensor, prompts: Sequence[int]) -> list[float]:
    """For each prompt the mean distance of its clips to those of all other prompts: what words change."""
    owner = torch.tensor(list(prompts))
    chosen = sorted(set(prompts))
    if len(chosen) < 2:
        return []
    return [distances[owner == prompt][:, owner != prompt].mean().item() for prompt in chosen]


def spread(values: Sequence[float]) -> tuple[float, float] | None:
    """(mean, standard deviation), or None of nothing."""
    return (statistics.fmean(values), statistics.pstdev(values)) if values else None


@dataclass(frozen=True)
class Copies:
    """distance: median distance of a generated clip to its nearest reference; typical: median of a reference
    to its nearest other; share: of generated clips that count as copies; memorises: share above what is
    tolerated."""

    distance: float
    typical: float
    share: float

    @property
    def memorises(self) -> bool:
        return self.share > TOLERATED


def copies(generated: Tensor, reference: Tensor, distances: Distances, limit: float) -> Copies | None:
    """How near the generated clips come to the references, beside how near those are to each other.

    A copy is nearer to a reference than `limit`, and than half the smallest distance of two references: five
    hits of one drum are alike without being copies. None where there are fewer than two references.
    """
    if len(reference) < 2:
        return None
    among = distances(reference, reference)
    among = torch.minimum(among, among.T)  # a shift may be found in one direction only
    among = among.masked_fill(torch.eye(len(reference), dtype=torch.bool), float("inf")).amin(1)
    nearest = distances(generated, reference).amin(1)
    limit = min(limit, COPY * among.min().item())
    return Copies(nearest.median().item(), among.median().item(), (nearest < limit).double().mean().item())


def cell(features: Tensor, reference: Tensor, prompts: Sequence[int], distances: Tensor) -> dict[str, Any]:
    """identity, intra, inter and the mean of both (Desbos 2026, table 2.4) of a back-end and reference."""
    within, between = spread(intra(distances, prompts)), spread(inter(distances, prompts))
    return {
        "identity": by_prompt(features, reference, prompts),
        "intra": within,
        "inter": between,
        "diversity": (within[0] + between[0]) / 2 if within and between else None,
    }


def copied(generated: Tensor, reference: Tensor, distances: Distances, limit: float) -> dict[str, Any]:
    """`copies` as figures of a cell; None where there is one reference only."""
    found = copies(generated, reference, distances, limit)
    return {
        "nearest": found and found.distance,
        "nearest_references": found and found.typical,
        "copies": found and found.share,
        "memorises": found and found.memorises,
    }
