"""`sonotrain bench subject`: paints, listens or looks, and writes the report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from sonoconvert.errors import SonopaintError
from sonotrain.evaluation.hearing import Progress
from sonotrain.evaluation.subject.folders import Subject, find_subjects
from sonotrain.evaluation.subject.methods import BASE, Method, Weights, find_weights, read_methods
from sonotrain.evaluation.subject.painting import Painted, Sampling, Shot, paint_all, shots
from sonotrain.evaluation.subject.prompts import SEEDS
from sonotrain.evaluation.subject.report import Cells, write_reports

logger = logging.getLogger(__name__)

REAL = "held-out clips"  # the row of what nobody painted
PROMPTS = 25
SMOKE_PROMPTS, SMOKE_SEEDS, SMOKE_STEPS = (5, 22), 2, 4


@dataclass(frozen=True)
class Request:
    """What `sonotrain bench subject` was asked for.

    subjects, noun, only: see folders.find_subjects; methods: NAME=PATH; prompts: numbers from 1 to 25, none =
    all; seeds: how many, from 0; base: whether the model itself is a row; smoke: two prompts, two seeds and
    four steps, to see that everything runs.
    """

    subjects: str
    methods: tuple[str, ...] = ()
    noun: str = ""
    only: tuple[str, ...] = ()
    token: str = "prt"
    model: str = "mini"
    base: bool = False
    prompts: tuple[int, ...] = ()
    seeds: int = SEEDS
    sampling: Sampling = field(default_factory=Sampling)
    embedding: str = "auto"
    weights: str = ""
    clap: str = ""
    dino: str = ""
    clip: str = ""
    alexnet: str = ""
    lpips: str = ""
    out: str = "runs/bench-subject"
    cache: str = "runs/embeddings"
    device: str = "auto"
    smoke: bool = False


class Judge(Protocol):
    """Turns files into the figures of a cell."""

    def about(self) -> str: ...

    def measure(
        self, subject: Subject, shots: Sequence[Shot], files: Sequence[Path], nouns: Sequence[str] = ()
    ) -> dict[str, Any]: ...

    def real(self, subject: Subject) -> dict[str, Any]: ...


def run(request: Request, progress: Progress | None = None) -> dict[str, Any]:
    """Fills every cell and writes results.json, .md, .png, .html and a contact sheet for each subject.

    Called again it goes on where it was stopped. Raises SonopaintError with one sentence for whatever is
    missing or does not fit, before anything is painted.
    """
    from sonotrain.training.compute import choose_device

    subjects = find_subjects(request.subjects, request.noun, request.only)
    methods = read_methods(request.methods) + (
        [Method(BASE, request.model, token=False)] if request.base else []
    )
    if not methods:
        raise SonopaintError("Give at least one --methods NAME=PATH, or --base for the model itself.")
    templates, seeds, sampling = _reduced(request)
    weights = {
        (method.name, subject.name): find_weights(method, subject.name, request.model)
        for method in methods
        for subject in subjects
    }
    device = choose_device(request.device)
    judge = judge_for(request, subjects[0].sounds, device)
    out, cells = Path(request.out), Cells()
    painted: dict[tuple[str, str], list[Path]] = {}
    for subject in subjects:
        if subject.held_out:
            cells[REAL, subject.name] = judge.real(subject)
    for method in methods:
        for subject in subjects:
            key = method.name, subject.name
            wanted = shots(subject, templates, seeds, request.token if method.token else "")
            made = paint_all(
                wanted,
                weights[key],
                out / "made" / method.name / subject.name,
                sampling,
                sounds=subject.sounds,
                device=device,
                progress=progress,
            )
            nouns = [shot.text for shot in shots(subject, templates, seeds, "")]
            cells[key] = judge.measure(subject, wanted, made.files, nouns) | _cost(made, weights[key])
            painted[key] = made.files
            logger.info("%s, %s: identity %.3f", method.name, subject.name, cells[key]["identity"])
        result = _write(
            request, subjects, cells, painted, judge, weights
        )  # what there is, should it be stopped
    return result


def judge_for(request: Request, sounds: bool, device: torch.device) -> Judge:
    """The judge of sounds, or that of pictures."""
    if sounds:
        from sonotrain.evaluation.subject.sounds import SoundJudge

        return SoundJudge(
            request.embedding, request.weights, request.clap, cache=request.cache, device=device
        )
    from sonotrain.evaluation.subject.pictures import PictureJudge

    return PictureJudge(request.dino, request.clip, request.alexnet, request.lpips, device=str(device))


def _reduced(request: Request) -> tuple[list[int], list[int], Sampling]:
    """(templates, seeds, sampling), checked; few where only a smoke test is wanted."""
    if bad := [number for number in request.prompts if not 1 <= number <= PROMPTS]:
        raise SonopaintError(f"--prompts are numbers from 1 to {PROMPTS}, not {bad[0]}.")
    if not 1 <= request.seeds <= 1000:
        raise SonopaintError(f"--seeds must be from 1 to 1000, not {request.seeds}.")
    if request.smoke:
        quick = Sampling(
            SMOKE_STEPS, request.sampling.guidance, request.sampling.sampler, request.sampling.size
        )
        return list(SMOKE_PROMPTS), list(range(SMOKE_SEEDS)), quick
    chosen = sorted(set(request.prompts)) or list(range(1, PROMPTS + 1))
    return chosen, list(range(request.seeds)), request.sampling


def _cost(made: Painted, weights: Weights) -> dict[str, Any]:
    return {
        "nfe": made.nfe,
        "seconds": made.seconds,
        "minutes": weights.minutes,
        "memory_mb": weights.memory_mb,
    }


def _write(
    request: Request,
    subjects: Sequence[Subject],
    cells: Cells,
    painted: dict[tuple[str, str], list[Path]],
    judge: Judge,
    weights: dict[tuple[str, str], Weights],
) -> dict[str, Any]:
    templates, seeds, sampling = _reduced(request)
    facts = {
        "judge": judge.about(),
        "token": request.token,
        "classes": {subject.name: subject.noun for subject in subjects},
        "references": {subject.name: len(subject.references) for subject in subjects},
        "templates": {number: subjects[0].templates[number - 1].text for number in templates},
        "seeds": seeds,
        "sampling": asdict(sampling),
        "weights": {f"{method}/{subject}": found.about() for (method, subject), found in weights.items()},
        "torch": torch.__version__,
    }
    references = {subject.name: list(subject.references) for subject in subjects}
    return write_reports(Path(request.out), cells, facts, painted, references, sounds=subjects[0].sounds)
