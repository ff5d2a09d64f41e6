"""The sound classifier's file and how its training varies sounds; the network is the engine's."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sonoconvert.checkpoints.files import write_tensors
from sonopaint.models.sound_classifier import (
    MIXTURES,
    NAME,
    PARTS,
    SoundClassifier,
    load_classifier,
    shipped_classifier,
)
from sonotrain.data.corpus import FORMAT

SHORTEST = 0.06  # share of a clip's width (0.3 s of 5.12) that a part has at least
LOUD = 0.25  # of levels (20 dB): how far below a clip's loudest column a part's middle may be
BANDS = 0.4  # share of the parts of which a band is left

__all__ = [
    "MIXTURES",
    "NAME",
    "PARTS",
    "SoundClassifier",
    "augment",
    "load_classifier",
    "parts_of",
    "save_classifier",
    "shipped_classifier",
]


def save_classifier(model: SoundClassifier, path: str | Path, metrics: dict[str, object]) -> None:
    """Writes fp16 weights; kinds and metrics go into the header."""
    metadata = {
        "sonopaint.format": FORMAT,
        "sonopaint.kinds": json.dumps(model.kinds),
        "sonopaint.metrics": json.dumps(metrics),
        "sonopaint.several": json.dumps(model.several),
        "modelspec.title": "Sonopaint's sound classifier",
        "modelspec.license": "MIT",
    }
    tensors = {name: value.half() for name, value in model.state_dict().items()}
    write_tensors(path, tensors, metadata, force=True)


def augment(levels: Tensor, generator: torch.Generator, *, whole: bool = False) -> Tensor:
    """What may happen to a sound without changing its kind, on levels [B, 128, W].

    Start moved and cut to 40–100 % of its length (unless it is to stay `whole`, with all its events), level
    and equaliser changed by some dB, noise floor, blur (a VAE's), and bars of time and frequency erased
    (SpecAugment, Park et al. 2019).
    """

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    count, rows, width = levels.shape
    if not whole:
        crop = int(width * (0.4 + 0.6 * draw(1).item())) if draw(1).item() < 0.5 else width
        start = int((width - crop + 1) * draw(1).item())
        levels = levels[..., start : start + crop]
        shift = ((draw(1).item() - 0.5) * 0.3 * crop) if crop == width else 0.0
        levels = torch.roll(levels, int(shift), dims=-1)
    gain = (draw(count, 1, 1) - 0.5) * 0.15  # ± 6 dB
    tilt = (draw(count, 1, 1) - 0.5) * 0.15 * torch.linspace(-1, 1, rows)[None, :, None]
    levels = torch.where(levels > 0, levels + gain + tilt, levels)
    floor = 0.4 * draw(count, 1, 1) * (draw(count, 1, 1) < 0.3)
    noise = floor + 0.06 * torch.randn(levels.shape, generator=generator) * (floor > 0)
    levels = torch.maximum(levels, noise).clamp(0.0, 1.0)
    blurred = F.avg_pool2d(levels[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
    levels = torch.lerp(levels, blurred, draw(count, 1, 1) * (draw(count, 1, 1) < 0.5))
    for axis, size in ((1, rows), (2, levels.shape[2])):
        length = (draw(count) * 0.15 * size).int()
        begin = (draw(count) * (size - length)).int()
        place = torch.arange(size)
        hidden = (place >= begin[:, None]) & (place < (begin + length)[:, None])
        shape = (count, size, 1) if axis == 1 else (count, 1, size)
        levels = levels.masked_fill(hidden.view(shape), 0.0)
    return levels


def parts_of(levels: Tensor, generator: torch.Generator) -> Tensor:
    """Parts of clips as a painted box holds them, on levels [B, 128, W] of a full-scale loudest moment.

    Each is 0.3 s or longer, about a loud moment, brought to full scale, and lies at the start of silence;
    of some, a band of frequencies is left.
    """

    def draw() -> float:
        return torch.rand((), generator=generator).item()

    _, rows, width = levels.shape
    made = torch.zeros_like(levels)
    for part, whole in zip(made, levels, strict=True):
        length = int(width * SHORTEST ** (1 - draw()))
        loud = whole.amax(0)
        places = (loud >= loud.max() - LOUD).nonzero()[:, 0]
        middle = int(places[int(draw() * len(places))])
        first = min(max(middle - int(draw() * length), 0), width - length)
        part[:, :length] = whole[:, first : first + length]
        if draw() < BANDS:
            part[: int(0.15 * rows * draw())] = 0.0
            part[int(rows * (0.65 + 0.35 * draw())) :] = 0.0
        part[part > 0] += 1 - part.max()
    return made
