"""Other prompts for some blocks of a U-Net.

The cross-attentions of a Stable Diffusion U-Net need not all read the same text (P+: Voynov et al. 2023,
arXiv:2303.09522). What which blocks decide is measured by benchmarks/block_prompts.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor


@contextmanager
def prompted(unet: Any, texts: Mapping[str, Tensor]) -> Iterator[None]:
    """Within the block a diffusers U-Net's cross-attentions read other embeddings [B, L, D].

    texts: by what the attentions' names begin with, such as "down_blocks" or "up_blocks.1".
    """
    with ExitStack() as stack:
        for begin, text in texts.items():

            def read(_: Any, args: Any, kwargs: dict[str, Any], text: Tensor = text) -> tuple[Any, Any]:
                return args, kwargs | {"encoder_hidden_states": text}

            for name, module in unet.named_modules():
                if name.startswith(begin) and name.endswith(".attn2"):
                    stack.callback(module.register_forward_pre_hook(read, with_kwargs=True).remove)
        yield
