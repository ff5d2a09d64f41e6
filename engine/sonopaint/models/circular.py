"""Convolutions that wrap around in time, so that what is painted loops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


@contextmanager
def circular_time(*modules: nn.Module | None) -> Iterator[None]:
    """Within the block, every padded convolution of `modules` (U-Net, VAE) wraps along the last axis (time).

    Along frequency the padding stays zeros. A width that all downsamplings divide then has no seam: rolling
    the input by a multiple of the whole stride rolls the output. On exit everything is as it was. It works
    on diffusers' networks and on those of the hosts, which follow latent-diffusion.
    """
    with ExitStack() as stack:
        for module in modules:
            for child in module.modules() if module is not None else ():
                if not isinstance(child, nn.Conv2d) or not isinstance(child.padding, tuple):
                    continue
                if child.padding[1]:
                    stack.enter_context(_wrapped(child, child.padding))
                elif child.stride[1] == 2 and child.kernel_size[1] == 3:
                    # Stable Diffusion's VAEs append one column of zeros before such a convolution.
                    stack.callback(child.register_forward_pre_hook(_wrap_last_column).remove)
        yield


@contextmanager
def _wrapped(conv: nn.Conv2d, padding: tuple[int, ...]) -> Iterator[None]:
    rows, columns = padding

    def pad(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Any:
        return (F.pad(inputs[0], (columns, columns, 0, 0), mode="circular"), *inputs[1:])

    handle = conv.register_forward_pre_hook(pad)
    conv.padding = (rows, 0)
    try:
        yield
    finally:
        conv.padding = padding
        handle.remove()


def _wrap_last_column(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Any:
    x = inputs[0]
    return (torch.cat([x[..., :-1], x[..., :1]], dim=-1), *inputs[1:])
