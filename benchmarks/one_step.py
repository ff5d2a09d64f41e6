"""How fast one step is: a prompt to a 5.12 s WAV on the processor, beside the 50-step teacher, in one run.

    python benchmarks/one_step.py [--student FILE] [--model mini] [--runs 5] [--threads N]

Student and teacher take turns, so that both meet the same machine. Prints the median seconds of each stage
(text, U-Net, VAE, phase, writing) and in total, and how many times fewer seconds the student spends in the
U-Net. Without ``--student`` it is the one that lies beside the model. Loading is not counted.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

import torch
from generate import peak_megabytes, run_once

from sonopaint.models.loading import load_model
from sonopaint.models.model import Model
from sonopaint.models.students import student_of, with_student
from sonopaint.tasks import PaintSettings, generate


def load_student(name: str, model: str, device: str) -> Model:
    """The student that was named (a LoRA or a model), else the one beside the model."""
    path, loras = student_of(model, name) if name else with_student(model)
    return load_model(path, device=device, loras=loras)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--student", default="", help="a LoRA or a model (default: the shipped one)")
    parser.add_argument("--model", default="mini", help="the teacher")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--prompt", default="a dog barking in the rain")
    parser.add_argument("--steps", type=int, default=50, help="of the teacher")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="processor threads (0: torch's choice)")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    student = load_student(given.student, given.model, given.device)
    teacher = load_model(given.model, device=given.device)
    guidance = float(teacher.defaults["guidance_scale"])
    jobs = {
        "student": (student, PaintSettings(given.prompt, seed=1)),
        "teacher": (teacher, PaintSettings(given.prompt, seed=1, steps=given.steps, guidance_scale=guidance)),
    }
    spent: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in jobs}
    with tempfile.TemporaryDirectory() as folder:
        for run in range(given.runs + 1):
            for name, (model, settings) in jobs.items():
                stages = run_once(model, settings, generate, Path(folder) / f"{name}-{run}.wav")
                for stage, seconds in stages.items() if run else ():  # the first run warms up
                    spent[name][stage].append(seconds)
    median = {n: {s: statistics.median(v) for s, v in stages.items()} for n, stages in spent.items()}
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {given.device}"
    )
    print(f"{'':8}{'student':>10}{'teacher':>10}   medians of {given.runs} runs in turn")
    for stage in ("text", "U-Net", "VAE", "phase", "write", "total"):
        print(f"{stage:8}{median['student'][stage]:>8.3f} s{median['teacher'][stage]:>8.3f} s")
    ratio = median["teacher"]["U-Net"] / median["student"]["U-Net"]
    print(f"NFE {'1':>12}{given.steps * (2 if guidance != 1 else 1):>10}")
    print(
        f"one step spends {ratio:.1f} times fewer seconds in the U-Net; peak memory {peak_megabytes():.0f} MB"
    )


if __name__ == "__main__":
    main()
