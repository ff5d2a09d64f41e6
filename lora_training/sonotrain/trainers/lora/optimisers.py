"""Optimisers and learning-rate schedules of LoRA training."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import torch

from sonoconvert.errors import SonopaintError, setting
from sonotrain.trainers.lora.options import LoraOptions
from sonotrain.training.loop import warmed_up

PACKAGES = {"adamw8bit": ("bitsandbytes", "optim.AdamW8bit"), "prodigy": ("prodigyopt", "Prodigy")}
FLOOR = 0.02  # share of the peak learning rate at which falling schedules end


def make_optimiser(options: LoraOptions, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """AdamW with the options' numbers, 8-bit AdamW or Prodigy. SonopaintError where that isn't installed."""
    adam = {
        "betas": (options.beta1, options.beta2),
        "eps": options.epsilon,
        "weight_decay": options.weight_decay,
    }
    kind = optimiser_class(options.optimiser)
    if options.optimiser == "prodigy":
        return kind(groups, lr=1.0, use_bias_correction=True, safeguard_warmup=True, **adam)
    return kind(groups, **adam)


def optimiser_class(name: str) -> Any:
    """The optimiser's class. SonopaintError where its package can't be loaded."""
    if name == "adamw":
        return torch.optim.AdamW
    package, place = PACKAGES[name]
    try:
        found: Any = importlib.import_module(package)
        for part in place.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        raise SonopaintError(
            f"{setting('optimiser')} {name} needs the package {package}, which can't be loaded here; "
            f"pip install {package}, or use adamw."
        ) from error
    return found


def make_schedule(options: LoraOptions, total: int, version: int) -> Callable[[float, int], float]:
    """`(used share of the run, step) -> share of the peak learning rate`; version: of loop.warmed_up."""
    warmup = warmup_steps(options, total)
    return lambda used, step: warmed_up(lambda part: shape(options, part), used, step, warmup, version)


def warmup_steps(options: LoraOptions, total: int) -> int:
    """Steps of warm-up: as given, or a share of all steps when it is below 1."""
    return round(options.warmup * total) if options.warmup < 1 else int(options.warmup)


def shape(options: LoraOptions, fraction: float) -> float:
    """The schedule without its warm-up, at `fraction` of the run."""
    if options.schedule == "constant":
        return 1.0
    if options.schedule == "cosine-restarts" and fraction < 1.0:
        fraction = fraction * options.restarts % 1.0
    left = 1.0 - fraction
    if options.schedule == "polynomial":
        left = left * left
    elif options.schedule != "linear":
        left = 0.5 * (1.0 + math.cos(math.pi * fraction))
    return FLOOR + (1.0 - FLOOR) * left
