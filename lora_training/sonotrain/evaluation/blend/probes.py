"""Probes: how well a small network tells kind, pitch or melody from a code.

"Multi-scale latent diffusion using hierarchical models" (Pichard 2024), § 4.3: an MLP on what is averaged
over time, by cross-entropy; for melodies two layers of a BiLSTM (MARBLE, Yuan et al. 2023), by binary
cross-entropy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonotrain.training.compute import descend

HIDDEN = 128
STEPS, BLUR = 300, 0.3  # blur: noise beside codes of deviation 1, so that few sounds aren't learnt by heart
MELODY_HIDDEN, MELODY_STEPS, MELODY_BATCH = 64, 150, 32


def accuracy(
    learnt: Tensor, kinds: Sequence[object], held: Tensor, held_kinds: Sequence[object], seed: int = 0
) -> float:
    """Share of held-out codes [M, C, T] whose kind an MLP tells that learnt from `learnt` [N, C, T].

    Kinds that were not learnt count as missed.
    """
    names = sorted(set(kinds), key=str)
    place = {name: number for number, name in enumerate(names)}
    wanted = torch.tensor([place[kind] for kind in kinds])
    seen, asked = _even(learnt.mean(-1), held.mean(-1))
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Linear(seen.shape[1], HIDDEN), nn.ReLU(), nn.Dropout(0.3), nn.Linear(HIDDEN, len(names))
    )

    def loss(generator: torch.Generator) -> Tensor:
        blurred = seen + BLUR * torch.randn(seen.shape, generator=generator)
        return F.cross_entropy(network(blurred), wanted)

    _fit(network, loss, STEPS, 3e-3)
    with torch.no_grad():
        said = network(asked).argmax(1).tolist()
    right = [names[number] == kind for number, kind in zip(said, held_kinds, strict=True)]
    return sum(right) / len(right)


def melody_loss(learnt: Tensor, rolls: Tensor, held: Tensor, held_rolls: Tensor, seed: int = 0) -> float:
    """Binary cross-entropy, of each note and frame of held-out rolls [M, 128, T], told from their codes.

    Codes [N, C, T'] are brought to the rolls' frames first.
    """
    seen, asked = (F.interpolate(codes, size=rolls.shape[-1], mode="linear") for codes in (learnt, held))
    seen, asked = _even(seen, asked)
    torch.manual_seed(seed)
    network = _Melody(seen.shape[1], rolls.shape[1])
    # It begins where it knows how often each note is played.
    often = rolls.float().mean((0, 2)).clamp(1e-4, 1 - 1e-4)
    nn.init.zeros_(network.out.weight)
    network.out.bias.data.copy_(torch.logit(often))

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(seen), (MELODY_BATCH,), generator=generator)
        return F.binary_cross_entropy_with_logits(network(seen[rows]), rolls[rows].float())

    _fit(network, loss, MELODY_STEPS, 1e-2)
    with torch.no_grad():
        return float(F.binary_cross_entropy_with_logits(network(asked), held_rolls.float()))


class _Melody(nn.Module):
    def __init__(self, channels: int, notes: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, MELODY_HIDDEN, 2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * MELODY_HIDDEN, notes)

    def forward(self, codes: Tensor) -> Tensor:
        """[B, C, T] → logits [B, notes, T]."""
        return self.out(self.lstm(codes.transpose(1, 2))[0]).transpose(1, 2)


def _even(learnt: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
    """Both, with what was learnt of mean 0 and deviation 1 in each channel."""
    over = tuple(n for n in range(learnt.ndim) if n != 1)
    mean = learnt.mean(over, keepdim=True)
    deviation = learnt.std(over, keepdim=True).clamp_min(1e-4)
    return (learnt - mean) / deviation, (held - mean) / deviation


def _fit(network: nn.Module, loss: Callable[[torch.Generator], Tensor], steps: int, rate: float) -> None:
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-2)
    generator = torch.Generator().manual_seed(0)
    network.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 - step / steps)
        descend(loss(generator), network.parameters(), optimiser, most=math.inf)
    network.eval()
