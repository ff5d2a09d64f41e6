"""The bridge's network: what is damaged and what stands around it → what was there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = (2, 16)  # frames × bins that one position of the network stands for
CHANNELS = 3  # magnitude, cosine and sine of the phase
PLACES = 2  # log frequency of a bin, and of the highest
_TIMES = 32


class _Block(nn.Module):
    """x + what two convolutions make of it and of the time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.time = nn.Linear(2 * _TIMES, channels)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        inner = self.first(F.leaky_relu(x, 0.1)) + self.time(time)[:, :, None, None]
        return x + self.second(F.leaky_relu(inner, 0.1))


class BridgeNetwork(nn.Module):
    """A U-Net over time and frequency: (x_t, x_1, mask, place, t) → what `estimate` lacks, in its deviations.

    x, damaged [B, 3, frames, bins] (`models.bridge.channels`); mask [B, 1, frames, bins], 1 = not known;
    place [B, 2, bins]; t [B]. Of every 2 × 16 cells it makes one position; two more levels halve those.
    """

    def __init__(self, widths: Sequence[int] = (48, 96, 160), blocks: int = 2) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"widths": list(widths), "blocks": blocks}
        cells = PATCH[0] * PATCH[1]
        high, middle, low = widths
        self.stem = nn.Conv2d((2 * CHANNELS + 1) * cells + PLACES, high, 1)
        self.begin = _Block(high)
        self.down = nn.ModuleList([nn.Conv2d(high, middle, 2, stride=2), nn.Conv2d(middle, low, 2, stride=2)])
        self.inner = nn.ModuleList([_Block(middle) for _ in range(blocks)])
        self.deep = nn.ModuleList([_Block(low) for _ in range(blocks)])
        self.up = nn.ModuleList(
            [nn.ConvTranspose2d(low, middle, 2, stride=2), nn.ConvTranspose2d(middle, high, 2, stride=2)]
        )
        self.outer = nn.ModuleList([_Block(middle) for _ in range(blocks)])
        self.end = _Block(high)
        self.head = nn.Conv2d(high, CHANNELS * cells, 1)
        for parameter in self.head.parameters():
            nn.init.normal_(parameter, std=1e-3)

    def forward(self, x: Tensor, damaged: Tensor, mask: Tensor, place: Tensor, t: Tensor) -> Tensor:
        frames, bins = x.shape[-2:]
        rows, columns = 4 * PATCH[0], 4 * PATCH[1]
        seen = torch.cat([x, damaged, mask], dim=1)
        seen = F.pad(seen, (0, -bins % columns, 0, -frames % rows), mode="replicate")
        high, wide = seen.shape[-2] // PATCH[0], seen.shape[-1] // PATCH[1]
        seen = _folded(seen)
        where = F.pad(place, (0, -bins % columns), mode="replicate")[..., :: PATCH[1]]
        seen = torch.cat([seen, where[:, :, None].expand(-1, -1, high, wide)], dim=1)
        time = _times(t)
        x0 = self.begin(self.stem(seen.contiguous(memory_format=torch.channels_last)), time)
        x1 = self.down[0](x0)
        for block in self.inner:
            x1 = block(x1, time)
        x2 = self.down[1](x1)
        for block in self.deep:
            x2 = block(x2, time)
        x1 = x1 + self.up[0](x2)
        for block in self.outer:
            x1 = block(x1, time)
        x0 = self.end(x0 + self.up[1](x1), time)
        return _unfolded(self.head(F.leaky_relu(x0, 0.1)).float())[..., :frames, :bins]


def _folded(cells: Tensor) -> Tensor:
    """[B, C, frames, bins] → [B, C · patch, positions in time, in frequency]."""
    batch, channels, frames, bins = cells.shape
    x = cells.reshape(batch, channels, frames // PATCH[0], PATCH[0], bins // PATCH[1], PATCH[1])
    return x.permute(0, 1, 3, 5, 2, 4).reshape(batch, -1, frames // PATCH[0], bins // PATCH[1])


def _unfolded(x: Tensor) -> Tensor:
    """The inverse of `_folded`."""
    batch, _, high, wide = x.shape
    x = x.reshape(batch, -1, PATCH[0], PATCH[1], high, wide).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(batch, -1, PATCH[0] * high, PATCH[1] * wide)


def _times(t: Tensor) -> Tensor:
    """Sines and cosines of t [B] in 0 … 1: [B, 64]."""
    rates = torch.exp(torch.linspace(0, math.log(100), _TIMES, device=t.device)) * math.pi / 2
    angles = t[:, None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
