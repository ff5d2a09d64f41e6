"""What a run leaves: the LoRA's file with its header, the preview beside it, and a model card."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from sonotrain.files.options import to_publish
from sonotrain.files.pace import clock
from sonotrain.trainers.lora.data import TrainingData
from sonotrain.trainers.lora.learner import Learner
from sonotrain.trainers.lora.optimisers import warmup_steps
from sonotrain.trainers.lora.options import LoraOptions
from sonotrain.training.adapter import lora_modules
from sonotrain.training.curves import series
from sonotrain.training.inputs.tokens import captions_of
from sonotrain.training.lora_file import as_texts, common_header, write_card, write_lora
from sonotrain.training.run import Run
from sonotrain.training.run_folder import read_log

logger = logging.getLogger(__name__)

MOST_CAPTIONS = 500  # in the header


def save(trainer: Learner, path: Path, texts: dict[str, str]) -> None:
    """The LoRA (its moving average, if there is one)."""
    with trainer.averaged():
        modules = lora_modules(trainer.model, text_encoder=trainer.options.text_encoder)
    write_lora(modules, trainer.model.unet.config, texts, path)


def header(trainer: Learner, run: Run, *, base: dict[str, str], step: int) -> dict[str, str]:
    """kohya's `ss_*`, ModelSpec 1.0.1 and `sonopaint.*`."""
    options, data, total = trainer.options, trainer.data, run.total
    clips, form = len(data.dataset.train), trainer.model.format
    per_epoch = max(1, -(-clips // trainer.global_batch))
    captions = dict(caption_statistics(data).most_common(MOST_CAPTIONS))
    values = common_header(
        form, base, options, title=run.name, started=run.started, steps=step, clips=clips,
        trigger=data.trigger, usage=usage(data), captions={data.trigger or "sounds": captions},
    )  # fmt: skip
    return as_texts(
        values
        | {
            "ss_session_id": int(run.started),
            "ss_v2": False,
            "ss_network_dim": options.rank,
            "ss_network_alpha": options.alpha,
            "ss_network_args": network_arguments(options),
            "ss_unet_lr": options.learning_rate,
            "ss_text_encoder_lr": options.text_learning_rate if options.text_encoder else 0.0,
            "ss_optimizer": options.optimiser,
            "ss_lr_scheduler": options.schedule,
            "ss_lr_warmup_steps": warmup_steps(options, total),
            "ss_max_train_steps": total,
            "ss_epoch": step // per_epoch,
            "ss_num_epochs": -(-total // per_epoch),
            "ss_num_batches_per_epoch": per_epoch,
            "ss_num_reg_images": 0,
            "ss_batch_size_per_device": options.batch,
            "ss_total_batch_size": trainer.global_batch,
            "ss_gradient_accumulation_steps": options.accumulation,
            "ss_gradient_checkpointing": options.gradient_checkpointing,
            "ss_max_grad_norm": options.clip_norm,
            "ss_mixed_precision": {torch.float32: "no", torch.bfloat16: "bf16"}.get(trainer.dtype, "fp16"),
            "ss_cache_latents": True,
            "ss_min_snr_gamma": options.snr_gamma,
            "ss_noise_offset": options.noise_offset,
            "ss_caption_dropout_rate": options.caption_dropout,
            "ss_clip_skip": None,
            "modelspec.prediction_type": "v" if trainer.prediction == "v_prediction" else trainer.prediction,
            "modelspec.description": f"A LoRA for sounds as spectrograms ({form.name}), made with Sonopaint.",
            "sonopaint.training": {"options": to_publish(options), "data": data.facts()},
        }
    )


def network_arguments(options: LoraOptions) -> dict[str, Any]:
    """kohya's network_args."""
    found: dict[str, Any] = {}
    if options.targets == "all":
        conv_alpha = options.alpha * options.conv_rank / options.rank
        found |= {"conv_dim": str(options.conv_rank), "conv_alpha": str(conv_alpha)}
    if options.dora:
        found["dora_wd"] = "True"
    return found


def caption_statistics(data: TrainingData) -> Counter[str]:
    """How often each caption was in the training set, for the WebUIs' tag lists."""
    return Counter(clip[0] for clip in captions_of(data.dataset.train, data.trigger))


def usage(data: TrainingData) -> str:
    """How to use the LoRA, in one sentence."""
    form = data.dataset.format
    said = f"Put “{data.trigger}” into the prompt" if data.trigger else "Use prompts like the captions"
    seconds = form.seconds(form.width)
    return f"{said}; strength 1; pictures of {form.width} × {form.n_mels} pixels are {seconds:.2f} s."


def card(run: Path, name: str, base: dict[str, str], trainer: Learner, result: dict[str, Any]) -> None:
    """README.md of the run: what it is, how to use it, how it was made, curves and previews."""
    options, data = trainer.options, trainer.data
    steps, values = series(read_log(run), "validation_loss")
    best = f"{min(values):.4f} at step {steps[values.index(min(values))]}" if values else "not measured"
    about = (
        f"A LoRA (rank {options.rank}, alpha {options.alpha:g}, {options.targets}"
        f"{', DoRA' if options.dora else ''}{', text encoder' if options.text_encoder else ''}) for "
        f"{base['name']} (SHA-256 {base['sha256'][:10]}), trained by `sonotrain lora`."
    )
    rows = {
        "file": f"`{name}.safetensors`, {result['bytes'] / 1e6:.1f} MB",
        "trigger": data.trigger or "none: its prompts are captions",
        "sounds": f"{len(data.dataset.train)} clips to learn from, "
        f"{len(data.dataset.validation)} to validate",
        "steps": f"{result['steps']}, {trainer.global_batch} clips each, {clock(result['seconds'])}",
        "optimiser": f"{options.optimiser}, learning rate {options.learning_rate:g}, {options.schedule}",
        "validation loss": f"{result['validation_loss']:.4f} at the end, best {best}",
    }
    usual = "; ".join(f"“{text}” ({n})" for text, n in caption_statistics(data).most_common(8))
    more = [f"Captions, most usual first: {usual}."]
    if (run / "curves.png").is_file():
        more.append("![Curves](curves.png)")
    if folders := sorted(run.glob("previews/step-*/sheet.png")):
        told = ", ".join(f"“{prompt}”" for prompt in dict.fromkeys(data.prompts))
        sheet = folders[-1].relative_to(run).as_posix()
        more += [f"Without the LoRA (above) and with it (below): {told}.", f"![Previews]({sheet})"]
    write_card(run, name, [usage(data), about], rows, options.licence, more)
