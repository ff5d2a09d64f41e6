"""Some prompts with fixed seeds, painted by the network in training and by what it began as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sonotrain.trainers.one_step import matching
from sonotrain.trainers.one_step.networks import Role
from sonotrain.trainers.subject.methods import Shared
from sonotrain.trainers.subject.options import ONE_STEP
from sonotrain.training.painting import sample

SEED = 1


class Previewer:
    """Paints latents with a role's network: in one step where the method makes a student, else in many."""

    def __init__(self, shared: Shared, model: Any, role: Role) -> None:
        self.shared, self.model, self.role = shared, model, role
        self.one_step = shared.options.method in ONE_STEP

    @torch.no_grad()
    def __call__(self, texts: Sequence[int], seed: int = SEED) -> Tensor:
        """Scaled latents [texts, 4, h, w] on the CPU; the noise hangs on the place only."""
        shared = self.shared
        noise = torch.randn((len(texts), *shared.data.size), generator=torch.Generator().manual_seed(seed))
        found = []
        for number, one in zip(texts, noise.to(shared.device), strict=True):
            text = shared.data.text(number).to(shared.device)
            with shared.autocast():
                found.append((self._once if self.one_step else self._steps)(one[None], text).float().cpu())
        return torch.cat(found)

    def _once(self, noise: Tensor, text: Tensor) -> Tensor:
        steps = torch.tensor([self.shared.timestep], device=noise.device)
        predicted = self.shared.networks.noise(self.role, noise, steps, text)
        return matching.clean_from_noise(noise, predicted, self.shared.alphas_cumprod[steps])

    def _steps(self, noise: Tensor, text: Tensor) -> Tensor:
        model = replace(self.model, unet=self.shared.networks.unet_of(self.role))
        return sample(model, text, self.shared.data.text(0).to(noise.device), noise)
