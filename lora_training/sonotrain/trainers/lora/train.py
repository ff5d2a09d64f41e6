"""`sonotrain lora`: from a folder of sounds to a LoRA's file, resumable at any moment."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sonoconvert.errors import SonopaintError, setting
from sonotrain.files.hashes import file_hash
from sonotrain.files.json_files import read_json, write_json
from sonotrain.files.options import as_dict, refuse_changes, typed
from sonotrain.trainers.lora import output
from sonotrain.trainers.lora.data import TrainingData, open_dataset, prepare
from sonotrain.trainers.lora.optimisers import make_schedule, optimiser_class
from sonotrain.trainers.lora.options import FREE_ON_RESUME, LoraOptions, resolve
from sonotrain.trainers.lora.preview import Previews
from sonotrain.trainers.lora.trainer import LoraTrainer, precision_of
from sonotrain.training.compute import choose_device, give_back_memory, memory_mb
from sonotrain.training.curves import Trackers, draw_curves
from sonotrain.training.loop import Budget, Hook, Loop
from sonotrain.training.previews import keep_decoder
from sonotrain.training.run_folder import RunFolder, tell_full_disk

logger = logging.getLogger(__name__)


def train_lora(
    out: str | Path, given: Mapping[str, Any], *, device: str = "auto", resume: bool = False
) -> bool:
    """Trains (or resumes) in the run folder `out`; True when it is finished, False when it was stopped.

    `given` are the options that somebody gave; the others follow the preset and the base model. Called by
    `accelerate launch`, the processes share each batch. SonopaintError with one sentence for bad input.
    """
    out = Path(out)
    chosen = choose_device(device)
    accelerator = make_accelerator(chosen)
    saved = read_json(out / "config.json") if resume and (out / "config.json").is_file() else None
    if saved:
        refuse_changes(out, saved["options"], given, FREE_ON_RESUME)
        given = {**typed(saved["options"], "config.json", LoraOptions), **given}
    first = accelerator.is_main_process
    if not first:  # the first process checks, locks, builds and caches; the others read
        accelerator.wait_for_everyone()
    with RunFolder(out, resume=resume, lock=first) as run, tell_full_disk(out):
        return Run(run, given, saved, accelerator).train()


def make_accelerator(device: torch.device) -> Any:
    """accelerate's launcher and reducer. Precision is the trainer's own business."""
    from accelerate import Accelerator

    return Accelerator(cpu=device.type == "cpu", mixed_precision="no")


class Run:
    """One run in an open run folder."""

    def __init__(
        self, run: RunFolder, given: Mapping[str, Any], saved: dict[str, Any] | None, accelerator: Any
    ) -> None:
        self.run, self.saved, self.accelerator = run, saved, accelerator
        self.first: bool = accelerator.is_main_process
        self.started = time.time()
        self.model, self.base, self.options = self._load(given)
        if self.options.threads:
            torch.set_num_threads(self.options.threads)
        self.name = self.options.name or run.path.resolve().name

    def tell(self, phase: str, **values: Any) -> None:
        """state.json, for whoever watches the run."""
        if self.first:
            state = {"phase": phase, "pid": os.getpid(), "name": self.name, "time": time.time(), **values}
            write_json(self.run.path / "state.json", state)

    def train(self) -> bool:
        """Everything from the caches to the card."""
        self.tell("preparing")
        options = self.options
        data = self._data()
        decoder = keep_decoder(self.model, bool(options.preview_every) and self.first)
        if not options.text_encoder:
            self.model.text_encoder = None
        give_back_memory()
        trainer = LoraTrainer(self.model, data, options, self.accelerator)
        total = total_steps(options, len(data.train), trainer.global_batch)
        self._remember(data, trainer, total)
        trackers = None
        if self.first:
            config = as_dict(options)
            logger.info("%d steps of %d clips", total, trainer.global_batch)
            trackers = Trackers(self.run.path, config, tensorboard=options.tensorboard, wandb=options.wandb)
        loop = Loop(
            self.run, Budget(steps=total), trainer.parts(), [trainer.optimiser], trainer.step,
            schedule=make_schedule(options, total), log_steps=options.log_every,
            checkpoint_steps=options.checkpoint_every, main=self.first, agree=self._agree,
        )  # fmt: skip
        previews = Previews(trainer, decoder, self.run.previews, options.preview_steps) if decoder else None
        loop.hooks = self._hooks(trainer, previews, total)

        def hear(values: dict[str, float]) -> None:
            self.tell("training", total=total, memory_mb=memory_mb(), **values)
            if trackers:
                trackers.log(int(values["step"]), values)

        loop.tell = hear
        if self.run.resume:
            loop.resume(trainer.device)
        if self.first and loop.number == 0 and options.validate_every:
            loop.record(trainer.validate())
        finished = loop.run_to_end()
        if self.first:
            self._finish(loop, trainer, previews, total, finished)
            if trackers:
                trackers.close()
        self.accelerator.wait_for_everyone()
        return finished

    def _load(self, given: Mapping[str, Any]) -> tuple[Any, dict[str, str], LoraOptions]:
        from sonopaint.models.info import describe
        from sonopaint.models.loading import load_model

        asked = LoraOptions(**given)
        device = self.accelerator.device
        model = load_model(asked.model, device=device, dtype=torch.float32, format=asked.format or None)
        kind = describe(model.path).kind
        options = resolve(given, mini=kind == "mini", device=device)
        precision_of(options, device), optimiser_class(options.optimiser)  # complaints come before the work
        if device.type == "cuda":
            half = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
            for part in (model.unet, model.vae, model.text_encoder):
                part.to(half if options.precision != "fp32" else torch.float32)
            model.dtype = half if options.precision != "fp32" else torch.float32
        base = {"kind": kind, "name": model.name, "sha256": file_hash(model.path)}
        if self.first and not self.saved:  # from here on the run can be resumed
            write_json(
                self.run.path / "config.json", {"command": "lora", "options": as_dict(options), "base": base}
            )
        return model, base, options

    def _data(self) -> TrainingData:
        if self.first:
            dataset = open_dataset(self.options, self.run.path, self.model)
        else:
            from sonotrain.data.dataset import is_dataset, load_dataset

            given = Path(self.options.dataset).expanduser()
            dataset = load_dataset(given if is_dataset(given) else self.run.path / "dataset")
        kept = kept_prompts() if self.options.preserve else []
        folder = Path(self.options.cache).expanduser() if self.options.cache else self.run.path / "cache"
        fingerprint = self.base["sha256"] + str(self.model.dtype)
        data = prepare(
            self.model, fingerprint, dataset, self.options, folder, kept,
            self._tell_preparing,
        )  # fmt: skip
        if self.first:
            self.accelerator.wait_for_everyone()
        return data

    def _tell_preparing(self, doing: str) -> None:
        logger.info("%s", doing)
        self.tell("preparing", doing=doing)

    def _remember(self, data: TrainingData, trainer: LoraTrainer, total: int) -> None:
        """config.json; SonopaintError where a resumed run finds another dataset, model or number of clips."""
        facts = {"base": self.base, "data": data.facts()}
        if self.saved:
            for name, told in (("base", "base model"), ("data", "dataset")):
                if name in self.saved and self.saved[name] != facts[name]:
                    raise SonopaintError(
                        f"The {told} has changed since the run in {self.run.path} was started; put it back "
                        f"as it was, or choose another {setting('out')} to start anew."
                    )
            if self.saved.get("global_batch", trainer.global_batch) != trainer.global_batch:
                raise SonopaintError(
                    f"The run in {self.run.path} was started with {self.saved['global_batch']} clips a "
                    f"step over all processes, now {trainer.global_batch}; start as many as before."
                )
        if self.first:
            config = {
                "command": "lora", "options": as_dict(self.options), **facts, "steps": total,
                "global_batch": trainer.global_batch, "trigger": data.trigger, "prompts": data.prompts,
            }  # fmt: skip
            write_json(self.run.path / "config.json", config)

    def _hooks(self, trainer: LoraTrainer, previews: Previews | None, total: int) -> list[Hook]:
        options = self.options
        hooks = []
        if options.validate_every:
            hooks.append(Hook(options.validate_every, trainer.validate))
        if previews:
            hooks.append(Hook(options.preview_every, previews))
            epoch = max(1, len(trainer.data.train) // trainer.global_batch)
            # one sample an epoch, but epochs of a small folder take seconds
            hooks.append(Hook(epoch * max(1, round(options.preview_every / epoch)), previews.sample))
        if options.save_every:

            def keep(step: int) -> dict[str, float]:
                self._save(trainer, step, total)
                return {}

            hooks.append(Hook(options.save_every, keep))
        return hooks

    def _save(self, trainer: LoraTrainer, step: int, total: int, path: Path | None = None) -> Path:
        path = path or self.run.path / "saves" / f"{self.name}-{step:06d}.safetensors"
        path.parent.mkdir(exist_ok=True)
        metadata = output.header(
            trainer, base=self.base, total=total, step=step, started=self.started, title=self.name
        )
        return output.save_file(trainer, path, metadata)

    def _finish(
        self, loop: Loop, trainer: LoraTrainer, previews: Previews | None, total: int, finished: bool
    ) -> None:
        self.tell("finishing", step=loop.number, total=total)
        values = trainer.validate()
        if not (self.options.validate_every and loop.number % self.options.validate_every == 0):
            loop.record(values)
        if (
            previews
            and not (self.run.previews / f"step-{loop.number:08d}" / "sheet.png").exists()
            and finished
        ):
            previews(loop.number)
        run = self.run.path
        name = self.name if finished else f"{self.name}-step{loop.number}"
        path = self._save(trainer, loop.number, total, run / f"{name}.safetensors")
        draw_curves(run, run / "curves.png")
        output.write_preview(run, path.with_suffix(".png"))
        result = {"steps": loop.number, "seconds": loop.seconds, "bytes": path.stat().st_size, **values}
        if finished:
            output.write_card(run, name, trainer, result)
            write_json(run / "lora.json", {"file": path.name, "peak_memory_mb": memory_mb(), **result})
        self.tell("finished" if finished else "stopped", step=loop.number, total=total, file=path.name)
        logger.info("%s (%.1f MB) is ready", path, path.stat().st_size / 1e6)

    def _agree(self, stop: bool) -> bool:
        if self.accelerator.num_processes == 1:
            return stop
        asked = torch.tensor([float(stop)], device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, "sum").item())


def total_steps(options: LoraOptions, clips: int, global_batch: int) -> int:
    """Steps of the whole run; an epoch shows every clip once."""
    return options.steps or max(1, -(-options.epochs * clips // global_batch))


def kept_prompts() -> list[str]:
    """What --preserve keeps: a caption of each kind of sound that Mini knows."""
    from sonotrain.data.foley import BASE_KINDS, KINDS

    return [KINDS[name].doing[0] for name in BASE_KINDS]
