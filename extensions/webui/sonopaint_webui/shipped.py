"""Sonopaint Mini, its one-step student and the shipped subjects, put where the host looks for its models."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Mapping
from pathlib import Path

from sonoconvert.checkpoints.layouts import CONFIG_KEY, open_model, save_model
from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import atomic_path
from sonopaint.models.folders import shipped_folder
from sonopaint_webui import host

CHECKPOINT = "sonopaint-mini.safetensors"
BASE_KEY = "ss_base_model_version"  # in a LoRA's header
LORAS = "sonopaint"  # the folder among the host's LoRAs
DEMO = shipped_folder().parent / "docs/demo/forest.flac"


def add_mini() -> str:
    """Convert Mini for this host and put its LoRAs among the others; its title in the host's list.

    What was put there before is made again, as from an older version of Sonopaint. Raises SonopaintError
    where another file has Mini's name, and where the host can't load Mini.
    """
    from modules import sd_models

    if host.is_forge():
        raise SonopaintError("Forge can't load Sonopaint Mini: it knows Stable Diffusion's own sizes only.")
    target = Path(sd_models.model_path) / CHECKPOINT
    if target.exists() and CONFIG_KEY not in host.header_of(target):
        raise SonopaintError(f"There is another {CHECKPOINT} in {target.parent}: rename it first.")
    try:
        save_model(open_model(shipped_folder() / "mini"), target, to="webui", force=True)
        for path in loras():
            _place(path, host.lora_folder() / LORAS)
    except OSError as error:
        raise SonopaintError(f"Mini could not be written into {target.parent} ({error.strerror}).") from error
    sd_models.list_models()
    host.refresh_loras()
    return next(
        str(info.title)
        for info in sd_models.checkpoints_list.values()
        if Path(info.filename).resolve() == target.resolve()
    )


def loras() -> list[Path]:
    """The shipped student and the subjects."""
    folder = shipped_folder()
    return [
        *sorted(folder.glob("mini-one-step/*.safetensors")),
        *sorted(folder.glob("subjects/*.safetensors")),
    ]


def is_mini(checkpoint: Path | None) -> bool:
    """Whether a checkpoint is Mini as it was put here."""
    return checkpoint is not None and CONFIG_KEY in host.header_of(checkpoint)


def learnt_on_mini(header: Mapping[str, str]) -> bool:
    """Whether a LoRA's header says that it was learnt on Mini."""
    return header.get(BASE_KEY) == "sonopaint_mini"


def _place(path: Path, folder: Path) -> None:
    target = folder / path.name
    if target.is_file() and filecmp.cmp(path, target, shallow=False):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(target, force=True) as beside:
        shutil.copyfile(path, beside)
