"""Options of the distillation."""

from __future__ import annotations

from dataclasses import dataclass

from sonotrain.files.options import option
from sonotrain.training import common


@dataclass(frozen=True)
class DistillOptions:
    model: str = option("mini", "base model: a name, a .safetensors file or a folder")
    student: str = option("", "start from this one-step model, or LoRA on the base, in place of the base")
    corpus: str = option("", "folder of the foley corpus (sonotrain base corpus): real sounds for Mini")
    dataset: str = option("", "or a dataset (sonotrain dataset): real sounds for any model")
    pairs: int = option(
        4096, "pictures that the teacher paints in many steps for the first lessons (0: none)"
    )
    pair_folder: str = option("", "where the pairs are kept (default: in the run folder)")
    pair_steps: int = option(8, "steps with which the teacher paints them")
    lessons: float = option(0.4, "share of the training that repeats pairs, before distribution matching")
    lesson_rate: float = option(2e-4, "peak learning rate of the lessons")
    batch: int = common.batch(8, "pictures")
    learning_rate: float = option(5e-6, "peak learning rate of the student")
    critic_rate: float = option(5e-6, "peak learning rate of fake teacher and discriminator")
    guidance_scale: float = option(0.0, "in the teacher (0: the model's own default)")
    ratio: int = option(5, "updates of the fake teacher for one of the student")
    student_adversarial: float = option(0.001, "weight of the discriminator in the student's loss")
    critic_adversarial: float = option(0.01, "weight of the discriminator's loss")
    adversary: str = option("hinge", "adversarial loss", ("hinge", "bce"))
    normaliser: str = option("teacher", "what the matching gradient is divided by", ("teacher", "fake"))
    timestep: int = option(999, "timestep at which the student is called")
    biases: bool = option(False, "train norms and biases too, which no LoRA can hold")
    ema: float = common.ema(0.99, "the student's")
    rank: int = option(64, "rank of the LoRA that is written beside the model")
    seed: int = common.seed("the data")
    threads: int = common.threads()
    checkpoint_minutes: float = common.checkpoint_minutes()
    preview_minutes: float = common.preview_minutes()
