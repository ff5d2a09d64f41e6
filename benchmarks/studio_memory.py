"""Studio's memory over many jobs and model changes: whether it stays flat.

Generates through Studio's own queue with tiny models of random weights, at changing lengths, batches and
steps, and changes the model between them. Prints the resident memory as it goes.

Run: python benchmarks/studio_memory.py [--generates 200] [--changes 50] [--thread-per-job]

--thread-per-job: as Studio did before its queue: each job in a thread of its own, nothing given back.
"""

from __future__ import annotations

import argparse
import gc
import logging
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

LENGTHS_S = (0.5, 0.8, 1.3, 2.1, 3.4)
MODELS = ("one", "two")


def save_tiny(folder: Path, seed: int) -> None:
    """A Mini with the smallest possible random weights."""
    from sonopaint.models.mini import build_mini, mini_config, save_mini
    from sonopaint.models.tokenizer import load_tokenizer, train_tokenizer

    with tempfile.TemporaryDirectory() as words:
        config = mini_config(train_tokenizer(["a dog barking in the rain"], Path(words), 560))
        config["unet"]["block_out_channels"] = [32, 32, 32]
        config["vae"]["block_out_channels"] = [32, 32, 32, 32]
        config["text_encoder"]["num_hidden_layers"] = 1
        torch.manual_seed(seed)
        save_mini(folder, *build_mini(config), load_tokenizer(Path(words)), defaults={"steps": 2})


def megabytes() -> float:
    from sonopaint_studio.memory import used_bytes

    return used_bytes() / 2**20


def thread_per_job(context: Any) -> None:
    """Jobs as before the queue: a new thread for each, and nothing is given back between models."""
    import sonopaint_studio.model_store

    queue, run = context.queue, context.queue._run

    def in_a_thread(job: Any) -> Any:
        ends: list[Any] = []
        thread = threading.Thread(target=lambda: ends.append(run(job)))
        thread.start()
        thread.join()
        return ends[0]

    queue._run = in_a_thread
    sonopaint_studio.model_store.give_back_memory = lambda: None


def measure(root: Path, generates: int, changes: int, *, former: bool) -> list[float]:
    """Megabytes after each tenth of the jobs."""
    from sonopaint_studio.context import Context
    from sonopaint_studio.generate_tab import GenerateTab
    from sonopaint_studio.library import Library
    from sonopaint_studio.session import Sessions

    context = Context(sessions=Sessions(root / "studio"), library=Library(root / "library"))
    if former:
        thread_per_job(context)
    page, request = GenerateTab(context), SimpleNamespace(session_hash="a")
    paths = [str(info.path) for info in context.store.models() if info.name in MODELS]
    every, tenth, told, model = max(1, generates // max(1, changes)), max(1, generates // 10), [], 0
    for number in range(generates):
        model += number % every == 0
        bar = (paths[model % len(paths)], "", "", "", 1.0, 1.0, 1.0)
        sound = (f"sound {number}", "", LENGTHS_S[number % len(LENGTHS_S)], 1 + number % 2, "full", -23)
        knobs = (number, False, 1 + number % 2, 3.0, "euler")
        last = list(page.generate(request, *bar, *sound, *knobs, "", True))[-1]
        if "sp-error" in str(last[0]):
            raise SystemExit(last[0])
        if (number + 1) % tenth == 0:
            told.append(megabytes())
            objects = len(gc.get_objects())
            print(
                f"{number + 1:5d} sounds, {model:3d} models: {told[-1]:7.0f} MB, {objects:8d} objects",
                flush=True,
            )
    context.store.free()
    print(f"given back: {megabytes():.0f} MB")
    context.close()
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--generates", type=int, default=200)
    parser.add_argument("--changes", type=int, default=50)
    parser.add_argument("--thread-per-job", action="store_true")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        import os

        os.environ["SONOPAINT_MODELS"] = str(Path(folder) / "models")
        for seed, name in enumerate(MODELS):
            save_tiny(Path(folder) / "models" / name, seed)
        print(f"begins with {megabytes():.0f} MB")
        told = measure(Path(folder), args.generates, args.changes, former=args.thread_per_job)
    half = told[len(told) // 2 :]
    print(f"second half: {half[0]:.0f} MB to {half[-1]:.0f} MB, at most {max(half):.0f} MB")


if __name__ == "__main__":
    main()
