"""A small sound classifier, trained on the corpus with other seeds: it judges what the models make.

It is trained by ``sonotrain base classifier``; its features are how near two sounds are to each other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sonoconvert.defaults import FORMAT
from sonoconvert.errors import SonopaintError
from sonopaint.models.folders import shipped_folder

if TYPE_CHECKING:
    from sonoconvert.files.clip import Clip

CHANNELS = (16, 32, 64, 128, 192, 256)
NAME = "classifier.safetensors"
MIXTURES = "mixtures.safetensors"  # beside it: the judge that names several sounds of one clip
PARTS = "parts.safetensors"  # beside it: the judge of what lies in a painted box


class SoundClassifier(nn.Module):
    """Levels [B, 128, W] in 0 … 1 (row 0 = lowest; any W ≥ 64) → logits [B, kinds]. About 0.8 M parameters.

    Six strided blocks; mean and maximum over time, so that one short event in a long clip counts. `several`:
    its logits answer for each kind by itself (sigmoid) and not which one kind it is (softmax).
    """

    def __init__(self, kinds: Sequence[str], several: bool = False) -> None:
        super().__init__()
        self.kinds, self.several = list(kinds), several
        blocks: list[nn.Module] = []
        inside = 2
        for channels in CHANNELS:
            blocks += [
                nn.Conv2d(inside, channels, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(8, channels),
                nn.SiLU(),
            ]
            inside = channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(2 * inside, len(self.kinds))

    def features(self, levels: Tensor) -> Tensor:
        """Penultimate features [B, 512]: the basis of the Fréchet distance."""
        rows = torch.linspace(-1.0, 1.0, levels.shape[-2], device=levels.device, dtype=levels.dtype)
        height = rows[:, None].expand_as(levels)  # where on the frequency axis a pattern lies
        hidden = self.blocks(torch.stack([levels * 2.0 - 1.0, height], dim=1)).mean(2)
        return torch.cat([hidden.mean(2), hidden.amax(2)], dim=1)

    def forward(self, levels: Tensor) -> Tensor:
        return self.head(self.features(levels))

    @torch.no_grad()
    def judge(self, waveforms: Tensor, batch: int = 32) -> tuple[Tensor, Tensor]:
        """(logits [N, kinds], features [N, 512]) of waveforms [N, samples] at 32 kHz."""
        from sonoconvert.pictures.format import get_format
        from sonoconvert.pictures.spectrogram import levels

        fmt = get_format(FORMAT)
        parts = [self.features(levels(part, fmt)) for part in waveforms.split(batch)]
        found = torch.cat(parts)
        return self.head(found), found

    def classify(self, clip: Clip) -> list[tuple[str, float]]:
        """Kinds with their probabilities, most probable first, of the first 5.12 s of a Clip."""
        sound = clip.resampled(32_000).mono().waveform
        logits, _ = self.judge(sound)
        chances = logits[0].sigmoid() if self.several else logits[0].softmax(0)
        order = chances.argsort(descending=True).tolist()
        return [(self.kinds[index], chances[index].item()) for index in order]

    @torch.no_grad()
    def judge_halves(self, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the first and of the last 40 % of levels [N, 128, W], for two events in sequence."""
        columns = max(64, int(0.4 * levels.shape[-1]))
        return self(levels[..., :columns]), self(levels[..., -columns:])


def load_classifier(path: str | Path | None = None) -> tuple[SoundClassifier, dict[str, object]]:
    """The classifier (fp32, CPU, eval) and its metrics; by default the shipped one.

    Raises SonopaintError where the file is missing or damaged.
    """
    path = Path(path) if path is not None else shipped_classifier()
    if path.is_dir():
        path = path / NAME
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}
        several = bool(json.loads(metadata.get("sonopaint.several", "false")))
        model = SoundClassifier(json.loads(metadata["sonopaint.kinds"]), several)
        model.load_state_dict(tensors)
        return model.eval(), json.loads(metadata["sonopaint.metrics"])
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise SonopaintError(
            f'{path} is not a readable sound classifier; train one with "sonotrain base classifier".'
        ) from error


def shipped_classifier() -> Path:
    """weights/classifier of this repository."""
    return shipped_folder() / "classifier" / NAME
