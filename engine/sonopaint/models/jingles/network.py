"""U-Nets over time (1-D) or frequency and time (2-D) that follow control curves.

"Automatic generation of audio jingles with diffusion" (Manté, Ircam Amplify), § 3.4: SiLU, group norms of one
group, two convolutions with a modulation by the diffusion time between them, channel multipliers from the
configuration. Local control: a branch that halves time as the U-Net does and is concatenated at each of its
levels. Global control: a chain of sigmoid MLPs that scale channels. U-NetExpand: other multipliers on the way
up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TIMES = 32


class Block(nn.Module):
    """Two convolutions with the time's scale and shift between them, beside a straight way."""

    def __init__(self, dims: int, before: int, after: int, time: int) -> None:
        super().__init__()
        conv = nn.Conv1d if dims == 1 else nn.Conv2d
        self.norm1, self.conv1 = nn.GroupNorm(1, before), conv(before, after, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(1, after), conv(after, after, 3, padding=1)
        self.time = nn.Linear(time, 2 * after)
        self.straight = conv(before, after, 1) if before != after else nn.Identity()
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        y = self.norm2(self.conv1(F.silu(self.norm1(x))))
        scale, shift = self.time(time).reshape(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, 1)
        return self.straight(x) + self.conv2(F.silu(y * (1 + scale) + shift))


class _Local(nn.Module):
    """Curves [B, controls, T] → one tensor [B, channels, T / (patch · 2^k)] for each level k."""

    def __init__(self, controls: int, channels: int, levels: int, patch: int) -> None:
        super().__init__()
        self.stem = nn.Conv1d(controls * patch, channels, 3, padding=1)
        self.inner = nn.ModuleList([nn.Conv1d(channels, channels, 3, padding=1) for _ in range(levels)])
        self.down = nn.ModuleList(
            [nn.Conv1d(channels, channels, 3, stride=2, padding=1) for _ in range(levels - 1)]
        )

    def forward(self, curves: Tensor, patch: int) -> list[Tensor]:
        x = F.silu(self.stem(_folded(curves, patch, 1)))
        found = []
        for level, inner in enumerate(self.inner):
            if level:
                x = F.silu(self.down[level - 1](x))
            x = x + F.silu(inner(x))
            found.append(x)
        return found


class _Global(nn.Module):
    """Facts [B, size] → for each level how much of each channel goes on. Each MLP continues the last one."""

    def __init__(self, size: int, widths: Sequence[int]) -> None:
        super().__init__()
        sizes = [size, *widths]
        self.chain = nn.ModuleList(
            [
                nn.Sequential(nn.Linear(before, after), nn.SiLU(), nn.Linear(after, after), nn.Sigmoid())
                for before, after in zip(sizes[:-1], sizes[1:], strict=True)
            ]
        )

    def forward(self, facts: Tensor) -> list[Tensor]:
        found = []
        for part in self.chain:
            facts = part(facts)
            found.append(facts)
        return found


class JingleUNet(nn.Module):
    """(x_t [B, channels, (F,) T], time [B]) → [B, out_channels, (F,) T], any F and T.

    width · multipliers: channels of the levels, highest resolution first; up_multipliers (default: the same):
    of those on the way up. blocks: at each level, each way. patch: so many neighbours in F and T are one
    place.
    controls: rows of the curves (0: none); global_size: of the facts (0: none).
    """

    def __init__(
        self,
        dims: int,
        channels: int,
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 2),
        up_multipliers: Sequence[int] = (),
        out_channels: int = 0,
        blocks: int = 1,
        patch: int = 1,
        controls: int = 0,
        control_channels: int = 128,
        global_size: int = 0,
    ) -> None:
        super().__init__()
        up_multipliers = tuple(up_multipliers) or tuple(multipliers)
        if dims not in (1, 2) or not multipliers or len(up_multipliers) != len(multipliers):
            raise ValueError(f"no U-Net of {dims} dimensions with {multipliers} and {up_multipliers}")
        out_channels = out_channels or channels
        self.config: dict[str, Any] = {
            "dims": dims, "channels": channels, "width": width, "multipliers": list(multipliers),
            "up_multipliers": list(up_multipliers), "out_channels": out_channels, "blocks": blocks,
            "patch": patch, "controls": controls, "control_channels": control_channels,
            "global_size": global_size,
        }  # fmt: skip
        self.dims, self.patch = dims, patch
        down = [width * multiplier for multiplier in multipliers]
        up = [width * multiplier for multiplier in up_multipliers]
        levels, time, cells = len(down), 4 * width, patch**dims
        conv = nn.Conv1d if dims == 1 else nn.Conv2d
        extra = control_channels if controls else 0
        self.time = nn.Sequential(nn.Linear(2 * TIMES, time), nn.SiLU(), nn.Linear(time, time), nn.SiLU())
        self.stem = conv(channels * cells, down[0], 3, padding=1)
        self.down = nn.ModuleList()
        self.shrink = nn.ModuleList()
        for level, size in enumerate(down):
            if level:
                self.shrink.append(conv(down[level - 1], size, 3, stride=2, padding=1))
            sizes = [size + extra, *[size] * (blocks - 1)]
            self.down.append(nn.ModuleList([Block(dims, before, size, time) for before in sizes]))
        self.middle = Block(dims, down[-1], down[-1], time)
        self.up = nn.ModuleList()
        self.grow = nn.ModuleList()
        for level in range(levels - 1, -1, -1):
            below = down[-1] if level == levels - 1 else up[level + 1]
            if level < levels - 1:
                self.grow.append(conv(below, up[level], 3, padding=1))
                below = up[level]
            sizes = [below + down[level], *[up[level]] * (blocks - 1)]
            self.up.append(nn.ModuleList([Block(dims, before, up[level], time) for before in sizes]))
        self.norm = nn.GroupNorm(1, up[0])
        self.head = conv(up[0], out_channels * cells, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        self.local = _Local(controls, control_channels, levels, patch) if controls else None
        self.globals = _Global(global_size, down) if global_size else None

    def forward(
        self, x: Tensor, time: Tensor, curves: Tensor | None = None, facts: Tensor | None = None
    ) -> Tensor:
        """curves [B, controls, T], where −1 all over a feature is "not said"; facts [B, global_size]."""
        shape, whole = x.shape, self.patch * 2 ** (len(self.down) - 1)
        x = F.pad(x, [side for length in reversed(shape[2:]) for side in (0, -length % whole)])
        embedded = self.time(waves(time))
        x = self.stem(_folded(x, self.patch, self.dims))
        followed: list[Tensor] = []
        if self.local is not None:
            if curves is None:
                curves = x.new_full((len(x), self.config["controls"], shape[-1]), -1.0)
            curves = F.pad(curves, (0, -curves.shape[-1] % whole), mode="replicate")
            followed = self.local(curves, self.patch)
        gains = self.globals(facts) if self.globals is not None and facts is not None else []
        skips = []
        for level, blocks in enumerate(self.down):
            if level:
                x = self.shrink[level - 1](x)
            if followed:
                beside = followed[level] if self.dims == 1 else followed[level][:, :, None]
                x = torch.cat([x, beside.expand(-1, -1, *x.shape[2:])], 1)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, embedded)
            if gains:
                x = x * gains[level].reshape(len(x), -1, *[1] * self.dims)
            skips.append(x)
        x = self.middle(x, embedded)
        for number, blocks in enumerate(self.up):
            if number:
                x = self.grow[number - 1](F.interpolate(x, scale_factor=2.0))
            x = torch.cat([x, skips.pop()], 1)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, embedded)
        x = _unfolded(self.head(F.silu(self.norm(x))), self.patch, self.dims)
        return x[..., : shape[-1]] if self.dims == 1 else x[..., : shape[-2], : shape[-1]]


class CodeNetwork(nn.Module):
    """Codes int64 [B, rows, T] of K classes → probabilities of the clean ones [B, rows, T, K].

    Each code becomes `embedded` channels; `unet` has rows · embedded channels in and rows · K out
    (U-NetExpand: its up_multipliers grow towards them).
    """

    def __init__(self, rows: int, classes: int, embedded: int = 8, **unet: Any) -> None:
        super().__init__()
        self.rows, self.classes = rows, classes
        self.embedding = nn.Embedding(rows * classes, embedded)
        self.unet = JingleUNet(
            **{"dims": 1, **unet, "channels": rows * embedded, "out_channels": rows * classes}
        )
        self.config: dict[str, Any] = self.unet.config | {
            "rows": rows, "classes": classes, "embedded": embedded
        }  # fmt: skip

    def forward(
        self, x: Tensor, time: Tensor, curves: Tensor | None = None, facts: Tensor | None = None
    ) -> Tensor:
        rows = torch.arange(self.rows, device=x.device)[:, None] * self.classes
        known = self.embedding(x + rows).permute(0, 1, 3, 2).flatten(1, 2)
        said = self.unet(known, time, curves, facts)
        return said.reshape(len(x), self.rows, self.classes, -1).transpose(2, 3).softmax(-1)


def build(config: dict[str, Any]) -> JingleUNet | CodeNetwork:
    """The network that a `config` describes."""
    if "classes" not in config:
        return JingleUNet(**config)
    own = {name: value for name, value in config.items() if name not in ("channels", "out_channels")}
    return CodeNetwork(**own)


def waves(time: Tensor) -> Tensor:
    """Sines and cosines of numbers of about −2 … 2, [B] → [B, 64]."""
    rates = torch.exp(torch.linspace(0, math.log(100), TIMES, device=time.device)) * math.pi / 4
    angles = time.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


def _folded(x: Tensor, patch: int, dims: int) -> Tensor:
    """[B, C, (F,) T] → [B, C · patch^dims, …]: neighbours become channels."""
    if patch == 1:
        return x
    if dims == 2:
        return F.pixel_unshuffle(x, patch)
    return x.unflatten(-1, (-1, patch)).transpose(-1, -2).flatten(1, 2)


def _unfolded(x: Tensor, patch: int, dims: int) -> Tensor:
    """The inverse of `_folded`."""
    if patch == 1:
        return x
    if dims == 2:
        return F.pixel_shuffle(x, patch)
    return x.unflatten(1, (-1, patch)).transpose(-1, -2).flatten(-2)
