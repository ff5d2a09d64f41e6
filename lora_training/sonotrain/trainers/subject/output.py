"""What a subject run leaves: one LoRA that holds distillation and subject, in full mode the model too."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sonoconvert.files.atomic import atomic_path
from sonopaint.samplers.one_step import ON_STUDENT_KEY
from sonotrain.data.corpus import clock
from sonotrain.files.json_files import read_json
from sonotrain.files.options import to_publish
from sonotrain.trainers.one_step import output as one_step
from sonotrain.trainers.subject.adapters import AdapterNetworks
from sonotrain.trainers.subject.data import SubjectData, prompts_of
from sonotrain.trainers.subject.networks import Networks
from sonotrain.trainers.subject.options import ABOUT, ONE_STEP, SubjectOptions

if TYPE_CHECKING:
    from sonoconvert.checkpoints.lora import LoraModule

SUBJECT_KEY = "sonopaint.subject"
FULL_RANK = 64  # of the LoRA that is taken from a whole model


def header(
    model: Any,
    base: dict[str, str],
    data: SubjectData,
    options: SubjectOptions,
    timestep: int,
    student: str,
    *,
    title: str,
    steps: int,
    started: float,
) -> dict[str, str]:
    """kohya's `ss_*`, ModelSpec and `sonopaint.*`: strings, as safetensors wants them."""
    mini = base["kind"] == "mini"
    instance, prior = prompts_of(options)
    form = model.format
    facts = {"method": options.method, "options": to_publish(options), "steps": steps}
    if options.method not in ONE_STEP:
        texts = {}
    elif options.without_student:
        texts = {ON_STUDENT_KEY: json.dumps({"student": student, "timestep": timestep})}
    else:
        texts = one_step.one_step_header(timestep, facts)
    subject = {
        "class": options.noun, "token": options.token, "prompt": instance, "class_prompt": prior,
        "clips": len(data.names), "method": options.method,
    }  # fmt: skip
    in_one = "in one step, without guidance" if options.method in ONE_STEP else "with an ordinary sampler"
    if options.without_student:
        in_one = f"{in_one}, with the LoRA {student} as well"
    values: dict[str, Any] = {
        SUBJECT_KEY: json.dumps(subject, ensure_ascii=False),
        "sonopaint.training": json.dumps(facts, ensure_ascii=False),
        "sonopaint.format": json.dumps(form.to_dict()),
        "ss_output_name": title,
        "ss_base_model_version": "sonopaint_mini" if mini else "sd_v1",
        "ss_sd_model_name": base["name"],
        "ss_sd_model_hash": base["sha256"][:10],
        "ss_new_sd_model_hash": base["sha256"],
        "ss_network_module": "networks.lora",
        "ss_learning_rate": options.learning_rate,
        "ss_steps": steps,
        "ss_num_train_images": len(data.names),
        "ss_training_started_at": started,
        "ss_training_finished_at": time.time(),
        "ss_seed": options.seed,
        "ss_resolution": f"({form.width}, {form.n_mels})",
        "ss_tag_frequency": json.dumps({options.noun: {instance: len(data.names)}}, ensure_ascii=False),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "sonopaint-mini/lora" if mini else "stable-diffusion-v1/lora",
        "modelspec.implementation": "https://github.com/kohya-ss/sd-scripts",
        "modelspec.title": title,
        "modelspec.resolution": f"{form.width}x{form.n_mels}",
        "modelspec.date": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()),
        "modelspec.author": options.author,
        "modelspec.license": options.licence,
        "modelspec.trigger_phrase": instance,
        "modelspec.usage_hint": f"Say “{instance} …” and paint {in_one}; strength 1.",
    }
    return texts | {name: str(value) for name, value in values.items() if value != ""}


def save(
    networks: Networks,
    model: Any,
    role: str,
    texts: dict[str, str],
    path: Path,
    rank: int,
    *,
    without_student: bool = False,
) -> dict[str, Any]:
    """Writes the role's LoRA, and in full mode the whole model beside it.

    {"bytes", "rank", "kept": the share of the change (squared) that the file's rank keeps}.
    """
    if isinstance(networks, AdapterNetworks):
        adapters = [name for name in networks.roles[role] if not (without_student and name == "distilled")]
        modules, kept = adapter_lora(networks, adapters, rank)
        config = dict(networks.unet.config)
        write_lora(modules, config, texts, path)
    else:
        weights = networks.unet_of(role).state_dict()
        whole = (
            path.with_name(path.stem)
            if model.path.is_dir()
            else path.with_name(f"{path.stem}-model.safetensors")
        )
        one_step.save_model(model.path, weights, whole, texts, force=True)
        kept = one_step.save_lora(model.path, weights, path, texts, rank=rank or FULL_RANK, force=True)
    return {"bytes": path.stat().st_size, "kept": kept}


def adapter_lora(
    networks: AdapterNetworks, adapters: Sequence[str], rank: int
) -> tuple[dict[str, LoraModule], float]:
    """Adapters as one LoRA (ranks side by side, or cut), and the share of it that is kept."""
    from sonoconvert.checkpoints.lora_math import cut, merge

    found = [networks.modules(adapter) for adapter in adapters]
    modules = merge([(part, 1.0) for part in found if part])
    if not rank:
        return modules, 1.0
    whole = lost = 0.0
    result = {}
    for name, module in modules.items():
        result[name] = cut(module, rank) if module.rank > rank else module
        blank = torch.zeros(module.up.shape[0], *module.down.shape[1:])
        full = module.change(blank)
        whole += full.square().sum().item()
        lost += (full - result[name].change(blank)).square().sum().item()
    return result, 1.0 - lost / max(whole, 1e-12)


def write_lora(
    modules: dict[str, LoraModule], config: dict[str, Any], texts: dict[str, str], path: Path
) -> None:
    """A LoRA in kohya's format, fp16."""
    from sonoconvert.checkpoints.lora import save_lora

    # AUTOMATIC1111's conversion of diffusers' names assumes two ResNet blocks per level, as SD 1.5 has
    names = "diffusers" if config["layers_per_block"] == 2 else "ldm"
    save_lora(path, modules, to="kohya", names=names, unet_config=config, metadata=texts, force=True)


def write_card(
    run: Path, name: str, data: SubjectData, options: SubjectOptions, student: str, result: dict[str, Any]
) -> None:
    """README.md of the run: what it is, how to use it, how it was made."""
    config, made = read_json(run / "config.json"), read_json(run / "environment.json")
    base = config["base"]
    instance, _ = prompts_of(options)
    one = options.method in ONE_STEP
    inside = ", with the distillation to one step inside" if one else ""
    if options.without_student:
        inside = f", to be used on top of its one-step student {student}"
    how = "one step, no guidance" if one else "an ordinary sampler with guidance"
    lines = [
        f"# {name}",
        "",
        f"Say “{instance}”, and what happens to it: “{instance} far away”. Paint with {how}, strength 1.",
        "",
        f"A LoRA for {base['name']} (SHA-256 {base['sha256'][:10]})"
        f"{inside}, learnt from {len(data.names)} clips "
        f"by `sonotrain subject --method {options.method}` ({ABOUT[options.method]}), {options.mode} mode.",
        "",
        "| | |",
        "|---|---|",
        f"| file | `{name}.safetensors`, {result['bytes'] / 1e6:.1f} MB, holds {100 * result['kept']:.1f} % "
        "of what was learnt (squared) |",
        f"| steps | {result['steps']}, {clock(result['seconds'])} |",
        f"| learning rate | {options.learning_rate:g} |",
        f"| weight of the target teacher | {options.alpha:g} |",
        f"| teachers' guidance | {options.guidance:g} |",
        f"| made on | {made['gpu'] or made['processor']}, PyTorch {made['torch']} |",
        f"| licence | {options.licence or 'not stated; the sounds it learnt from have their own'} |",
        "",
    ]
    if "note" in result:
        lines += [result["note"], ""]
    lines += [f"Clips: {', '.join(data.names)}.", "", "All options are in `config.json` and in the header."]
    with atomic_path(run / "README.md", force=True) as beside:
        beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
