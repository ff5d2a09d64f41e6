"""Clips from a model for many captions at once, as pictures and as sounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sonotrain.data.corpus import FORMAT, to_levels


@torch.no_grad()
def paint(
    model: Any,
    captions: Sequence[str],
    *,
    seed: int,
    steps: int = 20,
    guidance_scale: float = 4.0,
    sampler: str = "dpmpp_2m",
    batch: int = 8,
) -> Tensor:
    """One picture per caption: levels [N, 128, 320] in 0 … 1, row 0 = lowest frequency.

    Each caption has noise of its own, which hangs on `seed` and its place only. A one-step model takes one
    step, whatever the settings say.
    """
    from sonopaint.models.prompt import encode_prompt
    from sonopaint.samplers import SAMPLERS, Denoiser
    from sonopaint.samplers.one_step import one_step_sigma, sample_one_step
    from sonopaint.samplers.schedule import sigmas

    levels = sigmas(model.alphas_cumprod, steps)
    noise = torch.randn((len(captions), 4, 16, 40), generator=torch.Generator().manual_seed(seed))
    pictures = []
    for first in range(0, len(captions), batch):
        chosen = list(captions[first : first + batch])
        embedded = encode_prompt(model, [*chosen, ""])
        text, empty = embedded[:-1], embedded[-1:]
        x = noise[first : first + batch].to(model.device)
        if model.one_step is not None:
            sigma = one_step_sigma(model.alphas_cumprod, model.one_step)
            latents = sample_one_step(Denoiser(model, text), x, sigma)
        else:
            denoise = Denoiser(model, text, empty, guidance_scale)
            latents = SAMPLERS[sampler](denoise, x * float(levels[0]), levels)
        pixels = model.vae.decode((latents / model.vae_scale).to(model.dtype)).sample
        pictures.append(to_levels(pixels).cpu())
    return torch.cat(pictures)


def to_sound(levels: Tensor, *, iterations: int | None = None, seed: int = 0) -> Tensor:
    """Levels [N, 128, 320] → waveforms [N, 163840] at 32 kHz, peak 0.97, as `convert.decode` gives them."""
    from sonoconvert.phase.search import FAST, reconstruct
    from sonoconvert.pictures.format import get_format
    from sonoconvert.pictures.spectrogram import from_levels

    fmt = get_format(FORMAT)
    sounds = []
    for one in levels.float():
        mel = from_levels(one[None], fmt)
        sound = reconstruct(mel, fmt, iterations=FAST if iterations is None else iterations, seed=seed)[0]
        sounds.append(sound * (0.97 / sound.abs().max().clamp_min(1e-6)))
    return torch.stack(sounds)
