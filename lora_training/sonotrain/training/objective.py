"""What a diffusion network is to say and how much each error counts: diffusion with Min-SNR, or flow.

Every noise level of a diffusion schedule is a time of the flow z_t = t·x + (1 − t)·ε (0 noise, 1 sound):
√ᾱ·x + √(1 − ᾱ)·ε is (√ᾱ + √(1 − ᾱ))·z_t with t = 1 / (1 + σ), σ = √((1 − ᾱ)/ᾱ). So a network that says ε, v
or x says a velocity, too, and flow matching's loss ‖v̂ − (x − ε)‖² (Lipman et al. 2023, arXiv:2210.02747; Liu
et al. 2023, arXiv:2209.03003) is its own squared error, weighted. What was trained so is the file that it
was before: the same samplers paint with it, those of flow and the others.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonotrain.training.losses import min_snr_weights, snr

OBJECTIVES = ("diffusion", "flow")
PREDICTIONS = ("auto", "epsilon", "v_prediction", "sample")
LEAST = 0.05  # what is divided by in a velocity is at least so much (Li & He 2025, "JiT", arXiv:2511.13720)


def target(latents: Tensor, noise: Tensor, alphas_cumprod: Tensor, prediction: str) -> Tensor:
    """What the U-Net should say: ε, x itself ("sample"), or v = √ᾱ·ε − √(1 − ᾱ)·x.

    v: Salimans & Ho 2022, arXiv:2202.00512, appendix D.
    """
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return latents
    alpha = alphas_cumprod[:, None, None, None]
    return alpha.sqrt() * noise - (1.0 - alpha).sqrt() * latents


def loss_weights(
    alphas_cumprod: Tensor, timesteps: Tensor, prediction: str, gamma: float, objective: str = "diffusion"
) -> Tensor:
    """Weights [B] of the squared errors of what is predicted.

    Diffusion: Min-SNR (Hang et al. 2023): min(SNR, γ)/SNR for ε, min(SNR, γ)/(SNR + 1) for v, min(SNR, γ) for
    x; 1 where γ is 0. Flow: such that it is the error of the velocity.
    """
    if objective == "flow":
        return velocity_weights(alphas_cumprod, timesteps, prediction)
    if not gamma:
        return torch.ones(len(timesteps), device=timesteps.device)
    if prediction == "epsilon":
        return min_snr_weights(alphas_cumprod, timesteps, gamma)
    ratio = snr(alphas_cumprod)[timesteps]
    return ratio.clamp(max=gamma) / (ratio + 1.0 if prediction == "v_prediction" else 1.0)


def velocity_weights(alphas_cumprod: Tensor, timesteps: Tensor, prediction: str) -> Tensor:
    """‖v̂ − v‖² of the flow over ‖error of the prediction‖² [B].

    ε: 1/t². x: 1/(1 − t)², which is JiT's v-loss of an x-prediction, with its least divisor.
    v: (√ᾱ + √(1 − ᾱ))².
    """
    alpha = alphas_cumprod[timesteps]
    signal, noise = alpha.sqrt(), (1.0 - alpha).sqrt()
    time = signal / (signal + noise)
    if prediction == "v_prediction":
        return (signal + noise).square()
    return (time if prediction == "epsilon" else 1.0 - time).clamp_min(LEAST) ** -2


def draw_timesteps(
    alphas_cumprod: Tensor,
    count: int,
    generator: torch.Generator,
    objective: str = "diffusion",
    mean: float = 0.0,
    spread: float = 1.0,
) -> Tensor:
    """Timesteps [count] on the CPU: all alike, or for flow those of times t whose logit is normal.

    mean, spread: of that logit (Esser et al. 2024, arXiv:2403.03206, section 3.1; JiT has −0.8 and 0.8);
    spread 0: times alike from 0 to 1.
    """
    if objective == "diffusion":
        return torch.randint(len(alphas_cumprod), (count,), generator=generator)
    if spread:
        time = torch.sigmoid(mean + spread * torch.randn(count, generator=generator))
    else:
        time = torch.rand(count, generator=generator)
    alpha = alphas_cumprod.float().cpu()
    times = (1.0 + (1.0 / alpha - 1.0).sqrt()).reciprocal().flip(0)  # rising
    places = torch.searchsorted((times[1:] + times[:-1]) / 2, time)
    return len(alpha) - 1 - places


def prediction_of(chosen: str, model_says: str) -> str:
    """What a run's network predicts; SonopaintError where one of choice and model only means the sound."""
    if chosen == "auto" or chosen == model_says:
        return model_says
    if "sample" in (chosen, model_says):
        raise SonopaintError(
            f"{setting('prediction')} is {chosen}, but the model predicts {model_says}; leave it at auto, or "
            "train a model from nothing."
        )
    return chosen
