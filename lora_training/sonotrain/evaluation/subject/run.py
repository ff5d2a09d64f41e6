"""`sonotrain bench subject`: paints, listens or looks, and writes the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from sonoconvert.errors import SonopaintError, setting
from sonotrain.evaluation.bench.bench import Bench, run_bench
from sonotrain.evaluation.bench.nouns import BASE, Judge
from sonotrain.evaluation.hearing import Progress
from sonotrain.evaluation.subject.folders import find_subjects
from sonotrain.evaluation.subject.methods import Method, read_methods
from sonotrain.evaluation.subject.painting import Painting, Sampling
from sonotrain.evaluation.subject.prompts import SEEDS
from sonotrain.files.options import option

PROMPTS = 25
SMOKE_PROMPTS, SMOKE_SEEDS, SMOKE_STEPS = (5, 22), 2, 4


@dataclass(frozen=True)
class SubjectBenchOptions:
    """What `sonotrain bench subject` was asked for; subjects, noun, only: see folders.find_subjects."""

    subjects: str
    methods: tuple[str, ...] = option((), "run folders, LoRAs or models", metavar="NAME=PATH")
    base: bool = option(False, "also the model itself, asked for the class without the token")
    noun: str = option("", "class noun, where no subject.json says it", name="--class")
    only: tuple[str, ...] = option((), "only these subjects, with commas between", commas=True)
    token: str = option("prt", "the rare token")
    model: str = option("mini", "what LoRAs go on")
    prompts: tuple[int, ...] = option((), "numbers from 1 to 25 (default: all)", of=int, metavar="N")
    seeds: int = option(SEEDS, "seeds of each prompt, from 0")
    smoke: bool = option(False, "two prompts, two seeds, four steps: does everything run?")
    out: str = option("runs/bench-subject", "folder for the report")
    cache: str = option("runs/embeddings", "folder for what was heard")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 …")
    embedding: str = option("auto", "panns, vggish, clap or classifier (default: as evaluate)")
    weights: str = option("", "the embedding's file (default: looked for in models/evaluation)")
    clap: str = option("", "a CLAP folder, for the agreement of sound and words")
    dino: str = option("", "pictures: a DINO folder")
    clip: str = option("", "pictures: a CLIP folder")
    alexnet: str = option("", "pictures: AlexNet's weights, for LPIPS")
    lpips: str = option("", "pictures: LPIPS's linear layers")
    sampling: Sampling = field(default_factory=Sampling)


def run(request: SubjectBenchOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Benches every method with every subject (see bench.run_bench); returns results.json.

    Raises SonopaintError with one sentence for whatever is missing or does not fit, before anything is
    painted.
    """
    from sonotrain.training.compute import choose_device

    subjects = find_subjects(request.subjects, request.noun, request.only)
    methods = read_methods(request.methods)
    methods += [Method(BASE, request.model, token=False)] if request.base else []
    if not methods:
        raise SonopaintError(
            f"Give at least one {setting('methods')} NAME=PATH, or {setting('base')} for the model itself."
        )
    prompts, seeds, sampling = _reduced(request)
    device = choose_device(request.device)
    told: dict[str, Any] = {"base": request.model, "token": request.token, "sampling": sampling}
    told |= {"prompts": prompts, "seeds": seeds, "device": device}
    painting = [Painting(method, subjects, **told) for method in methods]
    bench = Bench(
        subjects,
        painting,
        judge_for(request, subjects[0].sounds, device),
        Path(request.out),
        title=f"{len(subjects)} subjects × {len(prompts)} prompts × {len(seeds)} seeds",
        facts={
            "token": request.token,
            "classes": {subject.name: subject.noun for subject in subjects},
            "references": {subject.name: len(subject.files) for subject in subjects},
            "templates": {number: subjects[0].templates[number - 1].text for number in prompts},
            "seeds": seeds,
            "sampling": asdict(sampling),
            "weights": {
                f"{one.name}/{name}": weights.about()
                for one in painting
                for name, weights in one.weights.items()
            },
            "torch": torch.__version__,
        },
        note=f"Models of many steps: {sampling.steps} steps of {sampling.sampler}, guidance "
        f"{sampling.guidance or 'their own'}. What each figure means: docs/subject_bench.md.",
    )
    return run_bench(bench, progress)


def judge_for(request: SubjectBenchOptions, sounds: bool, device: torch.device) -> Judge:
    """The judge of sounds, or that of pictures."""
    if sounds:
        from sonotrain.evaluation.subject.sounds import SoundJudge

        return SoundJudge(
            request.embedding, request.weights, request.clap, cache=request.cache, device=device
        )
    from sonotrain.evaluation.subject.pictures import PictureJudge

    return PictureJudge(request.dino, request.clip, request.alexnet, request.lpips, device=str(device))


def _reduced(request: SubjectBenchOptions) -> tuple[list[int], list[int], Sampling]:
    """(templates, seeds, sampling), checked; few where only a smoke test is wanted."""
    if bad := [number for number in request.prompts if not 1 <= number <= PROMPTS]:
        raise SonopaintError(f"{setting('prompts')} are numbers from 1 to {PROMPTS}, not {bad[0]}.")
    if not 1 <= request.seeds <= 1000:
        raise SonopaintError(f"{setting('seeds')} must be from 1 to 1000, not {request.seeds}.")
    if request.smoke:
        quick = replace(request.sampling, steps=SMOKE_STEPS)
        return list(SMOKE_PROMPTS), list(range(SMOKE_SEEDS)), quick
    chosen = sorted(set(request.prompts)) or list(range(1, PROMPTS + 1))
    return chosen, list(range(request.seeds)), request.sampling
