"""DPM-Solver++(3M) SDE as a scheduler for v-predicting models of EDM's scaling, such as Stable Audio Open's.

The documents' sampler for AudioX and Stable Audio. diffusers' own (of second order) needs torchsde for its
Brownian tree; here the noise of each step comes from the generator, which is as reproducible.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor


class Dpmpp3mSde:
    """Lu et al. 2022, arXiv:2211.01095, third order, with Gonzalez et al.'s noise (η = 1).

    sigma_max: the level that sampling begins at, Stable Audio's init_noise_level where there is a reference.
    """

    order = 1

    def __init__(self, sigma_min: float = 0.3, sigma_max: float = 500.0) -> None:
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self.config = SimpleNamespace(sigma_min=sigma_min, sigma_max=sigma_max)
        self.set_timesteps(1)

    @property
    def init_noise_sigma(self) -> float:
        """What the pipeline multiplies its latents with."""
        return 1.0

    def set_timesteps(self, steps: int, device: Any = None) -> None:
        """Levels falling exponentially from sigma_max to sigma_min, then 0."""
        logs = torch.linspace(math.log(self.sigma_max), math.log(self.sigma_min), steps, dtype=torch.float64)
        self.sigmas = torch.cat([logs.exp(), torch.zeros(1, dtype=torch.float64)])
        self.timesteps = (self.sigmas[:-1].atan() / math.pi * 2).float().to(device)
        self.step_index = 0
        self._x0: list[Tensor] = []  # the latest first
        self._h: list[float] = []

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        return sample * (float(self.sigmas[self.step_index]) ** 2 + 1) ** -0.5

    def step(
        self, model_output: Tensor, timestep: Any, sample: Tensor, generator: Any = None
    ) -> SimpleNamespace:
        """One step from x = x0 + σ ε; model_output is v."""
        sigma, following = (float(self.sigmas[self.step_index + at]) for at in (0, 1))
        self.step_index += 1
        x, v = sample.float(), model_output.float()
        x0 = x / (sigma**2 + 1) - v * sigma / (sigma**2 + 1) ** 0.5
        if following == 0:
            return SimpleNamespace(prev_sample=x0.to(sample))
        h = math.log(sigma / following)
        twice = 2 * h  # h (η + 1)
        moved = math.exp(-twice) * x - math.expm1(-twice) * x0
        phi_2 = math.expm1(-twice) / twice + 1
        if len(self._x0) > 1:
            (one, two), (h_1, h_2) = self._x0[:2], self._h[:2]
            r0, r1 = h_1 / h, h_2 / h
            slope_0, slope_1 = (x0 - one) / r0, (one - two) / r1
            first = slope_0 + (slope_0 - slope_1) * r0 / (r0 + r1)
            second = (slope_0 - slope_1) / (r0 + r1)
            moved = moved + phi_2 * first - (phi_2 / twice - 0.5) * second
        elif self._x0:
            moved = moved + phi_2 * (x0 - self._x0[0]) / (self._h[0] / h)
        noise = torch.randn(x.shape, generator=generator).to(x)
        moved = moved + noise * following * math.sqrt(-math.expm1(-2 * h))
        self._x0, self._h = [x0, *self._x0[:1]], [h, *self._h[:1]]
        return SimpleNamespace(prev_sample=moved.to(sample))
