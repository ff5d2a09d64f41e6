"""The adapter that works behind the U-Net: what it expects of the clean latents, corrected by the curves.

A model's x̂0 is the mean of what it may come from; this network learns by how much that mean moves when the
curves are known, E[x0 | x, curves] − E[x0 | x]. It needs none of the U-Net's insides: so it learns from kept
predictions, which takes a fraction of the others' time, and works in every host and with every LoRA.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonopaint.models.curves import CONTROL, Block, noise_features, normed

OUTPUT = "output"


class OutputAdapter(nn.Module):
    """x̂0 [B, 4, H, W] → x̂0 moved towards the curves; at first not at all."""

    variant = OUTPUT

    def __init__(self, channels: int = 64, latent: int = 4) -> None:
        super().__init__()
        self.channels, self.points = channels, {OUTPUT: (latent, 0)}
        self.classes: dict[str, Tensor] = {}
        self.noise = nn.Sequential(nn.Linear(8, channels), nn.SiLU(), nn.Linear(channels, channels))
        self.stem = nn.Conv2d(CONTROL + 2 * latent, channels, 1)
        self.down = nn.ModuleList(Block(channels, nn.Conv2d, 2 if n else 1) for n in range(3))
        self.up = nn.ModuleList(Block(channels, nn.Conv2d) for _ in range(2))
        self.last = nn.Conv2d(channels, latent, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, control: Tensor, x: Tensor, x0: Tensor, sigma: Tensor) -> Tensor:
        """control [B, 138, H, W], x as the U-Net sees it and x̂0 [B, 4, H, W], sigma [B] → x̂0."""
        noise = self.noise(noise_features(sigma).to(x.dtype))
        hidden = self.stem(torch.cat([control, x, x0], 1))
        kept = []
        for block in self.down:
            hidden = block(hidden, noise)
            kept.append(hidden)
        kept.pop()
        for block in self.up:
            beside = kept.pop()
            hidden = block(F.interpolate(hidden, size=beside.shape[-2:]) + beside, noise)
        return x0 + spread(sigma) * self.last(F.silu(normed(hidden)))


def spread(sigma: Tensor) -> Tensor:
    """About how far off x̂0 is at a noise level: [B, 1, 1, 1]."""
    return (sigma / (1 + sigma.square()).sqrt()).view(-1, 1, 1, 1)
