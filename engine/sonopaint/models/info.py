"""What a weights file or folder is, read from its header alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from sonoconvert.checkpoints import ldm
from sonoconvert.checkpoints.files import PICKLES, read_header
from sonoconvert.checkpoints.layouts import CONFIG_KEY
from sonoconvert.defaults import UNSAID_FORMAT
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.pictures.format import SpectrogramFormat, get_format
from sonopaint.models.folders import shipped_folder, user_folder
from sonopaint.models.wave_families import BY_PIPELINE, WaveFamily

logger = logging.getLogger(__name__)
LATENT = 8  # pixels of one latent cell
Kind = Literal["mini", "checkpoint", "diffusers", "lora", "waveform"]
# A word in a file's name → its format; the first that fits.
_HINTS = {
    "riffusion-v1-stereo": "riffusion-v1-stereo",
    "perkins-10s-db": "perkins-10s-db",
    "perkins": "perkins-10s",
    "sonopaint-mini": "sonopaint-mini",
    "riffusion": "riffusion-v1",
}


@dataclass(frozen=True)
class ModelInfo:
    """One model or LoRA: `name` is what load_model and `--model` take."""

    name: str
    path: Path
    kind: Kind
    format: SpectrogramFormat | None  # None: a LoRA that does not say, or a model of waveforms
    size: int  # bytes
    metadata: dict[str, str]  # of the (U-Net's) safetensors header
    shipped: bool = False


def list_models() -> list[ModelInfo]:
    """Shipped models, then the user's models and LoRAs, by name; unreadable ones are logged and left out."""
    found = []
    for folder, shipped in ((shipped_folder(), True), (user_folder(), False)):
        if not folder.is_dir():
            continue
        for path in sorted(folder.rglob("*"), key=lambda p: p.as_posix().lower()):
            if not _is_model(path):
                continue
            try:
                found.append(describe(path, shipped=shipped))
            except SonopaintError as error:
                # Shipped weights hold more than models, for instance a classifier: nobody need hear of it.
                logger.log(logging.DEBUG if shipped else logging.WARNING, "Not listed: %s", error)
    return found


def find_model(name_or_path: str | Path) -> Path:
    """The path of a model given by a name in list_models (its file's name or stem) or by a path.

    Names go first: a folder "mini" that happens to lie in the working directory is "./mini".
    """
    path = Path(name_or_path).expanduser()
    models = list_models() if len(path.parts) == 1 else []  # no name has a folder in it
    for model in models:
        if name_or_path in (model.name, model.path.name):  # never true of a Path
            return model.path
    if path.exists():
        return path
    if path.suffix.lower() in PICKLES | {".safetensors"} or len(path.parts) > 1:
        raise SonopaintError(f"There is no model {name_or_path}; check the path.")
    known = ", ".join(model.name for model in models if model.kind != "lora") or "none"
    raise SonopaintError(f"There is no model {str(name_or_path)!r}; give a path or one of: {known}.")


def describe(path: str | Path, *, shipped: bool = False) -> ModelInfo:
    """What a file or folder holds. Raises SonopaintError where it is no model that Sonopaint can use."""
    path = Path(path)
    if family := wave_family(path):
        size = sum(file.stat().st_size for file in path.rglob("*.safetensors"))
        return ModelInfo(path.name, path, "waveform", None, size, {"family": family.name}, shipped)
    if path.is_dir():
        kind: Kind = "diffusers" if (path / "model_index.json").is_file() else "mini"
        metadata = _header(unet_file(path))[1]
        size = sum(file.stat().st_size for file in path.rglob("*.safetensors"))
    else:
        is_lora, metadata = _header(path, whole=True)
        kind, size = "lora" if is_lora else "checkpoint", path.stat().st_size
    stem = path.name.removesuffix(".safetensors")
    form = None if kind == "lora" and "sonopaint.format" not in metadata else model_format(path, metadata)
    return ModelInfo(stem, path, kind, form, size, metadata, shipped)


def _header(path: Path, whole: bool = False) -> tuple[bool, dict[str, str]]:
    """Whether a file is a LoRA, and its metadata; a `whole` model must be Stable Diffusion 1.

    Pages and nodes ask for all models again and again: a file that has not changed is not read again.
    """
    try:
        stat = path.stat()
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    except OSError:
        stamp = None  # reading it says what is wrong
    is_lora, metadata = _read_header(path, whole, stamp)
    return is_lora, dict(metadata)


@lru_cache(maxsize=1024)
def _read_header(path: Path, whole: bool, stamp: tuple[int, ...] | None) -> tuple[bool, dict[str, str]]:
    shapes, metadata = read_header(path)
    is_lora = ldm.is_lora(shapes)
    if whole and not is_lora:
        check_stable_diffusion_1(path.name, shapes)
    return is_lora, metadata


def wave_family(path: Path) -> WaveFamily | None:
    """The family of a folder that holds a model which paints waveforms; None for everything else."""
    try:
        named = json.loads((path / "model_index.json").read_text(encoding="utf-8"))["_class_name"]
        return BY_PIPELINE.get(named)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def model_format(
    path: Path, metadata: Mapping[str, str], given: str | SpectrogramFormat | None = None
) -> SpectrogramFormat:
    """The spectrogram format of a model: `given`, else its header's, else by its name, else riffusion-v1."""
    if given:
        return get_format(given)
    if "sonopaint.format" in metadata:
        try:
            value = json.loads(metadata["sonopaint.format"])
            if value == "perkins-10s":
                logger.warning(
                    "%s says only the name of its format, perkins-10s, and is read as that of Perkins' "
                    "LoRAs (loud is dark). If it paints loud in white, name the format perkins-10s-db.",
                    path.name,
                )
            return get_format(value)
        except (ValueError, TypeError) as error:
            raise SonopaintError(
                f"{path.name} has an unreadable sonopaint.format in its header ({error}); name the format."
            ) from error
    return get_format(_named_format(path) or UNSAID_FORMAT)


def is_for_sound(path: Path, metadata: Mapping[str, str]) -> bool:
    """Whether a model's header or its name says that it paints spectrograms."""
    return "sonopaint.format" in metadata or _named_format(path) is not None


def _named_format(path: Path) -> str | None:
    name = path.name.lower().replace("_", "-")
    return next((form for hint, form in _HINTS.items() if hint in name), None)


def format_of_loras(headers: Iterable[tuple[str, Mapping[str, str]]]) -> SpectrogramFormat | None:
    """The format that LoRAs were learnt in, which a model with them paints; None where no header says it.

    headers: file name and safetensors metadata of each that is used.

    Raises:
        SonopaintError: two say different formats.
    """
    told = [
        (name, model_format(Path(name), header)) for name, header in headers if "sonopaint.format" in header
    ]
    for name, form in told[1:]:
        first, same = told[0]
        if replace(form, name=same.name) != same:
            raise SonopaintError(
                f"The LoRA {first} paints the format {same.name}, but {name} paints {form.name}; "
                f"use LoRAs of one format, or say with {setting('format')} which to paint."
            )
    return told[0][1] if told else None


def event_lead(path: Path, fmt: SpectrogramFormat) -> int | None:
    """Columns of ``lead_of`` for a model's file or folder, from its config; None where it says nothing."""
    try:
        if path.is_dir():
            text = (path / "config.json").read_text(encoding="utf-8")
        else:
            text = read_header(path)[1][CONFIG_KEY]
        return lead_of(json.loads(text)["defaults"], fmt)
    except (SonopaintError, OSError, ValueError, KeyError, TypeError):
        return None


def lead_of(defaults: Mapping[str, Any], fmt: SpectrogramFormat) -> int | None:
    """Columns before what is painted at which a model's picture begins; None: it lies in its middle.

    Of a model whose training pictures begin with the event (``event_lead_s``); whole cells of latents.
    """
    seconds = defaults.get("event_lead_s")
    return None if seconds is None else round(fmt.columns(float(seconds)) / LATENT) * LATENT


def check_stable_diffusion_1(name: str, shapes: ldm.Shapes) -> None:
    """Raise a SonopaintError, saying what it is instead, unless the tensors are a whole SD 1 checkpoint."""
    what = ldm.why_not_stable_diffusion_1(shapes)
    if what:
        raise SonopaintError(f"{name} {what}; Sonopaint needs a complete Stable Diffusion 1.5 checkpoint.")


def unet_file(path: Path) -> Path:
    """The file with a model's U-Net: the model itself, or that in a Mini or diffusers folder."""
    if path.is_file():
        return path
    if (path / "model_index.json").is_file():
        return part_file(path / "unet", "diffusion_pytorch_model")
    if not (path / "config.json").is_file():
        raise SonopaintError(f"The folder {path} holds no model (neither model_index.json nor config.json).")
    return path / "unet.safetensors"


def part_file(folder: Path, stem: str) -> Path:
    """The safetensors of one part of a diffusers folder (full precision before .fp16)."""
    for name in (f"{stem}.safetensors", f"{stem}.fp16.safetensors"):
        if (folder / name).is_file():
            return folder / name
    if any(folder.glob("*.bin")):
        raise SonopaintError(
            f"{folder} holds its weights as a pickle (.bin), which can run code when opened; "
            "convert it to .safetensors first."
        )
    raise SonopaintError(f"{folder} holds no {stem}.safetensors; get the missing file.")


def _is_model(path: Path) -> bool:
    if path.is_dir():
        return (path / "model_index.json").is_file() or (path / "unet.safetensors").is_file()
    inside = any(
        (folder / n).is_file() for folder in path.parents[:2] for n in ("model_index.json", "config.json")
    )
    return path.suffix.lower() == ".safetensors" and not inside
