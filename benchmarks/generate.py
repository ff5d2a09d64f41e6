"""How long a prompt takes to become a 5.1 s WAV, stage by stage, and how much memory it needs.

    python benchmarks/generate.py [--model mini] [--device cpu] [--steps N] [--runs 3]

Prints, for the model's own defaults: seconds to import and load, then for each stage (text, U-Net, VAE,
mel inversion and phase, writing) the median of the runs after one warm-up; the real-time factor (seconds of
work for one second of sound, loading not counted); and the peak resident memory of the process.
``--model random`` measures Mini's architecture with random weights, which takes just as long.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini", help="a name, a file or 'random'")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--prompt", default="a dog barking in the rain")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()

    begin = time.perf_counter()
    import torch

    from sonopaint.models.loading import load_model
    from sonopaint.tasks import PaintSettings, generate

    imported = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        name = random_model(Path(folder) / "random") if args.model == "random" else args.model
        begin_load = time.perf_counter()
        model = load_model(name, device=args.device)
        loaded = time.perf_counter()
        machine = f"{platform.machine()}, {torch.get_num_threads()} threads"
        print(f"{machine}, torch {torch.__version__}, {args.device}")
        print(f"import {imported - begin:6.2f} s")
        print(f"load   {loaded - begin_load:6.2f} s   ({model.name})")

        settings = PaintSettings(args.prompt, seed=1, steps=args.steps)
        stages: dict[str, list[float]] = defaultdict(list)
        for run in range(args.runs + 1):
            spent = run_once(model, settings, generate, Path(folder) / f"{run}.wav")
            for stage, seconds in spent.items() if run else ():  # the first run warms up
                stages[stage].append(seconds)
        sound = model.format.seconds(model.format.width)
    total = statistics.median(stages["total"])
    for stage, seconds in stages.items():
        print(f"{stage:7}{statistics.median(seconds):6.2f} s")
    print(f"prompt → {sound:.2f} s WAV: {total:.2f} s, real-time factor {total / sound:.2f}")
    print(f"peak memory {peak_megabytes():.0f} MB")


def run_once(model: Any, settings: Any, generate: Callable[..., Any], path: Path) -> dict[str, float]:
    """Seconds by stage of one prompt → WAV."""
    import sonopaint.models.prompt
    import sonopaint.tasks.generation
    from sonoconvert.files.clip import write_clip

    spent: dict[str, float] = defaultdict(float)
    places = [
        (sonopaint.models.prompt, "encode_prompt", "text"),
        (model.unet, "forward", "U-Net"),
        (model.vae, "decode", "VAE"),
        (sonopaint.tasks.generation, "decode", "phase"),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    for owner, name, stage in places:
        setattr(owner, name, timed(getattr(owner, name), spent, stage))
    try:
        begin = time.perf_counter()
        (result,) = generate(model, settings)
        write_begin = time.perf_counter()
        write_clip(result.clip, path)
        end = time.perf_counter()
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)
    return {**spent, "write": end - write_begin, "total": end - begin}


def timed(function: Callable[..., Any], spent: dict[str, float], stage: str) -> Callable[..., Any]:
    """The function, adding the seconds that it takes to ``spent[stage]``."""

    def measure(*args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[stage] += time.perf_counter() - begin

    return measure


def random_model(folder: Path) -> Path:
    """Mini's architecture with random weights."""
    from sonopaint.models.mini import build_mini, mini_config, save_mini
    from sonopaint.models.tokenizer import load_tokenizer, train_tokenizer

    size = train_tokenizer(["a dog barking in the rain"], folder / "tokenizer", 600)
    save_mini(folder, *build_mini(mini_config(vocab_size=size)), load_tokenizer(folder / "tokenizer"), {})
    return folder


def peak_megabytes() -> float:
    """Peak resident memory of this process (Linux counts in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    main()
