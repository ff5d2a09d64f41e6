"""LoRAs (Hu et al. 2021, arXiv:2106.09685), merged into a model and taken out again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from sonoconvert.checkpoints import lora_peft
from sonoconvert.checkpoints.files import check_weights_path, read_header
from sonoconvert.checkpoints.lora import LoraFile, read_lora
from sonoconvert.errors import SonopaintError
from sonopaint.models.folders import shipped_folder, user_folder
from sonopaint.models.mini import stored_name
from sonopaint.models.one_step import header_timestep
from sonopaint.models.schedule import one_step_sigma

if TYPE_CHECKING:
    from sonopaint.models.model import Model

logger = logging.getLogger(__name__)
Loras = Sequence[tuple[str | Path, float]]


def apply_loras(model: Model, loras: Loras) -> None:
    """Make the model's weights W + Σ weight · alpha/rank · up·down, replacing LoRAs applied before.

    An empty list restores the original weights bit for bit (copies of the changed ones are kept). A missing
    alpha counts as the rank, as in the WebUI and ComfyUI. DoRA's change is measured against the original
    weights, each LoRA by itself. Keys that fit nothing are named in one warning. The model's format stays
    (`load_model` chooses it). Raises SonopaintError for a file that is no LoRA or was made for another base;
    the model is then left without LoRAs.
    """
    remove_loras(model)
    weights = _weights(model)
    changes: dict[str, torch.Tensor] = {}
    names = []
    one_step = None
    with torch.no_grad():
        for name_or_path, strength in loras:
            path = find_lora(name_or_path)
            file = read_lora(check_weights_path(path), model.unet.config)
            timestep = header_timestep(path.name, file.metadata)
            if timestep is not None and strength:
                one_step_sigma(model.alphas_cumprod, timestep)  # raises where the model has no such timestep
                one_step = timestep
            for key, change in _changes(path.name, file, weights).items():
                changes[key] = changes[key] + strength * change if key in changes else strength * change
            names.append((path.stem, float(strength)))
        for key, change in changes.items():
            weight = weights[key]
            model.lora_backup[key] = weight.detach().clone()
            weight.copy_(weight.float() + change.to(weight.device))
    model.loras[:] = names
    model.lora_one_step = one_step


def remove_loras(model: Model) -> None:
    """Put the model's own weights back, bit for bit."""
    weights = _weights(model)
    with torch.no_grad():
        for key, original in model.lora_backup.items():
            weights[key].copy_(original)
    model.lora_backup.clear()
    model.lora_one_step = None
    model.loras.clear()


def find_lora(name_or_path: str | Path) -> Path:
    """A LoRA's file from its path or from its name in the user's models folder or among the shipped ones."""
    path = Path(name_or_path).expanduser()
    if not path.exists() and len(path.parts) == 1:
        stem = path.name.removesuffix(".safetensors")
        found = (
            one
            for folder in (user_folder(), shipped_folder())
            for one in sorted(folder.rglob("*.safetensors"))
            if one.name == f"{stem}.safetensors"
        )
        path = next(found, path)
    return path


def headers_of(loras: Loras) -> dict[str, dict[str, str]]:
    """{file: safetensors metadata} of the LoRAs that are used; loading says what is wrong with the others."""
    found: dict[str, dict[str, str]] = {}
    for path in (find_lora(lora) for lora, weight in loras if weight):
        file = path / lora_peft.WEIGHTS if path.is_dir() else path
        if file.is_file() and file.suffix == ".safetensors":
            found[str(path) if path.name in found else path.name] = read_header(file)[1]
    return found


def _weights(model: Model) -> dict[str, torch.Tensor]:
    """{module as sonoconvert.checkpoints.lora names it: its weight}."""
    found: dict[str, torch.Tensor] = {}
    for name, module in model.text_encoder.named_modules():
        if isinstance(module, nn.Linear):
            found[f"text_encoder.{stored_name(model.text_encoder, name)}"] = module.weight
    for name, module in model.unet.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            found[f"unet.{name}"] = module.weight
    return found


def _changes(label: str, file: LoraFile, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """{module: what its weight gets at strength 1, float32} for every module that the file names."""
    usable = [name for name in file.modules if name in weights]
    if not usable:
        kinds = [why for why in file.unknown.values() if "kind" in why]
        reason = f"is of {kinds[0]}" if kinds else "was made for another model"
        raise SonopaintError(f"{label} {reason}; none of its weights can be used here.")
    unused = sorted({*file.unknown, *(file.modules.keys() - weights.keys())})
    if unused:
        shown = ", ".join(unused[:5]) + (" …" if len(unused) > 5 else "")
        logger.warning("%s: %d names fit nothing and are not used: %s", label, len(unused), shown)
    result = {}
    for name in usable:
        try:
            result[name] = file.modules[name].change(weights[name])
        except SonopaintError as error:
            raise SonopaintError(f"{label} was made for another model: of {name} {error}") from error
        if not torch.isfinite(result[name]).all():
            raise SonopaintError(
                f"The LoRA {label} is broken: {name} holds infinite or no numbers (NaN); get it anew."
            )
    return result
