"""Stable Audio Open (Evans et al. 2024, arXiv:2407.14358): init_noise_level with DPM++ 3M SDE."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonopaint.painters.diffusers_waves.base import Call, WavePipeline
from sonopaint.painters.diffusers_waves.dpmpp_3m_sde import Dpmpp3mSde
from sonopaint.tasks.progress import Progress


class StableAudioOpen(WavePipeline):
    """A fixed window of latents (47 s), of which the first seconds are asked for."""

    pipeline = "StableAudioPipeline"

    @property
    def longest_s(self) -> float:
        return int(self.pipe.transformer.config.sample_size) * self.pipe.vae.hop_length / self.sample_rate

    def encode(self, wave: Tensor) -> Tensor:
        window = int(self.pipe.transformer.config.sample_size) * self.pipe.vae.hop_length
        wave = pad(wave, (0, max(window - wave.shape[1], 0)))[:, :window]
        return self.pipe.vae.encode(self.on_vae(wave)).latent_dist.mode()

    def at_level(self, latents: Tensor, noise: Tensor, step: int) -> Tensor:
        return latents + noise * float(self.pipe.scheduler.sigmas[step])

    def run(self, call: Call, progress: Progress) -> Tensor:
        pipe, job = self.pipe, call.job
        scheduler = Dpmpp3mSde()
        if call.from_source:
            scheduler.sigma_max = noise_level(job.strength, scheduler.sigma_min, scheduler.sigma_max)
        pipe.scheduler = scheduler
        scheduler.set_timesteps(call.steps)
        shape = (1, int(pipe.transformer.config.in_channels), int(pipe.transformer.config.sample_size))
        noise = self.noise(torch.empty(shape, device=self.device, dtype=pipe.transformer.dtype), call)
        latents = noise * scheduler.sigma_max
        if job.source is not None:
            source = self.encode(job.source).to(noise)
            mask = None
            if job.mask is not None:
                window = shape[2] * pipe.vae.hop_length
                mask = pad(job.mask, (0, max(window - len(job.mask), 0)), value=1.0)[:window]
            self.keep(source, noise, mask)
            if call.from_source:
                latents = source + latents
        answer = pipe(
            prompt=call.prompt,
            audio_end_in_s=call.seconds,
            num_inference_steps=call.steps,
            guidance_scale=call.guidance,
            negative_prompt=call.negative,
            generator=call.generator,
            latents=latents,
            callback=self.in_place(call, progress),
        )
        return answer.audios[0]


def noise_level(strength: float, lowest: float, highest: float) -> float:
    """init_noise_level of a strength: noise and signal as sine and cosine of strength · 90°.

    0.6 is 1.4, near the documents' 1.5. Never below what the model was trained on: they found only silence
    there.
    """
    return min(max(math.tan(strength * math.pi / 2), lowest * 1.05), highest)
