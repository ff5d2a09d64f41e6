"""PEFT's side of a LoRA: adapter_config.json, and the same in the header of diffusers' files."""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sonoconvert.checkpoints.files import read_stored, read_tensors, write_tensors
from sonoconvert.checkpoints.lora_names import TEXT, UNET
from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import refuse_existing, write_text

if TYPE_CHECKING:
    from sonoconvert.checkpoints.nouns import LoraModule

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."
HEADER_KEY = "lora_adapter_metadata"
Configs = Mapping[str, Mapping[str, Any]]  # part ("unet.", "text_encoder." or "" for both) → configuration


def read(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, str], Configs]:
    """(tensors, header metadata, configurations) of a folder that PEFT or save wrote."""
    tensors: dict[str, torch.Tensor] = {}
    metadata: dict[str, str] = {}
    configs: dict[str, Mapping[str, Any]] = {}
    places = {"": folder, UNET: folder / "unet", TEXT: folder / "text_encoder"}
    for part, place in places.items():
        if not (place / WEIGHTS).is_file():
            continue
        _, header = read_stored(place / WEIGHTS)
        metadata |= {key: value for key, value in header.items() if key != "format"}
        for key, tensor in read_tensors(place / WEIGHTS, dtype=None).items():
            bare = key.removeprefix(PREFIX)
            tensors[PREFIX + (bare if bare.startswith((UNET, TEXT)) else part + bare)] = tensor
        configs[part] = _config_file(place / CONFIG)
    if not tensors:
        raise SonopaintError(f"{folder} holds no LoRA: there is no {WEIGHTS} in it.")
    return tensors, metadata, configs


def save(
    folder: Path,
    modules: Mapping[str, LoraModule],
    metadata: Mapping[str, str],
    *,
    allow_nan: bool,
    force: bool,
) -> None:
    """Write adapter_model.safetensors and adapter_config.json; one pair for each part where there are two."""
    if folder.name == WEIGHTS:
        folder = folder.parent
    if folder.suffix == ".safetensors":
        raise SonopaintError(
            f"PEFT keeps a LoRA in a folder; give one instead of {folder.name}, for instance {folder.stem}."
        )
    parts = {part: [name for name in modules if name.startswith(part)] for part in (UNET, TEXT)}
    parts = {part: names for part, names in parts.items() if names}
    places = {part: folder if len(parts) == 1 else folder / part.rstrip(".") for part in parts}
    for place in places.values():
        for file in (WEIGHTS, CONFIG):
            refuse_existing(place / file, force=force)
    # Beside the place first: all of it appears, or nothing.
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name[:40]}-", dir=folder.parent) as staging:
        for part, names in parts.items():
            _write_part(
                Path(staging) / part, part, {n: modules[n] for n in names}, metadata, allow_nan=allow_nan
            )
        for part, place in places.items():
            place.mkdir(parents=True, exist_ok=True)
            for file in (WEIGHTS, CONFIG):
                os.replace(Path(staging) / part / file, place / file)


def _write_part(
    folder: Path,
    part: str,
    modules: Mapping[str, LoraModule],
    metadata: Mapping[str, str],
    *,
    allow_nan: bool,
) -> None:
    tensors = {}
    for name, module in modules.items():
        key = PREFIX + name.removeprefix(part)
        tensors[f"{key}.lora_A.weight"], tensors[f"{key}.lora_B.weight"] = module.down, module.up
        if module.dora_scale is not None:
            tensors[f"{key}.lora_magnitude_vector"] = magnitude(name, module)
    config = configuration({name.removeprefix(part): module for name, module in modules.items()})
    config |= {"peft_type": "LORA", "task_type": None, "bias": "none", "inference_mode": True}
    write_tensors(folder / WEIGHTS, tensors, metadata, allow_nan=allow_nan)
    write_text(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")


def configuration(modules: Mapping[str, LoraModule]) -> dict[str, Any]:
    """LoraConfig's arguments: the commonest rank and alpha, patterns for modules that have others."""
    # A name's end is enough, and CLIP's text model has lost "text_model." in transformers 5.
    modules = {name.removeprefix("text_model."): module for name, module in modules.items()}
    rank = Counter(module.rank for module in modules.values()).most_common(1)[0][0]
    alpha = Counter(module.alpha for module in modules.values()).most_common(1)[0][0]
    return {
        "r": rank,
        "lora_alpha": _plain(alpha),
        "rank_pattern": {name: m.rank for name, m in modules.items() if m.rank != rank},
        "alpha_pattern": {name: _plain(m.alpha) for name, m in modules.items() if m.alpha != alpha},
        "target_modules": sorted(modules),
        "use_dora": any(module.dora_scale is not None for module in modules.values()),
        "lora_bias": False,
    }


def header_text(modules: Mapping[str, LoraModule]) -> str:
    """diffusers' `lora_adapter_metadata`: each part's configuration, its keys behind the part's name."""
    values: dict[str, Any] = {}
    for part in (UNET, TEXT):
        own = {name.removeprefix(part): m for name, m in modules.items() if name.startswith(part)}
        if own:
            values |= {part + key: value for key, value in configuration(own).items()}
    return json.dumps(values, sort_keys=True)


def configs_of_header(name: str, metadata: Mapping[str, str]) -> Configs:
    """The configurations in a diffusers file's header; empty where it has none."""
    if HEADER_KEY not in metadata:
        return {}
    try:
        values = json.loads(metadata[HEADER_KEY])
        return {
            part: {key.removeprefix(part): value for key, value in values.items() if key.startswith(part)}
            for part in (UNET, TEXT)
        }
    except (ValueError, AttributeError, RecursionError) as error:
        raise SonopaintError(f"{name} has an unreadable {HEADER_KEY} in its header; get it anew.") from error


def alpha(configs: Configs, name: str, rank: int) -> float:
    """alpha of a module by the configuration of its part; the rank where nothing is said."""
    part = UNET if name.startswith(UNET) else TEXT
    config = configs.get(part) or configs.get("") or {}
    module = name.removeprefix(part)
    value = config.get("lora_alpha", rank)
    for pattern, other in (config.get("alpha_pattern") or {}).items():
        # PEFT's rule: a pattern stands for the end of a path. Of its regular expressions only names are read.
        end = str(pattern).removeprefix("^").removesuffix("$").replace("\\.", ".")
        if not re.fullmatch(r"[\w.]+", end):
            raise SonopaintError(
                f"The LoRA's configuration has the pattern {pattern!r}, which can't be read."
            )
        if f".{module}".endswith(f".{end}"):
            value = other
            break
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SonopaintError(f"The LoRA's configuration gives alpha as {value!r}; it has to be a number.")
    return value * math.sqrt(rank) if config.get("use_rslora") else value


def magnitude(name: str, module: LoraModule) -> torch.Tensor:
    """DoRA's magnitudes as PEFT has them: [out], for convolutions [1, out, 1, 1]."""
    scale, out = module.dora_scale, module.up.shape[0]
    if scale is None or scale.shape[0] != out:
        raise SonopaintError(
            f"{name} has DoRA's magnitudes for its inputs, which PEFT and diffusers don't have; keep kohya's "
            "format."
        )
    return scale.reshape(1, -1, 1, 1) if module.down.ndim == 4 else scale.reshape(-1)


def dora_scale(vector: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """kohya's shape of PEFT's magnitudes: [out, 1] or [out, 1, 1, 1]."""
    return vector.reshape(-1, *[1] * (down.ndim - 1))


def _plain(value: float) -> float:
    return int(value) if float(value).is_integer() else value


def _config_file(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise SonopaintError(
            f"{path.parent} holds no {CONFIG}, which says how strong the LoRA is; get it anew."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise SonopaintError(f"{path} can't be read ({error}); get it anew.") from error
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise SonopaintError(f"{path} describes no LoRA but {kind!r}; only LoRA can be used.")
    return config
