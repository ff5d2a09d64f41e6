"""The diffusion loss of LoRA training: ε or v, Min-SNR weights, noise offset, padding counted less."""

from __future__ import annotations

import torch
from torch import Tensor

from sonotrain.trainers.lora.options import LoraOptions
from sonotrain.training.losses import min_snr_weights, snr


def target(latents: Tensor, noise: Tensor, alphas_cumprod: Tensor, prediction: str) -> Tensor:
    """What the U-Net should say: ε, or v = √ᾱ·ε − √(1 − ᾱ)·x (Salimans & Ho 2022, appendix D)."""
    if prediction == "epsilon":
        return noise
    alpha = alphas_cumprod[:, None, None, None]
    return alpha.sqrt() * noise - (1.0 - alpha).sqrt() * latents


def loss_weights(alphas_cumprod: Tensor, timesteps: Tensor, prediction: str, gamma: float) -> Tensor:
    """Min-SNR weights [B] (Hang et al. 2023): min(SNR, γ)/SNR for ε, min(SNR, γ)/(SNR + 1) for v."""
    if not gamma:
        return torch.ones(len(timesteps), device=timesteps.device)
    if prediction == "epsilon":
        return min_snr_weights(alphas_cumprod, timesteps, gamma)
    ratio = snr(alphas_cumprod)[timesteps]
    return ratio.clamp(max=gamma) / (ratio + 1.0)


def cell_weights(masks: Tensor, padding_weight: float) -> Tensor:
    """Masks uint8 [B, h, w] (0 hidden, 1 padding, 2 sound) → weights [B, 1, h, w] with mean 1 for each clip.

    A clip that is padding for the most part so counts as much as one that fills its picture.
    """
    values = torch.tensor([0.0, padding_weight, 1.0], device=masks.device)
    weights = values[masks.int()][:, None]
    return weights / weights.mean((1, 2, 3), keepdim=True).clamp_min(1e-6)


def errors(predicted: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Mean squared error [B] of each clip, its cells weighted."""
    return ((predicted.float() - wanted.float()).square() * weights).mean((1, 2, 3))


def offset_noise(shape: tuple[int, ...], generator: torch.Generator, offset: float) -> Tensor:
    """Normal noise on the CPU plus `offset` × one number for each clip and channel (Guttenberg 2023)."""
    noise = torch.randn(shape, generator=generator)
    level = torch.randn(*shape[:2], 1, 1, generator=generator)  # always drawn: 0 changes nothing else
    return noise + offset * level if offset else noise


def timesteps_for_validation(total: int, count: int) -> Tensor:
    """`count` timesteps [count] in the middles of equal parts of the schedule."""
    return ((torch.arange(count) + 0.5) * total / count).long()


def prediction_of(options: LoraOptions, model_says: str) -> str:
    """ "epsilon" or "v_prediction". SonopaintError for a model that predicts the picture itself."""
    from sonoconvert.errors import SonopaintError

    chosen = model_says if options.prediction == "auto" else options.prediction
    if chosen == "sample":
        raise SonopaintError("The base model predicts the picture itself (x0), which LoRA training can't do.")
    return chosen
