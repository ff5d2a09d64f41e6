"""Clips from a model for many captions at once, as pictures and as sounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sonotrain.data.corpus import FORMAT, quantise, to_levels, to_pixels


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


@torch.no_grad()
def through_vae(model: Any, levels: Tensor, batch: int = 8) -> Tensor:
    """Levels [N, 128, 320], as 8-bit pictures, to the VAE's latents (their means) and back."""
    pictures = []
    for part in quantise(levels).split(batch):
        latents = model.vae.encode(to_pixels(part.to(model.device)).to(model.dtype)).latent_dist.mode()
        pictures.append(to_levels(model.vae.decode(latents).sample).cpu())
    return torch.cat(pictures)


def grain(levels: Tensor) -> float:
    """How rough the loud half of a picture's range is: mean step between neighbouring columns, in dB.

    Levels [..., H, W] in 0 … 1 of an 80 dB range. Noise is rough (about 4 dB), tones and blur are smooth.
    """
    steps = (levels[..., 1:] - levels[..., :-1]).abs()
    heard = torch.minimum(levels[..., 1:], levels[..., :-1]) > 0.5
    return 80.0 * float(steps[heard].mean()) if heard.any() else 0.0


def quiet(levels: Tensor) -> float:
    """Level in dB of the quietest fifth of the columns, on average: −80 is silence, more is a hiss.

    Levels [..., H, W] in 0 … 1 of an 80 dB range.
    """
    columns = levels.mean(-2).sort(-1).values
    return 80.0 * float(columns[..., : -(-columns.shape[-1] // 5)].mean() - 1.0)
