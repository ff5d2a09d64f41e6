"""What a one-step training leaves: a whole model and a LoRA, both marked in their headers."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sonotrain.training.lora_file import write_lora

logger = logging.getLogger(__name__)


def one_step_header(timestep: int, facts: Mapping[str, object]) -> dict[str, str]:
    """The mark by which samplers know a student, and how it was trained."""
    from sonopaint.models.one_step import ONE_STEP_KEY

    return {
        ONE_STEP_KEY: json.dumps({"timestep": timestep}),
        "sonopaint.training": json.dumps(facts, ensure_ascii=False),
    }


def save_model(base: Path, weights: Mapping[str, Tensor], out: Path, header: Mapping[str, str]) -> None:
    """The base model with the student's U-Net: a Mini folder, or a single file for SD 1.5 (fp16).

    `weights`: the U-Net's, under diffusers' names.
    """
    from sonoconvert.checkpoints import layouts
    from sonoconvert.checkpoints.files import stored

    model = layouts.open_model(base)
    unet = {name: stored(tensor.detach().half().cpu()) for name, tensor in weights.items()}
    headers = {**model.headers, "unet": {**model.headers["unet"], **header}}
    model = replace(model, parts={**model.parts, "unet": unet}, headers=headers)
    layouts.save_model(model, out, to="mini" if model.is_mini else "single", dtype=torch.float16, force=True)


def save_lora(
    base: Path,
    weights: Mapping[str, Tensor],
    out: Path,
    header: Mapping[str, str],
    *,
    rank: int,
) -> float:
    """The difference from the base to the student as a kohya LoRA; the share of it that the rank keeps.

    By singular values, the best LoRA of its rank (Eckart & Young 1936). Norms and biases can't be in it.
    """
    from sonoconvert.checkpoints import layouts
    from sonoconvert.checkpoints.files import stored
    from sonoconvert.checkpoints.lora_math import extract
    from sonoconvert.checkpoints.metadata import completed

    model = layouts.open_model(base)
    unet = {name: stored(tensor.detach().float().cpu()) for name, tensor in weights.items()}
    found = extract(model, replace(model, parts={**model.parts, "unet": unet}), rank=rank, text=False)
    if found.left_out:
        logger.warning("%d changed norms and biases can't be in a LoRA.", len(found.left_out))
    config = model.config["unet"]
    texts = dict(header)
    if form := model.headers["unet"].get("sonopaint.format"):
        texts.setdefault("sonopaint.format", form)
    architecture = "sonopaint-mini/lora" if model.is_mini else "stable-diffusion-v1/lora"
    texts = completed(texts, architecture=architecture, title=out.stem)
    write_lora(found.modules, config, texts, out)
    return found.kept
