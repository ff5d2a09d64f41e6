"""How LoRA files name the modules of a Stable Diffusion 1 network, and what diffusers calls the same.

The house's names are diffusers' module paths with the part in front:
``unet.mid_block.attentions.0.proj_in``, ``text_encoder.text_model.encoder.layers.0.mlp.fc1``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sonoconvert.checkpoints import ldm
from sonoconvert.errors import SonopaintError

UNET, TEXT = "unet.", "text_encoder."
KOHYA_UNET, KOHYA_TEXT = "lora_unet_", "lora_te_"
CONFIG_KEY = "sonopaint.unet"  # header: the levels of the U-Net whose blocks ldm's names count
# Words with an underscore of their own: kohya writes "_" for "." too.
_WORDS = (
    "time_embedding time_embed time_emb_proj transformer_blocks linear_1 linear_2 down_blocks up_blocks "
    "mid_block input_blocks output_blocks middle_block in_layers out_layers emb_layers skip_connection "
    "conv_in conv_out conv_shortcut proj_in proj_out to_q to_k to_v to_out text_model self_attn q_proj "
    "k_proj v_proj out_proj"
).split()
_WORD = re.compile(rf"({'|'.join(_WORDS)}|[a-z]+\d*|\d+)(?:_|$)")

_ATTENTION = r"transformer_blocks\.\d+\.(attn[12]\.to_([qkv]|out\.0)|ff\.net\.(0\.proj|2))|proj_(in|out)"
_UNET_MODULE = re.compile(
    rf"""(down_blocks\.\d+|up_blocks\.\d+|mid_block)\.
            (attentions\.\d+\.({_ATTENTION})
            |resnets\.\d+\.(conv1|conv2|conv_shortcut|time_emb_proj)
            |(down|up)samplers\.0\.conv)
        |conv_in|conv_out|time_embedding\.linear_[12]""",
    re.VERBOSE,
)
_LDM_MODULE = re.compile(
    rf"""(input_blocks\.\d+\.\d+|output_blocks\.\d+\.\d+|middle_block\.\d)\.
            ({_ATTENTION}|in_layers\.2|out_layers\.3|emb_layers\.1|skip_connection|op|conv)
        |input_blocks\.0\.0|out\.2|time_embed\.[02]""",
    re.VERBOSE,
)
_TEXT_MODULE = re.compile(r"text_model\.encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])")


def is_unet_module(name: str) -> bool:
    """Whether a U-Net of Stable Diffusion 1's family can have this module (diffusers' path, no part)."""
    return _UNET_MODULE.fullmatch(name) is not None


def is_text_module(name: str) -> bool:
    """Whether a CLIP text encoder can have this module (path from ``text_model`` on)."""
    return _TEXT_MODULE.fullmatch(name) is not None


def is_ldm_module(name: str) -> bool:
    """Whether this is ldm's name of a U-Net's module, such as ``input_blocks.1.1.proj_in``."""
    return _LDM_MODULE.fullmatch(name) is not None


def is_known(name: str) -> bool:
    """Whether this is one of the house's names, part in front."""
    return (name.startswith(UNET) and is_unet_module(name.removeprefix(UNET))) or (
        name.startswith(TEXT) and is_text_module(name.removeprefix(TEXT))
    )


def dotted(flat: str) -> str | None:
    """The path that kohya flattened to `flat` (``mid_block_attentions_0_proj_in``); None for other words."""
    words, position = [], 0
    while position < len(flat):
        match = _WORD.match(flat, position)
        if match is None:
            return None
        words.append(match[1])
        position = match.end()
    return ".".join(words)


def to_kohya(names: Iterable[str], spelling: str, config: Mapping[str, Any] | None) -> dict[str, str]:
    """{house name: kohya's}. `spelling` "ldm" counts the U-Net's blocks as single-file checkpoints do.

    Raises SonopaintError for ldm's spelling without the U-Net's configuration, or where it lacks a module.
    """
    if spelling not in ("diffusers", "ldm"):
        raise SonopaintError(f"There is no spelling {spelling!r}; take diffusers or ldm.")
    names = list(names)
    ldm_names: dict[str, str] = {}
    if spelling == "ldm":
        if config is None:
            raise SonopaintError(
                "ldm's spelling counts the blocks of the U-Net; name the model that the LoRA is for."
            )
        unet = [name.removeprefix(UNET) for name in names if name.startswith(UNET)]
        ldm_names = ldm.unet_ldm_names(config, unet)
        missing = [name for name in unet if name not in ldm_names]
        if missing:
            raise SonopaintError(
                f"The LoRA was made for another model: there is no {missing[0]} in the one that was named."
            )
    result = {}
    for name in names:
        if name.startswith(UNET):
            module = name.removeprefix(UNET)
            result[name] = KOHYA_UNET + ldm_names.get(module, module).replace(".", "_")
        else:
            result[name] = KOHYA_TEXT + name.removeprefix(TEXT).replace(".", "_")
    return result


def from_kohya(
    keys: Iterable[str], metadata: Mapping[str, str], config: Mapping[str, Any] | None
) -> tuple[dict[str, str], dict[str, str]]:
    """({kohya's name: house name}, {name that means nothing here: why}).

    Names of ldm's need the U-Net's levels: from `config`, from the header, or those of SD 1.5 or Mini,
    whichever has all the named modules.
    """
    found: dict[str, str] = {}
    unknown: dict[str, str] = {}
    original: dict[str, str] = {}
    for key in keys:
        if key.startswith(KOHYA_UNET):
            name = dotted(key.removeprefix(KOHYA_UNET)) or ""
            if is_unet_module(name):
                found[key] = UNET + name
                continue
            if is_ldm_module(name):
                original[key] = name
                continue
        elif key.startswith(KOHYA_TEXT):
            name = dotted(key.removeprefix(KOHYA_TEXT)) or ""
            if is_text_module(name):
                found[key] = TEXT + name
                continue
        unknown[key] = "no module of Stable Diffusion 1"
    if original:
        names = _levels_of(list(original.values()), metadata, config)
        for key, name in original.items():
            if name in names:
                found[key] = UNET + names[name]
            else:
                unknown[key] = "no module of this U-Net"
    return found, unknown


def config_text(config: Mapping[str, Any]) -> str:
    """The part of a U-Net's configuration that its names depend on, for CONFIG_KEY in a header."""
    keys = ("block_out_channels", "layers_per_block", "down_block_types", "up_block_types")
    return json.dumps({key: config[key] for key in keys})


def config_of(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """The U-Net's levels that a header tells; SonopaintError where it tells nonsense."""
    if CONFIG_KEY not in metadata:
        return None
    try:
        config = json.loads(metadata[CONFIG_KEY])
        ldm.check_levels(config)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SonopaintError(
            f"The LoRA's header has an unreadable {CONFIG_KEY} ({error}); get it anew."
        ) from error
    return config


def _levels_of(
    names: list[str], metadata: Mapping[str, str], config: Mapping[str, Any] | None
) -> dict[str, str]:
    """{ldm's module: diffusers'} in the first U-Net that fits."""
    config = config if config is not None else config_of(metadata)
    if config is not None:
        return ldm.unet_diffusers_names(config, names)
    candidates: list[Mapping[str, Any]] = [ldm.SD1_LEVELS, ldm.MINI_LEVELS]
    results = [ldm.unet_diffusers_names(candidate, names) for candidate in candidates]
    return max(results, key=len)  # the first among equals
