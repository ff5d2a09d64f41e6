"""Stable Audio 3: text, audio-to-audio and inpainting: diffusers' three pipelines of the same parts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sonoconvert.edits.region import merge_spans
from sonopaint.painters.diffusers_waves.base import Call, WavePipeline
from sonopaint.tasks.progress import Progress


class StableAudio3(WavePipeline):
    """A rectified flow; below strength 1 it begins from the reference, a mask tells it what is kept."""

    pipeline = "StableAudio3Pipeline"

    @property
    def longest_s(self) -> float:
        return float(self.pipe.duration_embedder.config.max_val)

    def encode(self, wave: Tensor) -> Tensor:
        return self.pipe.vae.encode(self.on_vae(wave)).latents

    def run(self, call: Call, progress: Progress) -> Tensor:
        import diffusers

        job = call.job
        more: dict[str, Any] = {}
        pipe: Any = self.pipe
        if job.source is not None and job.mask is not None:
            pipe = diffusers.StableAudio3InpaintPipeline(**self.pipe.components)
            starts, ends = zip(*spans_of(job.mask, self.sample_rate), strict=True)
            more = {"mask_start_seconds": list(starts), "mask_end_seconds": list(ends)}
        elif call.from_source:
            pipe = diffusers.StableAudio3AudioToAudioPipeline(**self.pipe.components)
            more = {"init_noise_level": job.strength}
        pipe.set_progress_bar_config(disable=True)
        if job.source is not None and more:
            more["audio"] = self.on_vae(job.source)
        ratio = int(self.pipe.vae.downsampling_ratio)
        frames = -(-job.samples // ratio)
        # Whole frames, so that no part of a second is cut off and the length of the latents is known.
        seconds = frames * ratio / self.sample_rate
        shape = (1, int(self.pipe.vae.config.latent_dim), frames)
        latents = self.noise(torch.empty(shape, device=self.device, dtype=self.pipe.transformer.dtype), call)
        if "init_noise_level" in more and self.start == "added":
            # The pipeline mixes (1 − s) z + s n; with n = z + ε that is z + s ε.
            latents = latents + self.encode(job.source)[..., :frames].to(latents)  # type: ignore[arg-type]
        answer = pipe(
            prompt=call.prompt,
            duration=seconds,
            num_inference_steps=call.steps,
            generator=call.generator,
            latents=latents,
            callback_on_step_end=self.step_end(call, progress),
            **more,
        )
        return answer.audios[0]


def spans_of(mask: Tensor, sample_rate: int) -> list[tuple[float, float]]:
    """The times (start_s, end_s) in which a mask [samples] paints."""
    painted = torch.nn.functional.pad((mask > 0).to(torch.int8), (1, 1))
    edges = painted.diff().nonzero()[:, 0].tolist()
    times = [(a / sample_rate, b / sample_rate) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return merge_spans(times, len(mask) / sample_rate)
