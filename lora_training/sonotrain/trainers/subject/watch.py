"""Does the student still vary, or has it collapsed? Looked at while it trains; the best state is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sonotrain.training.loop import EndEarly

logger = logging.getLogger(__name__)

SEEDS = 8
SPREAD = 0.2  # below this share of the spread that it began with, a student paints one sound
NARROW = 0.5  # with a discriminator that is certain of everything, this share is enough
CERTAIN = (
    2.0  # logits of real sounds above those of painted ones by so much, head by head: hinge losses are 0
)
PATIENCE = 3  # looks in a row


class Collapsed(EndEarly):
    """Training is of no more use; the message says why."""


def spread(latents: Tensor) -> float:
    """Mean distance between pictures of different seeds, for each value: latents [seeds, 4, h, w]."""
    flat = latents.flatten(1).float()
    return float(torch.pdist(flat).mean() / flat.shape[1] ** 0.5)


class Watch:
    """Looks at what a student paints for fixed seeds; keeps its weights while they are healthy."""

    def __init__(self, paint: Callable[[], Tensor], parameters: Sequence[nn.Parameter]) -> None:
        self.paint, self.parameters = paint, list(parameters)
        self.best: list[Tensor] = []
        self.best_step = 0
        self.started = 0.0
        self.low = 0
        self.margin = 0.0  # real minus painted logits, as the trainer heard last

    def __call__(self, number: int) -> dict[str, float]:
        """One look. Collapsed when the last ones were all bad."""
        now = spread(self.paint())
        if not self.started:
            self.started = now
        share = now / max(self.started, 1e-9)
        certain = self.margin > CERTAIN
        if share >= (NARROW if certain else SPREAD):
            self.low, self.best_step = 0, number
            self.best = [p.detach().clone() for p in self.parameters]
        else:
            self.low += 1
            logger.warning(
                "The variations have become alike: their spread is %.0f %% of what it was.", 100 * share
            )
        if self.low >= PATIENCE:
            why = "the discriminator tells every sound, and " if certain else ""
            raise Collapsed(
                f"Training has collapsed ({why}the variations' spread has fallen to {100 * share:.0f} %), so "
                f"it was stopped; the state of step {self.best_step}, before that, is kept."
            )
        return {"spread": now}

    @torch.no_grad()
    def restore(self) -> None:
        """Puts the best state's weights back."""
        for parameter, kept in zip(self.parameters, self.best, strict=False):
            parameter.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        names = ("best", "best_step", "started", "low", "margin")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
