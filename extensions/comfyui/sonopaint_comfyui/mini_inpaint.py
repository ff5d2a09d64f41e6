"""Mini's adapter for painting parts (`sonopaint.models.inpaint`) on ComfyUI's own U-Net.

It is at work where the sampler has a noise mask: the first convolution then gets extra channels, and that
switches the low-rank changes of the other layers on. Weights and their names stay as they are, so that LoRAs
and merging find them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import comfy.model_base
import torch
from torch.nn import functional as F

from sonoconvert.checkpoints.ldm import unet_ldm_names
from sonoconvert.errors import SonopaintError
from sonopaint.models.inpaint import DOWN, INPAINT_FILE, UP, kept_channels


class MiniModel(comfy.model_base.BaseModel):
    """ComfyUI's model, whose U-Net may see what is kept."""

    def concat_cond(self, **kwargs: Any) -> torch.Tensor | None:
        """The extra channels [B, 1 + C, H, W] where a noise mask keeps anything; the latents are scaled."""
        mask, latents = kwargs.get("denoise_mask"), kwargs.get("latent_image")
        adapted = isinstance(self.diffusion_model.input_blocks[0][0], Kept)
        if not adapted or mask is None or latents is None or bool((mask > 0).all()):
            return None
        return kept_channels(latents, mask[:, :1].to(latents))


class Kept:
    """Mixed into the first convolution's class; `kept` [C, 1 + in, k, k] is for channels beside its own."""

    kept: torch.Tensor
    painting: bool  # whether the last call had such channels

    def forward(self, x: torch.Tensor, *more: Any, **others: Any) -> torch.Tensor:
        own, stride, padding = self.in_channels, self.stride, self.padding  # type: ignore[attr-defined]
        out = super().forward(x[:, :own], *more, **others)  # type: ignore[misc]
        self.painting = x.shape[1] > own
        if not self.painting:
            return out
        return out + F.conv2d(x[:, own:].to(out), self.kept.to(out), None, stride, padding)


def adapt(unet: Any, tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> None:
    """Put what `inpaint.safetensors` holds on ComfyUI's U-Net; config: diffusers' of the same.

    Raises SonopaintError where they are another model's.
    """
    first = unet.input_blocks[0][0]
    wanted = (first.out_channels, first.in_channels + 1, *first.kernel_size)
    if "kept" not in tensors or tensors["kept"].shape != wanted:
        raise SonopaintError(f"{INPAINT_FILE} was made for another model: its extra channels do not fit.")
    first.__class__ = type("KeptConv", (Kept, type(first)), {"painting": False})
    first.register_buffer("kept", tensors["kept"].float(), persistent=False)
    names = [key.removesuffix(DOWN) for key in tensors if key.endswith(DOWN)]
    own = unet_ldm_names(config, names)
    for name in names:
        try:
            layer, up = unet.get_submodule(own[name]), tensors[name + UP].float()
        except (AttributeError, KeyError) as error:
            raise SonopaintError(
                f"{INPAINT_FILE} was made for another model: {name} has no place in it."
            ) from error
        _change(first, layer, tensors[name + DOWN].float(), up)


def _change(first: Any, layer: Any, down: torch.Tensor, up: torch.Tensor) -> None:
    """Add a low-rank change to what a layer gives while `first` has extra channels."""
    if isinstance(layer, torch.nn.Conv2d):
        down, up = down.reshape(len(down), -1, *layer.kernel_size), up.reshape(len(up), -1, 1, 1)

    def changed(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor | None:
        if not first.painting:
            return None
        x = inputs[0]
        if isinstance(layer, torch.nn.Conv2d):
            low = F.conv2d(x[:, : layer.in_channels], down.to(x), None, layer.stride, layer.padding)
            return output + F.conv2d(low, up.to(x))
        return output + F.linear(F.linear(x, down.to(x)), up.to(x))

    layer.register_forward_hook(changed)
