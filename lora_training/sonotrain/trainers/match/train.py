"""Trains an analyser (`sonopaint.match.analyser`) on sounds that the synthesisers make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sonoconvert.checkpoints.files import write_tensors
from sonoconvert.descriptors.scattering import Scattering
from sonoconvert.errors import SonopaintError, setting
from sonopaint.match.analyser import Analyser, between, header, sizes
from sonopaint.match.metric import described
from sonopaint.match.synths import CORPUS, Synth, get_synth
from sonotrain.files.options import option
from sonotrain.trainers.match.draws import TEST, TRAIN, VALIDATION
from sonotrain.trainers.match.losses import LOSSES, damped, parameter_loss, pnp_loss, spectral_loss
from sonotrain.trainers.match.metrics import KINDS, Known, Plan, known
from sonotrain.training import common
from sonotrain.training.compute import descend, step_generator
from sonotrain.training.ema import Ema, take_average
from sonotrain.training.run import Run, Trainer
from sonotrain.training.run_folder import load_final
from sonotrain.training.weights import OURS, facts_of

NAMED = 0.1  # weight of saying which synthesiser it is


@dataclass(frozen=True)
class MatchOptions:
    synths: tuple[str, ...] = option(
        ("corpus",), "synthesisers to learn; corpus: all that aren't an arpeggio", metavar="NAME"
    )
    loss: str = option("reg", "which loss", LOSSES)
    damping: float = option(1.0, "λ of the mean metric (reg)")
    raw: bool = option(False, "count errors of parameters as they are, as the document does")
    grid: int = option(0, "steps a side of the grid of parameters; 0: spread-out draws")
    draws: int = option(600, "draws with a metric of their own, for each synthesiser, without a grid")
    plain: int = option(2000, "draws more without one, for which the mean stands, likewise")
    metric: str = option("secant", "derivative, or differences over steps that are heard", KINDS)
    q: int = option(6, "filters to an octave of the metric's descriptor")
    cache: str = option("runs/match-metrics", "folder of the cached metrics", free=True)
    width: float = option(0.5, "channels: share of EfficientNet-B0's")
    depth: float = option(0.5, "blocks: share of EfficientNet-B0's")
    batch: int = common.batch(32, "sounds")
    learning_rate: float = option(1e-3, "peak learning rate (Adam)")
    warmup: int = common.warmup(20)
    ema: float = common.ema(0.99)
    seed: int = common.seed("weights")
    data_seed: int = option(0, "seed of the draws")
    workers: int = option(1, "processes that compute metrics", free=True)
    threads: int = common.threads()
    checkpoint_minutes: float = common.checkpoint_minutes(3.0)
    preview_minutes: float = common.preview_minutes("measurements")


def plans(options: MatchOptions) -> list[Plan]:
    """What the options need computed, for each synthesiser."""
    names = [n for name in options.synths for n in (CORPUS if name == "corpus" else (name,))]
    return [
        Plan(
            name, options.grid, options.draws, 0 if options.grid else options.plain, options.data_seed,
            options.metric, Scattering(get_synth(name).samples, q=options.q, pool=options.q * 2 // 3),
        )
        for name in dict.fromkeys(names)
    ]  # fmt: skip


@dataclass(frozen=True)
class Lesson:
    """A synthesiser's draws, ready to be learnt: `metric` [N, D, D] of all draws, damped, of mean size 1."""

    synth: Synth
    known: Known
    metric: Tensor
    true: Tensor  # [N, D], in the coordinates in which errors count


class MatchTrainer(Trainer):
    """match.json holds the errors on held-out draws."""

    command = "match"
    Options = MatchOptions
    options: MatchOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        options = self.options
        self.plans = plans(options)
        if options.batch < 2 or options.damping < 0:
            raise SonopaintError(
                f"{setting('batch')} must be at least 2, and {setting('damping')} not below 0."
            )
        if options.loss == "spectral" and len(self.plans) > 1:
            raise SonopaintError(
                f"{setting('loss')} spectral learns one synthesiser; name one in {setting('synths')}."
            )
        self.measured: dict[str, float] = {}

    def prepare(self) -> None:
        options = self.options
        torch.manual_seed(options.seed)
        names = [plan.synth for plan in self.plans]
        self.analyser = Analyser(sizes(names), options.width, options.depth, options.raw).to(self.device)
        self.analyser = self.analyser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = Ema([self.analyser], options.ema)
        self.optimiser = torch.optim.Adam(self.analyser.parameters(), options.learning_rate)
        self.lessons = []
        for plan in self.plans:
            self.run.preparing(f"sounds and metrics of {plan.synth}")
            self.lessons.append(self._lesson(plan))
        self.picks = torch.cat([
            torch.stack([torch.full_like(rows := one.known.draws.of(TRAIN), number), rows], 1)
            for number, one in enumerate(self.lessons)
        ])  # fmt: skip

    def _lesson(self, plan: Plan) -> Lesson:
        options, synth = self.options, get_synth(plan.synth)
        found = known(plan, options.cache, options.workers)
        mean = found.metric.mean(0)
        weight = options.damping if options.loss == "reg" else 0.0
        metric = damped(found.metric, mean, weight)
        rest = len(found.draws.places) - len(metric)
        metric = torch.cat([metric, (mean * (1 + weight)).expand(rest, -1, -1)])
        true = found.draws.places
        if options.raw:
            true = synth.theta(true)
            turned = self._per_value(synth, true)
            metric = turned[:, :, None] * metric * turned[:, None]
        size = metric.diagonal(dim1=1, dim2=2).sum(1).mean() if not options.raw else 1.0
        return Lesson(synth, found, metric / size, true)

    def _per_value(self, synth: Synth, theta: Tensor) -> Tensor:
        """How far a place moves with a parameter's value [N, D]."""
        rates = []
        for k, p in enumerate(synth.parameters):
            straight = torch.full_like(theta[:, k], 1 / (p.high - p.low))
            rates.append(1 / (theta[:, k] * np.log(p.high / p.low)) if p.log else straight)
        return torch.stack(rates, 1)

    def parts(self) -> dict[str, Any]:
        return {"analyser": self.analyser, "ema": self.ema, "optimiser": self.optimiser}

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser]

    def step(self, number: int) -> dict[str, Tensor]:
        generator = step_generator(self.options.seed, number)
        rows = torch.randint(len(self.picks), (self.options.batch,), generator=generator)
        which, picked = self.picks[rows].unbind(1)
        scalograms = torch.stack([
            self.lessons[w].known.heard[p] for w, p in zip(which.tolist(), picked.tolist(), strict=True)
        ])  # fmt: skip
        self.analyser.train()
        features = self.analyser.features(scalograms.float().to(self.device))
        losses = []
        for number_of, lesson in enumerate(self.lessons):
            mine = which == number_of
            if mine.any():
                said = self.analyser.said(features[mine.to(self.device)], lesson.synth.name).cpu()
                losses.append(self._loss(lesson, said, picked[mine]))
        loss = torch.cat(losses).mean()
        values = {"loss": loss}
        if len(self.lessons) > 1:
            named = nn.functional.cross_entropy(self.analyser.which(features), which.to(self.device))
            values["named"] = named
            loss = loss + NAMED * named
        values["norm"] = descend(loss, self.analyser.parameters(), self.optimiser, most=1e3)
        self.ema.update()
        return values

    def _loss(self, lesson: Lesson, said: Tensor, picked: Tensor) -> Tensor:
        """[B]"""
        options = self.options
        guess = between(lesson.synth, said) if options.raw else said
        error = guess - lesson.true[picked]
        if options.loss == "p":
            return parameter_loss(error)
        if options.loss == "spectral":
            place = lesson.synth.place(between(lesson.synth, said.clamp(1e-3, 1))) if options.raw else said
            transform = self.plans[0].transform
            descriptor = described(lesson.synth, transform)
            return spectral_loss(descriptor, place, lesson.known.draws.places[picked])
        return pnp_loss(error, lesson.metric[picked])

    @torch.no_grad()
    def guesses(self, lesson: Lesson, rows: Tensor) -> Tensor:
        """Places [N, D] that the averaged analyser says of draws."""
        self.analyser.eval()
        with self.ema.applied():
            found = []
            for part in rows.split(64):
                features = self.analyser.features(lesson.known.heard[part].float().to(self.device))
                found.append(self.analyser.places(features, lesson.synth.name).cpu())
        return torch.cat(found)

    def preview(self, number: int) -> dict[str, float]:
        """Median errors, in just noticeable differences, of each synthesiser's parameters on the test's draws
        (with many: of all of them), and on the validation's centre, and how many are named right."""
        self.measured = {}
        for use, name in ((TEST, "test"), (VALIDATION, "validation")):
            errors, right, total = [], 0.0, 0
            for number_of, lesson in enumerate(self.lessons):
                rows = lesson.known.draws.of(use)[:200]
                if not len(rows):
                    continue
                one, true = (
                    lesson.synth.theta(place)
                    for place in (self.guesses(lesson, rows), lesson.known.draws.places[rows])
                )
                parameters = lesson.synth.parameters
                error = torch.stack([
                    p.noticeable(one[:, k], true[:, k]) for k, p in enumerate(parameters)
                ], 1)  # fmt: skip
                self.measured[f"{name}_{lesson.synth.name}"] = error.median().item()
                errors.append(error.flatten())
                with torch.no_grad(), self.ema.applied():
                    features = self.analyser.features(lesson.known.heard[rows].float().to(self.device))
                    right += (self.analyser.which(features).argmax(1) == number_of).sum().item()
                total += len(rows)
            if errors:
                self.measured[name] = torch.cat(errors).median().item()
                self.measured[f"{name}_named"] = right / total
        return {k: v for k, v in self.measured.items() if k in ("test", "validation", "test_named")}

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        self.preview(0)
        return self.measured


def averaged(run: str | Path) -> tuple[Analyser, dict[str, Any]]:
    """(the averaged analyser of a run, its config.json). SonopaintError where there is none."""
    parts, config = load_final(run)
    options = config["options"]
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    wanted = plans(MatchOptions(**given))
    names = [plan.synth for plan in wanted]
    analyser = Analyser(sizes(names), options["width"], options["depth"], options["raw"])
    analyser.load_state_dict(parts["analyser"])
    take_average([analyser], parts["ema"])
    return analyser.eval(), config


def export_analyser(run: str | Path, out: str | Path, *, force: bool = False) -> Path:
    """Writes a run's averaged analyser as out/corpus.safetensors or out/arpeggio.safetensors (fp16)."""
    run = Path(run)
    analyser, config = averaged(run)
    data = "sounds that the synthesisers made, no recordings"
    facts = facts_of(run, "match", data, config["options"] | {"cache": ""})
    name = "arpeggio" if analyser.synths[0].startswith("arpeggio") else "corpus"
    path = Path(out) / f"{name}.safetensors"
    tensors = {
        key: value.half() if value.is_floating_point() else value
        for key, value in analyser.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    metadata = header(analyser, facts) | OURS | {"modelspec.title": f"Sonopaint analyser: {name}"}
    write_tensors(path, tensors, metadata, force=force)
    return path
