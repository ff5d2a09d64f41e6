"""`sonoconvert checkpoint | lora | lora-extract | lora-merge`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonoconvert.errors import SonopaintError, plain
from sonoconvert.files.atomic import refuse_existing

if TYPE_CHECKING:
    from sonoconvert.checkpoints.nouns import LoraModule

COMMANDS = ("checkpoint", "lora", "lora-extract", "lora-merge")
_DTYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}


def add_commands(commands: Any) -> None:
    """Add the four commands to argparse's subparsers."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--dtype", choices=_DTYPES, help="of the numbers; default: as they are (lora-extract: fp16)"
    )
    common.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a header entry, e.g. modelspec.title=Horns",
    )
    common.add_argument("--allow-nan", action="store_true", help="convert broken weights too")
    common.add_argument("--force", action="store_true", help="replace existing files")
    names = argparse.ArgumentParser(add_help=False)
    names.add_argument("--to", default="kohya", choices=["kohya", "diffusers", "peft"], help="default: kohya")
    names.add_argument(
        "--names",
        default="diffusers",
        choices=["diffusers", "ldm"],
        help="how kohya's names count the blocks; ldm for models with one ResNet a level, such as Mini",
    )

    command = commands.add_parser(
        "checkpoint",
        parents=[common],
        help="convert a model: pickles, single files, folders",
    )
    command.add_argument("input", type=Path, help="a .safetensors, .ckpt, .pt or .bin file, or a folder")
    command.add_argument("output", type=Path, help="NAME.safetensors for one file, another name for a folder")
    command.add_argument(
        "--to",
        choices=["single", "diffusers", "mini", "webui"],
        help="webui: Mini for AUTOMATIC1111; default: by the output's name and the input",
    )
    command.add_argument(
        "--prune", action="store_true", help="leave out what is not U-Net, VAE or text encoder (averages …)"
    )

    command = commands.add_parser(
        "lora", parents=[common, names], help="convert a LoRA between kohya's, diffusers' and PEFT's formats"
    )
    command.add_argument("input", type=Path, help="a LoRA's file, or a folder of PEFT's")
    command.add_argument("output", type=Path, help="NAME.safetensors, or a folder for PEFT")
    command.add_argument(
        "--base", type=Path, metavar="MODEL", help="the model it is for; checks that it fits"
    )
    command.add_argument("--strength", type=float, default=1.0, metavar="X", help="how strong, beside itself")
    command.add_argument("--rank", type=int, metavar="N", help="cut it to this rank (SVD)")
    command.add_argument("--skip-unknown", action="store_true", help="leave out and list what has no place")

    command = commands.add_parser(
        "lora-extract", parents=[common, names], help="make a LoRA of the difference of two models"
    )
    command.add_argument("base", type=Path, help="the model before")
    command.add_argument("tuned", type=Path, help="the model after")
    command.add_argument("output", type=Path)
    command.add_argument("--rank", type=int, metavar="N", help="at most this rank (default 16)")
    command.add_argument("--energy", type=float, metavar="X", help="the rank that keeps this share (0 to 1)")
    command.add_argument("--no-text", action="store_true", help="the U-Net only")

    command = commands.add_parser(
        "lora-merge", parents=[common, names], help="add LoRAs to one, or merge them into a model"
    )
    command.add_argument("loras", nargs="+", metavar="LORA[:STRENGTH]")
    command.add_argument("-o", "--out", type=Path, required=True, help="the file or folder to write")
    command.add_argument("--into", type=Path, metavar="MODEL", help="merge them into this model")
    command.add_argument("--rank", type=int, metavar="N", help="cut the sum to this rank (SVD)")


def run(options: argparse.Namespace) -> int:
    """Run one of COMMANDS; bad input raises SonopaintError."""
    commands = {"checkpoint": _checkpoint, "lora": _lora, "lora-extract": _extract, "lora-merge": _merge}
    try:
        commands[options.command](options)
    except OSError as error:
        where = error.filename or "the disk"
        raise SonopaintError(f"{where}: {error.strerror or error}; check the folder and the disk.") from error
    except MemoryError as error:
        raise SonopaintError("There is not enough memory for this; close other programs.") from error
    return 0


def _checkpoint(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from sonoconvert.checkpoints.files import listed, write_tensors
    from sonoconvert.checkpoints.layouts import EXTRA, open_model, read_weights, save_model
    from sonoconvert.checkpoints.metadata import completed, parse_entries

    source, target = options.input, options.output
    entries, dtype = parse_entries(options.set), _dtype(options)
    if not options.force:
        _refuse(target)
    to_file = target.suffix == ".safetensors"
    progress = _Progress()
    if options.to is None and to_file and source.is_file() and not options.prune:
        tensors, header, left_out = read_weights(source)
        if dtype is not None:
            tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
        header = {key: value for key, value in header.items() if dtype is None or "hash" not in key}
        write_tensors(
            target,
            tensors,
            {"format": "pt", **header, **entries},
            allow_nan=options.allow_nan,
            force=options.force,
            progress=progress,
        )
        progress.close()
        _say(target, f"{len(tensors)} tensors, under the names they had")
    else:
        model = open_model(source)
        left_out = model.left_out
        folder = "mini" if model.is_mini and source.is_file() else "diffusers"
        to = options.to or ("single" if to_file else folder)
        header = model.headers["unet"] | entries
        if entries:
            architecture = "sonopaint-mini" if model.is_mini else "stable-diffusion-v1"
            header = completed(header, architecture=architecture, title=target.stem)
        model = replace(model, headers=model.headers | {"unet": header})
        save_model(
            model,
            target,
            to=to,
            prune=options.prune,
            dtype=dtype,
            allow_nan=options.allow_nan,
            force=options.force,
            progress=progress,
        )
        progress.close()
        made = {
            "single": "one file",
            "diffusers": "a diffusers folder",
            "mini": "Mini's folder",
            "webui": f"with {target.stem}.yaml and the folder {target.stem}; keep the three where they are",
        }
        _say(target, made[to])
        if model.extra:
            names = f"{len(model.extra)} other tensors ({listed(model.extra, 3)})"
            kept = f"kept in {EXTRA}" if to == "diffusers" else "kept"
            print(f"  {names}: {'left out' if options.prune else kept}")
        if to == "diffusers" and not model.tokenizer:
            print("  no tokenizer: diffusers needs CLIP's in the folder tokenizer/ (Sonopaint has its own)")
    if left_out:
        print(f"  not weights, left out: {listed(left_out)}")


def _lora(options: argparse.Namespace) -> None:
    from sonoconvert.checkpoints.lora_math import cut, merge

    modules, metadata, config = _load(options.input, options.base, skip_unknown=options.skip_unknown)
    if options.strength != 1:
        modules = merge([(modules, options.strength)])
    if options.rank is not None:
        modules = {n: cut(m, options.rank) if m.rank > options.rank else m for n, m in modules.items()}
    _save(options, options.output, modules, metadata, config)


def _extract(options: argparse.Namespace) -> None:
    from sonoconvert.checkpoints.files import listed
    from sonoconvert.checkpoints.layouts import open_model
    from sonoconvert.checkpoints.lora_math import extract
    from sonoconvert.checkpoints.metadata import completed

    if not options.force:
        _refuse(options.output)
    options.dtype = options.dtype or "fp16"
    base, tuned = open_model(options.base), open_model(options.tuned)
    progress = _Progress()
    result = extract(
        base, tuned, rank=options.rank, energy=options.energy, text=not options.no_text, progress=progress
    )
    progress.close()
    architecture = "sonopaint-mini/lora" if base.is_mini else "stable-diffusion-v1/lora"
    metadata = completed(
        {"sonopaint.made_from": f"{options.tuned.name} - {options.base.name}"},
        architecture=architecture,
        title=options.output.stem,
    )
    for model in (tuned, base):
        if form := model.headers["unet"].get("sonopaint.format"):
            metadata.setdefault("sonopaint.format", form)
    _save(options, options.output, result.modules, metadata, base.config["unet"])
    print(f"  keeps {result.kept:.2%} of the squared difference")
    if result.left_out:
        print(f"  changed, but no LoRA can hold them: {listed(result.left_out)}")


def _merge(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from sonoconvert.checkpoints.layouts import open_model, save_model
    from sonoconvert.checkpoints.lora_math import merge, merge_into
    from sonoconvert.checkpoints.metadata import completed, parse_entries

    named = [_with_strength(text) for text in options.loras]
    merged_from = ", ".join(f"{path.stem}:{strength:g}" for path, strength in named)
    if not options.force:
        _refuse(options.out)
    if options.into is not None:
        model = open_model(options.into)
        loras = [(_load(path, None, model_config=model.config["unet"])[0], s) for path, s in named]
        if options.rank is not None:
            raise SonopaintError("--rank is for LoRAs; leave it out together with --into.")
        header = model.headers["unet"] | {"modelspec.merged_from": merged_from} | parse_entries(options.set)
        model = replace(merge_into(model, loras), headers=model.headers | {"unet": header})
        to_file = options.out.suffix == ".safetensors"
        to = "single" if to_file else "mini" if model.layout == "mini" else "diffusers"
        progress = _Progress()
        save_model(
            model,
            options.out,
            to=to,
            dtype=_dtype(options),
            allow_nan=options.allow_nan,
            force=options.force,
            progress=progress,
        )
        progress.close()
        _say(options.out, f"{options.into.name} with {merged_from}")
        return
    loaded = [_load(path, None) for path, _ in named]
    modules = merge(
        [(modules, strength) for (modules, _, _), (_, strength) in zip(loaded, named, strict=True)],
        rank=options.rank,
    )
    metadata = completed(
        {"modelspec.merged_from": merged_from},
        architecture="stable-diffusion-v1/lora",
        title=options.out.stem,
    )
    for _, header, _ in loaded:  # what all of them say alike stays true
        for key in ("sonopaint.format", "sonopaint.unet", "modelspec.architecture", "ss_base_model_version"):
            if all(other.get(key) == header.get(key) for _, other, _ in loaded) and key in header:
                metadata[key] = header[key]
    _save(options, options.out, modules, metadata, loaded[0][2])


def _load(
    path: Path, base: Path | None, *, model_config: Any = None, skip_unknown: bool = False
) -> tuple[dict[str, LoraModule], dict[str, str], Any]:
    """(modules, header, the U-Net's configuration where the model is known)."""
    from sonoconvert.checkpoints.files import listed
    from sonoconvert.checkpoints.layouts import open_model
    from sonoconvert.checkpoints.lora import load_lora, read_lora
    from sonoconvert.checkpoints.lora_math import merge_into

    model = open_model(base) if base is not None else None
    config = model.config["unet"] if model is not None else model_config
    if skip_unknown:
        file = read_lora(path, config)
        modules, metadata = file.modules, file.metadata
        for name, reason in file.unknown.items():
            print(plain(f"  left out: {name} ({reason})"), file=sys.stderr)
        if not modules:
            raise SonopaintError(f"{path.name} has nothing that can be used: {listed(file.unknown)}.")
    else:
        modules, metadata = load_lora(path, config)
    if model is not None:
        merge_into(model, [(modules, 1.0)])  # refuses another model's LoRA
    return modules, metadata, config


def _save(
    options: argparse.Namespace, path: Path, modules: Any, metadata: dict[str, str], config: Any
) -> None:
    from sonoconvert.checkpoints.lora import save_lora
    from sonoconvert.checkpoints.metadata import parse_entries

    save_lora(
        path,
        modules,
        to=options.to,
        names=options.names,
        unet_config=config,
        metadata=metadata | parse_entries(options.set),
        dtype=_dtype(options),
        allow_nan=options.allow_nan,
        force=options.force,
    )
    ranks = sorted({module.rank for module in modules.values()})
    shown = str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"
    _say(path, f"a LoRA in {options.to} format, {len(modules)} modules, rank {shown}")


def _with_strength(text: str) -> tuple[Path, float]:
    name, colon, strength = text.rpartition(":")
    try:
        return (Path(name), float(strength)) if colon else (Path(text), 1.0)
    except ValueError:
        return Path(text), 1.0  # a colon in the path itself


def _dtype(options: argparse.Namespace) -> Any:
    import torch

    return getattr(torch, _DTYPES[options.dtype]) if options.dtype else None


def _refuse(target: Path) -> None:
    """Before hours of work: what exists is not replaced."""
    if target.is_dir() and target.suffix != ".safetensors":
        raise SonopaintError(f"{target} already exists; use --force to replace it.")
    refuse_existing(target)


def _say(path: Path, what: str) -> None:
    print(f"{path}: {what}")


class _Progress:
    """Per cent on stderr; silent when nobody watches."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty()

    def __call__(self, share: float) -> None:
        if self.shown:
            print(f"\r\033[K{share:.0%}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr)
