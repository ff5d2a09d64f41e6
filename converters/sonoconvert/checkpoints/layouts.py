"""Whole models in the layouts that programs want: one file (ldm's names), diffusers' folders, Mini's folder.

The weights stay in their files until they are written, one tensor at a time, so that a model of 4 GB needs
the memory of its largest tensor.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sonoconvert.checkpoints import ldm
from sonoconvert.checkpoints.diffusers_texts import SD1_SCHEDULER, diffusers_texts
from sonoconvert.checkpoints.files import PICKLES, Stored, read_stored, write_tensors
from sonoconvert.checkpoints.nouns import ModelFiles
from sonoconvert.checkpoints.pickles import read_pickle
from sonoconvert.checkpoints.schedule import header_of, scheduler_of_single
from sonoconvert.checkpoints.webui import for_webui
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import refuse_existing, write_text

logger = logging.getLogger(__name__)
LAYOUTS = ("single", "diffusers", "mini", "webui")
PARTS = ("unet", "vae", "text_encoder")
PREFIXES = {"unet": ldm.UNET_PREFIX, "vae": ldm.VAE_PREFIX, "text_encoder": ldm.TEXT_PREFIX}
CONFIG_KEY, TOKENIZER_KEY, HEADERS_KEY = "sonopaint.config", "sonopaint.tokenizer", "sonopaint.headers"
EXTRA = "extra.safetensors"  # in diffusers' folders: what a single file had beside the three parts
CLIP_WORDS = 49408  # of the tokenizer that every Stable Diffusion 1 checkpoint shares
_STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
_TOKENIZER = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
_KIND = r"\.(weight|bias)"
_RESNETS = r"resnets\.\d+\.(norm1|conv1|norm2|conv2|conv_shortcut|time_emb_proj)"
_KNOWN = {
    "unet": re.compile(
        rf"(conv_in|conv_out|conv_norm_out|time_embedding\.linear_[12]"
        rf"|((down|up)_blocks\.\d+|mid_block)\.({_RESNETS}|(down|up)samplers\.0\.conv"
        rf"|attentions\.\d+\.(norm|proj_in|proj_out|transformer_blocks\.\d+\.(norm[123]"
        rf"|attn[12]\.(to_[qkv]|to_out\.0)|ff\.net\.(0\.proj|2)))))" + _KIND
    ),
    "vae": re.compile(
        rf"((post_)?quant_conv|(encoder|decoder)\.(conv_in|conv_out|conv_norm_out"
        rf"|((down|up)_blocks\.\d+|mid_block)\.({_RESNETS}|(down|up)samplers\.0\.conv"
        rf"|attentions\.0\.(group_norm|to_[qkv]|to_out\.0))))" + _KIND
    ),
    "text_encoder": re.compile(r"text_model\.(embeddings|encoder|final_layer_norm)\..+"),
}


def read_weights(path: str | Path) -> tuple[dict[str, Stored], dict[str, str], list[str]]:
    """(tensors, header metadata, names of what is no tensor) of a .safetensors file or a pickle."""
    path = Path(path)
    if path.suffix.lower() in PICKLES:
        pickled = read_pickle(path)
        return pickled.tensors, {}, pickled.left_out
    return *read_stored(path), []


def open_model(path: str | Path) -> ModelFiles:
    """A model from a single file (.safetensors or a pickle), a diffusers folder or a Mini folder.

    Raises SonopaintError for anything that has not all of U-Net, VAE and text encoder of Stable Diffusion 1.
    """
    path = Path(path)
    if not path.exists():
        raise SonopaintError(f"There is no file or folder {path}; check the name.")
    if not path.is_dir():
        return _open_single(path)
    if (path / "model_index.json").is_file():
        return _open_diffusers(path)
    if (path / "config.json").is_file() and (path / "unet.safetensors").is_file():
        return _open_mini(path)
    raise SonopaintError(f"The folder {path} holds no model (neither model_index.json nor config.json).")


def save_model(
    model: ModelFiles,
    path: str | Path,
    *,
    to: str,
    prune: bool = False,
    dtype: torch.dtype | None = None,
    allow_nan: bool = False,
    force: bool = False,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write a model as a "single" file with ldm's names, or as a "diffusers" or "mini" folder.

    "webui" is Mini as a single file, with what AUTOMATIC1111 needs beside it (see webui.py). `prune` leaves
    `extra` out; `dtype` casts the floating numbers. A folder appears when it is complete.
    """
    path = Path(path)
    beside: dict[Path, str] = {}
    if to == "webui":
        model, beside = for_webui(model, path)
        to = "single"
    extra = {} if prune else model.extra
    parts = {part: dict(model.parts[part]) for part in PARTS}
    if dtype is not None:
        parts = {part: {name: t.to(dtype) for name, t in tensors.items()} for part, tensors in parts.items()}
        extra = {name: t.to(dtype) for name, t in extra.items()}
    options: dict[str, Any] = {"allow_nan": allow_nan, "force": force}
    if to == "single":
        if path.suffix != ".safetensors":
            raise SonopaintError(f"{path.name} has to end in .safetensors to become a single file.")
        tensors = _single_tensors(parts, model.config) | extra
        for target in beside:
            refuse_existing(target, force=force)
        write_tensors(path, tensors, _single_header(model), progress=progress, **options)
        for target, text in beside.items():
            write_text(target, text, force=force)
    elif to in ("diffusers", "mini"):
        if to == "mini" and not model.is_mini:
            raise SonopaintError(
                f"Only a Sonopaint Mini can become Mini's folder; take {setting('to')} diffusers."
            )
        if to == "mini" and extra:
            raise SonopaintError(
                f"Mini's folder has no place for {next(iter(extra))}; leave it out with {setting('prune')}."
            )
        sizes = {part: sum(t.bytes for t in tensors.values()) for part, tensors in parts.items()}
        with _whole_folder(path, force=force) as folder:
            done = 0
            for part, tensors in parts.items():
                file = f"{part}.safetensors" if to == "mini" else f"{part}/{_STEMS[part]}.safetensors"
                begun = done

                def share(value: float, begun: int = begun, size: int = sizes[part]) -> None:
                    if progress is not None:
                        progress((begun + value * size) / sum(sizes.values()))

                header = dict(model.headers.get(part) or {"format": "pt"})
                if part == "unet" and to == "diffusers" and model.is_mini:
                    header[CONFIG_KEY] = json.dumps(model.config)
                write_tensors(folder / file, tensors, header, progress=share, allow_nan=allow_nan)
                done += sizes[part]
            if extra:
                write_tensors(folder / EXTRA, extra, {"format": "pt"}, allow_nan=allow_nan)
            tokenizer = {f"tokenizer/{name}": text for name, text in model.tokenizer.items()}
            mini = {"config.json": json.dumps(model.config, indent=2) + "\n"}
            _write_texts(folder, tokenizer | (mini if to == "mini" else diffusers_texts(model.config)))
    else:
        raise SonopaintError(f"There is no layout {to!r}; take {', '.join(LAYOUTS)}.")


def _open_single(path: Path) -> ModelFiles:
    tensors, header, left_out = read_weights(path)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    inside = {
        part: {n.removeprefix(prefix): n for n in tensors if n.startswith(prefix)}
        for part, prefix in PREFIXES.items()
    }
    missing = [part.replace("_", " ") for part in PARTS if not inside[part]]
    if missing:
        raise SonopaintError(
            f"{path.name} is no complete Stable Diffusion 1 checkpoint: it has no {' and no '.join(missing)}."
        )
    text = inside["text_encoder"]
    if not any(name.startswith("text_model.") for name in text):  # some merged checkpoints lack it
        inside["text_encoder"] = {f"text_model.{name}": original for name, original in text.items()}
    local = {part: {n: shapes[original] for n, original in names.items()} for part, names in inside.items()}
    try:
        if CONFIG_KEY in header:
            config = json.loads(header[CONFIG_KEY])
        else:
            config = {
                "unet": ldm.unet_config(local["unet"]),
                "vae": ldm.vae_config(local["vae"]),
                "text_encoder": ldm.text_config(local["text_encoder"]),
                "scheduler": scheduler_of_single(path, tensors, header),
            }
        found = {
            part: {n: tensors[original] for n, original in names.items()} for part, names in inside.items()
        }
        parts = {
            "unet": ldm.unet_from_ldm(found["unet"], config["unet"]),
            "vae": ldm.vae_from_ldm(found["vae"], config["vae"]),
            "text_encoder": found["text_encoder"],
        }
        headers = {"unet": dict(header), "vae": {}, "text_encoder": {}}
        if HEADERS_KEY in header:
            headers = {part: dict(json.loads(header[HEADERS_KEY])[part]) for part in PARTS}
        tokenizer = json.loads(header[TOKENIZER_KEY]) if TOKENIZER_KEY in header else {}
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise SonopaintError(
            f"{path.name} does not have the layout of Stable Diffusion 1 ({error})."
        ) from error
    headers["unet"] = {
        key: value for key, value in headers["unet"].items() if key not in (CONFIG_KEY, TOKENIZER_KEY)
    }
    # What the renaming did not understand keeps its own name beside the parts.
    extra = {n: t for n, t in tensors.items() if not n.startswith(tuple(PREFIXES.values()))}
    for part in PARTS:
        if len(parts[part]) != len(found[part]):
            raise SonopaintError(
                f"{path.name} has a tensor of its {part.replace('_', ' ')} twice; get it anew."
            )
        renamed = dict(zip(parts[part], found[part], strict=True))
        for name in [name for name in parts[part] if not _KNOWN[part].fullmatch(name)]:
            extra[PREFIXES[part] + renamed[name]] = parts[part].pop(name)
    texts = {n: t for n, t in tokenizer.items() if n in _TOKENIZER and isinstance(t, str)}
    texts = texts or _tokenizer_texts(path.parent / "tokenizer")
    return ModelFiles(parts, extra, config, headers, texts, "single", left_out)


def _open_diffusers(folder: Path) -> ModelFiles:
    parts, headers, config = {}, {}, {}
    for part in PARTS:
        parts[part], header, _ = read_weights(_part_file(folder / part, _STEMS[part]))
        headers[part] = {key: value for key, value in header.items() if key != "format"}
        config[part] = _read_json(folder / part / "config.json")
    channels, width = config["unet"].get("in_channels"), config["unet"].get("cross_attention_dim")
    if channels != 4 or width == 1024 or config["unet"].get("addition_embed_type"):
        raise SonopaintError(
            f"{folder.name} is not Stable Diffusion 1 (a U-Net with {channels} input channels and text of "
            f"width {width}); inpainting, SD 2 and SDXL models can't be converted."
        )
    parts["vae"] = ldm.modern_vae(parts["vae"])
    scheduler = folder / "scheduler" / "scheduler_config.json"
    config["scheduler"] = SD1_SCHEDULER | (_read_json(scheduler) if scheduler.is_file() else {})
    extra = read_stored(folder / EXTRA)[0] if (folder / EXTRA).is_file() else {}
    for part in PARTS:
        for name in [name for name in parts[part] if not _KNOWN[part].fullmatch(name)]:
            extra[PREFIXES[part] + name] = parts[part].pop(name)
    if CONFIG_KEY in headers["unet"]:  # a Mini that was converted
        mini = _parsed(folder.name, headers["unet"].pop(CONFIG_KEY))
        config = mini if isinstance(mini, dict) else config
    return ModelFiles(parts, extra, config, headers, _tokenizer_texts(folder / "tokenizer"), "diffusers")


def _open_mini(folder: Path) -> ModelFiles:
    config = _read_json(folder / "config.json")
    if not all(isinstance(config.get(key), dict) for key in (*PARTS, "scheduler")) or "format" not in config:
        raise SonopaintError(f"{folder / 'config.json'} does not describe a Sonopaint Mini; get it anew.")
    parts, headers = {}, {}
    for part in PARTS:
        parts[part], headers[part] = read_stored(folder / f"{part}.safetensors")
    return ModelFiles(parts, {}, config, headers, _tokenizer_texts(folder / "tokenizer"), "mini")


def _single_tensors(
    parts: Mapping[str, Mapping[str, Stored]], config: Mapping[str, Any]
) -> dict[str, Stored]:
    try:
        named = {
            "unet": ldm.unet_to_ldm(parts["unet"], config["unet"]),
            "vae": ldm.vae_to_ldm(parts["vae"], config["vae"]),
            "text_encoder": dict(parts["text_encoder"]),
        }
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise SonopaintError(
            f"The model's configuration does not describe it ({error}); get it anew."
        ) from error
    return {PREFIXES[part] + name: t for part, tensors in named.items() for name, t in tensors.items()}


def _single_header(model: ModelFiles) -> dict[str, str]:
    """The U-Net's header, and all that the file needs to become the same folder again."""
    # Hashes are of other bytes, "format" is of PyTorch's own.
    header = {
        key: value
        for key, value in model.headers["unet"].items()
        if key not in ("modelspec.hash_sha256", "format")
    }
    if "modelspec.title" in header:
        header["modelspec.title"] = header["modelspec.title"].removesuffix(" (unet)")
    if any(model.headers[part].keys() - {"format"} for part in ("vae", "text_encoder")):
        header[HEADERS_KEY] = json.dumps(model.headers)
    if model.tokenizer and model.config["text_encoder"].get("vocab_size", CLIP_WORDS) != CLIP_WORDS:
        header[TOKENIZER_KEY] = json.dumps(model.tokenizer, ensure_ascii=False)
    if model.is_mini:
        header[CONFIG_KEY] = json.dumps(model.config)
    else:
        header |= header_of(model.config["scheduler"])
    return header


def _write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def _whole_folder(path: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside `path` that takes its name when the block has succeeded, and vanishes otherwise."""
    if path.exists() and not force:
        raise SonopaintError(f"{path} already exists; use {setting('force')} to replace it.")
    if path.exists() and not (
        path.is_dir() and any((path / n).exists() for n in ("model_index.json", "config.json"))
    ):
        raise SonopaintError(f"{path} is no model's folder; it is not replaced. Choose another name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}-", dir=path.parent))
    except OSError as error:
        raise SonopaintError(
            f"The folder {path.parent} can't be written to ({error.strerror}); choose another one."
        ) from error
    try:
        yield beside
        beside.chmod(0o755)
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}-old-", dir=path.parent))
            os.replace(path, old / path.name)
            os.replace(beside, path)
            shutil.rmtree(old)
        else:
            os.replace(beside, path)
    except OSError as error:
        raise SonopaintError(
            f"{path} could not be written ({error.strerror or error}); make room or choose another folder."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _part_file(folder: Path, stem: str) -> Path:
    for name in (f"{stem}.safetensors", f"{stem}.fp16.safetensors", f"{stem}.bin", "pytorch_model.bin"):
        if (folder / name).is_file():
            return folder / name
    raise SonopaintError(f"{folder} holds no {stem}.safetensors; get the missing file.")


def _tokenizer_texts(folder: Path) -> dict[str, str]:
    texts = {}
    for name in _TOKENIZER:
        if (folder / name).is_file():
            texts[name] = (folder / name).read_text(encoding="utf-8", errors="replace")
    return texts


def _parsed(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SonopaintError(f"{name} has an unreadable header ({error}); get it anew.") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise SonopaintError(f"{path} can't be read ({error}); get the file anew.") from error
    if not isinstance(values, dict):
        raise SonopaintError(f"{path} holds no settings; get the file anew.")
    return values
