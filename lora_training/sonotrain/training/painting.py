"""Clips from a model for many captions at once, as pictures and as sounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sonoconvert.defaults import ITERATIONS
from sonotrain.data.corpus import FORMAT, quantise, to_levels, to_pixels


@torch.no_grad()
def sample(
    model: Any,
    text: Tensor,
    empty: Tensor,
    noise: Tensor,
    *,
    steps: int = 0,
    guidance: float | None = None,
    sampler: str = "",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Scaled latents [B, 4, h, w] in fp32 on the model's device, painted in many steps from normal noise.

    `text` [B, L, D], `empty` [1, L, D]; what is not given is the model's own default. `generator`: of the
    noise that some samplers add on the way.
    """
    from sonopaint.models.denoiser import Denoiser
    from sonopaint.models.schedule import sigmas
    from sonopaint.samplers import SAMPLERS

    defaults = model.defaults
    levels = sigmas(model.alphas_cumprod, steps or int(defaults["steps"]))
    scale = float(defaults["guidance_scale"]) if guidance is None else guidance
    x = noise.to(model.device).float() * float(levels[0])
    return SAMPLERS[sampler or str(defaults["sampler"])](
        Denoiser(model, text, empty, scale), x, levels, generator=generator
    ).float()


@torch.no_grad()
def painted(model: Any, text: Tensor, empty: Tensor, noise: Tensor, **how: Any) -> Tensor:
    """Pixels [B, 3, H, W] in −1 … 1 from normal noise [B, 4, h, w]; `how`: as `sample` takes it.

    A one-step model takes one step, whatever `how` says.
    """
    from sonopaint.models.denoiser import Denoiser
    from sonopaint.models.schedule import one_step_sigma
    from sonopaint.samplers.one_step import sample_one_step

    if model.one_step is not None:
        sigma = one_step_sigma(model.alphas_cumprod, model.one_step)
        latents = sample_one_step(Denoiser(model, text), noise.to(model.device), sigma)
    else:
        latents = sample(model, text, empty, noise, **how)
    pixels: Tensor = model.vae.decode((latents / model.vae_scale).to(model.dtype)).sample
    return pixels


@torch.no_grad()
def through_vae(model: Any, levels: Tensor, batch: int = 8) -> Tensor:
    """Levels [N, 128, 320], as 8-bit pictures, to the VAE's latents (their means) and back."""
    pictures = []
    for part in quantise(levels).split(batch):
        latents = model.vae.encode(to_pixels(part.to(model.device)).to(model.dtype)).latent_dist.mode()
        pictures.append(to_levels(model.vae.decode(latents).sample).cpu())
    return torch.cat(pictures)


def noise_of(model: Any, count: int, seed: int) -> Tensor:
    """Normal noise for `count` pictures of a model's size [count, 4, h, w], on the CPU."""
    from sonopaint.painters.latents import window_of

    size = (4, model.format.n_mels // model.latent_factor, window_of(model))
    return torch.randn((count, *size), generator=torch.Generator().manual_seed(seed))


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
    from sonopaint.models.grain import with_grain
    from sonopaint.models.prompt import encode_prompt
    from sonopaint.samplers.common import added_noise

    noise = torch.randn((len(captions), 4, 16, 40), generator=torch.Generator().manual_seed(seed))
    added = added_noise(seed)
    pictures = []
    for first in range(0, len(captions), batch):
        chosen = list(captions[first : first + batch])
        embedded = encode_prompt(model, [*chosen, ""])
        pixels = painted(
            model, embedded[:-1], embedded[-1:], noise[first : first + batch],
            steps=steps, guidance=guidance_scale, sampler=sampler, generator=added,
        )  # fmt: skip
        levels = to_levels(pixels).cpu()
        if model.grain is not None:
            levels = with_grain(model.grain, levels)
        pictures.append(levels)
    return torch.cat(pictures)


def to_sound(levels: Tensor, *, iterations: int = ITERATIONS) -> Tensor:
    """Levels [N, 128, 320] → waveforms [N, 163840] at 32 kHz, peak 0.97, as `convert.decode` gives them."""
    from sonoconvert.phase.search import PhaseSearch, reconstruct
    from sonoconvert.pictures.format import get_format
    from sonoconvert.pictures.spectrogram import from_levels

    fmt = get_format(FORMAT)
    sounds = []
    for one in levels.float():
        mel = from_levels(one[None], fmt)
        sound = reconstruct(mel, fmt, PhaseSearch(iterations))[0]
        sounds.append(sound * (0.97 / sound.abs().max().clamp_min(1e-6)))
    return torch.stack(sounds)
