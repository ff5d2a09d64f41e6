"""A model in memory: its networks, its format, what it was made with."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from sonoconvert.files.hashes import sha256_of
from sonoconvert.pictures.format import SpectrogramFormat
from sonopaint.models.grain import GrainNetwork, grain_beside
from sonopaint.models.info import lead_of, unet_file


@dataclass
class Model:
    """Everything that painting needs. Not safe for two jobs at once: guard it with a lock."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    alphas_cumprod: torch.Tensor  # float64 [timesteps], on the CPU
    prediction_type: str  # "epsilon", "v_prediction" or "sample"
    format: SpectrogramFormat
    name: str
    path: Path
    device: torch.device
    dtype: torch.dtype
    defaults: dict[str, Any]  # steps, guidance_scale, sampler, event_lead_s
    own_one_step: int | None = None  # the timestep that this checkpoint was distilled at, if it is a student
    lora_one_step: int | None = None  # that of a LoRA which makes it one
    latent_factor: int = 8  # pixels per latent, each way
    vae_scale: float = 0.18215  # latents are multiplied with it for the U-Net
    loras: list[tuple[str, float]] = field(default_factory=list)  # (name, weight) of those applied
    lora_backup: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)  # see models/lora.py

    @property
    def one_step(self) -> int | None:
        """The timestep of the student that this model is, with its LoRAs; None: it needs many steps."""
        return self.lora_one_step if self.own_one_step is None else self.own_one_step

    @property
    def lead(self) -> int | None:
        """Columns before what is painted at which the model's picture begins (see ``lead_of``)."""
        return lead_of(self.defaults, self.format)

    @property
    def grain(self) -> GrainNetwork | None:
        """What knows how rough the noise is that the VAE blurs, if it lies beside the model."""
        return grain_beside(self.path, self.format)

    @cached_property
    def hash(self) -> str:
        """The first ten hex digits of the (U-Net's) file's SHA-256, as the WebUI shows them."""
        return sha256_of(unet_file(self.path))[:10]
