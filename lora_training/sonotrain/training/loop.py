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
from sonotrain.data.corpus import clock
from sonotrain.training.run_folder import RunFolder, tell_full_disk

logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """Anything with PyTorch's pair of state methods."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


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


def learning_rate_scale(fraction: float, step: int, warmup: int, floor: float = 0.02) -> float:
    """Linear warm-up over `warmup` steps, then a cosine over the budget down to `floor`."""
    cosine = floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * fraction))
    return min(1.0, (step + 1) / max(warmup, 1)) * cosine


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
    """Something done after every `every` steps; the values that it returns go into the log."""

    every: int
    call: Callable[[int], dict[str, float]]


@dataclass
class Loop:
    """Runs `step(number) -> {name: value}` until the budget is used.

    `parts` is everything that a checkpoint holds; `optimisers` get the schedule `(used share, step) -> share
    of the peak rate` (default: learning_rate_scale). Loss values stay on the device until the next line of
    the log, so that a step never waits for the GPU. Logs, checkpoints and previews come by the clock, or by
    steps where `log_steps`, `checkpoint_steps` and `hooks` say so.

    In a run of several processes only the `main` one writes, and `agree` says whether any wants to stop.
    `tell` hears {"step", "share", "seconds", "left_s", values …} with every line of the log.
    """

    run: RunFolder
    budget: Budget
    parts: dict[str, Stateful]
    optimisers: list[torch.optim.Optimizer]
    step: Callable[[int], dict[str, Tensor]]
    warmup: int = 100
    checkpoint_minutes: float = 5.0
    log_seconds: float = 15.0
    preview: Callable[[int], dict[str, float]] | None = None
    preview_minutes: float = 5.0
    schedule: Callable[[float, int], float] | None = None
    log_steps: int = 0
    checkpoint_steps: int = 0
    hooks: Sequence[Hook] = ()
    main: bool = True
    agree: Callable[[bool], bool] = bool
    tell: Callable[[dict[str, float]], None] | None = None
    number: int = 0
    seconds: float = 0.0
    peak_rates: list[list[float]] = field(init=False)

    def __post_init__(self) -> None:
        self.peak_rates = [[group["lr"] for group in optimiser.param_groups] for optimiser in self.optimisers]

    def resume(self, device: torch.device) -> None:
        """Takes up the newest whole checkpoint, if there is one."""
        saved = self.run.load_checkpoint(device)
        if saved is None:
            logger.info("no whole checkpoint in %s: starting from the beginning", self.run.path)
            return
        for name, part in self.parts.items():
            part.load_state_dict(saved["parts"][name])
        self.number, self.seconds = saved["step"], saved["seconds"]
        logger.info("going on from step %d (%s trained)", self.number, clock(self.seconds))

    def run_to_end(self) -> bool:
        """Trains; True when the budget was used, False when the user stopped it (state saved either way)."""
        start = time.monotonic() - self.seconds
        last_log = last_preview = last_save = time.monotonic()
        first = self.number
        sums: dict[str, list[Tensor]] = {}
        with stop_requests() as asked, tell_full_disk(self.run.path):
            while not (stopped := self.agree(asked() or self.run.stop_asked())):
                self.seconds = time.monotonic() - start
                fraction = self.budget.fraction(self.number, self.seconds)
                if fraction >= 1.0:
                    break
                scale = self.schedule or (lambda used, step: learning_rate_scale(used, step, self.warmup))
                self._set_rates(scale(fraction, self.number))
                for name, value in self.step(self.number).items():
                    sums.setdefault(name, []).append(value.detach())
                self.number += 1
                now = time.monotonic()
                self.seconds = now - start
                if self._due(self.log_steps, now - last_log >= self.log_seconds) or self.number == first + 1:
                    self._log(sums, (now - last_log) / max(map(len, sums.values())))
                    sums, last_log = {}, now
                for hook in self.hooks if self.main else ():
                    if self.number % hook.every == 0:
                        self.seconds = time.monotonic() - start
                        self.record(hook.call(self.number))
                        last_log += time.monotonic() - now
                if self._due(self.checkpoint_steps, now - last_save >= 60 * self.checkpoint_minutes):
                    self.seconds = time.monotonic() - start
                    self.save()
                    last_save = now
                if self.preview and now - last_preview >= 60 * self.preview_minutes:
                    self._show()
                    last_preview = last_log = time.monotonic()
                    sums = {}
            self.seconds = time.monotonic() - start
            self.save()
            if self.preview and not stopped:
                self._show()
        return not stopped

    def _due(self, steps: int, by_the_clock: bool) -> bool:
        return self.number % steps == 0 if steps else by_the_clock

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

    def _show(self) -> None:
        if self.preview is None:
            return
        values = self.preview(self.number)
        self.record(values)
        logger.info(
            "preview at step %d: %s", self.number, "  ".join(f"{k} {v:.4f}" for k, v in values.items())
        )
