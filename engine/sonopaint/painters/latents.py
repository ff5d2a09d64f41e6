"""Latents: seeded noise, masks on the latent grid, and pictures through a VAE of any width."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from sonopaint.painters.windows import over_windows

if TYPE_CHECKING:
    from sonopaint.models.model import Model

Noise = Callable[[tuple[int, ...]], Tensor]


def seeded_noise(seed: int) -> Noise:
    """A source of standard normal float32 tensors, the same on every device (drawn on the CPU)."""
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(shape, generator=generator)


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Spherical interpolation (Shoemake 1985) of two tensors seen as vectors; keeps the norm of noise."""
    cosine = torch.dot(a.flatten(), b.flatten()) / (a.norm() * b.norm()).clamp_min(1e-12)
    angle = torch.arccos(cosine.double().clamp(-1, 1))
    if torch.sin(angle) < 1e-4:  # (anti)parallel: the great circle is not defined
        return torch.lerp(a, b, t)
    weight_a = torch.sin((1 - t) * angle) / torch.sin(angle)
    weight_b = torch.sin(t * angle) / torch.sin(angle)
    return (weight_a * a + weight_b * b).to(a.dtype)


def latent_mask(mask: Tensor, factor: int) -> Tensor:
    """A pixel mask [H, W] on the latent grid [1, 1, H/factor, W/factor]: 1 where any pixel is painted."""
    return F.max_pool2d((mask > 0).float()[None, None], factor)


def encode_image(model: Model, image: Tensor, *, circular: bool = False) -> Tensor:
    """Scaled latents [1, C, H/8, W/8] (the mean, nothing random) of an image [1, 3, H, W] in −1 … 1."""

    def encode(part: Tensor) -> Tensor:
        part = part.to(model.device, model.dtype)
        return model.vae.encode(part).latent_dist.mode().float() * model.vae_scale

    return _through_vae(model, encode, image, model.latent_factor, 1, circular)


def decode_latents(model: Model, latents: Tensor, *, circular: bool = False) -> Tensor:
    """The image [1, 3, H, W], float32 and about −1 … 1, of scaled latents [1, C, H/8, W/8]."""

    def decode(part: Tensor) -> Tensor:
        part = (part / model.vae_scale).to(model.device, model.dtype)
        return model.vae.decode(part, return_dict=False)[0].float()

    return _through_vae(model, decode, latents, 1, model.latent_factor, circular)


def window_of(model: Model) -> int:
    """Latent columns of the pictures that the model was trained on."""
    return -(-model.format.width // model.latent_factor)


@torch.no_grad()
def _through_vae(
    model: Model,
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    cell_in: int,
    cell_out: int,
    circular: bool,
) -> Tensor:
    """Long pictures in overlapping tiles of the trained width: group norms see what they saw in training."""
    from sonopaint.models.circular import circular_time

    window = window_of(model)
    in_one_piece = x.shape[-1] // cell_in <= window
    with circular_time(model.vae) if circular and in_one_piece else nullcontext():
        return over_windows(function, x, window, circular=circular, cell_in=cell_in, cell_out=cell_out)
