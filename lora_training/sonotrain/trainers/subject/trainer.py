"""`sonotrain subject`: from a few clips to a LoRA that paints variations in one step."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sonotrain.trainers.subject import output
from sonotrain.trainers.subject.data import check_words, prepare
from sonotrain.trainers.subject.methods import Shared, make_method
from sonotrain.trainers.subject.networks import Weights, make_networks, read_student, read_weights
from sonotrain.trainers.subject.options import ONE_STEP, SubjectOptions, resolve
from sonotrain.trainers.subject.preview import Previewer
from sonotrain.trainers.subject.watch import SEEDS, Watch
from sonotrain.training.base_model import load_base, plain_attention, to_half
from sonotrain.training.compute import give_back_memory
from sonotrain.training.ema import Ema
from sonotrain.training.loop import Budget, EndEarly, Hook
from sonotrain.training.previews import Painting, keep_decoder, save_comparison, to_paintings
from sonotrain.training.run import Run, Trainer


class SubjectTrainer(Trainer):
    """Options that nobody gave follow the base model."""

    command = "subject"
    Options = SubjectOptions
    options: SubjectOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        self.model, self.base = load_base(self.options.model, self.device, self.options.format)
        options = self.options = resolve(given, mini=self.base["kind"] == "mini")
        run.note(*check_words(options, self.model.tokenizer))  # complaints come before the work
        self.facts["base"] = self.base
        self.timestep = 0
        self.student: Weights | None = None
        self.target: Weights | None = None
        if options.method in ONE_STEP:
            self.student, self.timestep = read_student(options, self.model)
        if options.target:
            self.target = read_weights(options.target, self.model, options.mode)
        if self.device.type == "cuda" and options.mode == "adapters":
            to_half(self.model)
        elif self.device.type == "cpu":
            plain_attention(self.model.unet)

    def prepare(self) -> None:
        options, model = self.options, self.model
        fingerprint = self.base["sha256"] + str(model.dtype)
        data = self.data = prepare(model, fingerprint, options, self.run.path, self.run.preparing)
        self.run.note(*data.notes)
        self.facts["clips"], self.prompts = data.names, data.prompts
        self.decoder = keep_decoder(model, bool(options.preview_every))
        model.text_encoder = None
        give_back_memory()
        networks = self.networks = make_networks(model, options, self.student, self.target)
        self.student_name = Path(self.student.name).stem if self.student else ""
        self.student = self.target = None  # they are in the networks now
        shared = Shared(networks, data, options, model.alphas_cumprod, self.device, self.timestep)
        self.method = make_method(shared)
        self.painter = Previewer(shared, model, self.method.role)
        product = networks.trained(self.method.role)
        self.ema = Ema([nn.ParameterList(product)], options.ema) if options.ema else None
        self.watch = Watch(lambda: self.painter([data.instance] * SEEDS), product)
        if self.decoder:
            self.run.preparing("Painting the previews of the beginning")
        self.before = self._paint() if self.decoder else []

    def budget(self) -> Budget:
        options = self.options
        return Budget(steps=options.steps + (options.adapt_steps if options.method == "db-dmd2" else 0))

    def parts(self) -> dict[str, Any]:
        parts = {**self.method.parts(), "watch": self.watch}
        return {**parts, "ema": self.ema} if self.ema else parts

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return list(self.method.optimisers.values())

    def schedule(self, used: float, step: int) -> float:
        """Warm-up alone, over a tenth of all steps at most."""
        return min(1.0, (step + 1) / min(self.options.warmup + 1, self.run.total / 10 + 1))

    def step(self, number: int) -> dict[str, Tensor]:
        told = self.method.step(number)
        if self.ema and (self.options.method != "uni-dad" or number % self.options.ratio == 0):
            self.ema.update()
        return told

    def heard(self, values: Mapping[str, float]) -> None:
        self.watch.margin = values.get("real_logit", 0.0) - values.get("fake_logit", 0.0)

    def hooks(self) -> list[Hook]:
        every = self.options.watch_every if self.options.method in ONE_STEP else 0
        return [Hook(every, self._look, at_start=True)] if every else []

    def _look(self, number: int) -> dict[str, float]:
        try:
            return self.watch(number)
        except EndEarly:
            self.watch.restore()
            self.ema = None  # it averages what has collapsed
            raise

    def _averaged(self) -> AbstractContextManager[None]:
        """Within the block the product holds its moving average, where there is one."""
        return self.ema.applied() if self.ema else nullcontext()

    def _paint(self) -> list[Painting]:
        """The prompts, by the network in training."""
        texts = [self.data.captions.numbers[prompt] for prompt in self.prompts]
        return to_paintings(self.model, self.decoder, self.painter(texts))

    def preview(self, number: int) -> dict[str, float]:
        """What it paints now, beside what it painted at the beginning."""
        with self._averaged():
            after = self._paint()
        save_comparison(self.before, after, self.prompts, self.run.preview_folder(number), step=number)
        return {}

    def save(self, path: Path, steps: int) -> dict[str, Any]:
        options = self.options
        texts = output.header(
            self.model, self.base, self.data, options, self.timestep, self.student_name,
            title=path.stem, steps=steps, started=self.run.started,
        )  # fmt: skip
        with self._averaged():
            return output.save(
                self.networks, self.model, self.method.role, texts, path, options.file_rank,
                without_student=options.without_student,
            )  # fmt: skip

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        return {"method": self.options.method}

    def write_card(self, name: str, result: dict[str, Any]) -> None:
        output.card(self.run.path, name, self.base, self.data, self.options, self.student_name, result)
