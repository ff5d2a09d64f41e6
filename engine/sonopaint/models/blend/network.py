"""The auto-encoder's networks: encoders of three scales, and a denoiser that is told their codes.

"Multi-scale latent diffusion using hierarchical models for interpretable music generation" (Pichard 2024),
§ 3; the baseline HDAE, § 4.1; the diffusion auto-encoder, Preechakul et al. 2022. Two things differ from the
document: encoders keep where a band is (each row has weights of its own where the document averages over
frequency), and codes are at the latents' frame rate, a half and a quarter of it, at the U-Net's first three
resolutions. A third is the default: the finer encoders hear only what the coarser ones can't (`laplacian`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonopaint.models.blend.pyramid import BANDS, LEVELS, pyramid_of
from sonopaint.models.jingles.network import TIMES, Block, waves

VARIANTS = ("laplacian", "pyramid", "hdae", "dae")
CODE = "code"  # the only level of a DAE
SPANS = {"coarse": 4, "mid": 2, "fine": 1, CODE: 1}  # frames of latents that a frame of a code stands for
WHOLE = 8  # the denoiser takes multiples of so many frames


class BlendNetwork(nn.Module):
    """(x_t [B, channels, T], time [B], conditions) → EDM's raw output [B, channels, T]; T in WHOLEs.

    `codes` makes codes of sounds, `conditions` of codes what the denoiser is told. width · multipliers:
    channels of the denoiser's four resolutions; bottleneck: numbers a frame that a code is squeezed through;
    code: channels that come out of that; encoder: the encoders' first channels.
    """

    def __init__(
        self,
        variant: str,
        channels: int = 64,
        width: int = 64,
        multipliers: Sequence[int] = (2, 2, 3, 3),
        code: int = 32,
        bottleneck: int = 16,
        encoder: int = 8,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS or len(multipliers) != 4:
            raise ValueError(f"no network {variant!r} with {list(multipliers)}")
        self.config: dict[str, Any] = {
            "variant": variant, "channels": channels, "width": width, "multipliers": list(multipliers),
            "code": code, "bottleneck": bottleneck, "encoder": encoder,
        }  # fmt: skip
        self.variant, self.code = variant, code
        self.hears_mels = variant in ("laplacian", "pyramid")
        self.levels = (CODE,) if variant == "dae" else LEVELS
        self.encoders: nn.ModuleDict | LatentEncoder
        if self.hears_mels:
            self.encoders = nn.ModuleDict(
                {
                    level: MelEncoder(bands, encoder, code, bottleneck, even=variant == "laplacian")
                    for level, bands in zip(LEVELS, BANDS, strict=True)
                }
            )
        else:
            self.encoders = LatentEncoder(channels, 4 * encoder, code, bottleneck, self.levels)
        self.denoiser = Denoiser(channels, [width * m for m in multipliers], code, 4 * width)

    def encoder(self, level: str) -> nn.Module:
        """What makes the code of one level; the whole encoder, where there is one for all."""
        return self.encoders[level] if isinstance(self.encoders, nn.ModuleDict) else self.encoders

    def codes(
        self, mel: Tensor | None, latents: Tensor | None, frames: int, levels: Collection[str] = ()
    ) -> dict[str, Tensor]:
        """The codes [B, code, frames / SPANS] of sounds of `frames` frames of latents; of `levels`, or all.

        The pyramid hears `mel`, the fine level [B, 128, …] over the same time (`pyramid_of` has the types);
        the others hear scaled `latents` [B, channels, frames].
        """
        wanted = [level for level in self.levels if not levels or level in levels]
        if isinstance(self.encoders, nn.ModuleDict):
            assert mel is not None
            levels_heard = pyramid_of(mel, laplacian=self.variant == "laplacian")
            scales = dict(zip(LEVELS, levels_heard, strict=True))
            return {k: self.encoders[k](scales[k], frames // SPANS[k]) for k in wanted}
        assert latents is not None
        made = self.encoders(latents)
        return {k: made[k] for k in wanted}

    def conditions(self, codes: Mapping[str, Tensor]) -> list[Tensor]:
        """[B, code, T / 4], [B, code, T / 2] and [B, code, T] of codes; a level that is missing says nothing.

        The pyramid's are sums: h̃_k = h_k + h̃_(k−1), each frame of the coarser one repeated (the document
        prints h_(k−1); its figure and its experiments have the sum).
        """
        if self.variant == "dae":
            fine = codes[CODE]
            return [F.avg_pool1d(fine, 4), F.avg_pool1d(fine, 2), fine]
        name, one = next(iter(codes.items()))
        frames = one.shape[-1] * SPANS[name]
        made: list[Tensor] = []
        for level in LEVELS:
            told = codes.get(level)
            if told is None:
                told = one.new_zeros(len(one), self.code, frames // SPANS[level])
            if made and self.hears_mels:
                told = told + made[-1].repeat_interleave(2, -1)
            made.append(told)
        return made

    def forward(self, x: Tensor, time: Tensor, conditions: Sequence[Tensor]) -> Tensor:
        return self.denoiser(x, time, conditions)


class MelEncoder(nn.Module):
    """One level of the pyramid [B, 1, bands, frames] → its code [B, code, count], in −1 … 1.

    Three times convolutions that halve bands and frames; the mean over the time of each frame of the code;
    a bottleneck. even: its numbers are brought to one size, or the largest would soon be at ±1 for good, and
    their encoder learn no more.
    """

    def __init__(self, bands: int, width: int, code: int, bottleneck: int, *, even: bool = False) -> None:
        super().__init__()
        self.even = even
        sizes = [1, width, 2 * width, 4 * width]
        self.down = nn.ModuleList(
            [nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
        )
        self.last = nn.Conv2d(sizes[-1], sizes[-1], 3, padding=1)
        self.squeeze = nn.Conv1d(sizes[-1] * (bands // 8), bottleneck, 1)
        self.widen = nn.Conv1d(bottleneck, code, 1)

    def forward(self, mel: Tensor, count: int) -> Tensor:
        x = mel
        for conv in self.down:
            x = F.silu(conv(x))
        x = x + F.silu(self.last(x))
        rows = F.adaptive_avg_pool1d(x.flatten(1, 2), count)
        said = self.widen(F.silu(self.squeeze(rows)))
        if self.even:
            said = said * (said.square().mean(1, keepdim=True) + 1e-4).rsqrt()
        return torch.tanh(said)


class LatentEncoder(nn.Module):
    """Scaled latents [B, channels, T] → codes by level: HDAE's three depths, or the one code of a DAE."""

    def __init__(self, channels: int, width: int, code: int, bottleneck: int, levels: Sequence[str]) -> None:
        super().__init__()
        self.stem = nn.Conv1d(channels, width, 3, padding=1)
        self.blocks = nn.ModuleList([_Plain(width) for _ in LEVELS])
        self.shrink = nn.ModuleList([nn.Conv1d(width, width, 3, stride=2, padding=1) for _ in LEVELS[1:]])
        # A DAE's code has as many numbers as three levels have: 1 + 1/2 + 1/4 times the bottleneck a frame.
        self.one = tuple(levels) == (CODE,)
        inside, outside = (3 * width, bottleneck * 7 // 4) if self.one else (width, bottleneck)
        self.heads = nn.ModuleDict(
            {
                level: nn.Sequential(
                    nn.GroupNorm(1, inside), nn.SiLU(), nn.Conv1d(inside, outside, 1), nn.Tanh(),
                    nn.Conv1d(outside, code, 1),
                )
                for level in levels
            }
        )  # fmt: skip

    def forward(self, latents: Tensor) -> dict[str, Tensor]:
        x, found = self.stem(latents), []
        for depth, block in enumerate(self.blocks):
            if depth:
                x = self.shrink[depth - 1](x)
            x = block(x)
            found.append(x)
        if self.one:
            every = [x.repeat_interleave(2**depth, -1) for depth, x in enumerate(found)]
            return {CODE: self.heads[CODE](torch.cat(every, 1))}
        return {level: self.heads[level](x) for level, x in zip(reversed(LEVELS), found, strict=True)}


class Denoiser(nn.Module):
    """A U-Net over time of four resolutions; each of the first three is told its own code, each way."""

    def __init__(self, channels: int, sizes: Sequence[int], code: int, time: int) -> None:
        super().__init__()
        told = [code, code, code, 0]
        self.time = nn.Sequential(nn.Linear(2 * TIMES, time), nn.SiLU(), nn.Linear(time, time), nn.SiLU())
        self.stem = nn.Conv1d(channels, sizes[0], 3, padding=1)
        pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
        self.down = nn.ModuleList(
            [Block(1, size + more, size, time) for size, more in zip(sizes, told, strict=True)]
        )
        self.shrink = nn.ModuleList([nn.Conv1d(a, b, 3, stride=2, padding=1) for a, b in pairs])
        self.middle = Block(1, sizes[-1], sizes[-1], time)
        self.up = nn.ModuleList(
            [Block(1, 2 * size + more, size, time) for size, more in zip(sizes, told, strict=True)]
        )
        self.grow = nn.ModuleList([nn.Conv1d(b, a, 3, padding=1) for a, b in pairs])
        self.norm = nn.GroupNorm(1, sizes[0])
        self.head = nn.Conv1d(sizes[0], channels, 3, padding=1)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor, time: Tensor, conditions: Sequence[Tensor]) -> Tensor:
        """conditions: of T / 4, T / 2 and T frames."""
        if x.shape[-1] % WHOLE:
            raise ValueError(f"{x.shape[-1]} frames are no multiple of {WHOLE}")
        embedded, told = self.time(waves(time)), [*reversed(conditions)]
        x, skips = self.stem(x), []
        for depth, block in enumerate(self.down):
            if depth:
                x = self.shrink[depth - 1](x)
            x = block(torch.cat([x, *told[depth : depth + 1]], 1), embedded)
            skips.append(x)
        x = self.middle(x, embedded)
        for depth in reversed(range(len(self.up))):
            x = self.up[depth](torch.cat([x, skips[depth], *told[depth : depth + 1]], 1), embedded)
            if depth:
                x = self.grow[depth - 1](x.repeat_interleave(2, -1))
        return self.head(F.silu(self.norm(x)))


class _Plain(nn.Module):
    """A residual block that is told nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.first = nn.Conv1d(width, width, 3, padding=1)
        self.second = nn.Conv1d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(self.norm(x)))))
