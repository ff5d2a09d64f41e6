"""A U-Net that sees what is kept: extra input channels beside an ordinary model's.

As in Stable Diffusion's inpainting models (Rombach et al. 2022, section 4.5) the first convolution gets the
kept latents and where they are; but here both are zero where everything is painted, so that the same weights
are an ordinary model without them. They lie in a file of their own, ``inpaint.safetensors`` beside the model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

INPAINT_FILE = "inpaint.safetensors"


class InpaintConv(nn.Conv2d):
    """The first convolution with ``kept`` [C, 1 + latent channels, k, k] for the extra channels.

    Takes x [B, L, H, W] as the ordinary one does, or [B, 2L + 1, H, W]: the noisy latents, then 1 where the
    latents are kept, then the kept latents (0 where they are painted).
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        shape: Any = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding)
        super().__init__(*shape)
        self.weight, self.bias = conv.weight, conv.bias
        self.kept = nn.Parameter(
            conv.weight.new_zeros(conv.out_channels, conv.in_channels + 1, *conv.kernel_size)
        )

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x[:, : self.in_channels])
        if x.shape[1] == self.in_channels:
            return out
        return out + self._conv_forward(x[:, self.in_channels :], self.kept, None)


def widen(unet: Any, kept: Tensor | None = None) -> None:
    """Gives the U-Net's first convolution the extra channels, with the weights ``kept`` (zeros without)."""
    unet.conv_in = InpaintConv(unet.conv_in)
    if kept is not None:
        with torch.no_grad():
            unet.conv_in.kept.copy_(kept)


def narrow(unet: Any) -> Tensor | None:
    """Makes it an ordinary U-Net again; the weights of the extra channels, if it had any."""
    conv = unet.conv_in
    if not isinstance(conv, InpaintConv):
        return None
    shape: Any = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding)
    plain = nn.Conv2d(*shape)
    plain.weight, plain.bias = conv.weight, conv.bias
    unet.conv_in = plain
    return conv.kept.detach()


def sees_kept(unet: Any) -> bool:
    """Whether the U-Net takes the extra channels."""
    return isinstance(unet.conv_in, InpaintConv)


def kept_channels(latents: Tensor, painted: Tensor) -> Tensor:
    """The extra channels [B, 1 + L, H, W]: latents [B, L, H, W] kept where ``painted`` [B, 1, H, W] is 0."""
    kept = (1 - painted).expand(len(latents), -1, -1, -1).to(latents)
    return torch.cat([kept, latents * kept], 1)
