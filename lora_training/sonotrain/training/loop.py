"""The loop that all trainers share: budget, schedule, checkpoints, log, previews, clean stop."""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonotrain.files.pace import clock
from sonotrain.training.run_folder import RunFolder

logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """Anything with PyTorch's pair of state methods."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class EndEarly(Exception):
    """Raised by a hook: training is of no more use. The run ends as a finished one; the message says why."""


@dataclass(frozen=True)
class Budget:
    """How long to train: a number of steps or of minutes (wall time, resumed runs counted together)."""

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise SonopaintError(f"Give either {setting('steps')} or {setting('minutes')}.")
        if (self.steps or self.minutes or 0) <= 0:
            raise SonopaintError(f"{setting('steps')} and {setting('minutes')} must be above 0.")

    def fraction(self, step: int, seconds: float) -> float:
        """How much of the budget is used, 0 … 1."""
        used = step / self.steps if self.steps else seconds / (60.0 * (self.minutes or 1.0))
        return min(1.0, used)


def cosine(fraction: float, floor: float = 0.02) -> float:
    """Half a cosine from 1 at 0 to `floor` at 1."""
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * fraction))


def warmed_up(
    shape: Callable[[float], float], fraction: float, step: int, warmup: float, version: int
) -> float:
    """Linear warm-up over `warmup` steps to the whole rate, then `shape` over the rest of the budget.

    The rest begins where warm-up ended; in a budget of minutes that is taken from the speed so far. Version 1
    (runs begun before 2026-11-29): the shape falls over the whole budget, warm-up included.
    """
    rising = min(1.0, (step + 1) / max(warmup, 1))
    if version < 2:
        return rising * shape(fraction)
    if step < warmup:
        return rising
    start = fraction * warmup / max(step, 1)
    return shape((fraction - start) / max(1.0 - start, 1e-9))


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Within the block SIGINT and SIGTERM only ask to stop; a second one stops at once."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        logger.info("stopping after this step …")

    try:
        kept = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread
        kept = {}
    try:
        yield lambda: asked
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class Hook:
    """Something done after every `every` steps; the values that it returns go into the log.

    `at_start`: also before the first step of a new run.
    """

    every: int
    call: Callable[[int], dict[str, float]]
    at_start: bool = False


@dataclass
class Loop:
    """Runs `step(number) -> {name: value}` until the budget is used.

    `parts` is everything that a checkpoint holds; `optimisers` get the schedule `(used share, step) -> share
    of the peak rate`. Loss values stay on the device until the next line of the log, so that a step never
    waits for the GPU. Logs and checkpoints come by the clock, or by steps where `log_steps` and
    `checkpoint_steps` say so; `preview` by the clock, hooks by steps.

    In a run of several processes only the `main` one writes, and `agree` says whether any wants to stop.
    `tell` hears {"step", "share", "seconds", "left_s", values …} with every line of the log.
    """

    run: RunFolder
    budget: Budget
    parts: dict[str, Stateful]
    optimisers: list[torch.optim.Optimizer]
    step: Callable[[int], dict[str, Tensor]]
    schedule: Callable[[float, int], float]
    checkpoint_minutes: float = 5.0
    log_seconds: float = 15.0
    preview: Callable[[int], dict[str, float]] | None = None
    preview_minutes: float = 5.0
    log_steps: int = 0
    checkpoint_steps: int = 0
    hooks: Sequence[Hook] = ()
    main: bool = True
    agree: Callable[[bool], bool] = bool
    tell: Callable[[dict[str, float]], None] | None = None
    number: int = 0
    seconds: float = 0.0
    used: float = 0.0  # share of the budget, for steps that change on the way
    ended: str = ""  # why a hook ended the run early
    peak_rates: list[list[float]] = field(init=False)

    def __post_init__(self) -> None:
        self.peak_rates = [[group["lr"] for group in optimiser.param_groups] for optimiser in self.optimisers]

    def resume(self, device: torch.device) -> None:
        """Takes up the newest whole checkpoint, if there is one."""
        saved = self.run.load_checkpoint(device)
        if saved is None:
            logger.info("no whole checkpoint in %s: starting from the beginning", self.run.path)
            return
        try:
            for name, part in self.parts.items():
                part.load_state_dict(saved["parts"][name])
            self.number, self.seconds = int(saved["step"]), float(saved["seconds"])
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise SonopaintError(
                f"The checkpoint in {self.run.path} is of another run (its parts don't fit this one); put "
                "its own back, or begin anew in another folder."
            ) from error
        logger.info("going on from step %d (%s trained)", self.number, clock(self.seconds))

    def run_to_end(self) -> bool:
        """Trains; True when the budget was used, False when the user stopped it (state saved either way)."""
        start = time.monotonic() - self.seconds
        try:
            with stop_requests() as asked:
                return self._run(start, lambda: self.agree(asked() or self.run.stop_asked()))
        except EndEarly as end:
            self.ended = str(end)
            return True

    def _run(self, start: float, stop: Callable[[], bool]) -> bool:
        last_log = last_preview = last_save = time.monotonic()
        first = self.number
        sums: dict[str, list[Tensor]] = {}
        if self.number == 0:
            self._call([hook for hook in self.hooks if hook.at_start])
        while not (stopped := stop()):
            self.seconds = time.monotonic() - start
            self.used = self.budget.fraction(self.number, self.seconds)
            if self.used >= 1.0:
                break
            self._set_rates(self.schedule(self.used, self.number))
            for name, value in self.step(self.number).items():
                sums.setdefault(name, []).append(value.detach())
            self.number += 1
            now = time.monotonic()
            self.seconds = now - start
            if self._due(self.log_steps, now - last_log >= self.log_seconds) or self.number == first + 1:
                self._log(sums, (now - last_log) / max(map(len, sums.values())))
                sums, last_log = {}, now
            if due := [hook for hook in self.hooks if self.number % hook.every == 0]:
                self._call(due)
                last_log += time.monotonic() - now
            if self._due(self.checkpoint_steps, now - last_save >= 60 * self.checkpoint_minutes):
                self.seconds = time.monotonic() - start
                if self.budget.fraction(self.number, self.seconds) < 1.0:  # the last one is saved below
                    self.save()
                last_save = now
            if self.preview and now - last_preview >= 60 * self.preview_minutes:
                self.show(self.preview)
                last_preview = last_log = time.monotonic()
                sums = {}
        self.seconds = time.monotonic() - start
        self.save()
        return not stopped

    def _due(self, steps: int, by_the_clock: bool) -> bool:
        return self.number % steps == 0 if steps else by_the_clock

    def _call(self, hooks: Sequence[Hook]) -> None:
        for hook in hooks if self.main else ():
            self.record(hook.call(self.number))

    def save(self) -> None:
        """Writes a checkpoint."""
        if not self.main:
            return
        state: dict[str, Any] = {"step": self.number, "seconds": self.seconds}
        state["parts"] = {name: part.state_dict() for name, part in self.parts.items()}
        self.run.save_checkpoint(self.number, state)

    def record(self, values: dict[str, float]) -> None:
        """Puts values beside the present step into the log."""
        if values:
            self.run.log(step=self.number, seconds=self.seconds, **values)

    def show(self, preview: Callable[[int], dict[str, float]]) -> None:
        """Makes a preview now."""
        values = preview(self.number)
        self.record(values)
        logger.info(
            "preview at step %d: %s", self.number, "  ".join(f"{k} {v:.4f}" for k, v in values.items())
        )

    def _set_rates(self, scale: float) -> None:
        for optimiser, peaks in zip(self.optimisers, self.peak_rates, strict=True):
            for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                group["lr"] = peak * scale

    def _log(self, sums: dict[str, list[Tensor]], seconds_per_step: float) -> None:
        means = {name: torch.stack(values).float().mean().item() for name, values in sums.items()}
        if not self.main:
            return
        rate = self.optimisers[0].param_groups[0]["lr"]
        self.record({"lr": rate, "seconds_per_step": seconds_per_step, **means})
        fraction = self.budget.fraction(self.number, self.seconds)
        left = self.seconds / fraction - self.seconds if fraction > 0 else 0.0
        if self.tell:
            self.tell(
                {"step": self.number, "share": fraction, "seconds": self.seconds, "left_s": left, **means}
            )
        if not all(math.isfinite(value) for value in means.values()):
            raise SonopaintError(
                f"The loss is no longer a number at step {self.number}; lower {setting('learning_rate')} "
                "and start anew."
            )
        shown = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        logger.info(
            "%3.0f %%  step %d  %s  %.3f s/step  %s left",
            100 * fraction,
            self.number,
            shown,
            seconds_per_step,
            clock(left),
        )
