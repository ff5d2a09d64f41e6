"""`sonotrain lora`: from a folder of sounds to a LoRA's file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonotrain.trainers.lora import output
from sonotrain.trainers.lora.data import kept_prompts, open_dataset, prepare
from sonotrain.trainers.lora.learner import Learner, precision_of
from sonotrain.trainers.lora.optimisers import make_schedule, optimiser_class
from sonotrain.trainers.lora.options import LoraOptions, resolve
from sonotrain.trainers.lora.preview import Previews
from sonotrain.training.base_model import load_base, to_half
from sonotrain.training.compute import give_back_memory
from sonotrain.training.loop import Budget, Hook
from sonotrain.training.previews import keep_decoder
from sonotrain.training.run import Processes, Run, Trainer


class Accelerated:
    """The processes that `accelerate launch` started: they share each batch. Or one alone."""

    def __init__(self, device: torch.device) -> None:
        from accelerate import Accelerator

        # precision is the trainer's own business
        self.accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
        self.device: torch.device = self.accelerator.device
        self.first: bool = self.accelerator.is_main_process

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()

    def agree(self, stop: bool) -> bool:
        if self.accelerator.num_processes == 1:
            return stop
        asked = torch.tensor([float(stop)], device=self.device)
        return bool(self.accelerator.reduce(asked, "sum").item())


class LoraTrainer(Trainer):
    """Options that nobody gave follow the preset and the base model."""

    command = "lora"
    Options = LoraOptions
    options: LoraOptions
    kept: int | None = None  # how many kinds of sounds --preserve paints: all

    @classmethod
    def processes(cls, device: torch.device) -> Processes:
        return Accelerated(device)

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        self.model, self.base = load_base(self.options.model, self.device, self.options.format)
        self.options = resolve(given, mini=self.base["kind"] == "mini", device=self.device)
        precision_of(self.options, self.device), optimiser_class(self.options.optimiser)  # may complain
        self.facts["base"] = self.base
        if self.device.type == "cuda" and self.options.precision != "fp32":
            to_half(self.model)

    def prepare(self) -> None:
        options, run = self.options, self.run
        run.preparing("Reading the sounds")
        dataset = open_dataset(options, run.path, self.model, make=run.first)
        folder = Path(options.cache).expanduser() if options.cache else run.path / "cache"
        fingerprint = self.base["sha256"] + str(self.model.dtype)
        kept = kept_prompts()[: self.kept] if options.preserve else []
        data = prepare(self.model, fingerprint, dataset, options, folder, kept, run.preparing)
        if run.first:
            run.processes.wait()
        decoder = keep_decoder(self.model, bool(options.preview_every) and run.first)
        if not options.text_encoder:
            self.model.text_encoder = None
        give_back_memory()
        accelerator: Any = run.processes
        self.learner = Learner(self.model, data, options, accelerator.accelerator)
        self.previews = Previews(self.learner, decoder)
        self.prompts = data.prompts
        batch = self.learner.global_batch
        self.facts |= {"data": data.facts(), "global_batch": batch, "trigger": data.trigger}

    def budget(self) -> Budget:
        """An epoch shows every clip once."""
        clips, batch = len(self.learner.data.train), self.learner.global_batch
        return Budget(steps=self.options.steps or max(1, -(-self.options.epochs * clips // batch)))

    def parts(self) -> dict[str, Any]:
        return self.learner.parts()

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.learner.optimiser]

    def schedule(self, used: float, step: int) -> float:
        return make_schedule(self.options, self.run.total, self.run.schedule)(used, step)

    def step(self, number: int) -> dict[str, Tensor]:
        return self.learner.step(number)

    def hooks(self) -> list[Hook]:
        options, hooks = self.options, []
        if options.validate_every:
            hooks.append(Hook(options.validate_every, self.learner.validate, at_start=True))
        if options.preview_every and self.run.first:
            epoch = max(1, len(self.learner.data.train) // self.learner.global_batch)
            # one sample an epoch, but epochs of a small folder take seconds
            every = epoch * max(1, round(options.preview_every / epoch))
            hooks.append(Hook(every, lambda n: self.previews.sample(n, self.run.preview_folder(n))))
        if options.save_every:
            hooks.append(Hook(options.save_every, self._keep))
        return hooks

    def preview(self, number: int) -> dict[str, float]:
        self.previews(number, self.run.preview_folder(number))
        return {}

    def _keep(self, number: int) -> dict[str, float]:
        path = self.run.path / "saves" / f"{self.run.name}-{number:06d}.safetensors"
        path.parent.mkdir(exist_ok=True)
        self.save(path, number)
        return {}

    def save(self, path: Path, steps: int) -> dict[str, Any]:
        texts = output.header(self.learner, self.run, base=self.base, step=steps)
        output.save(self.learner, path, texts)
        return {}

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        values, every = self.learner.validate(), self.options.validate_every
        if self.run.loop and not (every and result["steps"] % every == 0):
            self.run.loop.record(values)
        return values

    def write_card(self, name: str, result: dict[str, Any]) -> None:
        output.card(self.run.path, name, self.base, self.learner, result)
