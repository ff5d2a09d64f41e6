"""Stable Diffusion 1's original ("ldm") names and layout, and how diffusers names the same things.

The names follow CompVis' latent-diffusion, as every single-file checkpoint has them. Sizes are read off the
tensors, so a small model of the same layout loads like SD 1.5 itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer."
NUM_HEADS = 8  # of every attention in SD 1's U-Net
T = TypeVar("T")  # torch.Tensor or files.Stored: names change, numbers do not
Shapes = Mapping[str, tuple[int, ...]]
_CROSS = ["CrossAttnDownBlock2D", "CrossAttnUpBlock2D"]
# What the names of a U-Net's blocks depend on, for the two that are at home here.
SD1_LEVELS = {
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "down_block_types": [_CROSS[0]] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + [_CROSS[1]] * 3,
}
MINI_LEVELS = {
    "block_out_channels": [64, 128, 256],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D"] + [_CROSS[0]] * 2,
    "up_block_types": [_CROSS[1]] * 2 + ["UpBlock2D"],
}

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


def unet_config(shapes: Shapes) -> dict[str, Any]:
    """UNet2DConditionModel's arguments from the shapes of an ldm U-Net (names without prefix)."""
    channels = [shapes["input_blocks.0.0.weight"][0]]
    attention: list[bool] = []
    layers, index = 0, 1
    while f"input_blocks.{index}.0.in_layers.0.weight" in shapes:
        layers = 0
        while f"input_blocks.{index}.0.in_layers.0.weight" in shapes:
            channels.append(shapes[f"input_blocks.{index}.0.out_layers.3.weight"][0])
            layers, index = layers + 1, index + 1
        attention.append(f"input_blocks.{index - 1}.1.norm.weight" in shapes)
        index += 1  # the downsampling, which the last level does not have
    return {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "block_out_channels": channels[layers::layers],
        "layers_per_block": layers,
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attention],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)],
        "cross_attention_dim": context_dim(shapes),
        "attention_head_dim": NUM_HEADS,
    }


def context_dim(shapes: Shapes) -> int | None:
    """Width of the text embeddings that a U-Net's cross-attention reads (768 in SD 1, 1024 in SD 2)."""
    return next((shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight")), None)


def why_not_stable_diffusion_1(shapes: Shapes) -> str | None:
    """What tensors are instead of a whole SD 1 checkpoint ("is an SDXL model"); None where they are one."""
    unet = {key.removeprefix(UNET_PREFIX): s for key, s in shapes.items() if key.startswith(UNET_PREFIX)}
    what = None
    if is_lora(shapes):
        what = "is a LoRA, not a model; load it on top of a model"
    elif any(key.startswith(("control_model.", "controlnet_", "input_hint_block.")) for key in shapes):
        what = "is a ControlNet, not a model"
    elif any(
        key.startswith(("model.diffusion_model.double_blocks", "model.diffusion_model.joint_blocks"))
        for key in shapes
    ):
        what = "is a Flux or SD 3 model"
    elif any(key.startswith("conditioner.") for key in shapes) or "label_emb.0.0.weight" in unet:
        what = "is an SDXL model"
    elif not unet or "input_blocks.0.0.weight" not in unet:
        what = "holds no Stable Diffusion U-Net"
    elif any(key.startswith("cond_stage_model.model.") for key in shapes) or context_dim(unet) == 1024:
        what = "is a Stable Diffusion 2 model"
    elif unet["input_blocks.0.0.weight"][1] != 4:
        channels = unet["input_blocks.0.0.weight"][1]
        kinds = {9: "an inpainting model", 8: "an instruct-pix2pix model"}
        what = f"is {kinds.get(channels, 'a special model')} (its U-Net takes {channels} channels, not 4)"
    elif not any(key.startswith(VAE_PREFIX) for key in shapes):
        what = "holds no VAE (only a pruned part of a checkpoint)"
    elif not any(key.startswith(TEXT_PREFIX) for key in shapes):
        what = "holds no text encoder (only a pruned part of a checkpoint)"
    return what


def is_lora(shapes: Shapes) -> bool:
    """Whether the names are those of a LoRA or one of its kin."""
    return any(".lora_" in key or ".lora." in key or ".hada_" in key or ".lokr_" in key for key in shapes)


def vae_config(shapes: Shapes) -> dict[str, Any]:
    """AutoencoderKL's arguments from the shapes of an ldm VAE (names without prefix)."""
    levels = _count(shapes, r"encoder\.down\.(\d+)\.")
    layers = _count(shapes, r"encoder\.down\.0\.block\.(\d+)\.")
    return {
        "in_channels": shapes["encoder.conv_in.weight"][1],
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "latent_channels": shapes["post_quant_conv.weight"][0],
        "block_out_channels": [
            shapes[f"encoder.down.{i}.block.{layers - 1}.conv2.weight"][0] for i in range(levels)
        ],
        "layers_per_block": layers,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "scaling_factor": 0.18215,
    }


def text_config(shapes: Shapes) -> dict[str, Any]:
    """CLIPTextConfig's arguments from a CLIP text model's shapes (heads of 64 channels, quick_gelu)."""
    vocab_size, hidden_size = shapes["text_model.embeddings.token_embedding.weight"]
    return {
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "intermediate_size": shapes["text_model.encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": _count(shapes, r"text_model\.encoder\.layers\.(\d+)\."),
        "num_attention_heads": max(1, hidden_size // 64),
        "max_position_embeddings": shapes["text_model.embeddings.position_embedding.weight"][0],
        "hidden_act": "quick_gelu",
        "projection_dim": hidden_size,
        "bos_token_id": vocab_size - 2,
        "eos_token_id": vocab_size - 1,
        "pad_token_id": vocab_size - 1,
    }


def check_levels(config: Mapping[str, Any]) -> None:
    """Raise ValueError unless a U-Net's or VAE's configuration has a believable number of levels and layers.

    Configurations come out of files, and networks are built and names counted by them.
    """
    layers, channels = config["layers_per_block"], config["block_out_channels"]
    if type(layers) is not int or not 1 <= layers <= 16:
        raise ValueError(f"layers_per_block {str(layers)[:40]}")
    if not isinstance(channels, (list, tuple)) or not 1 <= len(channels) <= 16:
        raise ValueError("block_out_channels is no list of up to 16 numbers")
    if not all(type(n) is int and 1 <= n <= 1 << 16 for n in channels):
        raise ValueError(f"block_out_channels {str(channels)[:80]}")
    for key in ("down_block_types", "up_block_types"):
        kinds = config[key]
        if len(kinds) != len(channels) or not all(isinstance(kind, str) for kind in kinds):
            raise ValueError(f"{key} {str(kinds)[:80]}")


def unet_modules(config: Mapping[str, Any]) -> dict[str, str]:
    """{ldm module: diffusers module} for all blocks of a U-Net, without the insides of ResNets."""
    check_levels(config)
    layers = config["layers_per_block"]
    names = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "middle_block.0": "mid_block.resnets.0",
        "middle_block.1": "mid_block.attentions.0",
        "middle_block.2": "mid_block.resnets.1",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
    }
    last = len(config["block_out_channels"]) - 1
    index = 1
    for level, kind in enumerate(config["down_block_types"]):
        for layer in range(layers):
            names[f"input_blocks.{index}.0"] = f"down_blocks.{level}.resnets.{layer}"
            if kind.startswith("CrossAttn"):
                names[f"input_blocks.{index}.1"] = f"down_blocks.{level}.attentions.{layer}"
            index += 1
        if level < last:
            names[f"input_blocks.{index}.0.op"] = f"down_blocks.{level}.downsamplers.0.conv"
            index += 1
    index = 0
    for level, kind in enumerate(config["up_block_types"]):
        attends = kind.startswith("CrossAttn")
        for layer in range(layers + 1):
            names[f"output_blocks.{index}.0"] = f"up_blocks.{level}.resnets.{layer}"
            if attends:
                names[f"output_blocks.{index}.1"] = f"up_blocks.{level}.attentions.{layer}"
            index += 1
        if level < last:
            upsampler = f"output_blocks.{index - 1}.{2 if attends else 1}.conv"
            names[upsampler] = f"up_blocks.{level}.upsamplers.0.conv"
    return names


def unet_ldm_names(config: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """{diffusers' module name: ldm's} for the innermost modules of a U-Net (the inverse of unet_from_ldm)."""
    blocks = {new: old for old, new in unet_modules(config).items()}
    resnet = {new: old for old, new in _RESNET.items()}
    result = {}
    for name in names:
        block, inner = _inside(blocks, name)
        if block:
            result[name] = f"{block}.{resnet.get(inner, inner)}" if inner else block
    return result


def unet_diffusers_names(config: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """{ldm's module name: diffusers'} for the innermost modules of a U-Net; names it lacks are left out."""
    blocks = unet_modules(config)
    result = {}
    for name in names:
        block, inner = _inside(blocks, name)
        # A block's kind decides what can be inside: ResNets and the rest share no names.
        if block and (not inner or (inner in _RESNET) == (".resnets." in f".{block}.")):
            result[name] = f"{block}.{_RESNET.get(inner, inner)}" if inner else block
    return result


def _inside(blocks: Mapping[str, str], name: str) -> tuple[str, str]:
    """(what the smallest block around a module is renamed to, the module's name in it); "" without one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if block := blocks.get(".".join(parts[:length])):
            return block, ".".join(parts[length:])
    return "", name


def unet_from_ldm(tensors: Mapping[str, T], config: Mapping[str, Any]) -> dict[str, T]:
    """An ldm U-Net's tensors (names without prefix) under diffusers' names."""
    return _renamed(tensors, unet_modules(config))


def unet_to_ldm(tensors: Mapping[str, T], config: Mapping[str, Any]) -> dict[str, T]:
    """The inverse of unet_from_ldm. Names that it does not know stay."""
    modules = unet_ldm_names(config, {name.rpartition(".")[0] for name in tensors})
    result = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        result[f"{modules.get(module, module)}.{kind}"] = tensor
    return result


def _vae_modules(config: Mapping[str, Any]) -> dict[str, str]:
    """{ldm module: diffusers module} for all blocks of a VAE."""
    check_levels(config)
    names: dict[str, str] = {}
    last, layers = len(config["block_out_channels"]) - 1, config["layers_per_block"]
    for level in range(last + 1):
        for layer in range(layers):
            names[f"encoder.down.{level}.block.{layer}"] = f"encoder.down_blocks.{level}.resnets.{layer}"
        for layer in range(layers + 1):
            names[f"decoder.up.{level}.block.{layer}"] = f"decoder.up_blocks.{last - level}.resnets.{layer}"
        names[f"encoder.down.{level}.downsample"] = f"encoder.down_blocks.{level}.downsamplers.0"
        names[f"decoder.up.{level}.upsample"] = f"decoder.up_blocks.{last - level}.upsamplers.0"
    for side in ("encoder", "decoder"):
        names[f"{side}.mid.block_1"] = f"{side}.mid_block.resnets.0"
        names[f"{side}.mid.block_2"] = f"{side}.mid_block.resnets.1"
        names[f"{side}.mid.attn_1"] = f"{side}.mid_block.attentions.0"
        names[f"{side}.norm_out"] = f"{side}.conv_norm_out"
    return names


def vae_from_ldm(tensors: Mapping[str, T], config: Mapping[str, Any]) -> dict[str, T]:
    """An ldm VAE's tensors (names without prefix) under diffusers' names."""
    renamed = _renamed(tensors, _vae_modules(config))
    return modern_vae({name.replace(".nin_shortcut.", ".conv_shortcut."): t for name, t in renamed.items()})


def vae_to_ldm(tensors: Mapping[str, T], config: Mapping[str, Any]) -> dict[str, T]:
    """The inverse of vae_from_ldm."""
    attention = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
    prepared: dict[str, Any] = {}
    for name, tensor in modern_vae(tensors).items():
        head, found, tail = name.partition(".mid_block.attentions.0.")
        if found:
            inner, _, kind = tail.rpartition(".")
            if kind == "weight" and inner != "group_norm":
                tensor = cast(Any, tensor).reshape((*cast(Any, tensor).shape[:2], 1, 1))
            name = f"{head}{found}{attention.get(inner, inner)}.{kind}"
        prepared[name.replace(".conv_shortcut.", ".nin_shortcut.")] = tensor
    return _renamed(prepared, {new: old for old, new in _vae_modules(config).items()})


def modern_vae(tensors: Mapping[str, T]) -> dict[str, T]:
    """Attention names and shapes of ldm and of early diffusers in a VAE, as diffusers has them today."""
    attention = {
        "norm": "group_norm",
        "q": "to_q",
        "k": "to_k",
        "v": "to_v",
        "query": "to_q",
        "key": "to_k",
        "value": "to_v",
        "proj_out": "to_out.0",
        "proj_attn": "to_out.0",
    }
    result: dict[str, Any] = {}
    for name, tensor in tensors.items():
        head, found, tail = name.partition(".mid_block.attentions.0.")
        if found:
            inner, _, kind = tail.rpartition(".")
            inner = attention.get(inner, inner)
            name = f"{head}{found}{inner}.{kind}"
            if kind == "weight" and inner != "group_norm":  # ldm: 1×1 convolutions
                tensor = cast(Any, tensor).reshape(tuple(cast(Any, tensor).shape[:2]))
        result[name] = tensor
    return result


def _renamed(tensors: Mapping[str, T], names: Mapping[str, str]) -> dict[str, T]:
    """Tensors whose longest known module prefix is replaced, ResNets' insides included."""
    result = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            module = names.get(".".join(parts[:length]))
            if module is not None:
                rest = ".".join(parts[length:])
                inner, _, kind = rest.rpartition(".")
                name = f"{module}.{_RESNET[inner]}.{kind}" if inner in _RESNET else f"{module}.{rest}"
                break
        result[name] = tensor
    return result


def _count(shapes: Shapes, pattern: str) -> int:
    found = (re.match(pattern, name) for name in shapes)
    return 1 + max((int(match[1]) for match in found if match), default=-1)
