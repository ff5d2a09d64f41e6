"""A dry run: a few real steps, measured, and what the whole run would take."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sonotrain.files.pace import clock
from sonotrain.trainers.lora.data import kept_prompts
from sonotrain.trainers.lora.options import LoraOptions
from sonotrain.trainers.lora.trainer import LoraTrainer
from sonotrain.training.compute import choose_device, memory_mb
from sonotrain.training.inputs.prior import BATCH
from sonotrain.training.run import Run
from sonotrain.training.run_folder import RunFolder

STEPS = 3  # measured, after one that warms up


class _Few(LoraTrainer):
    """Paints one batch of what the model knows, to see how long all would take."""

    kept = BATCH


def dry_run(given: Mapping[str, Any], *, device: str = "auto") -> str:
    """What training would take: steps, time, memory, file size. Nothing is kept.

    The dataset is made (in a temporary folder) and some clips are encoded, so that every complaint that the
    run itself would have comes now.
    """
    with (
        tempfile.TemporaryDirectory(prefix="sonotrain-") as folder,
        RunFolder(Path(folder) / "run") as opened,
    ):
        run = Run(opened, LoraTrainer.processes(choose_device(device)))
        trainer = run.prepare(_Few, {**given, "variants": 1, "preview_every": 0})
        assert isinstance(trainer, _Few)
        options, data = trainer.options, trainer.learner.data
        seconds_per_clip = data.encoding_s / (len(data.train) + len(data.validation))
        variants = LoraOptions(**given).variants
        trainer.step(0)
        start = time.monotonic()
        for number in range(1, STEPS + 1):
            trainer.step(number)
        seconds_per_step = (time.monotonic() - start) / STEPS
        total = run.total
        parameters = sum(p.numel() for p in trainer.learner.parameters)
        start = time.monotonic()
        trainer.learner.validate()
        validations = (total // options.validate_every if options.validate_every else 0) + 2
        extra = validations * (time.monotonic() - start) + variants * len(data.train) * seconds_per_clip
        if data.kept_prompts:
            extra += data.painting_s / len(data.kept_prompts) * len(kept_prompts())
        where = "graphics card" if run.device.type == "cuda" else "memory"
        lines = [
            f"Learns from {len(data.train)} clips ({variants} versions of each) on {trainer.base['name']}, "
            f"preset {options.preset}.",
            f"{total} steps of {trainer.learner.global_batch} clips; {seconds_per_step:.2f} s a step "
            f"(mean of {STEPS}, measured).",
            f"Time: about {clock(total * seconds_per_step + extra)}, and the previews.",
            f"Peak {where}: {memory_mb() / 1024:.1f} GB (measured).",
            f"The LoRA: {parameters / 1e6:.2f} M numbers, {2 * parameters / 1e6:.1f} MB.",
        ]
    return "\n".join(lines)
