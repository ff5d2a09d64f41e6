"""The corpus classifier as an embedding: what there is without anybody's weights."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sonoconvert.files.hashes import sha256_of
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonotrain.data.corpus import FORMAT
from sonotrain.evaluation.embeddings.base import Embedded
from sonotrain.trainers.mini.sound_classifier import (
    NAME,
    SoundClassifier,
    load_classifier,
    shipped_classifier,
)

WINDOW_COLUMNS = 160  # 2.56 s: half a clip, as short as its training has shown it


class CorpusClassifier:
    """512 features and the logits of the corpus's kinds; the first 5.12 s of a clip."""

    name = "classifier"
    title = "corpus classifier"
    details = (
        "512 features of Sonopaint's own classifier, which knows the foley corpus only (each clip at its "
        "own peak); not comparable with published figures"
    )
    version = 1

    def __init__(
        self, model: SoundClassifier, *, file: str, hash: str, metrics: dict[str, object] | None = None
    ) -> None:
        fmt = get_format(FORMAT)
        self.model, self.file, self.hash = model, file, hash
        self.metrics = metrics or {}  # how well it judges
        self.kinds = model.kinds
        self.sample_rate = fmt.sample_rate
        self.window_s: float | None = WINDOW_COLUMNS * fmt.hop_length / fmt.sample_rate
        self.longest_s: float | None = fmt.width * fmt.hop_length / fmt.sample_rate
        self.least_samples = fmt.sample_rate // 10

    @torch.no_grad()
    def __call__(self, waveforms: Tensor) -> Embedded:
        fmt = get_format(FORMAT)
        pictures = levels(waveforms.float().cpu(), fmt)
        features = self.model.features(pictures)
        used = max(1, round(fmt.frames(waveforms.shape[1]) / WINDOW_COLUMNS))  # the rest is padding
        parts = pictures.split(WINDOW_COLUMNS, dim=-1)[:used]
        whole = [F.pad(part, (0, WINDOW_COLUMNS - part.shape[-1])) for part in parts]
        windows = torch.stack([self.model.features(part) for part in whole], dim=1)
        return Embedded(features, windows, self.model.head(features))


def load_corpus_classifier(weights: str | Path = "", device: str | torch.device = "cpu") -> CorpusClassifier:
    """The shipped classifier or another of its kind; it is small and always runs on the CPU."""
    path = Path(weights) if weights else shipped_classifier()
    model, metrics = load_classifier(path)
    file = path / NAME if path.is_dir() else path
    return CorpusClassifier(model, file=file.name, hash=sha256_of(file)[:10], metrics=metrics)
