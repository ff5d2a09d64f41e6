"""LoRA layers in a U-Net and a text encoder, through peft; and what they have learnt, for the file writer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sonoconvert.errors import SonopaintError, setting

if TYPE_CHECKING:
    from sonoconvert.checkpoints.nouns import LoraModule

ADAPTER = "default"
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEEDFORWARD = ("ff.net.0.proj", "ff.net.2")
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj")


def target_modules(unet: nn.Module, targets: str) -> list[str]:
    """Full names of the U-Net's layers that `targets` means; convolutions only with "all"."""
    found = []
    for name, module in unet.named_modules():
        if targets == "all":
            chosen = isinstance(module, nn.Linear | nn.Conv2d)
        else:
            attends = name.endswith(tuple(f".{end}" for end in ATTENTION))
            if targets == "cross-attention":
                attends = attends and ".attn2." in name
            forwards = targets == "attention+feedforward" and name.endswith(FEEDFORWARD)
            chosen = isinstance(module, nn.Linear) and (attends or forwards)
        if chosen:
            found.append(name)
    if not found:
        raise SonopaintError(
            f"The base model has no layers for {setting('targets')} {targets}; choose another."
        )
    return found


def text_modules(text_encoder: nn.Module) -> list[str]:
    """Full names of a CLIP text encoder's attention layers."""
    return [n for n, m in text_encoder.named_modules() if isinstance(m, nn.Linear) and n.endswith(TEXT)]


@dataclass(frozen=True)
class Sizes:
    """Of LoRA layers; alpha ÷ rank scales what they add, in convolutions too."""

    rank: int
    alpha: float
    conv_rank: int
    dropout: float = 0.0
    dora: bool = False


def inject(module: nn.Module, names: list[str], sizes: Sizes, adapter: str = ADAPTER) -> None:
    """Puts peft's LoRA layers around the named layers of a frozen module; several adapters may share them."""
    from peft import LoraConfig, inject_adapter_in_model

    module.requires_grad_(False)
    layers = dict(module.named_modules())
    convolutions = [n for n in names if isinstance(layers[n], nn.Conv2d) and layers[n].kernel_size != (1, 1)]
    conv_alpha = sizes.alpha * sizes.conv_rank / sizes.rank
    config = LoraConfig(
        r=sizes.rank,
        lora_alpha=sizes.alpha,
        lora_dropout=sizes.dropout,
        target_modules=names,
        rank_pattern=dict.fromkeys(convolutions, sizes.conv_rank),
        alpha_pattern=dict.fromkeys(convolutions, conv_alpha),
        use_dora=sizes.dora,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several adapters are meant
        inject_adapter_in_model(config, module, adapter)
    for parameter in trained(module):
        parameter.data = parameter.data.float()  # in half precision small updates would be lost


def trained(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that learn."""
    return [p for p in module.parameters() if p.requires_grad]


def lora_layers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """(name in the original module, peft's layer) of all adapted layers."""
    from peft.tuners.lora import LoraLayer

    for name, layer in module.named_modules():
        if isinstance(layer, LoraLayer):
            yield name, layer


@contextmanager
def without_lora(*modules: nn.Module) -> Iterator[None]:
    """Within the block the modules compute what the base model does. No gradients: the LoRA is frozen."""
    layers = [layer for module in modules for _, layer in lora_layers(module)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


@torch.no_grad()
def lora_modules(model: Any, *, text_encoder: bool) -> dict[str, LoraModule]:
    """What the LoRA layers hold, for sonoconvert.checkpoints.lora.save_lora (fp32, CPU)."""
    from sonopaint.models.mini import stored_name

    result = {f"unet.{name}": adapter_module(layer) for name, layer in lora_layers(model.unet)}
    if text_encoder:
        for name, layer in lora_layers(model.text_encoder):
            result[f"text_encoder.{stored_name(model.text_encoder, name)}"] = adapter_module(layer)
    return result


def adapter_module(layer: Any, adapter: str = ADAPTER) -> LoraModule:
    """What one of peft's layers holds of one adapter (fp32, CPU)."""
    from sonoconvert.checkpoints.nouns import LoraModule

    def copy(tensor: Tensor) -> Tensor:
        return tensor.detach().float().cpu().clone().contiguous()

    rank = layer.r[adapter]
    scale = None
    if adapter in layer.lora_magnitude_vector:
        scale = copy(layer.lora_magnitude_vector[adapter].weight)
        scale = scale.reshape(-1, *[1] * (layer.get_base_layer().weight.ndim - 1))
    return LoraModule(
        down=copy(layer.lora_A[adapter].weight),
        up=copy(layer.lora_B[adapter].weight),
        alpha=float(layer.scaling[adapter] * rank),
        dora_scale=scale,
    )
