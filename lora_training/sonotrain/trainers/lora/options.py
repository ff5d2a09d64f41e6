"""Every option of the LoRA trainer, presets by memory, and where a run's options come from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sonoconvert.errors import setting
from sonotrain.files.options import option, requirer, typed
from sonotrain.files.toml_files import read_toml
from sonotrain.training import common
from sonotrain.training.objective import OBJECTIVES, PREDICTIONS

logger = logging.getLogger(__name__)

SCHEDULES = ("cosine", "linear", "constant", "cosine-restarts", "polynomial")
OPTIMISERS = ("adamw", "adamw8bit", "prodigy")
TARGETS = ("attention", "cross-attention", "attention+feedforward", "all")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
PRESETS = ("auto", "cpu", "6gb", "8gb", "12gb", "16gb", "24gb")


@dataclass(frozen=True)
class LoraOptions:
    # what is learnt
    dataset: str = option("", "folder that `sonotrain dataset` made, or any folder of sounds")
    model: str = option("mini", "base model: a name, a .safetensors file or a diffusers folder")
    format: str = option("", "spectrogram format, where the base model's file does not say")
    trigger: str = option("", "word that calls the new sound (default: the dataset's)")
    name: str = option("", "name of the LoRA's file (default: the run folder's)", free=True)
    author: str = option("", "who made it, for the file's header", free=True)
    licence: str = option("", "its licence, for the file's header", free=True)
    preset: str = option("auto", "sizes that fit the memory (auto: by the graphics card)", PRESETS)
    # the network
    rank: int = option(8, "rank of the LoRA (Mini: 16)", suited=True)
    alpha: float = option(0.0, "scale of the LoRA is alpha ÷ rank (0: alpha = rank)")
    targets: str = option("attention", f"layers that are adapted: {', '.join(TARGETS)}", TARGETS)
    conv_rank: int = option(0, "rank in convolutions, where all layers are adapted (0: the same rank)")
    dora: bool = option(False, "learn directions and lengths apart (DoRA); slower")
    lora_dropout: float = option(0.0, "share of the LoRA's inputs that are dropped")
    text_encoder: bool = option(False, "adapt the text encoder, too")
    # optimisation
    steps: int = option(0, "optimiser steps (0: by the epochs)")
    epochs: int = option(0, "times that every clip is seen, where no steps are given")
    batch: int = option(0, "clips at once in each process (0: by the preset)")
    accumulation: int = option(0, "batches added up for one step (0: by the preset)")
    optimiser: str = option("adamw", f"{', '.join(OPTIMISERS)}; the last two where installed", OPTIMISERS)
    learning_rate: float = option(0.0, "peak learning rate (0: 1e-4 for SD 1.5, 2e-3 for Mini)")
    text_learning_rate: float = option(0.0, "peak learning rate of the text encoder (0: half of that)")
    beta1: float = option(0.9, "Adam's first decay")
    beta2: float = option(0.999, "Adam's second decay")
    epsilon: float = option(1e-8, "Adam's ε")
    weight_decay: float = option(0.01, "weight decay")
    schedule: str = option("cosine", f"of the learning rate: {', '.join(SCHEDULES)}", SCHEDULES)
    warmup: float = common.warmup_share()
    restarts: int = option(3, "cycles of cosine-restarts")
    clip_norm: float = option(1.0, "largest norm of the gradient (0: any)")
    ema: float = option(0.0, "decay of a moving average of the LoRA, which is then what is saved (0: none)")
    # the loss
    objective: str = option("diffusion", "diffusion, or flow: the velocity's loss", OBJECTIVES)
    prediction: str = option("auto", "what the base model predicts (auto: as it says)", PREDICTIONS)
    flow_mean: float = option(0.0, "flow: mean of the times' logit, lower is noisier")
    flow_spread: float = option(1.0, "flow: spread of the times' logit (0: all times alike)")
    snr_gamma: float = option(5.0, "γ of the Min-SNR weights (0: none)")
    noise_offset: float = option(
        0.0, "offset of the noise per channel (0.05 helps very quiet or loud sounds)"
    )
    caption_dropout: float = option(
        0.1, "share of clips shown without a caption, for guidance (Mini: 0)", suited=True
    )
    padding_weight: float = option(0.1, "weight of the silence that fills short clips up, 0 to 1")
    preserve: float = option(
        0.0, "weight of keeping other prompts as they were (0: off; Mini: 5)", suited=True
    )
    # sound-true augmentation, drawn anew for each cached variant
    variants: int = option(4, "versions of each clip: itself and augmented ones (1: itself only)")
    offset_s: float = option(0.25, "largest shift in time in seconds")
    gain_db: float = option(6.0, "largest change of level in dB")
    polarity: float = option(0.5, "share of variants with the polarity turned")
    resample_cents: float = option(30.0, "largest resampling in cents (changes pitch and tempo)")
    mix: float = option(0.0, "share of variants that get another clip quietly mixed in")
    mask_time_s: float = option(0.0, "longest stretch that is hidden, in seconds (SpecAugment)")
    mask_frequency: float = option(0.0, "widest band that is hidden, as a share of all (SpecAugment)")
    # speed and memory
    precision: str = option("auto", "fp32, bf16 or fp16 (auto: bf16 or fp16 on a GPU)", PRECISIONS)
    gradient_checkpointing: bool = option(False, "compute activations twice and keep fewer of them")
    compile: bool = option(False, "torch.compile the U-Net; the first steps take minutes")
    threads: int = common.threads()
    cache: str = option(
        "", "folder of cached latents and texts, which runs may share (default: the run's)", free=True
    )
    # seeing what happens, and losing nothing
    checkpoint_every: int = common.checkpoint_every()
    validate_every: int = option(50, "steps between validations (0: at the end)", free=True)
    preview_every: int = option(200, "steps between previews (0: none)", free=True)
    preview_prompts: tuple[str, ...] = option((), "what previews say (default: the trigger and two captions)")
    preview_images: int = option(
        4, "pictures of each prompt, each from noise of its own (Mini: 1)", suited=True
    )
    preview_steps: int = option(0, "sampling steps of previews (0: the model's)")
    save_every: int = option(0, "steps between saved LoRA files (0: at the end only)", free=True)
    log_every: int = common.log_every()
    tensorboard: bool = option(True, "write TensorBoard files, where it is installed", free=True)
    wandb: bool = option(False, "report to Weights & Biases, where it is installed", free=True)
    seed: int = common.seed()


# Batch × accumulation is 4 in all, the report's setting (Perkins 2023), so that learning rates carry over.
_SIZES: dict[str, dict[str, Any]] = {
    "cpu": {"batch": 4, "accumulation": 1},
    "6gb": {"batch": 1, "accumulation": 4, "gradient_checkpointing": True},
    "8gb": {"batch": 1, "accumulation": 4},
    "12gb": {"batch": 2, "accumulation": 2},
    "16gb": {"batch": 4, "accumulation": 1},
    "24gb": {"batch": 4, "accumulation": 1, "rank": 16},
}
# Mini was trained on 52 kinds of synthetic sound for two hours: it needs larger steps than SD 1.5.
# Captions are not dropped there: --preserve keeps what it paints without words.
MINI = {
    "learning_rate": 2e-3, "rank": 16, "preserve": 5.0, "caption_dropout": 0.0, "steps": 300,
    "preview_images": 1,
}  # fmt: skip
SD = {"learning_rate": 1e-4, "epochs": 75}


def resolve(given: Mapping[str, Any], *, mini: bool, device: torch.device) -> LoraOptions:
    """Options of a run: those given, over the preset, over what suits the base model, over the defaults."""
    chosen = LoraOptions(**given)
    preset = chosen.preset
    if preset == "auto":
        preset = preset_for(device)
    chosen_values = {
        name: value for name, value in given.items() if not (name == "learning_rate" and not value)
    }
    values = {**(MINI if mini else SD), **_SIZES[preset], **chosen_values, "preset": preset}
    if given.get("steps"):
        values["epochs"] = 0
    elif given.get("epochs"):
        values["steps"] = 0
    for name in ("batch", "accumulation"):
        values[name] = values[name] or _SIZES[preset][name]
    options = LoraOptions(**values)
    prodigy = options.optimiser == "prodigy"  # it finds the size of its steps itself
    rate = given.get("learning_rate") or (1.0 if prodigy else options.learning_rate)
    options = replace(
        options,
        learning_rate=rate,
        text_learning_rate=options.text_learning_rate or (rate if prodigy else rate / 2),
        alpha=options.alpha or float(options.rank),
        conv_rank=options.conv_rank or options.rank,
    )
    check(options)
    return options


def preset_for(device: torch.device) -> str:
    """The largest preset that fits the device's memory."""
    if device.type != "cuda":
        return "cpu"
    total = torch.cuda.get_device_properties(device).total_memory / 2**30
    fitting = [name for name in PRESETS[2:] if int(name.removesuffix("gb")) <= total + 0.5]
    return fitting[-1] if fitting else "6gb"


def check(options: LoraOptions) -> None:
    """SonopaintError with one sentence for the first value that can't be used."""
    require = requirer(options)
    require(1 <= options.rank <= 1024, "rank", "1 to 1024")
    require(1 <= options.preview_images <= 64, "preview_images", "1 to 64")
    require(1 <= options.conv_rank <= 1024, "conv_rank", "1 to 1024")
    for name in ("batch", "accumulation", "variants", "log_every", "checkpoint_every", "restarts"):
        require(getattr(options, name) >= 1, name, "at least 1")
    counts = ("steps", "epochs", "threads", "validate_every", "preview_every", "save_every", "preview_steps")
    for name in counts:
        require(getattr(options, name) >= 0, name, "0 or more")
    require(options.steps + options.epochs > 0, "steps", f"above 0, or {setting('epochs')} must be")
    require(-10 <= options.flow_mean <= 10, "flow_mean", "from -10 to 10")
    require(0 <= options.flow_spread <= 10, "flow_spread", "from 0 to 10")
    for name in ("learning_rate", "text_learning_rate", "epsilon", "alpha"):
        require(0 < getattr(options, name) < 1e6, name, "above 0")
    for name in ("beta1", "beta2", "ema", "lora_dropout"):
        require(0 <= getattr(options, name) < 1, name, "0 or more and below 1")
    for name in ("caption_dropout", "padding_weight"):
        require(0 <= getattr(options, name) <= 1, name, "between 0 and 1")
    unbounded = ("weight_decay", "warmup", "clip_norm", "snr_gamma", "noise_offset", "preserve")
    for name in unbounded:
        require(0 <= getattr(options, name) < 1e6, name, "0 or more")


def read_config(path: str | Path) -> dict[str, Any]:
    """The options in a TOML file (one level; dashes count as underscores). SonopaintError: unknown, wrong."""
    return typed(read_toml(path), Path(path).name, LoraOptions)
