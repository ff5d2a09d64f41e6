"""A U-Net that sees what is kept: an adapter beside an ordinary model, used where a part is painted.

As in Stable Diffusion's inpainting models (Rombach et al. 2022, section 4.5) the first convolution gets the
kept latents and where they are; low-rank changes (LoRA, Hu et al. 2021) let the other layers make use of
them. Both lie in ``inpaint.safetensors`` beside the model, which stays an ordinary one for whole pictures,
for hosts that don't know the file, and for what was learnt on top of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sonoconvert.checkpoints.nouns import LoraModule
from sonoconvert.errors import SonopaintError

INPAINT_FILE = "inpaint.safetensors"
DOWN, UP = ".lora_A.weight", ".lora_B.weight"


class InpaintConv(nn.Conv2d):
    """The first convolution with ``kept`` [C, 1 + latent channels, k, k] for the extra channels.

    `changes`: {layer: what its weight gets while a part is painted} (see `inpainting`).

    Takes x [B, L, H, W] as the ordinary one does, or [B, 2L + 1, H, W]: the noisy latents, then 1 where the
    latents are kept, then the kept latents (0 where they are painted).
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        shape: Any = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding)
        super().__init__(*shape)
        self.weight, self.bias = conv.weight, conv.bias
        self.changes: dict[str, LoraModule] = {}
        self.kept = nn.Parameter(
            conv.weight.new_zeros(conv.out_channels, conv.in_channels + 1, *conv.kernel_size)
        )

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x[:, : self.in_channels])
        if x.shape[1] == self.in_channels:
            return out
        return out + self._conv_forward(x[:, self.in_channels :], self.kept, None)


def widen(unet: Any, tensors: Mapping[str, Tensor] | None = None) -> None:
    """Gives the U-Net's first convolution the extra channels, and what else ``inpaint.safetensors`` holds.

    `tensors`: ``kept`` [C, 1 + L, k, k], and low-rank changes of other weights (``NAME.lora_A.weight``,
    ``NAME.lora_B.weight``) that `inpainting` adds. Without them the channels are zero. SonopaintError where
    they are another model's.
    """
    unet.conv_in = InpaintConv(unet.conv_in)
    if tensors is None:
        return
    found = dict(unet.named_modules())
    changes = {}
    for key, down in tensors.items():
        if key.endswith(DOWN):
            name, up = key.removesuffix(DOWN), tensors.get(key.replace(DOWN, UP))
            if up is None or name not in found:
                raise SonopaintError(f"{INPAINT_FILE} was made for another model: {name} has no place in it.")
            changes[name] = LoraModule(down, up, float(len(down)))
    kept = tensors.get("kept")
    if kept is None or kept.shape != unet.conv_in.kept.shape:
        raise SonopaintError(f"{INPAINT_FILE} was made for another model: its extra channels do not fit.")
    unet.conv_in.changes = changes
    with torch.no_grad():
        unet.conv_in.kept.copy_(kept)


@contextmanager
def inpainting(unet: Any) -> Iterator[None]:
    """Within the block the U-Net's weights are those for painting a part; behind it they are as before."""
    weights = {name: unet.get_submodule(name).weight for name in unet.conv_in.changes}
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    try:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(weight.float() + unet.conv_in.changes[name].change(weight).to(weight.device))
        yield
    finally:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(before[name])


def sees_kept(unet: Any) -> bool:
    """Whether the U-Net takes the extra channels."""
    return isinstance(unet.conv_in, InpaintConv)


def kept_channels(latents: Tensor, painted: Tensor) -> Tensor:
    """The extra channels [B, 1 + L, H, W]: latents [B, L, H, W] kept where ``painted`` [B, 1, H, W] is 0."""
    kept = (1 - painted).expand(len(latents), -1, -1, -1).to(latents)
    return torch.cat([kept, latents * kept], 1)
