"""A U-Net that follows curves: an adapter beside an ordinary model, at work only where curves are given.

Four variants, one choice (`VARIANTS`); three of them are injected where the U-Net changes its resolution:

* "concat": a downsampling branch whose channels are concatenated with the U-Net's at each resolution, by
  convolutions that begin at zero (the jingle report's local control; ControlNet's zero convolutions, Zhang
  et al. 2023, arXiv:2302.05543). An addition of w · c is such a concatenation with the U-Net's own channels
  passed through as they are. The pitch is drawn as its harmonics' rows, so that it lies where it is painted.
* "block-film": each block scaled and shifted over time by the curves (T-Foley's Block-FiLM, Chung et al.
  2024, arXiv:2401.09294).
* "film": each level scaled by one gate a channel for the whole window, from a chain of MLPs with sigmoids
  (the report's global control).
* "output": behind the U-Net (models/curves_output.py).

The model stays an ordinary one. The adapter lies in ``curves.safetensors`` beside it (models/curves_file.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonoconvert.curves.curves import Curves
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import SpectrogramFormat

CURVES_FILE = "curves.safetensors"
INJECTED = ("concat", "block-film", "film")
VARIANTS = (*INJECTED, "output")
FOLLOWED = ("loudness", "pitch", "brightness", "onsets")
RANGE_DB = 60.0  # below its loudest value a loudness is as good as silence
FACTOR = 8  # pixels to a latent, each way
PLANES = 9  # rows of `_planes`
TIME = PLANES * FACTOR  # channels that say the same in each row
CONTROL = FACTOR * FACTOR + 2 + TIME  # all channels of a control
_HARMONICS = 24
_LOWEST_HZ, _CENTS = 20.0, 5.0  # of the drawn pitches

Change = tuple[Tensor | None, Tensor | None]  # (scale, shift) of a hidden state h: h · (1 + scale) + shift


def control(curves: Curves, fmt: SpectrogramFormat, columns: int) -> Tensor:
    """What the adapter sees of curves over a picture: [1, 138, rows/8, columns/8], columns a multiple of 8.

    First 64 channels: the pitch's harmonics as a drawing, 8 × 8 pixels in each cell; then one of the
    brightness's row and one of the row itself; then eight values a cell of each row of `_planes`.
    Loudness is in dB below the sound's loudest (see `relative`).
    """
    rate = fmt.sample_rate / fmt.hop_length
    values = curves.at(rate, columns).values
    free = torch.full((columns,), math.nan)
    asked = {name: torch.from_numpy(values[name]) if name in values else free for name in FOLLOWED}
    planes, rows, cells = _planes(asked, fmt), fmt.rows // FACTOR, columns // FACTOR
    pitch = F.pixel_unshuffle(_harmonics(asked["pitch"], fmt).flip(0)[None, None], FACTOR)[0]
    row = torch.arange(fmt.rows, dtype=torch.float32)[:, None]
    bright = torch.exp(-((row - planes[4] * fmt.n_mels) ** 2) / 200) * planes[5]
    bright = F.avg_pool2d(bright.flip(0)[None, None], FACTOR)[0]
    height = torch.linspace(1, -1, rows)[:, None].expand(1, rows, cells)
    time = planes.reshape(PLANES, cells, FACTOR).permute(0, 2, 1).reshape(TIME, 1, cells)
    return torch.cat([pitch, bright, height, time.expand(-1, rows, -1)])[None].float()


def relative(curves: Curves) -> Curves:
    """The curves with the loudness's highest value at 0 dB: a model's pictures have no level of their own."""
    loudness = curves.values.get("loudness")
    if loudness is None or np.isnan(loudness).all():
        return curves
    lowered = np.maximum(loudness - np.nanmax(loudness), -120.0)
    return Curves(curves.rate, {**curves.values, "loudness": lowered}, curves.notes)


def without(control: Tensor) -> Tensor:
    """The control with every curve free."""
    free = torch.zeros_like(control)
    free[:, FACTOR**2 + 1] = control[:, FACTOR**2 + 1]
    return free


def _planes(asked: Mapping[str, Tensor], fmt: SpectrogramFormat) -> Tensor:
    """[9, columns]: loudness, known; pitch's row, voiced; brightness, known; onsets, known; pitch known."""

    def of_row(hertz: Tensor) -> Tensor:
        low, high = (2595 * math.log10(1 + f / 700) for f in (fmt.f_min, fmt.f_max))
        return ((2595 * torch.log10(1 + hertz.clamp_min(0) / 700) - low) / (high - low)).clamp(0, 1)

    known = {name: ~row.isnan() for name, row in asked.items()}
    value = {name: row.nan_to_num(0.0) for name, row in asked.items()}
    loud = (value["loudness"] / RANGE_DB + 1).clamp(0, 1)
    voiced = value["pitch"] > 0
    rows = [
        loud * known["loudness"], known["loudness"],
        of_row(value["pitch"]) * voiced, voiced,
        of_row(value["brightness"]) * known["brightness"], known["brightness"],
        value["onsets"], known["onsets"], known["pitch"],
    ]  # fmt: skip
    return torch.stack([row.float() for row in rows])


def _harmonics(pitch: Tensor, fmt: SpectrogramFormat) -> Tensor:
    """The partials of a pitch [columns] as lines in a picture [rows, columns], row 0 lowest."""
    low, high = (2595 * math.log10(1 + f / 700) for f in (fmt.f_min, fmt.f_max))
    lines = _lines(fmt.n_mels, low, high, fmt.f_max)
    step = 1200 / _CENTS * torch.log2(pitch.nan_to_num(0.0).clamp_min(_LOWEST_HZ) / _LOWEST_HZ)
    return lines[step.round().long().clamp_max(len(lines) - 1)].T * (pitch > 0)


@lru_cache(maxsize=8)
def _lines(rows: int, low: float, high: float, highest: float) -> Tensor:
    """The lines of pitches from 20 Hz to 8 kHz in steps of five cents: [steps, rows]; low, high in mel."""
    pitch = _LOWEST_HZ * 2 ** (torch.arange(math.ceil(8.7 * 1200 / _CENTS)) * _CENTS / 1200)[:, None]
    row = torch.arange(rows, dtype=torch.float32)
    drawn = torch.zeros(len(pitch), rows)
    for number in range(1, _HARMONICS + 1):
        hertz = pitch * number
        at = (2595 * torch.log10(1 + hertz / 700) - low) / (high - low) * (rows + 1) - 1
        line = torch.exp(-((row - at) ** 2) / (2 * 0.7**2)) / number**0.5
        drawn = torch.maximum(drawn, line * (hertz < highest))
    return drawn


def normed(x: Tensor) -> Tensor:
    """Each cell [B, C, …] at a mean square of 1 over its channels."""
    return x * (x.square().mean(1, keepdim=True) + 1e-5).rsqrt()


class Block(nn.Module):
    """Two convolutions and what is passed by, modulated by the noise level's embedding.

    Each cell is normalised by itself (over its channels), so that a curve acts where it is and nowhere else.
    """

    def __init__(self, channels: int, kind: type[nn.Conv1d] | type[nn.Conv2d], stride: int = 1) -> None:
        super().__init__()
        self.first = kind(channels, channels, 3, stride, 1)
        self.second = kind(channels, channels, 3, 1, 1)
        self.noise = nn.Linear(channels, channels)
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        x = self.first(x)
        level = self.noise(noise).reshape(len(noise), -1, *[1] * (x.ndim - 2))
        return x + self.second(F.silu(normed(x) * self.scale.view(-1, *[1] * (x.ndim - 2)) + level))


class CurveAdapter(nn.Module):
    """Changes of a U-Net's hidden states, from a control, the noisy latents and the noise level.

    `points`: {module of the U-Net, in diffusers' names: (its output's channels, its level)}; level n is
    halved n times. At first nothing changes: all last layers are zero. `classes`: models/classes.py.
    """

    def __init__(self, variant: str, points: Mapping[str, tuple[int, int]], channels: int = 64) -> None:
        super().__init__()
        if variant not in INJECTED:
            raise SonopaintError(f"There is no adapter {variant!r}; choose one of {', '.join(VARIANTS)}.")
        self.variant, self.points, self.channels = variant, dict(points), channels
        self.classes: dict[str, Tensor] = {}
        levels = 1 + max(level for _, level in points.values())
        self.noise = nn.Sequential(nn.Linear(8, channels), nn.SiLU(), nn.Linear(channels, channels))
        if variant == "film":
            self.stem: nn.Module = nn.Linear(2 * TIME, channels)
            self.blocks = nn.ModuleList(nn.Linear(channels, channels) for _ in points)
        else:
            flat = variant == "concat"
            kind = nn.Conv2d if flat else nn.Conv1d
            self.stem = kind(CONTROL + 4 if flat else TIME, channels, 1)
            self.blocks = nn.ModuleList(Block(channels, kind, 2 if n else 1) for n in range(levels))
        wide = 1 if variant == "concat" else 2
        self.out = nn.ModuleList()
        for count, _ in self.points.values():
            layer: nn.Linear | nn.Conv1d | nn.Conv2d = nn.Conv1d(channels, wide * count, 1)
            if variant == "film":
                layer = nn.Linear(channels, count)
            elif variant == "concat":
                layer = nn.Conv2d(channels, count, 1)
            for values in layer.parameters():
                nn.init.zeros_(values)
            self.out.append(layer)

    def forward(self, control: Tensor, x: Tensor, sigma: Tensor) -> dict[str, Change]:
        """control [B, 138, H, W], x [B, 4, H, W] as the U-Net sees it, sigma [B] → a Change for each."""
        noise = self.noise(noise_features(sigma).to(x.dtype))
        if self.variant == "film":
            return self._gates(control, noise)
        if self.variant == "concat":
            hidden = self.stem(torch.cat([control, x], 1))
        else:
            hidden = self.stem(control[:, -TIME:, 0])
        hiddens = []
        for block in self.blocks:
            hidden = block(hidden, noise)
            hiddens.append(hidden)
        changes: dict[str, Change] = {}
        for (name, (_, depth)), out in zip(self.points.items(), self.out, strict=True):
            change = out(F.silu(normed(hiddens[depth])))
            if self.variant == "concat":
                changes[name] = (None, change)
            else:
                scale, shift = change[:, :, None].chunk(2, 1)
                changes[name] = (scale, shift)
        return changes

    def _gates(self, control: Tensor, noise: Tensor) -> dict[str, Change]:
        time = control[:, -TIME:, 0]
        gate = self.stem(torch.cat([time.mean(-1), time.std(-1)], 1)) + noise
        changes: dict[str, Change] = {}
        for name, block, out in zip(self.points, self.blocks, self.out, strict=True):
            gate = torch.sigmoid(block(gate))
            changes[name] = (2 * torch.sigmoid(out(gate))[:, :, None, None] - 1, None)
        return changes


def noise_features(sigma: Tensor) -> Tensor:
    """A noise level [B] as numbers about 1: [B, 8]."""
    level = sigma.clamp_min(1e-4).log()[:, None] / 4
    turns = level * torch.tensor([1.0, 2.0, 4.0], device=sigma.device)
    return torch.cat([level, level**2, turns.sin(), turns.cos()], 1)


def points_of(unet: Any) -> dict[str, tuple[int, int]]:
    """Where a diffusers U-Net is changed: its first convolution, and where its resolution changes."""
    widths = list(unet.config.block_out_channels)
    points = {"conv_in": (widths[0], 0)}
    for n in range(len(widths) - 1):
        points[f"down_blocks.{n}.downsamplers.0"] = (widths[n], n + 1)
    points["mid_block"] = (widths[-1], len(widths) - 1)
    for n in range(len(widths) - 1):
        points[f"up_blocks.{n}.upsamplers.0"] = (widths[-1 - n], len(widths) - 2 - n)
    return points


def changed(hidden: Tensor, change: Change) -> Tensor:
    """h · (1 + scale) + shift [B, C, H, W]; a change of fewer items is repeated, one of more cells is cut."""

    def fit(part: Tensor | None) -> Tensor | None:
        if part is None:
            return None
        part = part.to(hidden.dtype)[..., : hidden.shape[-2], : hidden.shape[-1]]
        return part.repeat(len(hidden) // len(part), 1, 1, 1)

    scale, shift = map(fit, change)
    if scale is not None:
        hidden = hidden * (1 + scale)
    return hidden if shift is None else hidden + shift


@contextmanager
def following(unet: Any, changes: Mapping[str, Change]) -> Iterator[None]:
    """Within the block a diffusers U-Net's hidden states are changed (for one call, as x is)."""
    with ExitStack() as stack:
        for name, change in changes.items():
            hook = unet.get_submodule(name).register_forward_hook(
                lambda _module, _inputs, out, change=change: changed(out, change)
            )
            stack.callback(hook.remove)
        yield
