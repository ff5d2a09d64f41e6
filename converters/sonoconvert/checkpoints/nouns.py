"""What the readers and writers of checkpoints hand to each other: a model's files, a LoRA's modules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from sonoconvert.checkpoints.files import Stored
from sonoconvert.errors import SonopaintError

Layout = Literal["single", "diffusers", "mini"]


@dataclass(frozen=True)
class ModelFiles:
    """A Stable Diffusion 1 model or Mini, its weights still in their files.

    `parts` holds "unet", "vae" and "text_encoder" under diffusers' names, `extra` what belongs to none of
    them (averages of the training, schedules …) under its own names. `config` has each part's arguments and
    "scheduler"; for Mini also "format" and "defaults". `headers` are the metadata of the parts' files;
    `tokenizer` is {file name: text}.
    """

    parts: dict[str, dict[str, Stored]]
    extra: dict[str, Stored]
    config: dict[str, Any]
    headers: dict[str, dict[str, str]]
    tokenizer: dict[str, str]
    layout: Layout
    left_out: list[str] = field(default_factory=list)

    @property
    def is_mini(self) -> bool:
        return "format" in self.config


@dataclass(frozen=True)
class LoraModule:
    """One adapted module: its weight becomes W + alpha/rank · up·down.

    `down` is [rank, in] or [rank, in, height, width], `up` [out, rank] or [out, rank, 1, 1]. `dora_scale`,
    where there is one, is [out, 1(, 1, 1)] (or [1, in(, 1, 1)], as older LyCORIS has it): the norm that the
    sum's rows (columns) get.
    """

    down: torch.Tensor
    up: torch.Tensor
    alpha: float
    dora_scale: torch.Tensor | None = None

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(output channels, values that each of them reads)."""
        return self.up.shape[0], self.down[0].numel()

    def change(self, weight: torch.Tensor) -> torch.Tensor:
        """What is added to `weight` ([out, in] or [out, in, height, width]) at strength 1; float32.

        Raises SonopaintError where the sizes differ.
        """
        if self.size != (weight.shape[0], weight[0].numel()):
            raise SonopaintError(
                f"it has the size {self.size[0]}×{self.size[1]} where this model has "
                f"{weight.shape[0]}×{weight[0].numel()}."
            )
        # Convolutions too: up is 1×1, so the product of the flattened factors is the whole kernel.
        product = self.up.float().flatten(1) @ self.down.float().flatten(1)
        added = (self.alpha / self.rank) * product.reshape(weight.shape)
        if self.dora_scale is None:
            return added
        original = weight.float().cpu()
        total = original + added
        rows = self.dora_scale.shape[0] == weight.shape[0]
        norm = total.flatten(1).norm(dim=1) if rows else total.transpose(0, 1).flatten(1).norm(dim=1)
        shape = [1] * weight.ndim
        shape[0 if rows else 1] = -1
        scale = self.dora_scale.float().reshape(shape) / norm.reshape(shape).clamp_min(1e-12)
        return total * scale - original
