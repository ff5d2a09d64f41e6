"""One clip per caption from a model, as files: what `sonopaint generate` would make of each caption."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import write_text
from sonoconvert.files.clip import write_clip
from sonoconvert.files.hashes import sha256_of
from sonotrain.data.dataset import METADATA
from sonotrain.evaluation.hearing import TELL_S, Progress
from sonotrain.evaluation.sets import Caption
from sonotrain.evaluation.tables import write_json
from sonotrain.files.json_files import read_json
from sonotrain.files.options import option
from sonotrain.files.pace import Pace

logger = logging.getLogger(__name__)

ABOUT = "generation.json"


@dataclass(frozen=True)
class Plan:
    """What paints: a model's name or path, LoRAs as "path:weight", and settings (0, "": the model's own)."""

    model: str = "mini"
    loras: tuple[str, ...] = ()
    seed: int = option(0, "of captions, noise and bootstraps")
    steps: int = option(0, "sampling steps (default: the model's)")
    guidance_scale: float = option(0.0, "guidance scale (default: the model's)", name="--guidance")
    sampler: str = option("", "sampler (default: the model's)")
    negative_prompt: str = option("", "negative prompt", name="--negative")
    seconds: float = 0.0
    prefix: str = option("", 'put before each caption, such as "a spectrogram of "')
    format: str = option("", "spectrogram format (default: that of the LoRAs' headers, else the model's)")


def choose(captions: Sequence[Caption], seed: int) -> list[str]:
    """One of each clip's captions at random; the choice hangs on the seed and the clip's key alone."""
    return [random.Random(f"{seed}:{caption.key}").choice(caption.texts) for caption in captions]


def generate_all(
    captions: Sequence[Caption],
    folder: str | Path,
    plan: Plan,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> Path:
    """Paints one clip per caption into `folder`/KEY.flac, with seeds plan.seed, +1 …. Returns `folder`.

    Clips that are there already stay, so that a stopped run goes on; the same plan and captions are needed.
    Raises SonopaintError where the folder holds clips of another plan, and for what the engine refuses.
    """
    folder = Path(folder)
    texts = [plan.prefix + text for text in choose(captions, plan.seed)]
    names = _names(captions)
    _check_plan(folder, plan, list(zip(names, texts, strict=True)))
    lines = [
        {"file_name": f"{name}.flac", "key": caption.key, "text": text, "label": caption.label}
        for name, caption, text in zip(names, captions, texts, strict=True)
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_text(folder / METADATA, text, force=True)
    missing = [index for index, name in enumerate(names) if not (folder / f"{name}.flac").is_file()]
    if missing:
        _paint(missing, names, texts, folder, plan, device, progress)
    return folder


def _paint(
    missing: Sequence[int],
    names: Sequence[str],
    texts: Sequence[str],
    folder: Path,
    plan: Plan,
    device: str,
    progress: Progress | None,
) -> None:
    from sonopaint.models.loading import load_model
    from sonopaint.tasks import PaintSettings
    from sonopaint.tasks.generation import generate
    from sonotrain.training.compute import choose_device

    logger.info("%d of %d clips are there", len(names) - len(missing), len(names))
    loras = [_lora(text) for text in plan.loras]
    model = load_model(plan.model, device=choose_device(device), loras=loras, format=plan.format or None)
    pace = Pace(TELL_S)
    for done, index in enumerate(missing, 1):
        settings = PaintSettings(
            prompt=texts[index],
            negative_prompt=plan.negative_prompt,
            steps=plan.steps or None,
            guidance_scale=plan.guidance_scale or None,
            sampler=plan.sampler or None,
            seed=plan.seed + index,
        )
        result = generate(model, settings, seconds=plan.seconds or None)[0]
        write_clip(result.clip, folder / f"{names[index]}.flac", force=True)
        if progress:
            progress(done, len(missing), "painting")
        if pace.due() or done == len(missing):
            left = pace.left(done, len(missing) - done)
            logger.info("painted %d of %d clips, %s left", done, len(missing), left)


def _lora(text: str) -> tuple[str, float]:
    """("file.safetensors", 0.8) from "file.safetensors:0.8"; the weight is 1 where none is given."""
    path, colon, weight = text.rpartition(":")
    if colon and path:
        try:
            return path, float(weight)
        except ValueError:
            pass  # a colon of the path, as in C:\loras\bark.safetensors
    return text, 1.0


def _names(captions: Sequence[Caption]) -> list[str]:
    """File names from keys, flat and unique."""
    names: list[str] = []
    taken: set[str] = set()
    for index, caption in enumerate(captions):
        clean = "".join(c if c.isalnum() or c in "-_." else "_" for c in caption.key).strip(".")[:80]
        name = clean or f"{index:05d}"
        if name.lower() in taken:
            name = f"{name}-{index:05d}"
        taken.add(name.lower())
        names.append(name)
    return names


def _hashes(plan: Plan) -> dict[str, str]:
    """SHA-256 of the model's (U-Net's) and the LoRAs' files: a path may hold another model tomorrow."""
    from sonopaint.models.info import find_model, unet_file
    from sonopaint.models.lora import find_lora

    model = find_model(plan.model)
    files = [unet_file(model)]
    files += [find_lora(_lora(text)[0]) for text in plan.loras]
    if missing := [file for file in files if not file.is_file()]:
        raise SonopaintError(
            f"There is no file {missing[0]}; check {setting('model')} and {setting('lora')}."
        )
    return {file.name: sha256_of(file) for file in files}


def _check_plan(folder: Path, plan: Plan, prompts: list[tuple[str, str]]) -> None:
    """A folder belongs to one plan and its captions, so that clips are never mixed from two."""
    plans = asdict(plan) | {"files": _hashes(plan)}
    about: dict[str, Any] = json.loads(json.dumps({"plan": plans, "prompts": prompts}))
    path = folder / ABOUT
    if not path.is_file():
        if folder.is_dir() and any(folder.glob("*.flac")):
            raise SonopaintError(f"{folder} holds other sounds; choose another {setting('out')}.")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, about)
        return
    before = read_json(path)
    found = {"format": ""} | before.get("plan", {})  # older folders say no format
    changed = [name for name, value in about["plan"].items() if found.get(name) != value]
    if before.get("prompts") != about["prompts"]:
        changed.append("captions")
    if changed:
        raise SonopaintError(
            f"{folder} holds clips that were painted with other {', '.join(changed)}; choose another "
            f"{setting('out')}, "
            "or delete the folder."
        )
