"""What a run leaves: the LoRA's file with its header, the preview beside it, and a model card."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from sonoconvert.files.atomic import atomic_path
from sonotrain.data.corpus import clock
from sonotrain.files.json_files import read_json
from sonotrain.files.options import to_publish
from sonotrain.trainers.lora.data import TrainingData, captions_of
from sonotrain.trainers.lora.optimisers import warmup_steps
from sonotrain.trainers.lora.options import LoraOptions
from sonotrain.trainers.lora.trainer import LoraTrainer
from sonotrain.training.adapter import lora_modules
from sonotrain.training.curves import series
from sonotrain.training.run_folder import read_log

logger = logging.getLogger(__name__)

MOST_CAPTIONS = 500  # in the header


def save_file(trainer: LoraTrainer, path: Path, metadata: dict[str, str]) -> Path:
    """The LoRA (its moving average, if there is one) in kohya's format, fp16, with `.alpha`."""
    from sonoconvert.checkpoints.lora import save_lora

    model = trainer.model
    with trainer.averaged():
        modules = lora_modules(model, text_encoder=trainer.options.text_encoder)
    # AUTOMATIC1111's conversion of diffusers' names assumes two ResNet blocks per level, as SD 1.5 has
    names = "diffusers" if model.unet.config.layers_per_block == 2 else "ldm"
    config = dict(model.unet.config)
    save_lora(path, modules, to="kohya", names=names, unet_config=config, metadata=metadata, force=True)
    return path


def header(
    trainer: LoraTrainer, *, base: dict[str, str], total: int, step: int, started: float, title: str
) -> dict[str, str]:
    """kohya's `ss_*`, ModelSpec 1.0.1 and `sonopaint.*`: strings, as safetensors wants them."""
    options, data, model = trainer.options, trainer.data, trainer.model
    clips = len(data.dataset.train)
    per_epoch = max(1, -(-clips // trainer.global_batch))
    form = model.format
    size = f"{form.width}x{form.n_mels}"
    mini = base["kind"] == "mini"
    captions = caption_statistics(data)
    values: dict[str, Any] = {
        "ss_output_name": title,
        "ss_session_id": int(started),
        "ss_training_started_at": started,
        "ss_training_finished_at": time.time(),
        "ss_base_model_version": "sonopaint_mini" if mini else "sd_v1",
        "ss_sd_model_name": base["name"],
        "ss_sd_model_hash": base["sha256"][:10],
        "ss_new_sd_model_hash": base["sha256"],
        "ss_v2": False,
        "ss_network_module": "networks.lora",
        "ss_network_dim": options.rank,
        "ss_network_alpha": options.alpha,
        "ss_network_args": network_arguments(options),
        "ss_learning_rate": options.learning_rate,
        "ss_unet_lr": options.learning_rate,
        "ss_text_encoder_lr": options.text_learning_rate if options.text_encoder else 0.0,
        "ss_optimizer": options.optimiser,
        "ss_lr_scheduler": options.schedule,
        "ss_lr_warmup_steps": warmup_steps(options, total),
        "ss_max_train_steps": total,
        "ss_steps": step,
        "ss_epoch": step // per_epoch,
        "ss_num_epochs": -(-total // per_epoch),
        "ss_num_batches_per_epoch": per_epoch,
        "ss_num_train_images": clips,
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
        "ss_seed": options.seed,
        "ss_clip_skip": None,
        "ss_resolution": f"({form.width}, {form.n_mels})",
        "ss_tag_frequency": {data.trigger or "sounds": dict(captions.most_common(MOST_CAPTIONS))},
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "sonopaint-mini/lora" if mini else "stable-diffusion-v1/lora",
        "modelspec.implementation": "https://github.com/kohya-ss/sd-scripts",
        "modelspec.title": title,
        "modelspec.resolution": size,
        "modelspec.date": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()),
        "modelspec.prediction_type": "v" if trainer.prediction == "v_prediction" else "epsilon",
        "modelspec.description": f"A LoRA for sounds as spectrograms ({form.name}), trained with Sonopaint.",
        "modelspec.author": options.author,
        "modelspec.license": options.licence,
        "modelspec.trigger_phrase": data.trigger,
        "modelspec.usage_hint": usage(data),
        "sonopaint.format": form.to_dict(),
        "sonopaint.training": {"options": to_publish(options), "data": data.facts()},
    }
    texts = {}
    for name, value in values.items():
        if value != "":
            texts[name] = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
    return texts


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


def write_preview(run: Path, path: Path) -> None:
    """NAME.png beside NAME.safetensors, as the WebUIs show it: the newest painting of the first prompt."""
    newest = sorted(run.glob("previews/step-*/0-with.png"))
    if newest:
        with atomic_path(path, force=True) as beside:
            shutil.copyfile(newest[-1], beside)


def write_card(run: Path, name: str, trainer: LoraTrainer, result: dict[str, Any]) -> None:
    """README.md of the run: what it is, how to use it, how it was made, curves and previews."""
    options, data = trainer.options, trainer.data
    config = read_json(run / "config.json")
    environment = read_json(run / "environment.json")
    base = config["base"]
    folders = sorted(run.glob("previews/step-*/sheet.png"))
    steps, values = series(read_log(run), "validation_loss")
    best = f"{min(values):.4f} at step {steps[values.index(min(values))]}" if values else "not measured"
    lines = [
        f"# {name}",
        "",
        usage(data),
        "",
        f"A LoRA (rank {options.rank}, alpha {options.alpha:g}, {options.targets}"
        f"{', DoRA' if options.dora else ''}{', text encoder' if options.text_encoder else ''}) for "
        f"{base['name']} (SHA-256 {base['sha256'][:10]}), trained by `sonotrain lora`.",
        "",
        "| | |",
        "|---|---|",
        f"| file | `{name}.safetensors`, {result['bytes'] / 1e6:.1f} MB |",
        f"| trigger | {data.trigger or 'none: its prompts are captions'} |",
        f"| sounds | {len(data.dataset.train)} clips to learn from, "
        f"{len(data.dataset.validation)} to validate |",
        f"| steps | {result['steps']}, {trainer.global_batch} clips each, {clock(result['seconds'])} |",
        f"| optimiser | {options.optimiser}, learning rate {options.learning_rate:g}, {options.schedule} |",
        f"| validation loss | {result['validation_loss']:.4f} at the end, best {best} |",
        f"| made on | {environment['gpu'] or environment['processor']}, PyTorch {environment['torch']} |",
        f"| licence | {options.licence or 'not stated; the sounds it learnt from have their own'} |",
        "",
        "Captions, most usual first: "
        + "; ".join(f"“{text}” ({n})" for text, n in caption_statistics(data).most_common(8))
        + ".",
    ]
    if (run / "curves.png").is_file():
        lines += ["", "![Curves](curves.png)"]
    if folders:
        told = ", ".join(f"“{prompt}”" for prompt in data.prompts)
        sheet = folders[-1].relative_to(run).as_posix()
        lines += ["", f"Without the LoRA (above) and with it (below): {told}.", "", f"![Previews]({sheet})"]
    lines += ["", "All options are in `config.json`, and in the file's header (`sonoconvert info FILE`)."]
    with atomic_path(run / "README.md", force=True) as beside:
        beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
