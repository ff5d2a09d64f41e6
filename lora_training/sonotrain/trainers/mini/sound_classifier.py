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
    SoundClassifier,
    load_classifier,
    shipped_classifier,
)
from sonotrain.data.corpus import FORMAT

__all__ = [
    "MIXTURES",
    "NAME",
    "SoundClassifier",
    "augment",
    "load_classifier",
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
