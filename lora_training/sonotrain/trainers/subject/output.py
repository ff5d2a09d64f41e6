"""What a subject run leaves: one LoRA that holds distillation and subject, in full mode the model too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sonopaint.models.one_step import ON_STUDENT_KEY, SUBJECT_KEY
from sonotrain.files.options import to_publish
from sonotrain.files.pace import clock
from sonotrain.trainers.one_step import output as one_step
from sonotrain.trainers.subject.adapters import AdapterNetworks
from sonotrain.trainers.subject.data import SubjectData, prompts_of
from sonotrain.trainers.subject.networks import Networks
from sonotrain.trainers.subject.options import ABOUT, ONE_STEP, SubjectOptions
from sonotrain.training.lora_file import as_texts, common_header, write_card, write_lora

if TYPE_CHECKING:
    from sonoconvert.checkpoints.nouns import LoraModule

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
    instance, prior = prompts_of(options)
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
    usage = f"Say “{instance} …” and paint {in_one}; strength 1."
    values = common_header(
        model.format, base, options, title=title, started=started, steps=steps, clips=len(data.names),
        trigger=instance, usage=usage, captions={options.noun: {instance: len(data.names)}},
    )  # fmt: skip
    return texts | as_texts(values | {SUBJECT_KEY: subject, "sonopaint.training": facts})


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

    {"kept": the share of the change (squared) that the file's rank keeps}.
    """
    if isinstance(networks, AdapterNetworks):
        adapters = [name for name in networks.roles[role] if not (without_student and name == "distilled")]
        modules, kept = adapter_lora(networks, adapters, rank)
        write_lora(modules, networks.unet.config, texts, path)
    else:
        weights = networks.unet_of(role).state_dict()
        whole = (
            path.with_name(path.stem)
            if model.path.is_dir()
            else path.with_name(f"{path.stem}-model.safetensors")
        )
        one_step.save_model(model.path, weights, whole, texts)
        kept = one_step.save_lora(model.path, weights, path, texts, rank=rank or FULL_RANK)
    return {"kept": kept}


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


def card(
    run: Path,
    name: str,
    base: dict[str, str],
    data: SubjectData,
    options: SubjectOptions,
    student: str,
    result: dict[str, Any],
) -> None:
    """README.md of the run: what it is, how to use it, how it was made."""
    instance, _ = prompts_of(options)
    one = options.method in ONE_STEP
    inside = ", with the distillation to one step inside" if one else ""
    if options.without_student:
        inside = f", to be used on top of its one-step student {student}"
    how = "one step, no guidance" if one else "an ordinary sampler with guidance"
    about = [
        f"Say “{instance}”, and what happens to it: “{instance} far away”. Paint with {how}, strength 1.",
        f"A LoRA for {base['name']} (SHA-256 {base['sha256'][:10]}){inside}, learnt from {len(data.names)} "
        f"clips by `sonotrain subject --method {options.method}` ({ABOUT[options.method]}), "
        f"{options.mode} mode.",
    ]
    rows = {
        "file": f"`{name}.safetensors`, {result['bytes'] / 1e6:.1f} MB, holds "
        f"{100 * result['kept']:.1f} % of what was learnt (squared)",
        "steps": f"{result['steps']}, {clock(result['seconds'])}",
        "learning rate": f"{options.learning_rate:g}",
        "weight of the target teacher": f"{options.alpha:g}",
        "teachers' guidance": f"{options.guidance:g}",
    }
    more = [result["note"]] if "note" in result else []
    write_card(run, name, about, rows, options.licence, [*more, f"Clips: {', '.join(data.names)}."])
