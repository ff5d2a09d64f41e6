"""Timbre similarity: a triplet network on MFCC 2 to 13 that tells whether two sounds are of one instrument.

Cífka et al. 2021 (arXiv:2102.05749), § 5.1. Theirs learnt from Mixing Secrets; this one learns, in seconds,
from the sounds that the evaluation has anyway.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonopaint.models.blend.pyramid import STEPS as BYTES
from sonotrain.training.compute import descend

SIZE, MARGIN = 32, 0.3
TRAINED, BATCH = 250, 48
_POOL = 4  # frames of the mel


def mfcc(mel: Tensor) -> Tensor:
    """MFCC 2 to 13 [B, 12, frames / 4] of fine mels [B, 128, frames] (float, or bytes): shape, no level."""
    mel = mel.float() / (BYTES if mel.dtype == torch.uint8 else 1.0)
    power = torch.expm1(F.avg_pool1d(mel, _POOL)) + 1e-2
    bands = torch.arange(mel.shape[1])
    rows = torch.arange(1, 13)[:, None]  # the first one, the level, is 0
    basis = torch.cos(math.pi / len(bands) * (bands + 0.5) * rows) * math.sqrt(2 / len(bands))
    return basis @ power.log()


class Timbre(nn.Module):
    """`mfcc` [B, 12, T] → unit vectors [B, 32]; loud frames count."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(12, 64, 5, padding=2), nn.ReLU(), nn.Conv1d(64, 64, 5, stride=2, padding=2), nn.ReLU()
        )
        self.out = nn.Linear(128, SIZE)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(x / 5)
        return F.normalize(self.out(torch.cat([x.mean(-1), x.amax(-1)], 1)), dim=1)


def train_timbre(mels: Tensor, kinds: Sequence[str], seed: int = 0) -> Timbre:
    """Learns that sounds of one kind are nearer to each other than to those of other kinds."""
    torch.manual_seed(seed)
    network, features = Timbre(), mfcc(mels)
    groups: dict[str, list[int]] = defaultdict(list)
    for number, kind in enumerate(kinds):
        groups[kind].append(number)
    pairs = [name for name, members in groups.items() if len(members) > 1]
    if len(groups) < 2 or not pairs:
        raise ValueError("two kinds are needed, one of them twice")
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)

    def draw(count: int) -> int:
        return int(torch.randint(count, (1,), generator=generator))

    for _ in range(TRAINED):
        rows: list[tuple[int, int, int]] = []
        while len(rows) < BATCH:
            name = pairs[draw(len(pairs))]
            members = groups[name]
            one = draw(len(members))
            two = (one + 1 + draw(len(members) - 1)) % len(members)
            other = draw(len(kinds))
            if kinds[other] != name:
                rows.append((members[one], members[two], other))
        near, same, far = (network(features[list(column)]) for column in zip(*rows, strict=True))
        gap = (near * same).sum(1) - (near * far).sum(1)
        loss = (MARGIN - gap).clamp_min(0).mean()
        descend(loss, network.parameters(), optimiser, most=math.inf)
    return network.eval().requires_grad_(False)


def similarity(network: Timbre, mels: Tensor, others: Tensor) -> Tensor:
    """Cosines [B], in −1 … 1, of sounds and others, given as fine mels."""
    return (network(mfcc(mels)) * network(mfcc(others))).sum(1)
