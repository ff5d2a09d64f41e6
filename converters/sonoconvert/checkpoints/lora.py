"""LoRA files (Hu et al. 2021, arXiv:2106.09685) in kohya's, diffusers' and PEFT's formats, read and written.

What they share: W' = W + alpha/rank · up·down. kohya stores alpha beside each module, PEFT in
adapter_config.json, diffusers in the header (`lora_adapter_metadata`). DoRA (Liu et al. 2024,
arXiv:2402.09353) adds a magnitude for each output channel.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from sonoconvert.checkpoints import lora_names, lora_peft
from sonoconvert.checkpoints.files import (
    PICKLES,
    listed,
    memory,
    read_stored,
    read_tensors,
    serial_order,
    write_tensors,
)
from sonoconvert.checkpoints.nouns import LoraModule
from sonoconvert.checkpoints.pickles import read_pickle
from sonoconvert.errors import SonopaintError

Layout = Literal["kohya", "diffusers", "peft"]
T = TypeVar("T")  # torch.Tensor or files.Stored
LAYOUTS = ("kohya", "diffusers", "peft")
# Endings of keys → what they hold.
_ENDINGS = (
    (re.compile(r"\.(lora_down|lora\.down|lora_linear_layer\.down|lora_A(\.\w+)?)\.weight$"), "down"),
    (re.compile(r"\.(lora_up|lora\.up|lora_linear_layer\.up|lora_B(\.\w+)?)\.weight$"), "up"),
    (re.compile(r"(?<=to_[qkv])_lora\.down\.weight$|(?<=to_out)_lora\.down\.weight$"), "down"),
    (re.compile(r"(?<=to_[qkv])_lora\.up\.weight$|(?<=to_out)_lora\.up\.weight$"), "up"),
    (re.compile(r"\.alpha$"), "alpha"),
    (re.compile(r"\.dora_scale$"), "dora_scale"),
    (re.compile(r"\.lora_magnitude_vector(\.\w+)*$"), "magnitude"),  # PEFT's and diffusers'
)
PARTS = {"down", "up", "alpha", "dora_scale", "magnitude"}
# Other parts that stand beside down and up are left out, but these change what down and up mean.
_INSIDE = ("lora_mid", "hada_", "lokr_", "oft_", "t1", "t2")
# The names that text encoders' projections had in early diffusers.
_EARLY = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}


@dataclass(frozen=True)
class LoraFile:
    """What a LoRA file holds: `unknown` names what has no place here, with the reason."""

    modules: dict[str, LoraModule]
    metadata: dict[str, str]
    layout: Layout
    unknown: dict[str, str]


def load_lora(
    path: str | Path, unet_config: Mapping[str, Any] | None = None
) -> tuple[dict[str, LoraModule], dict[str, str]]:
    """({module: LoraModule}, header metadata) of a LoRA in any of the three formats.

    Modules are named as in diffusers, part in front: ``unet.mid_block.attentions.0.proj_in``,
    ``text_encoder.text_model.encoder.layers.0.mlp.fc1``. `unet_config` (UNet2DConditionModel's) is needed
    only for files with ldm's spelling made for a U-Net that is neither SD 1.5's nor Mini's. Raises
    SonopaintError for anything that is no LoRA, or where any of it has no place in these networks; read_lora
    gives the rest then.
    """
    file = read_lora(path, unet_config)
    if file.unknown:
        reasons = sorted(set(file.unknown.values()))
        raise SonopaintError(
            f"{Path(path).name} holds {len(file.unknown)} names that can't be used ({', '.join(reasons)}): "
            f"{listed(file.unknown)}."
        )
    return file.modules, file.metadata


def read_lora(path: str | Path, unet_config: Mapping[str, Any] | None = None) -> LoraFile:
    """A LoRA in any of the three formats; a folder is one of PEFT's. See load_lora for the names."""
    path = Path(path)
    tensors, metadata, configs = _read(path)
    layout = _layout(path, tensors)
    groups = grouped_keys(tensors)
    if layout == "kohya":
        if any(name.startswith("lora_te2_") for name in groups):
            raise SonopaintError(f"{path.name} is a LoRA for SDXL; it does not fit this model.")
        names, unknown = lora_names.from_kohya(groups, metadata, unet_config)
    else:
        names, unknown = _dotted_names(groups)
    modules = {}
    for key, parts in groups.items():
        if key not in names:
            continue
        if problem := _problem(parts):
            unknown[key] = problem
            continue
        unknown |= {f"{key}.{part}": "a part that no LoRA has" for part in sorted(parts.keys() - PARTS)}
        name, rank = names[key], parts["down"].shape[0]
        alpha = parts["alpha"].item() if "alpha" in parts else lora_peft.alpha(configs, name, rank)
        scale = parts.get("dora_scale")
        if "magnitude" in parts:
            scale = lora_peft.dora_scale(parts["magnitude"], parts["down"])
        if not math.isfinite(alpha):
            raise SonopaintError(f"{path.name} is broken: alpha of {name} is {alpha}.")
        modules[name] = LoraModule(parts["down"], parts["up"], float(alpha), scale)
    metadata.pop(lora_peft.HEADER_KEY, None)
    return LoraFile(modules, metadata, layout, unknown)


def save_lora(
    path: str | Path,
    modules: Mapping[str, LoraModule],
    *,
    to: str = "kohya",
    names: str = "diffusers",
    unet_config: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = torch.float16,
    allow_nan: bool = False,
    force: bool = False,
) -> None:
    """Write a LoRA in kohya's, diffusers' or PEFT's format.

    Args:
        path: a .safetensors file; for PEFT a folder, which gets adapter_model.safetensors and
            adapter_config.json (in ``unet`` and ``text_encoder`` where it has both).
        modules: named as load_lora names them.
        names: "ldm" makes kohya's names count the U-Net's blocks as single-file checkpoints do
            (``lora_unet_input_blocks_3_1_…``), for models without two ResNets on each level, which
            AUTOMATIC1111 can't translate. Needs `unet_config`.
        metadata: of the header; hashes in it are renewed, kohya's ``ss_network_*`` are added where missing.
        dtype: of the factors; None keeps each as it is. alpha is always written, as float32.

    Raises SonopaintError for unknown modules, a file that exists unless `force`, a full disk, NaN.
    """
    path = Path(path)
    if to not in LAYOUTS:
        raise SonopaintError(f"There is no LoRA format {to!r}; take {', '.join(LAYOUTS)}.")
    if not modules:
        raise SonopaintError(f"{path} was not written: the LoRA is empty.")
    if unknown := [name for name in modules if not lora_names.is_known(name)]:
        raise SonopaintError(
            f"{path} was not written, it has modules that no format names: {listed(unknown)}."
        )
    header = {key: value for key, value in (metadata or {}).items() if key != "format"}
    unet_config = unet_config if unet_config is not None else lora_names.config_of(header)
    if unet_config is not None:
        header[lora_names.CONFIG_KEY] = lora_names.config_text(unet_config)
    cast = {
        name: LoraModule(
            _cast(module.down, dtype), _cast(module.up, dtype), module.alpha, _cast(module.dora_scale, dtype)
        )
        for name, module in modules.items()
    }
    if to == "kohya":
        tensors = {}
        for name, key in lora_names.to_kohya(cast, names, unet_config).items():
            module = cast[name]
            tensors[f"{key}.lora_down.weight"] = module.down
            tensors[f"{key}.lora_up.weight"] = module.up
            tensors[f"{key}.alpha"] = torch.tensor(module.alpha, dtype=torch.float32)
            if module.dora_scale is not None:
                tensors[f"{key}.dora_scale"] = module.dora_scale
        header = _hashed(tensors, _network_keys(modules) | header)
        write_tensors(path, tensors, header, allow_nan=allow_nan, force=force)
    elif to == "diffusers":
        tensors = {key: tensor for n, m in cast.items() for key, tensor in _diffusers_keys(n, m).items()}
        header[lora_peft.HEADER_KEY] = lora_peft.header_text(cast)
        header = _hashed(tensors, header | {"format": "pt"})
        write_tensors(path, tensors, header, allow_nan=allow_nan, force=force)
    else:
        lora_peft.save(path, cast, header | {"format": "pt"}, allow_nan=allow_nan, force=force)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str], lora_peft.Configs]:
    """(tensors, metadata, {part: PEFT's configuration}) of a file or of a folder of PEFT's."""
    if path.is_dir() or path.name == lora_peft.WEIGHTS:
        return lora_peft.read(path if path.is_dir() else path.parent)
    if path.suffix.lower() in PICKLES:
        pickled = read_pickle(path).tensors
        return {name: stored.load() for name, stored in pickled.items()}, {}, {}
    _, metadata = read_stored(path)
    return read_tensors(path, dtype=None), metadata, lora_peft.configs_of_header(path.name, metadata)


def _layout(path: Path, keys: Iterable[str]) -> Layout:
    keys = list(keys)
    if any(key.startswith("lora_") for key in keys):
        return "kohya"
    if any(key.startswith(lora_peft.PREFIX) for key in keys):
        return "peft"
    parts = {part for key in keys for pattern, part in _ENDINGS if pattern.search(key)}
    if {"down", "up"} <= parts:
        return "diffusers"
    raise SonopaintError(
        f"{path.name} is no LoRA in kohya's format (with keys like lora_unet_…), nor in diffusers' or PEFT's."
    )


def grouped_keys(tensors: Mapping[str, T]) -> dict[str, dict[str, T]]:
    """{name in the file: {"down", "up", "alpha", "dora_scale" or "magnitude": tensor}}.

    Parts that no LoRA has keep their own ending as name.
    """
    groups: dict[str, dict[str, T]] = {}
    for key, tensor in tensors.items():
        for pattern, part in _ENDINGS:
            if match := pattern.search(key):
                groups.setdefault(key[: match.start()], {})[part] = tensor
                break
        else:
            name, _, part = key.partition(".") if key.startswith("lora_") else key.rpartition(".")
            groups.setdefault(name, {})[part] = tensor
    return groups


def _dotted_names(keys: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """({name in a diffusers or PEFT file: house name}, {name that means nothing here: why})."""
    found: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for key in keys:
        name = key.removeprefix(lora_peft.PREFIX).replace(".processor.", ".")
        part = next((p for p in (lora_names.UNET, lora_names.TEXT) if name.startswith(p)), None)
        if part is None:
            text = name.startswith(("text_model.", "encoder.layers."))
            part = lora_names.TEXT if text else lora_names.UNET
        name = name.removeprefix(part)
        head, _, last = name.rpartition(".")
        if part == lora_names.TEXT:
            name = f"{head}.{_EARLY.get(last, last)}"
            name = name if name.startswith("text_model.") else f"text_model.{name}"
        elif last == "to_out":
            name += ".0"
        known = lora_names.is_known(part + name)
        (found if known else unknown)[key] = part + name if known else "no module of Stable Diffusion 1"
    return found, unknown


def _problem(parts: Mapping[str, torch.Tensor]) -> str | None:
    """Why these tensors are no LoRA of one module."""
    others = sorted(parts.keys() - PARTS)
    if others and not {"down", "up"} <= parts.keys() or any(part.startswith(_INSIDE) for part in others):
        return f"another kind than LoRA: {', '.join(others)}"
    if not {"down", "up"} <= parts.keys():
        return "half of its factors is missing"
    down, up = parts["down"], parts["up"]
    fits = down.ndim in (2, 4) and up.ndim in (2, 4) and down.shape[0] == up.shape[1] and down.shape[0] > 0
    if not fits or up[0, 0].numel() != 1 or not (down.is_floating_point() and up.is_floating_point()):
        return "factors that don't fit each other"
    if "alpha" in parts and parts["alpha"].numel() != 1:
        return "an alpha that is no number"
    out, into = up.shape[0], down.shape[1]
    if "magnitude" in parts and parts["magnitude"].numel() != out:
        return "magnitudes that don't fit"
    if "dora_scale" in parts:
        scale = parts["dora_scale"]
        rows, columns = (out, *[1] * (scale.ndim - 1)), (1, into, *[1] * (scale.ndim - 2))
        if scale.ndim < 2 or tuple(scale.shape) not in (rows, columns):
            return "a dora_scale that fits neither side"
    return None


def _diffusers_keys(name: str, module: LoraModule) -> dict[str, torch.Tensor]:
    """The tensors of one module by diffusers' names, the same for all: its reader judges by the first key."""
    kind = "lora" if name.startswith(lora_names.UNET) else "lora_linear_layer"
    tensors = {f"{name}.{kind}.down.weight": module.down, f"{name}.{kind}.up.weight": module.up}
    if module.dora_scale is not None:
        tensors[f"{name}.lora_magnitude_vector.weight"] = lora_peft.magnitude(name, module)
    return tensors


def _cast(tensor: torch.Tensor | None, dtype: torch.dtype | None) -> Any:
    if tensor is None:
        return None
    return tensor.detach().cpu().to(dtype or tensor.dtype).contiguous()


def _network_keys(modules: Mapping[str, LoraModule]) -> dict[str, str]:
    ranks = {module.rank for module in modules.values()}
    alphas = {module.alpha for module in modules.values()}
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(ranks.pop()) if len(ranks) == 1 else "Dynamic",
        "ss_network_alpha": str(alphas.pop()) if len(alphas) == 1 else "Dynamic",
    }


def _hashed(tensors: Mapping[str, torch.Tensor], header: Mapping[str, str]) -> dict[str, str]:
    """The header with kohya's and ModelSpec's hash of the tensors (all bytes after the header)."""
    digest = hashlib.sha256()
    for name in serial_order(tensors):
        digest.update(memory(tensors[name].contiguous()))
    header = {key: value for key, value in header.items() if key != "sshs_legacy_hash"}
    header["sshs_model_hash"] = digest.hexdigest()
    if "modelspec.sai_model_spec" in header:
        header["modelspec.hash_sha256"] = "0x" + digest.hexdigest()
    return header
