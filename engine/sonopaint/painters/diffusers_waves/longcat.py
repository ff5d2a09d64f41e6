"""LongCat-AudioDiT: a flow whose time runs from 0 (noise) to 1 (sound)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonopaint.painters.diffusers_waves.base import Call, WavePipeline
from sonopaint.tasks.progress import Progress


class Shortened:
    """A flow scheduler whose path begins at `strength` of the way to noise."""

    def __init__(self, inner: Any, strength: float) -> None:
        self.inner, self.strength = inner, strength

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def set_timesteps(self, sigmas: list[float], device: Any = None) -> None:
        self.inner.set_timesteps(sigmas=[sigma * self.strength for sigma in sigmas], device=device)


class LongCat(WavePipeline):
    """Latents [B, frames, channels] of mono sound at 24 kHz."""

    pipeline = "LongCatAudioDiTPipeline"
    time_axis = 1

    @property
    def sample_rate(self) -> int:
        return int(self.pipe.sample_rate)

    @property
    def channels(self) -> int:
        return int(self.pipe.vae.config.in_channels)

    @property
    def longest_s(self) -> float:
        return float(self.pipe.max_wav_duration)

    def encode(self, wave: Tensor) -> Tensor:
        return self.pipe.vae.encode(self.on_vae(wave), sample_posterior=False).latents.transpose(1, 2)

    def at_level(self, latents: Tensor, noise: Tensor, step: int) -> Tensor:
        sound = float(self.pipe.scheduler.sigmas[step])  # how far the way to sound has been gone
        return latents * sound + noise * (1 - sound)

    def run(self, call: Call, progress: Progress) -> Tensor:
        pipe, job = self.pipe, call.job
        inner = getattr(pipe.scheduler, "inner", pipe.scheduler)
        pipe.scheduler = Shortened(inner, job.strength if call.from_source else 1.0)
        hop = int(pipe.vae_scale_factor)
        frames = -(-job.samples // hop)
        shape = (1, frames, int(pipe.latent_dim))
        latents = noise = self.noise(
            torch.empty(shape, device=self.device, dtype=pipe.transformer.dtype), call
        )
        if job.source is not None:
            wave = pad(job.source, (0, frames * hop - job.source.shape[1]))
            source = self.encode(wave)[:, :frames].to(noise)
            self.keep(source, noise, job.mask)
            if call.from_source:
                latents = self.begun(source, noise, job.strength)
        answer = pipe(
            prompt=call.prompt,
            negative_prompt=call.negative,
            latents=latents,
            num_inference_steps=call.steps,
            guidance_scale=call.guidance,
            generator=call.generator,
            output_type="pt",
            callback_on_step_end=self.step_end(call, progress),
        )
        return answer.audios[0]
