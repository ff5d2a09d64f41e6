"""From a Stable Diffusion U-Net to ``denoise(x, sigma) -> x0``, with classifier-free guidance."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from sonopaint.models.curves import without
from sonopaint.models.schedule import sigma_to_timestep, training_sigmas

if TYPE_CHECKING:
    from sonopaint.models.model import Model


def x0_of(x: torch.Tensor, prediction: torch.Tensor, sigma: float, prediction_type: str) -> torch.Tensor:
    """x0 from what a network predicts ("epsilon", "v_prediction" or "sample") of x = x0 + sigma · noise."""
    if prediction_type == "epsilon":
        return x - sigma * prediction
    if prediction_type == "v_prediction":  # Salimans & Ho 2022, arXiv:2202.00512, appendix D
        return x / (sigma**2 + 1) - prediction * (sigma / (sigma**2 + 1) ** 0.5)
    return prediction  # "sample": x0 itself


@dataclass
class Denoiser:
    """Wraps a model's ε-, v- or x0-predicting U-Net for the samplers.

    `text` and `uncond` are prompt embeddings [1 or B, L, D] of the same length L (encode both prompts in one
    call of ``encode_prompt``). Guidance (Ho & Salimans 2022, arXiv:2207.12598, equation 6) is done in one
    batched call, and skipped where guidance_scale is 1 or there is no `uncond`. `circular` wraps the U-Net's
    padding along time, for loops. `adapter`: lets it follow curves (models/curves.py). `blocks`: embeddings
    that some blocks read in place of `text` (models/block_prompts.py).
    """

    model: Model
    text: torch.Tensor
    uncond: torch.Tensor | None = None
    guidance_scale: float = 1.0
    circular: bool = False
    adapter: Any = None
    blocks: Mapping[str, torch.Tensor] = field(default_factory=dict)
    _levels: torch.Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._levels = training_sigmas(self.model.alphas_cumprod)

    def __call__(
        self,
        x: torch.Tensor,
        sigma: float,
        kept: torch.Tensor | None = None,
        control: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict x0 from x = x0 + sigma · noise; x is [B, C, H, W], the answer has its type and device.

        `kept`: extra channels [B, 1 + C, H, W] for a U-Net that sees what is kept (models/inpaint.py).
        `control`: what the adapter sees of curves [B, 138, H, W].
        """
        sigma = float(sigma)
        guided = self.uncond is not None and self.guidance_scale != 1
        others = [self.uncond] if self.uncond is not None and guided else []

        def read(text: torch.Tensor) -> torch.Tensor:
            rows = [t.expand(len(x), -1, -1) for t in [text, *others]]
            return torch.cat(rows).to(self.model.device, self.model.dtype)

        scaled = x * (sigma**2 + 1) ** -0.5  # to the variance-preserving scaling that the U-Net learnt
        changes = {}
        behind = None  # an adapter that works behind the U-Net
        levels = torch.full((len(x),), sigma, device=x.device)
        if control is not None and self.adapter is not None:
            if self.adapter.variant == "output":
                behind = self.adapter
            else:
                changes = self.adapter(control.to(x), scaled, levels)
        seen = scaled if kept is None else torch.cat([scaled, kept], 1)
        blocks = {begin: read(text) for begin, text in self.blocks.items()}
        prediction = self._unet(
            torch.cat([seen] * (1 + len(others))), sigma, read(self.text), changes, blocks
        ).to(x)
        if behind is not None and control is not None:
            parts = [
                x0_of(x, part, sigma, self.model.prediction_type)
                for part in prediction.chunk(1 + len(others))
            ]
            asks = [control.to(x), without(control.to(x))]  # guidance strengthens curves as it does words
            parts = [behind(ask, scaled, part, levels) for ask, part in zip(asks, parts, strict=False)]
            return parts[-1] + (parts[0] - parts[-1]) * self.guidance_scale
        if guided:
            positive, negative = prediction.chunk(2)
            prediction = negative + (positive - negative) * self.guidance_scale
        return x0_of(x, prediction, sigma, self.model.prediction_type)

    def _unet(
        self, x: torch.Tensor, sigma: float, text: torch.Tensor, changes: Any, blocks: Any
    ) -> torch.Tensor:
        from sonopaint.models.block_prompts import prompted
        from sonopaint.models.circular import circular_time
        from sonopaint.models.curves import following

        timestep = torch.tensor(sigma_to_timestep(sigma, self._levels), device=self.model.device)
        x = x.to(self.model.device, self.model.dtype)
        with (
            circular_time(self.model.unet) if self.circular else nullcontext(),
            following(self.model.unet, changes),
            prompted(self.model.unet, blocks),
        ):
            return self.model.unet(x, timestep, encoder_hidden_states=text, return_dict=False)[0]
