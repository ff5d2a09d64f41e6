"""One run for every trainer: folder, lock, configuration, resuming, state, log, previews, result."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonotrain.files.json_files import read_json, write_json
from sonotrain.files.options import as_dict, refuse_changes, typed, use_threads
from sonotrain.training.compute import choose_device, memory_mb
from sonotrain.training.curves import Trackers, draw_curves
from sonotrain.training.loop import Budget, Hook, Loop, Stateful, cosine, warmed_up
from sonotrain.training.previews import write_preview
from sonotrain.training.run_folder import RunFolder, tell_full_disk

logger = logging.getLogger(__name__)

SCHEDULE = 2  # version of loop.warmed_up that new runs have; config.json of older ones names none
# What a resumed run must find as it was, as a sentence calls it.
CALLED = {"base": "base model", "data": "dataset", "clips": "list of clips"}
CALLED["global_batch"] = "number of clips in a step"


class Processes(Protocol):
    """The processes that share a run; the first one writes."""

    device: torch.device
    first: bool

    def wait(self) -> None: ...

    def agree(self, stop: bool) -> bool:
        """Whether any of them wants to stop."""
        ...


class Alone:
    """A run of one process."""

    first = True

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    def wait(self) -> None:
        pass

    def agree(self, stop: bool) -> bool:
        return stop


class Trainer:
    """One kind of training: a subclass holds its mathematics, and `train` does everything else.

    `command`: of `sonotrain …`; the result is COMMAND.json. `Options`: a dataclass of `option` fields.
    Those called threads, warmup, tensorboard, wandb, name, checkpoint_minutes, preview_minutes, or
    checkpoint_every, preview_every and log_every (in steps), are the run's own affair.
    `facts`: what stands in config.json beside the options, and must be the same when the run is resumed;
    `prompts`: what previews are named by.
    """

    command: ClassVar[str]
    Options: ClassVar[type]
    options: Any

    @classmethod
    def processes(cls, device: torch.device) -> Processes:
        """Those that share the run."""
        return Alone(device)

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        """Checks the options that somebody gave (SonopaintError) before any work is done."""
        self.run, self.device = run, run.device
        self.facts: dict[str, Any] = {}
        self.prompts: list[str] = []
        self.options = self.Options(**given)

    def prepare(self) -> None:
        """Data, networks and optimisers: what takes its time."""

    def budget(self) -> Budget | None:
        """How long to train, where the options say it."""
        return None

    def parts(self) -> dict[str, Stateful]:
        """All that a checkpoint holds, under names that never change."""
        raise NotImplementedError

    def optimisers(self) -> list[torch.optim.Optimizer]:
        """Those whose rates follow the schedule."""
        raise NotImplementedError

    def step(self, number: int) -> dict[str, Tensor]:
        """One step, whose random numbers hang on the seed and `number` alone; the values for the log."""
        raise NotImplementedError

    def schedule(self, used: float, step: int) -> float:
        """Share of the peak learning rates at a share of the budget and a step."""
        return warmed_up(cosine, used, step, self.options.warmup, self.run.schedule)

    def heard(self, values: Mapping[str, float]) -> None:
        """What the log said last: means since the line before."""

    def hooks(self) -> list[Hook]:
        """What else is done after some steps."""
        return []

    def preview(self, number: int) -> dict[str, float]:
        """Writes pictures and sounds into `run.preview_folder(number)`; returns values for the log."""
        return {}

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        """At the end: measures, writes what the training is for. `result`: steps and seconds."""
        return {}

    def save(self, path: Path, steps: int) -> dict[str, Any] | None:
        """Writes the product as one file, of a stopped run too; None where there is no such file."""
        return None

    def write_card(self, name: str, result: dict[str, Any]) -> None:
        """Writes README.md."""


class Run:
    """An open run folder, and the training that goes on in it."""

    def __init__(
        self,
        folder: RunFolder,
        processes: Processes,
        *,
        saved: dict[str, Any] | None = None,
        budget: Budget | None = None,
    ) -> None:
        """`saved`: config.json of the run that is resumed."""
        self.folder, self.processes, self.device = folder, processes, processes.device
        self.saved, self.budget = saved or {}, budget
        self.schedule = int(self.saved.get("schedule", 1)) if saved else SCHEDULE
        self.notes: list[str] = []
        self.started = time.time()
        self.loop: Loop | None = None
        self.name = folder.path.resolve().name

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.processes.first

    @property
    def used(self) -> float:
        """Share of the budget that is used."""
        return self.loop.used if self.loop else 0.0

    @property
    def total(self) -> int:
        """Steps of the whole run; 0 where it ends by the clock."""
        return (self.budget.steps if self.budget else 0) or 0

    def preview_folder(self, number: int) -> Path:
        """Where the previews of a step lie: {k}-with.png and .wav, {k}-without.*, sheet.png."""
        path = self.folder.previews / f"step-{number:08d}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def tell(self, phase: str, **values: Any) -> None:
        """state.json, for whoever watches the run."""
        if not self.first:
            return
        state = {"phase": phase, "pid": os.getpid(), "name": self.name, "time": time.time(), **values}
        state |= {"notes": self.notes} if self.notes else {}
        write_json(self.path / "state.json", state)

    def preparing(self, doing: str) -> None:
        """Says what is being prepared."""
        logger.info("%s", doing)
        self.tell("preparing", doing=doing)

    def note(self, *sentences: str) -> None:
        """What else is to be said of the run, in a page too."""
        for sentence in sentences:
            logger.warning("%s", sentence)
        self.notes += sentences

    def prepare(self, kind: type[Trainer], given: Mapping[str, Any]) -> Trainer:
        """The trainer, ready for its first step."""
        use_threads(given.get("threads", 0))
        trainer = kind(given, self)
        self.name = getattr(trainer.options, "name", "") or self.name
        if not self.saved:  # from here on the run can be resumed
            self._remember(trainer)
        self.tell("preparing")
        trainer.prepare()
        self.budget = trainer.budget() or self.budget
        self._check_facts(trainer)
        self._remember(trainer)
        return trainer

    def train(self, kind: type[Trainer], given: Mapping[str, Any]) -> bool:
        """Everything from the options to the result; False when it was stopped."""
        trainer = self.prepare(kind, given)
        options = trainer.options
        trackers = None
        if self.first:
            board, wandb = (getattr(options, name, False) for name in ("tensorboard", "wandb"))
            trackers = Trackers(self.path, as_dict(options), tensorboard=board, wandb=wandb)
        self.loop = loop = self._loop(trainer)

        def hear(values: dict[str, float]) -> None:
            self.tell("training", total=self.total, memory_mb=memory_mb(), **values)
            trainer.heard(values)
            if trackers:
                trackers.log(int(values["step"]), values)

        loop.tell = hear
        if self.folder.resume:
            loop.resume(self.device)
        finished = loop.run_to_end()
        if self.first:
            self._finish(trainer, loop, finished)
        if trackers:
            trackers.close()
        self.processes.wait()
        return finished

    def _loop(self, trainer: Trainer) -> Loop:
        assert self.budget is not None
        named = ("checkpoint_minutes", "preview_minutes", "checkpoint_every", "preview_every", "log_every")
        pace = {name: getattr(trainer.options, name) for name in named if hasattr(trainer.options, name)}
        hooks = trainer.hooks()
        if pace.get("preview_every"):
            hooks.append(Hook(pace["preview_every"], trainer.preview))
        return Loop(
            self.folder,
            self.budget,
            trainer.parts(),
            trainer.optimisers(),
            trainer.step,
            trainer.schedule,
            checkpoint_minutes=pace.get("checkpoint_minutes", 5.0),
            checkpoint_steps=pace.get("checkpoint_every", 0),
            log_steps=pace.get("log_every", 0),
            preview=trainer.preview if "preview_minutes" in pace else None,
            preview_minutes=pace.get("preview_minutes", 0.0),
            hooks=hooks,
            main=self.first,
            agree=self.processes.agree,
        )

    def _check_facts(self, trainer: Trainer) -> None:
        """SonopaintError where a resumed run finds another dataset, model or number of clips."""
        for name, value in trainer.facts.items():
            if name in self.saved and self.saved[name] != value:
                raise SonopaintError(
                    f"The {CALLED.get(name, name)} has changed since the run in {self.path} was started; put "
                    f"it back as it was, or choose another {setting('out')} to start anew."
                )

    def _remember(self, trainer: Trainer) -> None:
        """config.json."""
        if not self.first:
            return
        config: dict[str, Any] = {"command": trainer.command, "options": as_dict(trainer.options)}
        config |= {"schedule": self.schedule, **trainer.facts}
        if self.budget:
            config["budget"] = {k: v for k, v in vars(self.budget).items() if v is not None}
            config |= {"steps": self.total, "prompts": trainer.prompts}
        write_json(self.path / "config.json", config)

    def _finish(self, trainer: Trainer, loop: Loop, finished: bool) -> None:
        """Last preview, product, curves, card and result."""
        told: dict[str, Any] = {"step": loop.number, "total": self.total}
        if loop.ended:
            self.note(loop.ended)
        self.tell("finishing", **told)
        wanted = any(hook.call == trainer.preview for hook in loop.hooks) or loop.preview is not None
        sheet = self.folder.previews / f"step-{loop.number:08d}" / "sheet.png"
        if finished and wanted and not sheet.is_file():
            loop.show(trainer.preview)
        result: dict[str, Any] = {"steps": loop.number, "seconds": loop.seconds}
        result |= {"note": loop.ended} if loop.ended else {}
        if finished:
            result |= trainer.finish(dict(result))
        name = self.name if finished else f"{self.name}-step{loop.number}"
        path = self.path / f"{name}.safetensors"
        if (saved := trainer.save(path, loop.number)) is not None:
            result |= {"file": path.name, "bytes": path.stat().st_size, **saved}
            told["file"] = path.name
            write_preview(self.path, path.with_suffix(".png"))
            logger.info("%s (%.1f MB) is ready", path, path.stat().st_size / 1e6)
        draw_curves(self.path, self.path / "curves.png")
        if finished:
            result["peak_memory_mb"] = memory_mb()
            trainer.write_card(name, result)
            write_json(self.path / f"{trainer.command}.json", result)
        self.tell("finished" if finished else "stopped", **told)


def train(
    kind: type[Trainer],
    out: str | Path,
    given: Mapping[str, Any],
    budget: Budget | None = None,
    *,
    device: str = "auto",
    resume: bool = False,
) -> bool:
    """Trains (or resumes) in the run folder `out`; True when it is finished, False when it was stopped.

    `given`: the options that somebody gave. A resumed run goes on with its own: SonopaintError names those
    that would change it (options declared `free` may). `budget`: where the options don't say how long.
    """
    out, processes = Path(out), kind.processes(choose_device(device))
    saved = read_json(out / "config.json") if resume and (out / "config.json").is_file() else None
    if saved:
        if saved.get("command", kind.command) != kind.command:
            raise SonopaintError(
                f"{out} holds a run of another trainer ({saved['command']}); choose another {setting('out')}."
            )
        refuse_changes(out, saved["options"], given, kind.Options)
        given = {**typed(saved["options"], "config.json", kind.Options), **given}
        budget = budget or (Budget(**saved["budget"]) if "budget" in saved else None)
    if budget is None and kind.budget is Trainer.budget:
        raise SonopaintError(
            f"How long the run in {out} is to train is not said; give {setting('steps')} or "
            f"{setting('minutes')}."
        )
    if not processes.first:  # the first one checks, locks, builds and caches; the others read
        processes.wait()
    with RunFolder(out, resume=resume, lock=processes.first) as folder, tell_full_disk(out):
        return Run(folder, processes, saved=saved, budget=budget).train(kind, given)


def train_once(
    kind: type[Trainer],
    out: str | Path,
    given: Mapping[str, Any],
    budget: Budget | None = None,
    *,
    device: str = "auto",
) -> bool:
    """`train`, unless it is finished in `out` already; a run that is there goes on."""
    out = Path(out)
    if (out / f"{kind.command}.json").is_file():
        return True
    logger.info("--- %s", out)
    return train(kind, out, given, budget, device=device, resume=(out / "config.json").is_file())
