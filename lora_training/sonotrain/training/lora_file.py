"""The file that LoRA trainers leave: kohya's format with its header, and the card beside it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonoconvert.files.atomic import write_text
from sonotrain.files.json_files import read_json

if TYPE_CHECKING:
    from sonoconvert.checkpoints.nouns import LoraModule
    from sonoconvert.pictures.format import SpectrogramFormat


def common_header(
    form: SpectrogramFormat,
    base: Mapping[str, str],
    options: Any,
    *,
    title: str,
    started: float,
    steps: int,
    clips: int,
    trigger: str,
    usage: str,
    captions: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    """What every LoRA's header says (kohya's `ss_*`, ModelSpec 1.0.1, the format); see `as_texts`.

    `options`: any trainer's, of which seed, learning_rate, author and licence are told. `captions`: how often
    each was shown, by folder, for the WebUIs' tag lists.
    """
    mini = base["kind"] == "mini"
    return {
        "ss_output_name": title,
        "ss_training_started_at": started,
        "ss_training_finished_at": time.time(),
        "ss_base_model_version": "sonopaint_mini" if mini else "sd_v1",
        "ss_sd_model_name": base["name"],
        "ss_sd_model_hash": base["sha256"][:10],
        "ss_new_sd_model_hash": base["sha256"],
        "ss_network_module": "networks.lora",
        "ss_learning_rate": options.learning_rate,
        "ss_steps": steps,
        "ss_num_train_images": clips,
        "ss_seed": options.seed,
        "ss_resolution": f"({form.width}, {form.n_mels})",
        "ss_tag_frequency": captions,
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "sonopaint-mini/lora" if mini else "stable-diffusion-v1/lora",
        "modelspec.implementation": "https://github.com/kohya-ss/sd-scripts",
        "modelspec.title": title,
        "modelspec.resolution": f"{form.width}x{form.n_mels}",
        "modelspec.date": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()),
        "modelspec.author": options.author,
        "modelspec.license": options.licence,
        "modelspec.trigger_phrase": trigger,
        "modelspec.usage_hint": usage,
        "sonopaint.format": form.to_dict(),
    }


def as_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """A header as safetensors wants it: strings, JSON for what holds more than one; what is "" stays away."""
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping) else str(value)
        for name, value in values.items()
        if value != ""
    }


def write_lora(
    modules: Mapping[str, LoraModule], unet_config: Mapping[str, Any], texts: dict[str, str], path: Path
) -> None:
    """A LoRA in kohya's format, fp16, with `.alpha`."""
    from sonoconvert.checkpoints.lora import save_lora

    config = dict(unet_config)
    # AUTOMATIC1111's conversion of diffusers' names assumes two ResNet blocks per level, as SD 1.5 has
    names = "diffusers" if config["layers_per_block"] == 2 else "ldm"
    save_lora(path, dict(modules), to="kohya", names=names, unet_config=config, metadata=texts, force=True)


def write_card(
    run: Path, name: str, about: Sequence[str], rows: Mapping[str, str], licence: str, more: Sequence[str]
) -> None:
    """README.md of a run: paragraphs, a table (with machine and licence), and more paragraphs."""
    made = read_json(run / "environment.json")
    rows = {
        **rows,
        "made on": f"{made['gpu'] or made['processor']}, PyTorch {made['torch']}",
        "licence": licence or "not stated; the sounds it learnt from have their own",
    }
    table = ["| | |", "|---|---|", *(f"| {what} | {told} |" for what, told in rows.items())]
    last = "All options are in `config.json`, and in the file's header (`sonoconvert info FILE`)."
    parts = [f"# {name}", *about, "\n".join(table), *more, last]
    write_text(run / "README.md", "\n\n".join(parts) + "\n", force=True)
