"""One-step models in diffusers' own pipelines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput

from sonopaint.models.denoiser import x0_of
from sonopaint.models.schedule import one_step_sigma, scaled_linear_alphas_cumprod, training_sigmas
from sonopaint.models.schedule import sigmas as schedule
from sonopaint.samplers.common import Generators, noise_like
from sonopaint.samplers.one_step import sample_one_step


@dataclass
class OneStepOutput(BaseOutput):
    """`prev_sample`: x_t of the next timestep; `pred_original_sample`: x0."""

    prev_sample: torch.Tensor
    pred_original_sample: torch.Tensor


class OneStepScheduler(SchedulerMixin, ConfigMixin):
    """Runs a distilled model in a StableDiffusionPipeline: num_inference_steps=1, guidance_scale=1.

    ``pipeline.scheduler = OneStepScheduler.from_config(pipeline.scheduler.config, timestep=999)``; `timestep`
    is the one in the file's header ``sonopaint.one_step``. The one step is ``sample_one_step``; with two to
    eight steps x0 is noised again in between (``sample_student``), as img2img and inpainting need it.
    """

    order = 1
    init_noise_sigma = 1.0

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        prediction_type: str = "epsilon",
        timestep: int = 999,
        steps_offset: int = 1,
        clip_sample: bool = False,
    ) -> None:
        self.alphas_cumprod = scaled_linear_alphas_cumprod(beta_start, beta_end, num_train_timesteps)
        one_step_sigma(self.alphas_cumprod, timestep)  # raises where there is no such timestep
        self.set_timesteps(1)

    def set_timesteps(
        self, num_inference_steps: int, device: str | torch.device | None = None, **_: Any
    ) -> None:
        """Timesteps from the student's own one down."""
        levels = training_sigmas(self.alphas_cumprod)
        sigmas = schedule(self.alphas_cumprod[: self.config.timestep + 1], num_inference_steps)[:-1]
        self.num_inference_steps = num_inference_steps
        self.timesteps = torch.searchsorted(levels, sigmas).to(device)

    def scale_model_input(self, sample: torch.Tensor, timestep: Any = None) -> torch.Tensor:
        return sample

    def step(
        self,
        model_output: torch.Tensor,
        timestep: torch.Tensor | int,
        sample: torch.Tensor,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> OneStepOutput | tuple[torch.Tensor]:
        """x0 from the U-Net's answer to `sample` [B, C, H, W], noised again unless this was the last step."""
        sigma = training_sigmas(self.alphas_cumprod)[int(timestep)].item()

        def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
            return x0_of(x, model_output.to(x), sigma, self.config.prediction_type)

        x0 = sample_one_step(denoise, sample.float(), sigma).to(sample)
        following = self.timesteps[self.timesteps < int(timestep)]
        later = x0
        if len(following):
            later = self.add_noise(x0, noise_like(x0, generator), following[:1])
        return OneStepOutput(later, x0) if return_dict else (later,)

    def add_noise(
        self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """√ᾱ x0 + √(1 − ᾱ) noise at each item's timestep."""
        alphas = self.alphas_cumprod.to(original_samples.device)[timesteps.to(original_samples.device)]
        alphas = alphas.view(-1, 1, 1, 1)
        return (alphas**0.5).to(noise) * original_samples + ((1 - alphas) ** 0.5).to(noise) * noise
