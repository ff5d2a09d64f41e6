"""Does a LoRA learn a new sound? Trains one on 20 clips of a kind that Mini doesn't know, and judges it.

    python benchmarks/lora_new_sound.py --kind power_up --out runs/new-sound [--lora OPTIONS …]

Writes the clips as a folder of WAVs, runs `sonotrain lora` on it (timed), paints clips with and without the
LoRA, and lets the shipped classifier (68 kinds) say what it hears:

* prompted with the trigger, with the LoRA and without it: share that is taken for the kind;
* prompted with other kinds' captions, with and without: share that is taken for what was asked for.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from sonoconvert.files.clip import Clip, write_clip
from sonopaint.models.loading import load_model
from sonotrain.data import foley
from sonotrain.data.foley import phrases as words
from sonotrain.trainers.mini.sound_classifier import load_classifier
from sonotrain.training.painting import paint, to_sound


def write_sounds(folder: Path, kind: str, clips: int, seed: int) -> None:
    """`clips` recordings of one kind, as a hobbyist would have them."""
    folder.mkdir(parents=True, exist_ok=True)
    made = foley.batch(clips, seed, [kind], relations=[("single", 1.0)])
    for number, waveform in enumerate(made.waveforms, 1):
        path = folder / f"recording {number:02d}.wav"  # captions are made of names: this one tells nothing
        if not path.exists():
            write_clip(Clip(waveform[None], foley.SAMPLE_RATE), path)


def heard(model: Any, prompts: list[str], classifier: Any, seed: int) -> list[str]:
    """What the classifier takes each prompt's clip for."""
    levels = paint(model, prompts, seed=seed)
    logits, _ = classifier.judge(to_sound(levels, iterations=16))
    return [classifier.kinds[index] for index in logits.argmax(1).tolist()]


def share(answers: list[str], wanted: list[str]) -> float:
    return sum(a == w for a, w in zip(answers, wanted, strict=True)) / len(wanted)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=foley.HELD_OUT, default="power_up")
    parser.add_argument("--trigger", default="zorblat", help="a word without a meaning")
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--judged", type=int, default=40, help="clips prompted with the trigger")
    parser.add_argument("--others", type=int, default=2, help="clips of each of the 52 kinds that Mini knows")
    parser.add_argument("--seed", type=int, default=777, help="of the clips to learn from")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--only", choices=("train",), help="train and do not judge")
    parser.add_argument("--out", type=Path, default=Path("runs/new-sound"))
    parser.add_argument(
        "--lora", nargs=argparse.REMAINDER, default=[], help="further options of sonotrain lora"
    )
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    sounds, run = given.out / "sounds", given.out / "run"
    write_sounds(sounds, given.kind, given.clips, given.seed)
    command = [sys.executable, "-m", "sonotrain", "lora", "--dataset", str(sounds), "--model", given.model]
    command += ["--trigger", given.trigger, "--name", given.kind, "--out", str(run), "--device", "cpu"]
    command += ["--threads", str(given.threads), *given.lora]
    start = time.monotonic()
    if not (run / "lora.json").exists():
        subprocess.run(command, check=True)
    minutes = (time.monotonic() - start) / 60
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = (spent.ru_utime + spent.ru_stime) / 60  # what it costs when other programs run, too
    if given.only:
        print(f"trained in {minutes:.1f} minutes", flush=True)
        return 0
    result: dict[str, Any] = {"kind": given.kind, "minutes": round(minutes, 1), "threads": given.threads}
    result["processor_minutes"] = round(processor, 1)

    classifier, _ = load_classifier()
    rng = random.Random(99)
    kinds = [k for k in foley.BASE_KINDS for _ in range(given.others)]
    asked = [words.phrasings([k], "single", [], rng, 1)[0] for k in kinds]
    triggers = [given.trigger] * given.judged
    for name in ("without", "with"):
        judged = given.out / f"{name}.json"  # found again when a long measurement broke off
        if not judged.exists():
            loras = [(run / f"{given.kind}.safetensors", 1.0)] if name == "with" else []
            model = load_model(given.model, device="cpu", loras=loras)
            found = {"trigger": heard(model, triggers, classifier, seed=11)}
            found["others"] = heard(model, asked, classifier, seed=12) if asked else []
            judged.write_text(json.dumps(found), encoding="utf-8")
        answers, others = json.loads(judged.read_text(encoding="utf-8")).values()
        result[f"trigger_{name}"] = share(answers, [given.kind] * len(answers))
        result[f"taken_for_{name}"] = dict(Counter(answers).most_common(4))
        if others:
            result[f"others_{name}"] = share(others, kinds)
            result[f"others_taken_for_kind_{name}"] = others.count(given.kind) / len(others)
        print(json.dumps(result), flush=True)
    (given.out / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
