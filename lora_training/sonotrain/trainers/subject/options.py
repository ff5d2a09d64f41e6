"""Every option of the subject trainer, and where a run's options come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sonoconvert.errors import setting
from sonotrain.files.options import option, requirer
from sonotrain.training import common

METHODS = ("uni-dad", "dreambooth", "dmd2-db", "db-dmd2", "pso", "lora")
ONE_STEP = ("uni-dad", "dmd2-db", "db-dmd2", "pso")  # methods whose result paints in one step
ABOUT = {
    "uni-dad": "distils and adapts at once",
    "dreambooth": "adapts the many-step base, with prior preservation",
    "dmd2-db": "adapts the one-step student as DreamBooth does",
    "db-dmd2": "adapts the base, then distils that",
    "pso": "teaches the student to prefer the clips to its own sounds",
    "lora": "a plain LoRA on the many-step base",
}
MODES = ("adapters", "full")
GANS = ("hinge", "bce")
NORMALISERS = ("teacher", "fake")
SOURCE_PROMPTS = ("prior", "instance")


@dataclass(frozen=True)
class SubjectOptions:
    # what is learnt
    clips: str = option("", "folder with a few sounds of the subject (or pictures)")
    noun: str = option("", 'what it is, as you would call any of its kind: "dog bark"', flag="--class")
    token: str = option("prt", "the word that means this one subject; it must mean nothing yet")
    model: str = option("mini", "base model: a name, a .safetensors file or a diffusers folder")
    format: str = option("", "spectrogram format, where the base model's file does not say")
    student: str = option(
        "", "one-step student of the base: LoRA, its folder, or model (default: the shipped)"
    )
    timestep: int = option(-1, "the student's timestep, where its file does not say (public students: 999)")
    target: str = option(
        "", "uni-dad, db-dmd2: a LoRA or model that knows the subject already, as frozen target teacher"
    )
    method: str = option("uni-dad", "; ".join(f"{name}: {told}" for name, told in ABOUT.items()), METHODS)
    mode: str = option("adapters", "adapters: one base in memory and LoRAs on it; full: whole U-Nets", MODES)
    name: str = option("", "name of the result's file (default: the run folder's)", free=True)
    author: str = option("", "who made it, for the file's header", free=True)
    licence: str = option("", "its licence, for the file's header", free=True)
    # the method (Uni-DAD, equations 2.1 to 2.10)
    alpha: float = option(
        0.75, "0 to 1: how near to the clips; less keeps more of what the base model knows of the kind"
    )
    ratio: int = option(0, "critic steps for each step of student and target teacher (0: 10, Mini: 3)")
    guidance: float = option(-1.0, "guidance of both teachers (default: 7.5, Mini: 2)")
    lambda_critic: float = option(0.01, "weight of the discriminator's loss")
    lambda_student: float = option(0.001, "weight of the student's adversarial loss")
    gan: str = option("hinge", "discriminator's loss: hinge (paper) or bce (released code)", GANS)
    normaliser: str = option(
        "teacher", "of the gradient: by the error of teacher or fake teacher", NORMALISERS
    )
    source_prompt: str = option(
        "prior", "what the source teacher hears: the class (prior, paper) or the subject", SOURCE_PROMPTS
    )
    # baselines
    prior_weight: float = option(1.0, "weight of prior preservation in DreamBooth's loss")
    prior_clips: int = option(0, "class sounds painted for that (0: 200, full 1000, Mini: 32)")
    adapt_steps: int = option(0, "steps of db-dmd2's first half, before the others (0: 800, Mini: 300)")
    beta: float = option(5000.0, "how much PSO holds on to the student that it started from")
    # the networks
    rank: int = option(0, "rank of the adapters (0: 16, Mini: 32)")
    targets: str = option("", "adapted layers, as for sonotrain lora (default: attention, Mini: all)")
    without_student: bool = option(
        False, "leave the student out of the file, which then goes on top of it", free=True
    )
    file_rank: int = option(
        0, "rank of the file, distillation and subject together (0: all that there is)", free=True
    )
    # optimisation
    steps: int = option(0, "critic steps, or steps of a baseline (0: 5000, baselines 800; Mini: 600, 300)")
    batch: int = option(1, "clips in one step")
    learning_rate: float = option(0.0, "of all networks (0: 5e-6 full, 1e-4 adapters; Mini: larger)")
    beta1: float = option(0.9, "Adam's first decay")
    beta2: float = option(0.999, "Adam's second decay")
    weight_decay: float = option(0.01, "weight decay")
    warmup: int = option(500, "steps of warm-up; at most a tenth of all")
    clip_norm: float = option(10.0, "largest norm of the gradient")
    ema: float = option(
        -1.0, "decay of a moving average of the result, which is what is saved (default: none; Mini: 0.95)"
    )
    variants: int = option(4, "versions of each clip: itself and some moved by up to a quarter of a second")
    gradient_checkpointing: bool = option(False, "compute activations twice and keep fewer of them")
    threads: int = common.threads()
    seed: int = common.seed()
    # seeing what happens
    watch_every: int = option(50, "steps between looks for collapse (0: never)")
    preview_every: int = option(200, "steps between previews (0: none)", free=True)
    preview_prompts: tuple[str, ...] = option((), "what previews say (default: the subject)")
    checkpoint_every: int = common.checkpoint_every()
    log_every: int = common.log_every()


# The paper's numbers (Desbos 2026, section 2.6) and those for Mini, which was trained for two hours on a
# processor: it needs larger steps, and fewer.
_SD: dict[str, Any] = {
    "ratio": 10, "guidance": 7.5, "prior_clips": 200, "rank": 16, "targets": "attention", "adapt_steps": 800,
    "learning_rate": {"full": 5e-6, "adapters": 1e-4, "one-step": 1e-4, "pso": 2e-4},
    "steps": {"uni-dad": 5000, "other": 800}, "ema": 0.0, "gradient_checkpointing": True,
}  # fmt: skip
_MINI: dict[str, Any] = {
    "ratio": 3, "guidance": 2.0, "ema": 0.95, "prior_clips": 32, "rank": 32, "targets": "all",
    "adapt_steps": 300,
    "learning_rate": {"full": 1e-4, "adapters": 1e-3, "one-step": 3e-4},
    "steps": {"uni-dad": 600, "other": 300},
}  # fmt: skip


def resolve(given: Mapping[str, Any], *, mini: bool) -> SubjectOptions:
    """Options of a run: those given, else what suits the base model, else the defaults; checked."""
    method, mode = (SubjectOptions(**given).method, SubjectOptions(**given).mode)
    suited = dict(_MINI if mini else _SD)
    rate = "one-step" if mode == "adapters" and method in ONE_STEP else mode
    if mode == "full" and not mini:
        suited["prior_clips"] = 1000
        rate = "pso" if method == "pso" else mode
    suited["learning_rate"] = suited["learning_rate"][rate]
    suited["steps"] = suited["steps"]["uni-dad" if method in ("uni-dad", "db-dmd2") else "other"]
    defaults = SubjectOptions()
    unset = {name for name in suited if given.get(name, getattr(defaults, name)) == getattr(defaults, name)}
    options = SubjectOptions(**{**given, **{name: suited[name] for name in unset}})
    check(options)
    # A target that knows the subject has no need to learn it.
    return replace(options, adapt_steps=0) if options.target and method == "db-dmd2" else options


def check(options: SubjectOptions) -> None:
    """SonopaintError with one sentence for the first value that can't be used."""
    require = requirer(options)
    for name in ("alpha", "beta1", "beta2", "ema"):
        require(0 <= getattr(options, name) <= 1, name, "between 0 and 1")
    for name in ("beta1", "beta2", "ema"):
        require(getattr(options, name) < 1, name, "below 1")
    counts = ("ratio", "batch", "steps", "rank", "variants", "prior_clips", "adapt_steps")
    for name in (*counts, "checkpoint_every", "log_every"):
        require(getattr(options, name) >= 1, name, "at least 1")
    for name in ("warmup", "watch_every", "preview_every", "threads", "file_rank"):
        require(getattr(options, name) >= 0, name, "0 or more")
    for name in ("learning_rate", "beta", "clip_norm"):
        require(0 < getattr(options, name) < 1e6, name, "above 0")
    for name in ("guidance", "lambda_critic", "lambda_student", "prior_weight", "weight_decay"):
        require(0 <= getattr(options, name) < 1e6, name, "0 or more")
    require(
        not options.without_student or (options.mode == "adapters" and options.method in ONE_STEP),
        "without_student", f"left out but with {setting('mode')} adapters and a method of one step",
    )  # fmt: skip
    require(
        not options.target or options.method in ("uni-dad", "db-dmd2"),
        "target", f"left out with {setting('method')} {options.method}, which has no target teacher",
    )  # fmt: skip
    require(
        options.method != "lora" or options.mode == "adapters",
        "mode",
        f"adapters with {setting('method')} lora",
    )
    require(options.rank <= 1024, "rank", "1 to 1024")
    require(-1 <= options.timestep < 1000, "timestep", "0 to 999")
