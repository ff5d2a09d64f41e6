"""Exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Ema:
    """Moving average of the parameters of one or more modules.

    The decay ramps up as min(decay, (1 + n) / (10 + n)) after n updates (the rule of TensorFlow's
    ExponentialMovingAverage), so that the average is of use from the first minutes on. `every` updates
    only at each k-th call with decay**k, which costs k times less and averages over the same time.
    """

    def __init__(self, modules: Iterable[nn.Module], decay: float = 0.999, every: int = 1) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"EMA decay must be in [0, 1), not {decay}.")
        self.parameters = [p for module in modules for p in module.parameters()]
        self.average = [p.detach().clone() for p in self.parameters]
        self.decay = decay
        self.every = every
        self.calls = 0

    @torch.no_grad()
    def update(self) -> None:
        """Takes the present weights into the average."""
        self.calls += 1
        if self.calls % self.every:
            return
        ramp = (1 + self.calls) / (10 + self.calls)
        decay = min(self.decay, ramp) ** self.every
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1.0 - decay)

    @torch.no_grad()
    def store(self) -> None:
        """Copies the averaged weights into the modules for good."""
        torch._foreach_copy_([p.detach() for p in self.parameters], self.average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the modules hold the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, average in zip(self.parameters, self.average, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)

    def state_dict(self) -> dict[str, object]:
        return {"average": self.average, "calls": self.calls}

    def load_state_dict(self, state: dict) -> None:
        for average, saved in zip(self.average, state["average"], strict=True):
            average.copy_(saved)
        self.calls = int(state["calls"])


def take_average(modules: Iterable[nn.Module], saved: dict) -> None:
    """Copies the average that a checkpoint holds into modules of the same sizes."""
    ema = Ema(modules)
    ema.load_state_dict(saved)
    ema.store()
