"""ACE-Step 1.5: text, cover (the source's own course, told by its codes), repaint."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonopaint.painters.diffusers_waves.base import Call, WavePipeline
from sonopaint.painters.diffusers_waves.stable_audio_3 import spans_of
from sonopaint.tasks.progress import Progress

INSTRUMENTAL = "[Instrumental]"
SHIFT = 3.0  # of the schedule, as the pipeline's own default


class AceStep(WavePipeline):
    """A flow of [B, frames, channels]; turbo models have their guidance in the weights."""

    pipeline = "AceStepPipeline"
    time_axis = 1

    @property
    def sample_rate(self) -> int:
        return int(self.pipe.sample_rate)

    def encode(self, wave: Tensor) -> Tensor:
        return self.pipe.vae.encode(self.on_vae(wave)).latent_dist.mode().transpose(1, 2)

    def at_level(self, latents: Tensor, noise: Tensor, step: int) -> Tensor:
        level = float(self.pipe.scheduler.sigmas[step])
        return latents * (1 - level) + noise * level

    def run(self, call: Call, progress: Progress) -> Tensor:
        pipe, job = self.pipe, call.job
        hop = round(self.sample_rate / pipe.latents_per_second)
        frames = -(-job.samples // hop)
        more: dict[str, Any] = {}
        shape = (1, frames, int(pipe.transformer.config.audio_acoustic_hidden_dim))
        latents = noise = self.noise(
            torch.empty(shape, device=self.device, dtype=pipe.transformer.dtype), call
        )
        if job.source is not None and (job.mask is not None or call.from_source):
            wave = pad(job.source, (0, frames * hop - job.source.shape[1]))
            source = self.encode(wave)[:, :frames].to(noise)
            if job.mask is not None:
                spans = spans_of(job.mask, self.sample_rate)
                more = {"task_type": "repaint", "src_audio": self.on_vae(wave)}
                more |= {"repainting_start": spans[0][0], "repainting_end": spans[-1][1]}
                self.keep(source, noise, job.mask)
            elif pipe.audio_tokenizer is not None:
                more = {"task_type": "cover", "src_audio": self.on_vae(wave)}
            if call.from_source:
                latents = self.begun(source, noise, job.strength)
                more["timesteps"] = [job.strength * level for level in schedule(call.steps)]
        answer = pipe(
            prompt=call.prompt,
            lyrics=INSTRUMENTAL,
            audio_duration=(frames - 0.5) * hop / self.sample_rate,  # rounded up to whole frames there
            num_inference_steps=call.steps,
            guidance_scale=1.0 if pipe.is_turbo else call.guidance,
            shift=SHIFT,
            generator=call.generator,
            latents=latents,
            callback_on_step_end=self.step_end(call, progress),
            **more,
        )
        return answer.audios[0]


def schedule(steps: int) -> list[float]:
    """Falling flow times from 1, shifted as the pipeline does it, without the final 0."""
    plain = [1 - step / steps for step in range(steps)]
    return [SHIFT * t / (1 + (SHIFT - 1) * t) for t in plain]
