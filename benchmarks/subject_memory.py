"""Memory and speed of learning a subject: adapters on one base beside whole networks, in one run.

    python benchmarks/subject_memory.py [--size mini|middle|sd15] [--device cuda] [--checkpointing]

Runs `sonotrain subject` (Uni-DAD) in both modes, each in a process of its own: on Mini with its shipped
student, else on a model with random weights of that size and a random student (memory and speed are the
same). Latents and text are cached, as always; models of SD 1.5's layout always have gradient checkpointing,
Mini with ``--checkpointing``.

Peak memory is the card's (``max_memory_allocated``), or on a processor the process's largest resident set,
Python and libraries included. Seconds a step (processor time with one thread on a processor, else wall time)
are a mean over whole rounds: `--ratio` steps of the critic, one of the student, one of the target teacher;
the first round warms up and isn't counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from lora_training import SIZES, make_data, make_model, now

RANK = 64  # of the random student


def make_student(model: Path, out: Path) -> None:
    """A random LoRA that says that it makes the model a one-step student."""
    from sonoconvert.checkpoints.lora import save_lora
    from sonoconvert.checkpoints.nouns import LoraModule
    from sonopaint.models.loading import load_model

    unet = load_model(model, device="cpu", format="perkins-10s").unet
    generator = torch.Generator().manual_seed(0)
    modules = {}
    for name, layer in unet.named_modules():
        if isinstance(layer, torch.nn.Linear) and "attn" in name:
            down = torch.randn(RANK, layer.in_features, generator=generator) * 0.01
            up = torch.randn(layer.out_features, RANK, generator=generator) * 0.01
            modules[f"unet.{name}"] = LoraModule(down, up, float(RANK))
    header = {"sonopaint.one_step": json.dumps({"timestep": 999})}
    save_lora(out, modules, unet_config=dict(unet.config), metadata=header)


def run_mode(mode: str, options: dict[str, Any], out: Path, given: argparse.Namespace) -> dict[str, float]:
    """One run in this process: mean seconds a step after the first round, peak MB, MB of the file."""
    from sonotrain.files.json_files import read_json
    from sonotrain.trainers.subject.methods import UniDad
    from sonotrain.trainers.subject.trainer import SubjectTrainer
    from sonotrain.training.run import train

    times: list[float] = []
    plain = UniDad.step

    def timed(method: UniDad, number: int) -> dict[str, torch.Tensor]:
        start = now(given)
        told = plain(method, number)
        told["fake"].item()  # waits for the card
        times.append(now(given) - start)
        return told

    UniDad.step = timed  # type: ignore[method-assign]
    train(SubjectTrainer, out, {**options, "mode": mode}, device=given.device)
    result = read_json(out / "subject.json")
    seconds = statistics.fmean(times[given.ratio :])
    return {"seconds": seconds, "peak_mb": result["peak_memory_mb"], "file_mb": result["bytes"] / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=("mini", *SIZES), default="mini")
    parser.add_argument("--rounds", type=int, default=2, help="rounds that are timed")
    parser.add_argument("--ratio", type=int, default=10)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing on Mini too")
    parser.add_argument("--one", nargs=2, metavar=("MODE", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        mode, folder = given.one[0], Path(given.one[1])
        options = json.loads((folder / "options.json").read_text(encoding="utf-8"))
        print(json.dumps(run_mode(mode, options, folder / mode, given)))
        return
    steps = given.ratio * (given.rounds + 1)
    options = {
        "noun": "burst", "steps": steps, "ratio": given.ratio, "batch": given.batch, "threads": given.threads,
        "preview_every": 0, "watch_every": 0, "checkpoint_every": 10 * steps, "variants": 1,
        "gradient_checkpointing": given.checkpointing,
    }  # fmt: skip
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.size == "mini":
            make_data(folder, "sonopaint-mini", clips=5)
        else:
            make_model(folder / "model", given.size)
            make_student(folder / "model", folder / "student.safetensors")
            make_data(folder, "perkins-10s", clips=5)
            options |= {"model": str(folder / "model"), "format": "perkins-10s"}
            options["student"] = str(folder / "student.safetensors")
        options["clips"] = str(folder / "data")
        (folder / "options.json").write_text(json.dumps(options), encoding="utf-8")
        where = f"{given.threads} thread(s)" if given.device == "cpu" else "bf16"
        print(f"{given.size}, batch {given.batch}, {given.device}, {where}, rounds of {given.ratio}")
        for mode in ("adapters", "full"):
            words = [sys.executable, __file__, *sys.argv[1:], "--one", mode, str(folder)]
            answer = subprocess.run(words, capture_output=True, text=True)
            if answer.returncode:
                raise SystemExit(f"{mode} failed: {answer.stderr[-2000:]}")
            one = found[mode] = json.loads(answer.stdout.splitlines()[-1])
            told = f"peak {one['peak_mb']:7.0f} MB   file {one['file_mb']:6.1f} MB"
            print(f"{mode:10} {one['seconds']:7.3f} s/step   {told}", flush=True)
    share = {key: found["adapters"][key] / found["full"][key] for key in ("peak_mb", "seconds")}
    print(f"adapters need {share['peak_mb']:.2f} of the memory and {share['seconds']:.2f} of the time")


if __name__ == "__main__":
    main()
