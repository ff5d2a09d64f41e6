"""A discriminator on a U-Net's own features: one linear head after each encoder block and the middle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Heads(nn.Module):
    """Logits [B, heads] of features [B, channels_k, H_k, W_k]: 1×1 convolutions, averaged over places.

    They start at zero, so that at first nothing is pushed (Uni-DAD's multi-head discriminator, section 2.2).
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(count, 1, 1) for count in channels)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        logits = [head(f.float()).mean((1, 2, 3)) for head, f in zip(self.heads, features, strict=True)]
        return torch.stack(logits, dim=1)


def encoder_blocks(unet: Any) -> list[nn.Module]:
    """The blocks with a head: the way down and the middle."""
    return [*unet.down_blocks, unet.mid_block]


def encoder_channels(unet: Any) -> list[int]:
    """Channels of what encoder_blocks give."""
    widths = list(unet.config.block_out_channels)
    return [*widths, widths[-1]]


class _Enough(Exception):
    """The last block has answered."""


@contextmanager
def tapped(blocks: Sequence[nn.Module], *, stop: bool = False) -> Iterator[list[Tensor]]:
    """Within the block, a call of the network fills the list with the blocks' outputs.

    `stop` ends the call (and the with-block) after the last of them: the way up isn't computed for nothing.
    """
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)
        if stop and module is blocks[-1]:
            raise _Enough

    handles = [block.register_forward_hook(keep) for block in blocks]
    try:
        yield found
    except _Enough:
        pass
    finally:
        for handle in handles:
            handle.remove()
