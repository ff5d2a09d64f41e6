"""Trains the sound classifier on single events; on pairs or on parts of them too, the judges beside it."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonotrain.data.corpus import Corpus, quantise
from sonotrain.files.options import option
from sonotrain.trainers.mini.sound_classifier import (
    MIXTURES,
    NAME,
    PARTS,
    SoundClassifier,
    augment,
    parts_of,
    save_classifier,
)
from sonotrain.training import common
from sonotrain.training.compute import descend, step_generator
from sonotrain.training.ema import Ema
from sonotrain.training.run import Run, Trainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassifierOptions:
    corpus: str = option("runs/singles", "corpus of single events, with a seed other than Mini's")
    pairs: str = option("", "also learn to name both of two sounds: a corpus made with --content pairs")
    parts: bool = option(False, "also learn what a part of a clip is, as it lies in a painted box")
    clips: int = option(0, "clips to use (0: all that are there)")
    held_out: int = option(600, "clips at the end of each corpus that are kept for its accuracy")
    round_trip: int = option(400, "clips that are also shown after picture → sound → picture")
    weights: str = option("", "also write the trained classifier into this folder", free=True)
    batch: int = common.batch(32)
    learning_rate: float = option(2e-3, "peak learning rate")
    warmup: int = common.warmup(50)
    seed: int = common.seed()
    threads: int = common.threads()
    checkpoint_minutes: float = common.checkpoint_minutes()


@dataclass
class Clips:
    """What is learnt, and what is kept for the accuracy: uint8 levels [N, 128, W] and targets [N, kinds]."""

    levels: Tensor
    targets: Tensor
    held_levels: Tensor
    held_targets: Tensor
    shown: str  # singles, pairs or parts


class ClassifierTrainer(Trainer):
    """Leaves classifier, mixtures or parts.safetensors, with its accuracy in the header."""

    command = "classifier"
    Options = ClassifierOptions
    options: ClassifierOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        options = self.options
        if options.pairs and options.parts:
            raise SonopaintError(f"A judge is of {setting('pairs')} or of {setting('parts')}; choose one.")
        corpus = self.corpus = Corpus(options.corpus, options.clips or None)
        self.options = replace(options, clips=len(corpus))
        if any(record.relation != "single" for record in corpus.records):
            raise SonopaintError(
                f"{options.corpus} holds mixtures; make one with {setting('content')} singles."
            )

    def prepare(self) -> None:
        options, device, corpus = self.options, self.device, self.corpus
        kinds = corpus.kinds()
        self.learnt = [self._set(corpus, kinds)]
        if options.pairs:
            self.learnt.append(self._set(Corpus(options.pairs), kinds))
        if options.round_trip:
            singles = self.learnt[0]
            singles.levels = torch.cat([singles.levels, round_trip(singles.levels[: options.round_trip])])
            singles.targets = torch.cat([singles.targets, singles.targets[: options.round_trip]])
        if options.parts:
            self.learnt.append(replace(self.learnt[0], shown="parts"))
        torch.manual_seed(options.seed)
        self.model = SoundClassifier(kinds, bool(options.pairs)).to(device)
        self.ema = Ema([self.model], 0.995)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), options.learning_rate, weight_decay=0.02)

    def _set(self, corpus: Corpus, kinds: Sequence[str]) -> Clips:
        held_out = self.options.held_out
        if len(corpus) <= held_out:
            raise SonopaintError(
                f"{corpus.folder} must hold more than {setting('held_out')} {held_out} clips."
            )
        if unknown := sorted(set(corpus.kinds()) - set(kinds)):
            raise SonopaintError(f"{corpus.folder} has {unknown[0]!r}, of which the singles have none.")
        targets = torch.zeros(len(corpus), len(kinds))
        for row, record in enumerate(corpus.records):
            targets[row, [kinds.index(kind) for kind in record.kinds]] = 1.0
        split = len(corpus) - held_out
        shown = "pairs" if any(record.relation != "single" for record in corpus.records) else "singles"
        return Clips(corpus.levels[:split], targets[:split], corpus.levels[split:], targets[split:], shown)

    def parts(self) -> dict[str, Any]:
        return {"model": self.model, "ema": self.ema, "optimiser": self.optimiser}

    def step(self, number: int) -> dict[str, Tensor]:
        generator = step_generator(self.options.seed, number)
        shares, count = [], self.options.batch // len(self.learnt)  # of both as many
        for clips in self.learnt:
            index = torch.randint(len(clips.levels), (count,), generator=generator)
            levels = clips.levels[index].float() / 255.0
            if clips.shown == "parts":
                levels = parts_of(levels, generator)
            levels = augment(levels, generator, whole=clips.shown != "singles")
            logits, targets = self.model(levels.to(self.device)), clips.targets[index].to(self.device)
            shares.append((self._loss(logits, targets), _right(logits, targets)))
        loss, right = (torch.stack(values).mean() for values in zip(*shares, strict=True))
        descend(loss, self.model.parameters(), self.optimiser, most=math.inf)
        self.ema.update()
        return {"loss": loss, "accuracy": right}

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Which one kind it is; or of each kind whether it is there."""
        if self.model.several:
            return F.binary_cross_entropy_with_logits(logits, targets)
        return F.cross_entropy(logits, targets.argmax(1), label_smoothing=0.05)

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser]

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        metrics = self.measure() | {"steps": result["steps"], "clips": len(self.corpus)}
        with self.ema.applied():
            for folder in (self.run.path, *([Path(self.options.weights)] if self.options.weights else [])):
                save_classifier(self.model, folder / self._name, metrics)
        shown = {name: value for name, value in metrics.items() if isinstance(value, float)}
        logger.info("held-out clips: %s", shown)
        return metrics

    @property
    def _name(self) -> str:
        return MIXTURES if self.options.pairs else PARTS if self.options.parts else NAME

    @torch.no_grad()
    def measure(self) -> dict[str, Any]:
        """Accuracy on held-out clips, as synthesised and after picture → sound → picture; the worst kinds.

        Of pairs the share of which both are the two most probable, or among the first three; of parts the
        share whose kind is the most probable, or among the first three.
        """
        singles, count = self.learnt[0], min(self.options.held_out, 100)
        again = round_trip(singles.held_levels[:count])
        with self.ema.applied():
            logits, heard = self._judge(singles.held_levels), self._judge(again)
            found: dict[str, float] = {}
            for clips in self.learnt[1:]:
                held, first = clips.held_levels, {"both_first_two": 2, "both_first_three": 3}
                if clips.shown == "parts":
                    held = quantise(parts_of(held.float() / 255.0, torch.Generator().manual_seed(1)))
                    first = {"parts_first": 1, "parts_first_three": 3}
                heard_of = self._judge(held)
                found |= {name: _named(heard_of, clips.held_targets, many) for name, many in first.items()}
        wanted = singles.held_targets.argmax(1)
        right = logits.argmax(1) == wanted
        wrong = Counter(self.model.kinds[label] for label in wanted[~right].tolist())
        return {
            "accuracy": right.float().mean().item(),
            "accuracy_after_round_trip": (heard.argmax(1) == wanted[:count]).float().mean().item(),
            **found,
            "held_out": len(right),
            "most_missed": dict(wrong.most_common(5)),
        }

    def _judge(self, levels: Tensor) -> Tensor:
        parts = (part.float().to(self.device) / 255.0 for part in levels.split(64))
        return torch.cat([self.model(part).cpu() for part in parts])


def _right(logits: Tensor, targets: Tensor) -> Tensor:
    """Share of clips [B, kinds] whose most probable kind is in them."""
    return targets.gather(1, logits.argmax(1, keepdim=True)).mean()


def _named(logits: Tensor, targets: Tensor, first: int) -> float:
    """Share of clips [B, kinds] all of whose kinds are among the `first` most probable."""
    missed = targets.scatter(1, logits.topk(first).indices, 0.0)
    return (missed.sum(1) == 0).double().mean().item()


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
