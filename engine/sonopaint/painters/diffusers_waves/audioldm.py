"""AudioLDM and AudioLDM 2: latents of mel spectrograms, DDIM, a vocoder; the documents' partial noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from sonopaint.painters.diffusers_waves.base import Call, WavePipeline
from sonopaint.painters.waves import Start
from sonopaint.tasks.progress import Progress

N_FFT, F_MIN, F_MAX, FLOOR = 1024, 0.0, 8000.0, 1e-5  # of AudioLDM's mel spectrograms


class Partial:
    """A scheduler that walks only the last `strength` of its steps, from latents that are noised already."""

    init_noise_sigma = 1.0

    def __init__(self, inner: Any, strength: float, steps: int, device: torch.device) -> None:
        self.inner, self.strength = inner, strength
        self.set_timesteps(steps, device)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def set_timesteps(self, steps: int, device: Any = None) -> None:
        self.inner.set_timesteps(steps, device=device)
        count = max(1, round(steps * self.strength))
        self.timesteps = self.inner.timesteps[-count:]


class AudioLDM(WavePipeline):
    """AudioLDM (Liu et al. 2023, arXiv:2301.12503)."""

    pipeline = "AudioLDMPipeline"
    time_axis = 2

    def __init__(self, pipe: Any, path: Path, start: Start = "interpolated") -> None:
        from diffusers import DDIMScheduler

        super().__init__(pipe, path, start)
        self.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)

    @property
    def sample_rate(self) -> int:
        return int(self.pipe.vocoder.config.sampling_rate)

    @property
    def channels(self) -> int:
        return 1

    @property
    def hop(self) -> int:
        return int(np.prod(self.pipe.vocoder.config.upsample_rates))

    def encode(self, wave: Tensor) -> Tensor:
        mel = self.mel(wave)
        factor = int(self.pipe.vae_scale_factor)
        mel = pad(mel, (0, 0, 0, -mel.shape[0] % factor), value=float(np.log(FLOOR)))
        vae = self.pipe.vae
        found = vae.encode(mel[None, None].to(vae.device, vae.dtype)).latent_dist.mode()
        return found * vae.config.scaling_factor

    def mel(self, wave: Tensor) -> Tensor:
        """AudioLDM's log mel spectrogram [frames, mel bins] of [1, samples]: Slaney mel, natural log."""
        from librosa.filters import mel as mel_bank

        bins, hop = int(self.pipe.vocoder.config.model_in_dim), self.hop
        edge = (N_FFT - hop) // 2
        mono = wave.mean(dim=0)
        mono = pad(mono[None, None], (edge, edge), mode="reflect" if len(mono) > edge else "constant")[0, 0]
        window = torch.hann_window(N_FFT)
        spectrum = torch.stft(mono, N_FFT, hop, window=window, center=False, return_complex=True).abs()
        top = min(F_MAX, self.sample_rate / 2)
        bank = mel_bank(sr=self.sample_rate, n_fft=N_FFT, n_mels=bins, fmin=F_MIN, fmax=top)
        return (torch.from_numpy(bank) @ spectrum).clamp_min(FLOOR).log().T

    def at_level(self, latents: Tensor, noise: Tensor, step: int) -> Tensor:
        times = self.pipe.scheduler.timesteps
        return (
            latents
            if step >= len(times)
            else self.scheduler.add_noise(latents, noise, times[step : step + 1])
        )

    def run(self, call: Call, progress: Progress) -> Tensor:
        pipe, job = self.pipe, call.job
        strength = job.strength if call.from_source else 1.0
        pipe.scheduler = Partial(self.scheduler, strength, call.steps, self.device)
        factor, bins = int(pipe.vae_scale_factor), int(pipe.vocoder.config.model_in_dim)
        frames = -(-int(call.seconds * self.sample_rate / self.hop) // factor)
        shape = (1, int(pipe.unet.config.in_channels), max(frames, 1), bins // factor)
        latents = self.noise(torch.empty(shape, device=self.device, dtype=pipe.unet.dtype), call)
        if job.source is not None:
            source = _as_long(self.encode(job.source).to(latents), shape[2])
            self.keep(source, latents, job.mask)
            if call.from_source:
                latents = self.at_level(source, latents, 0)
        answer = pipe(
            prompt=call.prompt,
            audio_length_in_s=max(call.seconds, shape[2] * factor * self.hop / self.sample_rate),
            num_inference_steps=call.steps,
            guidance_scale=call.guidance,
            negative_prompt=call.negative,
            generator=call.generator,
            latents=latents,
            callback=self.in_place(call, progress),
            output_type="pt",
        )
        return answer.audios[:1]


class AudioLDM2(AudioLDM):
    """AudioLDM 2 (Liu et al. 2023, arXiv:2308.05734)."""

    pipeline = "AudioLDM2Pipeline"


def _as_long(latents: Tensor, frames: int) -> Tensor:
    """Latents [B, C, T, F] of exactly `frames` in time: cut, or the last one repeated."""
    latents = latents[:, :, :frames]
    missing = frames - latents.shape[2]
    return latents if missing <= 0 else pad(latents, (0, 0, 0, missing), mode="replicate")
