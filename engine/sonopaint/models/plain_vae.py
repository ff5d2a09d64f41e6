"""Stable Diffusion's VAE in plain torch: hosts' own classes can't hold Mini's (16 channels, 16 groups).

Names of modules and tensors are those of diffusers' AutoencoderKL, so its files load as they are, and both
compute the same (Rombach et al. 2022, arXiv:2112.10752).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class PlainVAE(nn.Module):
    """`encode` images [B, 3, H, W] in −1 … 1 to latent means [B, 4, H/8, W/8] (unscaled), `decode` them back.

    config: AutoencoderKL's arguments as Mini's ``config.json`` has them; the last entry of
    ``block_out_channels`` is the innermost width, each entry but the last halves height and width.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        channels, groups = list(config["block_out_channels"]), config["norm_num_groups"]
        layers, latent = config["layers_per_block"], config["latent_channels"]
        self.encoder = _Encoder(config["in_channels"], channels, layers, latent, groups)
        self.decoder = _Decoder(config["out_channels"], channels, layers, latent, groups)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)

    def encode(self, image: Tensor) -> Tensor:
        """The means of the latents' distributions: nothing random."""
        return self.quant_conv(self.encoder(image)).chunk(2, dim=1)[0]

    def decode(self, latents: Tensor) -> Tensor:
        """The image of unscaled latents."""
        return self.decoder(self.post_quant_conv(latents))


class _Resnet(nn.Module):
    def __init__(self, before: int, after: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, before, eps=1e-6)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, after, eps=1e-6)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        if before != after:
            self.conv_shortcut = nn.Conv2d(before, after, 1)
        self.changes_width = before != after

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return y + (self.conv_shortcut(x) if self.changes_width else x)


class _Attention(nn.Module):
    """Self-attention over all places with one head."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        places = self.group_norm(x).flatten(2).transpose(1, 2)
        q, k, v = self.to_q(places), self.to_k(places), self.to_v(places)
        y = self.to_out[0](F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0])
        return x + y.transpose(1, 2).reshape(x.shape)


class _Middle(nn.Module):
    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([_Attention(channels, groups)])
        self.resnets = nn.ModuleList([_Resnet(channels, channels, groups) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class _Resample(nn.Module):
    """Half the size (with one row and column of zeros appended), or twice the size."""

    def __init__(self, channels: int, *, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv = nn.Conv2d(channels, channels, 3, stride=2 if down else 1, padding=0 if down else 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 1, 0, 1)) if self.down else F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.conv(x)


class _Level(nn.Module):
    def __init__(
        self, before: int, after: int, layers: int, groups: int, *, down: bool = False, up: bool = False
    ) -> None:
        super().__init__()
        widths = [before, *[after] * layers]
        self.resnets = nn.ModuleList(
            [_Resnet(a, b, groups) for a, b in zip(widths[:-1], widths[1:], strict=True)]
        )
        self.downsamplers = nn.ModuleList([_Resample(after, down=True)] if down else [])
        self.upsamplers = nn.ModuleList([_Resample(after, down=False)] if up else [])

    def forward(self, x: Tensor) -> Tensor:
        for part in (*self.resnets, *self.downsamplers, *self.upsamplers):
            x = part(x)
        return x


class _Encoder(nn.Module):
    def __init__(self, image: int, channels: list[int], layers: int, latent: int, groups: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(image, channels[0], 3, padding=1)
        befores, last = [channels[0], *channels[:-1]], len(channels) - 1
        self.down_blocks = nn.ModuleList(
            [_Level(befores[i], channels[i], layers, groups, down=i != last) for i in range(len(channels))]
        )
        self.mid_block = _Middle(channels[-1], groups)
        self.conv_norm_out = nn.GroupNorm(groups, channels[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(channels[-1], 2 * latent, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class _Decoder(nn.Module):
    def __init__(self, image: int, channels: list[int], layers: int, latent: int, groups: int) -> None:
        super().__init__()
        channels = channels[::-1]
        self.conv_in = nn.Conv2d(latent, channels[0], 3, padding=1)
        self.mid_block = _Middle(channels[0], groups)
        befores, last = [channels[0], *channels[:-1]], len(channels) - 1
        self.up_blocks = nn.ModuleList(
            [_Level(befores[i], channels[i], layers + 1, groups, up=i != last) for i in range(len(channels))]
        )
        self.conv_norm_out = nn.GroupNorm(groups, channels[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(channels[-1], image, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(z))
        for level in self.up_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))
