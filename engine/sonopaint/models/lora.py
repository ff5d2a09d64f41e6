"""LoRAs in kohya's format (Hu et al. 2021, arXiv:2106.09685), merged into a model and taken out again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sonoconvert.errors import SonopaintError
from sonopaint.models import ldm
from sonopaint.models.files import read_header, read_tensors
from sonopaint.models.folders import user_folder
from sonopaint.models.mini import stored_name

if TYPE_CHECKING:
    from sonopaint.models.loading import Model

logger = logging.getLogger(__name__)
_FACTORS = {"lora_down.weight", "lora_up.weight"}


def apply_loras(model: Model, loras: Sequence[tuple[str | Path, float]]) -> None:
    """Make the model's weights W + Σ weight · alpha/rank · up·down, replacing LoRAs applied before.

    An empty list restores the original weights bit for bit (copies of the changed ones are kept). A missing
    alpha counts as the rank, as in the WebUI and ComfyUI. Keys that fit nothing are named in one warning.
    Raises SonopaintError for a file that is no kohya LoRA or was made for another base; the model is then
    left without LoRAs.
    """
    remove_loras(model)
    weights = _weights(model)
    deltas: dict[str, torch.Tensor] = {}
    names = []
    for name_or_path, strength in loras:
        path = find_lora(name_or_path)
        for key, delta in _deltas(path, weights).items():
            deltas[key] = deltas[key] + strength * delta if key in deltas else strength * delta
        names.append((path.stem, float(strength)))
    by_key = dict(weights.values())
    with torch.no_grad():
        for key, delta in deltas.items():
            weight = by_key[key]
            model.lora_backup[key] = weight.detach().clone()
            weight.copy_(weight.float() + delta.to(weight.device))
    model.loras[:] = names


def remove_loras(model: Model) -> None:
    """Put the model's own weights back, bit for bit."""
    by_key = dict(_weights(model).values())
    with torch.no_grad():
        for key, original in model.lora_backup.items():
            by_key[key].copy_(original)
    model.lora_backup.clear()
    model.loras.clear()


def find_lora(name_or_path: str | Path) -> Path:
    """A LoRA's file from its path or from its name in the user's models folder."""
    path = Path(name_or_path).expanduser()
    if not path.exists() and len(path.parts) == 1:
        stem = path.name.removesuffix(".safetensors")
        path = next(iter(sorted(user_folder().rglob(f"{stem}.safetensors"))), path)
    return path


def _weights(model: Model) -> dict[str, tuple[str, torch.Tensor]]:
    """{kohya's name of a module: (a key of ours, its weight)}; the U-Net's modules in both spellings."""
    found: dict[str, tuple[str, torch.Tensor]] = {}
    for name, module in model.text_encoder.named_modules():
        if isinstance(module, nn.Linear):
            stored = stored_name(model.text_encoder, name)
            found["lora_te_" + _flat(stored)] = (f"text_encoder.{name}", module.weight)
    unet: dict[str, tuple[str, torch.Tensor]] = {}
    for name, module in model.unet.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            unet[name] = found["lora_unet_" + _flat(name)] = (f"unet.{name}", module.weight)
    for name, original in ldm.unet_ldm_names(model.unet.config, unet).items():
        found["lora_unet_" + _flat(original)] = unet[name]
    return found


def _deltas(path: Path, weights: Mapping[str, tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """{our key: alpha/rank · up·down, float32 in the weight's shape} for every module that the file names."""
    shapes, _ = read_header(path)
    usable = _usable_names(path, shapes, weights)
    tensors = read_tensors(path)
    result = {}
    for name in usable:
        key, weight = weights[name]
        down, up = tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"]
        rank, size = down.shape[0], (up.shape[0], down[0].numel())
        alpha = tensors[f"{name}.alpha"].item() if f"{name}.alpha" in tensors else rank
        if size != (weight.shape[0], weight[0].numel()) or up.numel() != size[0] * rank:
            raise SonopaintError(
                f"{path.name} was made for another model: {name} has the size {size[0]}×{size[1]} "
                f"where this model has {weight.shape[0]}×{weight[0].numel()}."
            )
        # Convolutions too: up is 1×1, so the product of the flattened factors is the whole kernel.
        result[key] = (alpha / rank) * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
    return result


def _usable_names(path: Path, shapes: ldm.Shapes, weights: Mapping[str, Any]) -> list[str]:
    groups: dict[str, set[str]] = {}
    for key in shapes:
        name, _, part = key.partition(".")
        groups.setdefault(name, set()).add(part)
    if any(name.startswith("lora_te2_") for name in groups):
        raise SonopaintError(f"{path.name} is a LoRA for SDXL; it does not fit this model.")
    if not any(name.startswith("lora_") for name in groups):
        raise SonopaintError(
            f"{path.name} is no LoRA in kohya's format (with keys like lora_unet_…); convert it first."
        )
    known = [name for name in groups if name in weights]
    usable = [name for name in known if _FACTORS <= groups[name] <= _FACTORS | {"alpha"}]
    if not usable:
        reason = (
            "is of another kind than LoRA (LoHa, LoKr, DoRA …)" if known else "was made for another model"
        )
        raise SonopaintError(f"{path.name} {reason}; none of its weights can be used here.")
    unused = sorted(set(groups) - set(usable))
    if unused:
        shown = ", ".join(unused[:5]) + (" …" if len(unused) > 5 else "")
        logger.warning("%s: %d names fit nothing and are not used: %s", path.name, len(unused), shown)
    return usable


def _flat(name: str) -> str:
    return name.replace(".", "_")
