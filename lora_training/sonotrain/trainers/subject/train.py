"""`sonotrain subject`: from a few clips to a LoRA that paints variations in one step; resumable."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sonoconvert.errors import SonopaintError, setting
from sonotrain.files.hashes import file_hash
from sonotrain.files.json_files import read_json, write_json
from sonotrain.files.options import as_dict, refuse_changes, typed
from sonotrain.trainers.lora.output import write_preview
from sonotrain.trainers.subject import output
from sonotrain.trainers.subject.data import SubjectData, check_words, prepare
from sonotrain.trainers.subject.methods import Setting, make_method
from sonotrain.trainers.subject.networks import Weights, make_networks, read_student, read_weights
from sonotrain.trainers.subject.options import FREE_ON_RESUME, ONE_STEP, SubjectOptions, resolve
from sonotrain.trainers.subject.preview import Painter, Previews
from sonotrain.trainers.subject.watch import SEEDS, Collapsed, Watch
from sonotrain.training.compute import choose_device, give_back_memory, memory_mb
from sonotrain.training.curves import draw_curves
from sonotrain.training.ema import Ema
from sonotrain.training.loop import Budget, Hook, Loop
from sonotrain.training.previews import keep_decoder
from sonotrain.training.run_folder import RunFolder, tell_full_disk

logger = logging.getLogger(__name__)


def train_subject(
    out: str | Path, given: Mapping[str, Any], *, device: str = "auto", resume: bool = False
) -> bool:
    """Trains (or resumes) in the run folder `out`; True when it is finished, False when it was stopped.

    `given` are the options that somebody gave; the others follow the base model. SonopaintError with one
    sentence for bad input.
    """
    out = Path(out)
    saved = read_json(out / "config.json") if resume and (out / "config.json").is_file() else None
    if saved:
        refuse_changes(out, saved["options"], given, FREE_ON_RESUME)
        given = {**typed(saved["options"], "config.json", SubjectOptions), **given}
    with RunFolder(out, resume=resume) as run, tell_full_disk(out):
        return Run(run, given, saved, choose_device(device)).train()


class Run:
    """One run in an open run folder."""

    def __init__(
        self, run: RunFolder, given: Mapping[str, Any], saved: dict[str, Any] | None, device: torch.device
    ) -> None:
        self.run, self.saved, self.device = run, saved, device
        self.student: Weights | None = None
        self.target: Weights | None = None
        self.notes: list[str] = []  # for whoever watches the run, in a page too
        self.started = time.time()
        self._load(given)
        self.name = self.options.name or run.path.resolve().name

    def tell(self, phase: str, **values: Any) -> None:
        """state.json, for whoever watches the run."""
        state = {"phase": phase, "pid": os.getpid(), "name": self.name, "time": time.time(), **values}
        state |= {"notes": self.notes} if self.notes else {}
        write_json(self.run.path / "state.json", state)

    def _note(self, *sentences: str) -> None:
        for sentence in sentences:
            logger.warning("%s", sentence)
        self.notes += sentences

    def train(self) -> bool:
        """Everything from the caches to the card."""
        self.tell("preparing")
        options = self.options
        data = prepare(self.model, self.base["sha256"] + str(self.model.dtype), options, self.run.path)
        self._note(*data.notes)
        decoder = keep_decoder(self.model, bool(options.preview_every))
        self.model.text_encoder = None
        give_back_memory()
        networks = make_networks(self.model, options, self.student, self.target)
        student = Path(self.student.name).stem if self.student else ""
        self.student = self.target = None  # they are in the networks now
        setting = Setting(networks, data, options, self.model.alphas_cumprod, self.device, self.timestep)
        method = make_method(setting)
        total = options.steps + (options.adapt_steps if options.method == "db-dmd2" else 0)
        self._remember(data, total)
        product = networks.trained(method.role)
        ema = Ema([nn.ParameterList(product)], options.ema) if options.ema else None

        def step(number: int) -> dict[str, Tensor]:
            told = method.step(number)
            if ema and (options.method != "uni-dad" or number % options.ratio == 0):
                ema.update()
            return told

        painter = Painter(setting, self.model, method.role)
        watch = Watch(lambda: painter([data.instance] * SEEDS), product)
        parts = {**method.parts(), "watch": watch, **({"ema": ema} if ema else {})}
        loop = Loop(
            self.run, Budget(steps=total), parts, list(method.optimisers.values()), step,
            schedule=lambda used, number: min(1.0, (number + 1) / min(options.warmup + 1, total / 10 + 1)),
            log_steps=options.log_every, checkpoint_steps=options.checkpoint_every,
        )  # fmt: skip

        def hear(values: dict[str, float]) -> None:
            self.tell("training", total=total, memory_mb=memory_mb(), **values)
            watch.margin = values.get("real_logit", 0.0) - values.get("fake_logit", 0.0)

        loop.tell = hear
        loop.hooks = []
        if options.method in ONE_STEP and options.watch_every:
            loop.hooks.append(Hook(options.watch_every, watch))
        previews = Previews(painter, decoder, self.run.previews) if decoder else None
        if previews:
            loop.hooks.append(Hook(options.preview_every, previews))
            previews.remember()
        if self.run.resume:
            loop.resume(self.device)
        if loop.number == 0 and options.method in ONE_STEP and options.watch_every:
            watch(0)
        note = ""
        try:
            finished = loop.run_to_end()
        except Collapsed as collapse:
            finished, note = True, str(collapse)
            self._note(note)
            watch.restore()
        self.tell("finishing", step=loop.number, total=total)
        with ema.applied() if ema and not note else nullcontext():
            if previews and finished:
                previews(loop.number)
            name = self.name if finished else f"{self.name}-step{loop.number}"
            path = self.run.path / f"{name}.safetensors"
            texts = output.header(
                self.model, self.base, data, options, self.timestep, student,
                title=name, steps=loop.number, started=self.started,
            )  # fmt: skip
            kept = output.save(
                networks, self.model, method.role, texts, path, options.file_rank,
                without_student=options.without_student,
            )  # fmt: skip
        draw_curves(self.run.path, self.run.path / "curves.png")
        write_preview(self.run.path, path.with_suffix(".png"))
        result = {"steps": loop.number, "seconds": loop.seconds, "peak_memory_mb": memory_mb(), **kept}
        result |= {"note": note} if note else {}
        if finished:
            output.write_card(self.run.path, name, data, options, student, result)
            write_json(
                self.run.path / "subject.json", {"file": path.name, "method": options.method, **result}
            )
        self.tell("finished" if finished else "stopped", step=loop.number, total=total, file=path.name)
        logger.info("%s (%.1f MB) is ready", path, path.stat().st_size / 1e6)
        return finished

    def _load(self, given: Mapping[str, Any]) -> None:
        from sonopaint.models.info import describe
        from sonopaint.models.loading import load_model

        asked = SubjectOptions(**given)
        model = load_model(asked.model, device=self.device, dtype=torch.float32, format=asked.format or None)
        kind = describe(model.path).kind
        self.options = resolve(given, mini=kind == "mini")
        self._note(*check_words(self.options, model.tokenizer))  # complaints come before the work
        self.timestep = 0
        if self.options.method in ONE_STEP:
            self.student, self.timestep = read_student(self.options, model)
        if self.options.target:
            self.target = read_weights(self.options.target, model, self.options.mode)
        if self.device.type == "cuda" and self.options.mode == "adapters":
            half = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
            for part in (model.unet, model.vae, model.text_encoder):
                part.to(half)
            model.dtype = half
        elif self.device.type == "cpu":
            from diffusers.models.attention_processor import AttnProcessor

            model.unet.set_attn_processor(AttnProcessor())  # torch's fused one is slow backwards there
        if self.options.threads:
            torch.set_num_threads(self.options.threads)
        self.model = model
        self.base = {"kind": kind, "name": model.name, "sha256": file_hash(model.path)}
        if not self.saved:  # from here on the run can be resumed
            config = {"command": "subject", "options": as_dict(self.options), "base": self.base}
            write_json(self.run.path / "config.json", config)

    def _remember(self, data: SubjectData, total: int) -> None:
        """config.json; SonopaintError where a resumed run finds other clips or another model."""
        facts = {"base": self.base, "clips": data.names}
        for name, value in facts.items():
            if self.saved and name in self.saved and self.saved[name] != value:
                raise SonopaintError(
                    f"The {name} changed since the run in {self.run.path} was started; put back what was "
                    f"there, or choose another {setting('out')} to start anew."
                )
        config = {"command": "subject", "options": as_dict(self.options), **facts}
        write_json(self.run.path / "config.json", {**config, "steps": total, "prompts": data.prompts})
