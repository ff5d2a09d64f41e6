"""The whole recipe as one command: corpus, VAE, text, diffusion, export, evaluation, within a time."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError, setting
from sonotrain.data.corpus import build_corpus
from sonotrain.evaluation.base.examine import Evaluation, evaluate_and_report
from sonotrain.files.json_files import write_json
from sonotrain.trainers.mini.classifier import ClassifierTrainer
from sonotrain.trainers.mini.diffusion import DiffusionTrainer
from sonotrain.trainers.mini.export import export
from sonotrain.trainers.mini.sound_classifier import shipped_classifier
from sonotrain.trainers.mini.text import TextTrainer
from sonotrain.trainers.mini.vae import VaeTrainer
from sonotrain.training.compute import choose_device
from sonotrain.training.loop import Budget
from sonotrain.training.run import Trainer, train_once

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preset:
    """Sizes of the recipe. Shares are of the whole time; what is left over is for evaluation."""

    clips: int
    corpus_share: float = 0.12
    vae_share: float = 0.28
    text_share: float = 0.04
    diffusion_share: float = 0.42
    steps: int = 0  # above 0: train so many steps in every stage in place of a share of the time
    vae: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)
    diffusion: dict[str, Any] = field(default_factory=dict)
    classifier: dict[str, Any] = field(default_factory=dict)
    singles: int = 0  # above 0: train a classifier on so many clips in place of using the shipped one
    evaluation: dict[str, Any] = field(default_factory=dict)


PRESETS = {
    # one datacentre GPU, about 28 minutes
    "gpu": Preset(
        clips=60_000,
        vae={"batch": 48, "crop": 128, "learning_rate": 8e-4, "warmup": 300, "ema": 0.999,
             "kl_weight": 3e-6, "adversarial_from": 0.5, "checkpoint_minutes": 1.5, "preview_minutes": 3.0},
        text={"batch": 512},
        diffusion={"batch": 256, "learning_rate": 6e-4, "text_learning_rate": 2e-4, "text_every": 1,
                   "warmup": 500, "ema": 0.9995, "checkpoint_minutes": 1.5, "preview_minutes": 3.0},
        evaluation={"per_kind": 20, "sequences": 100, "reference": 40},
    ),
    # two processor cores, about three hours
    "cpu": Preset(
        clips=12_000,
        vae={"batch": 8, "learning_rate": 1.2e-3, "kl_weight": 3e-6},
        diffusion={"batch": 16},
    ),
    # everything once, tiny: does it run?
    "smoke": Preset(
        clips=80,
        steps=2,
        vae={"batch": 2, "crop": 32},
        text={"batch": 8},
        diffusion={"batch": 2, "preview_steps": 2},
        classifier={"held_out": 10, "round_trip": 4, "batch": 4},
        singles=80,
        evaluation={"per_kind": 2, "sequences": 2, "reference": 2, "kinds": ("rain", "siren"), "steps": 2},
    ),
}  # fmt: skip


def run_all(out: str | Path, preset: str, minutes: float, *, device: str = "auto", workers: int = 2) -> bool:
    """Runs the recipe in the folder `out`; called again, it goes on where it was stopped.

    Ends with out/mini (the model) and out/evaluation. False when the user stopped it.
    """
    if preset not in PRESETS:
        raise SonopaintError(f"There is no preset {preset!r}; choose from {', '.join(PRESETS)}.")
    if minutes <= 0:
        raise SonopaintError(f"{setting('minutes')} must be above 0.")
    chosen = PRESETS[preset]
    folder = Path(out)
    kind = choose_device(device).type
    if not chosen.singles and not shipped_classifier().is_file():
        raise SonopaintError('weights/classifier is missing; train one with "sonotrain base classifier".')

    def budget(share: float) -> Budget:
        return Budget(steps=chosen.steps) if chosen.steps else Budget(minutes=minutes * share)

    corpus = folder / "corpus"
    if not (folder / "corpus.done").exists():
        limit = None if chosen.steps else minutes * chosen.corpus_share
        build_corpus(corpus, chosen.clips, 0, workers, "base", kind, minutes=limit)
        write_json(folder / "corpus.done", {})
    common: dict[str, Any] = {"corpus": str(corpus)}
    stages: list[tuple[type[Trainer], dict[str, Any], float]] = [
        (VaeTrainer, {**common, **chosen.vae}, chosen.vae_share),
        (TextTrainer, {**common, **chosen.text}, chosen.text_share),
    ]
    sources: dict[str, Any] = {"vae": str(folder / "vae"), "text": str(folder / "text")}
    stages.append((DiffusionTrainer, {**common, **sources, **chosen.diffusion}, chosen.diffusion_share))
    judge = ""
    if chosen.singles:
        singles = folder / "singles"
        build_corpus(singles, chosen.singles, 1000, workers, "singles", kind)
        judge = str(folder / "classifier")
        stages.append((ClassifierTrainer, {"corpus": str(singles), **chosen.classifier}, 0.0))
    for trainer, options, share in stages:
        if not train_once(trainer, folder / trainer.command, options, budget(share), device=device):
            return False
    model = folder / "mini"
    if not (model / "README.md").is_file():
        shutil.rmtree(model, ignore_errors=True)  # a broken-off export
        export(folder / "diffusion", model)
    if not (folder / "evaluation" / "evaluation.json").is_file():
        logger.info("--- evaluation")
        plan = Evaluation(model=str(model), classifier=judge, **chosen.evaluation)
        evaluate_and_report(plan, folder / "evaluation", device, card=True)
    return True
