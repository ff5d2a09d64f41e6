"""What several trainers' losses are made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def diffused(clean: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """q(x_t | x) = √ᾱ·x + √(1 − ᾱ)·ε (Ho et al. 2020, eq. 4); alpha_bar [B]."""
    alpha_bar = alpha_bar.view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * clean + (1.0 - alpha_bar).sqrt() * noise


def snr(alphas_cumprod: Tensor) -> Tensor:
    """Signal-to-noise ratio ᾱ / (1 − ᾱ) of each timestep."""
    return alphas_cumprod / (1.0 - alphas_cumprod)


def min_snr_weights(alphas_cumprod: Tensor, timesteps: Tensor, gamma: float = 5.0) -> Tensor:
    """Weights [B] of an ε-prediction loss: min(SNR, γ) / SNR (Hang et al. 2023, "Min-SNR", eq. 4)."""
    ratio = snr(alphas_cumprod)[timesteps]
    return ratio.clamp(max=gamma) / ratio


def gradient_loss(prediction: Tensor, target: Tensor, scales: int = 3) -> Tensor:
    """Mean L1 distance of the finite differences along time and along frequency over halved scales.

    Keeps harmonics (edges along frequency) and onsets (edges along time) sharp, where a plain L1 would
    accept blur. `prediction`, `target`: [B, C, H, W].
    """
    total = prediction.new_zeros(())
    difference = prediction - target
    for scale in range(scales):
        if scale:
            difference = F.avg_pool2d(difference, 2)
        total = total + (difference[..., :, 1:] - difference[..., :, :-1]).abs().mean()
        total = total + (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean()
    return total / scales


def kl_loss(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence to a standard normal, summed over a latent and averaged over the batch."""
    terms = mean.square() + log_variance.exp() - 1.0 - log_variance
    return 0.5 * terms.flatten(1).sum(1).mean()


class PatchDiscriminator(nn.Sequential):
    """PatchGAN (Isola et al. 2017): [B, 3, H, W] → one logit per patch [B, 1, H/8, W/8]."""

    def __init__(self, channels: int = 32) -> None:
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
        for _ in range(2):
            layers += [nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=False)]
            layers += [nn.GroupNorm(8, 2 * channels), nn.LeakyReLU(0.2)]
            channels *= 2
        super().__init__(*layers, nn.Conv2d(channels, 1, 3, 1, 1))


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """½·(E[max(0, 1 − D(x))] + E[max(0, 1 + D(x̂))])."""
    return 0.5 * (F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean())


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """Weight that gives both losses one gradient norm at the last layer (Esser et al. 2021, eq. 7)."""
    wanted = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)[0].norm()
    present = torch.autograd.grad(adversarial, last_layer, retain_graph=True)[0].norm()
    return (wanted / (present + 1e-4)).clamp(0.0, 1e4).detach()
