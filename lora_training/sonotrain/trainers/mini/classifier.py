"""Trains the sound classifier on single events of all kinds."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonotrain.data.corpus import Corpus, quantise
from sonotrain.files.options import option
from sonotrain.trainers.mini.sound_classifier import NAME, SoundClassifier, augment, save_classifier
from sonotrain.training.compute import step_generator
from sonotrain.training.ema import Ema
from sonotrain.training.run import Run, Trainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassifierOptions:
    corpus: str = option("runs/singles", "corpus of single events, with a seed other than Mini's")
    clips: int = option(0, "clips to use (0: all that are there)")
    held_out: int = option(600, "clips at the end of the corpus that are kept for its accuracy")
    round_trip: int = option(400, "clips that are also shown after picture → sound → picture")
    weights: str = option("", "also write the trained classifier into this folder", free=True)
    batch: int = option(32, "clips a step")
    learning_rate: float = option(2e-3, "peak learning rate")
    warmup: int = option(50, "steps of warm-up")
    seed: int = option(0, "seed of weights and data")
    threads: int = option(0, "processor threads (0: torch's choice)", free=True)
    checkpoint_minutes: float = option(5.0, "minutes between checkpoints", free=True)


class ClassifierTrainer(Trainer):
    """Leaves classifier.safetensors with its accuracy in the header."""

    command = "classifier"
    Options = ClassifierOptions
    options: ClassifierOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        options = self.options
        corpus = self.corpus = Corpus(options.corpus, options.clips or None)
        if len(corpus) <= options.held_out:
            raise SonopaintError(
                f"{options.corpus} must hold more than {setting('held_out')} {options.held_out} clips."
            )
        self.options = replace(options, clips=len(corpus))
        if any(record.relation != "single" for record in corpus.records):
            raise SonopaintError(
                f"{options.corpus} holds mixtures; make one with {setting('content')} singles."
            )

    def prepare(self) -> None:
        options, device, corpus = self.options, self.device, self.corpus
        kinds = corpus.kinds()
        number = {name: index for index, name in enumerate(kinds)}
        labels = torch.tensor([number[record.kinds[0]] for record in corpus.records])
        split = len(corpus) - options.held_out
        self.levels, self.labels = corpus.levels[:split], labels[:split]
        self.held_levels, self.held_labels = corpus.levels[split:], labels[split:]
        if options.round_trip:
            again = round_trip(self.levels[: options.round_trip])
            self.levels = torch.cat([self.levels, again])
            self.labels = torch.cat([self.labels, self.labels[: len(again)]])
        torch.manual_seed(options.seed)
        self.model = SoundClassifier(kinds).to(device)
        self.ema = Ema([self.model], 0.995)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), options.learning_rate, weight_decay=0.02)

    def parts(self) -> dict[str, Any]:
        return {"model": self.model, "ema": self.ema, "optimiser": self.optimiser}

    def step(self, number: int) -> dict[str, Tensor]:
        generator = step_generator(self.options.seed, number)
        index = torch.randint(len(self.levels), (self.options.batch,), generator=generator)
        levels = augment(self.levels[index].float() / 255.0, generator).to(self.device)
        labels = self.labels[index].to(self.device)
        logits = self.model(levels)
        loss = F.cross_entropy(logits, labels, label_smoothing=0.05)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.ema.update()
        return {"loss": loss, "accuracy": (logits.argmax(1) == labels).float().mean()}

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser]

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        metrics = self.measure() | {"steps": result["steps"], "clips": len(self.corpus)}
        with self.ema.applied():
            for folder in (self.run.path, *([Path(self.options.weights)] if self.options.weights else [])):
                save_classifier(self.model, folder / NAME, metrics)
        shown = {name: metrics[name] for name in ("accuracy", "accuracy_after_round_trip")}
        logger.info("held-out clips: %s", shown)
        return metrics

    @torch.no_grad()
    def measure(self) -> dict[str, Any]:
        """Accuracy on held-out clips, as synthesised and after picture → sound → picture; the worst kinds."""
        count = min(len(self.held_levels), 100)
        again = round_trip(self.held_levels[:count])
        with self.ema.applied():
            guesses = self._guess(self.held_levels)
            guesses_again = self._guess(again)
        right = guesses == self.held_labels
        wrong = Counter(self.model.kinds[label] for label in self.held_labels[~right].tolist())
        return {
            "accuracy": right.float().mean().item(),
            "accuracy_after_round_trip": (guesses_again == self.held_labels[:count]).float().mean().item(),
            "held_out": len(right),
            "most_missed": dict(wrong.most_common(5)),
        }

    def _guess(self, levels: Tensor) -> Tensor:
        parts = [
            self.model(part.float().to(self.device) / 255.0).argmax(1).cpu() for part in levels.split(64)
        ]
        return torch.cat(parts)


def round_trip(levels: Tensor) -> Tensor:
    """uint8 levels → sound by Griffin–Lim → uint8 levels: how a model's pictures sound and look again."""
    from sonoconvert.pictures.format import get_format
    from sonoconvert.pictures.spectrogram import levels as levels_of
    from sonotrain.data.corpus import FORMAT
    from sonotrain.training.painting import to_sound

    fmt = get_format(FORMAT)
    parts = [
        quantise(levels_of(to_sound(part.float() / 255.0, iterations=16), fmt)) for part in levels.split(16)
    ]
    return torch.cat(parts)
