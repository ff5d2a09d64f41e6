"""The analyser: from a sound to the parameters of synthesisers that make it (EfficientNet on a scalogram).

One trunk listens; each synthesiser has a head, and one more says which of them it might be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sonoconvert.descriptors.scattering import EPSILON, Scattering
from sonoconvert.errors import SonopaintError
from sonopaint.match.synths import SYNTHS, Synth
from sonopaint.models.folders import shipped_folder

LEVEL = 0.1  # root mean square of sounds that are compared or listened to
FRAMES = 128
# EfficientNet-B0 (Tan & Le 2019): expansion, channels, repeats, stride, kernel
_B0 = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
       (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))  # fmt: skip
KEY = "sonopaint.match"


def levelled(x: Tensor) -> Tensor:
    """Sounds [..., samples] at one level, whatever theirs."""
    return x * (LEVEL / x.square().mean(-1, keepdim=True).clamp_min(1e-12).sqrt())


def heard(x: Tensor, transform: Scattering | None = None) -> Tensor:
    """What the analyser gets of sounds [B, samples]: log scalogram [B, bands, 128]."""
    transform = transform or Scattering(x.shape[-1])
    scalogram = transform.scalogram(levelled(x))
    return torch.log1p(scalogram.unflatten(-1, (FRAMES, -1)).mean(-1) / EPSILON)


class _Block(nn.Module):
    """Inverted residual with squeeze and excitation."""

    def __init__(self, inside: int, outside: int, expand: int, stride: int, kernel: int) -> None:
        super().__init__()
        wide, narrow = inside * expand, max(inside // 4, 4)
        layers: list[nn.Module] = []
        if expand > 1:
            layers = [nn.Conv2d(inside, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.SiLU()]
        layers += [
            nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.SiLU(),
        ]
        self.deep = nn.Sequential(*layers)
        self.squeeze = nn.Sequential(
            nn.Conv2d(wide, narrow, 1), nn.SiLU(), nn.Conv2d(narrow, wide, 1), nn.Sigmoid()
        )
        self.out = nn.Sequential(nn.Conv2d(wide, outside, 1, bias=False), nn.BatchNorm2d(outside))
        self.skips = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.deep(x)
        hidden = self.out(hidden * self.squeeze(hidden.mean((2, 3), keepdim=True)))
        return x + hidden if self.skips else hidden


class Analyser(nn.Module):
    """Scalograms [B, bands, 128] (`heard`) → for each synthesiser what its parameters are.

    synths: names and numbers of parameters. width, depth: 1 is EfficientNet-B0. raw: heads say parameters as
    they are, linear in their ranges, as the document trains them; else as a slider moves.
    """

    def __init__(
        self, synths: Mapping[str, int], width: float = 1.0, depth: float = 1.0, raw: bool = False
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"synths": dict(synths), "width": width, "depth": depth, "raw": raw}
        self.synths, self.raw = tuple(synths), raw

        def scaled(channels: float) -> int:
            return max(8, int(channels * width / 8 + 0.5) * 8)

        inside = scaled(32)
        layers: list[nn.Module] = [
            nn.Conv2d(2, inside, (3, 5), (2, 4), (1, 2), bias=False), nn.BatchNorm2d(inside), nn.SiLU()
        ]  # fmt: skip
        for expand, channels, repeats, stride, kernel in _B0:
            for number in range(max(1, round(repeats * depth))):
                layers.append(_Block(inside, scaled(channels), expand, 1 if number else stride, kernel))
                inside = scaled(channels)
        last = scaled(1280 * min(width, 0.5))
        layers += [nn.Conv2d(inside, last, 1, bias=False), nn.BatchNorm2d(last), nn.SiLU()]
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleDict({name: nn.Linear(last, count) for name, count in synths.items()})
        self.which = nn.Linear(last, len(synths))

    def features(self, scalogram: Tensor) -> Tensor:
        rows = torch.linspace(-1, 1, scalogram.shape[-2], device=scalogram.device)[:, None]
        x = torch.stack([scalogram / 2 - 1, rows.expand_as(scalogram)], 1)
        return self.trunk(x).mean((2, 3))

    def said(self, features: Tensor, name: str) -> Tensor:
        """What a head says [B, D]: 0 … 1 in the ranges, but not kept inside."""
        return self.heads[name](features) + 0.5

    def places(self, features: Tensor, name: str) -> Tensor:
        """Places [B, D] in the ranges of a synthesiser's parameters, as sliders have them, 0 … 1."""
        said = self.said(features, name).clamp(0, 1)
        if not self.raw:
            return said
        synth = SYNTHS[name]
        return synth.place(between(synth, said))

    @torch.no_grad()
    def listen(self, sound: Tensor) -> tuple[dict[str, Tensor], dict[str, float]]:
        """(places [D] of each synthesiser, how likely each is) of a sound [samples]."""
        features = self.features(heard(sound[None]))
        chances = self.which(features).softmax(-1)[0].tolist()
        places = {name: self.places(features, name)[0] for name in self.synths}
        return places, dict(zip(self.synths, chances, strict=True))


def between(synth: Synth, said: Tensor) -> Tensor:
    """Values that lie linearly in the ranges."""
    low, high = (torch.tensor([getattr(p, end) for p in synth.parameters]) for end in ("low", "high"))
    return low + (high - low) * said


def shipped(name: str) -> Path:
    """Where the analyser of a synthesiser lies: that of the arpeggio, or that of all others."""
    file = "arpeggio" if name.startswith("arpeggio") else "corpus"
    return shipped_folder() / "match" / f"{file}.safetensors"


def load_analyser(path: str | Path) -> Analyser:
    """An analyser, on the CPU. SonopaintError where the file is missing or no analyser of today's synths."""
    try:
        with safe_open(str(path), framework="pt") as file:
            config = json.loads((file.metadata() or {})[KEY])["config"]
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}
        wrong = [n for n, count in config["synths"].items() if len(SYNTHS[n].parameters) != count]
        if wrong:
            raise ValueError(wrong[0])
        analyser = Analyser(**config)
        analyser.load_state_dict(tensors, strict=False)
        missing = set(analyser.state_dict()) - set(tensors)
        if any(not key.endswith("num_batches_tracked") for key in missing):
            raise KeyError(sorted(missing)[0])
        return analyser.eval()
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise SonopaintError(
            f'{path} is no analyser of these synths; train one with "sonotrain match train".'
        ) from error


def header(analyser: Analyser, facts: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of an analyser's file."""
    about = {"config": analyser.config, "scattering": asdict(Scattering()), **facts}
    return {"format": "pt", KEY: json.dumps(about)}


def sizes(names: Sequence[str]) -> dict[str, int]:
    """Names with their numbers of parameters."""
    return {name: len(SYNTHS[name].parameters) for name in names}
