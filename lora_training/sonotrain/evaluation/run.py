"""`sonotrain evaluate`: from folders and options to one report."""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import sound_header
from sonotrain.evaluation.compare import Measures, clap_score, compare, describe
from sonotrain.evaluation.embeddings import Clap, Embedding, load_clap, load_embedding
from sonotrain.evaluation.generation import Plan, generate_all
from sonotrain.evaluation.hearing import Heard, Progress, hear
from sonotrain.evaluation.plots import save_confusion
from sonotrain.evaluation.sets import Caption, Sound, read_captions, read_set, with_captions
from sonotrain.evaluation.tables import write_report
from sonotrain.files.options import option

logger = logging.getLogger(__name__)
DISTANCES = ("jtfs", "mss")  # evaluation.distances, loaded where it is asked for


@dataclass(frozen=True)
class EvaluateOptions:
    """What `sonotrain evaluate` was asked for. generated: a folder of sounds, or "" where `plan` paints."""

    generated: str = ""
    reference: str = option("", "folder of real sounds, or a dataset")
    captions: str = option("", ".jsonl, .json or .csv with names and captions, or a dataset")
    embeddings: tuple[str, ...] = option(
        ("auto",),
        "panns, vggish, clap, classifier, or several with commas (default: panns where its weights are, "
        "else the corpus classifier)",
        name="--embedding",
        commas=True,
    )
    weights: str = option("", "the embedding's file (default: looked for in models/evaluation)")
    clap: str = option("", "a CLAP folder, for the CLAP score beside another embedding")
    distances: tuple[str, ...] = option(
        (), "jtfs, mss or both with commas: also how far each clip is from its partner", commas=True
    )
    split: str = option("", "train, validation, test or all of a dataset (default: test)")
    seconds: float = option(10.0, "heard of each clip")
    limit: int = option(0, "paint so many captions, chosen at random (default: all)")
    out: str = option("runs/evaluate", "folder for the report")
    cache: str = option("runs/embeddings", "folder for what was heard")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 …")
    measures: Measures = field(default_factory=Measures)
    plan: Plan | None = None


def run(request: EvaluateOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Paints where asked, listens, measures; writes evaluation.json and .md into `out`; returns the report.

    Raises SonopaintError with one sentence for whatever is missing or does not fit.
    """
    from sonotrain.training.compute import choose_device

    _check(request)
    device = choose_device(request.device)
    # Loaded before anything is painted: a missing file should not cost an hour first.
    names = dict.fromkeys(request.embeddings or ("auto",))
    embeddings = [load_embedding(name, request.weights, device) for name in names]
    clap = next((e for e in embeddings if isinstance(e, Clap)), None)
    if clap is None and request.clap:
        clap = load_clap(request.clap, device)
    reference = read_set(request.reference, request.split) if request.reference else []
    captions = read_captions(request.captions, request.split) if request.captions else []
    generated = _generated(request, captions, reference, progress)
    if captions and request.plan is None:
        generated = with_captions(generated, captions, request.captions)
    if captions:  # so that both sides go by the captions' names, whatever the files are called
        reference = with_captions(reference, captions, request.captions, strict=False)
    parts: list[dict[str, Any]] = []
    for embedding in embeddings:
        ours = _hear(generated, embedding, request, progress)
        theirs = _hear(reference, embedding, request, progress) if reference else None
        part = compare(ours, theirs, embedding, seconds=request.seconds, measures=request.measures)
        if embedding is clap:
            part["figures"] += _clap_figures(ours, clap, request)
        if request.distances and theirs and not parts:
            _add_distances(part, ours, theirs, request)
        parts.append(part)
    if clap is not None and clap not in embeddings:
        ours = _hear(generated, clap, request, progress)
        figures = _clap_figures(ours, clap, request)
        parts.append(_part(clap, figures, parts[0], request))
    report = {
        "generated": str(request.generated or Path(request.out) / "sounds"),
        "reference": request.reference or None,
        "parts": parts,
        "labels": _labels(parts),
        "generation": sound_header(generated[0].path).settings if request.plan else None,
        "warnings": list(dict.fromkeys(text for part in parts for text in part["warnings"])),
        "options": dataclasses.asdict(request),
        "environment": {"torch": torch.__version__, "device": str(device)},
    }
    write_report(report, Path(request.out))
    confusion = next((part["confusion"] for part in parts if part["confusion"]), None)
    if confusion:
        save_confusion(confusion, Path(request.out) / "confusion.png", "What was heard")
    return report


def _add_distances(part: dict[str, Any], ours: Heard, theirs: Heard, request: EvaluateOptions) -> None:
    """Distances of partners, by no network, go into the first part."""
    from sonotrain.evaluation.distances import distance_figures

    figures = distance_figures(ours.sounds, theirs.sounds, request.distances, request.seconds)
    part["figures"] += [dataclasses.asdict(figure) for figure in figures]
    if not figures:
        part["warnings"].append(
            "No clip has a partner by file name or caption, so there are no JTFS or MSS distances."
        )


def _check(request: EvaluateOptions) -> None:
    if bool(request.generated) == bool(request.plan):
        raise SonopaintError(
            f"Give either a folder of generated sounds, or {setting('model')} to generate them."
        )
    if request.plan and not (request.captions or request.reference):
        raise SonopaintError(
            f"{setting('model')} needs {setting('captions')}, or a {setting('reference')} that has captions."
        )
    if not (request.reference or request.captions):
        raise SonopaintError(
            f"Give {setting('reference')} (a folder of real sounds) or {setting('captions')}, or both."
        )
    if not 0.1 <= request.seconds <= 600:
        raise SonopaintError(f"{setting('seconds')} must be from 0.1 to 600, not {request.seconds:g}.")
    if request.weights and len(request.embeddings) != 1:
        raise SonopaintError(
            f"{setting('weights')} belongs to one {setting('embedding')}; name only that one."
        )
    wrong = [kind for kind in request.distances if kind not in DISTANCES]
    if wrong or (request.distances and not request.reference):
        raise SonopaintError(
            f"{setting('distances')} {wrong[0]} is none; choose {' or '.join(DISTANCES)}."
            if wrong
            else f"{setting('distances')} are measured from partners; give {setting('reference')}."
        )
    if request.measures.resamples < 0 or request.measures.splits < 1 or request.limit < 0:
        raise SonopaintError(
            f"{setting('resamples')} and {setting('limit')} must be at least 0 and {setting('splits')} at "
            "least 1."
        )
    if request.generated and request.reference:
        if Path(request.generated).resolve() == Path(request.reference).resolve():
            raise SonopaintError("The generated sounds and the reference are the same folder.")


def _generated(
    request: EvaluateOptions,
    captions: Sequence[Caption],
    reference: Sequence[Sound],
    progress: Progress | None,
) -> list[Sound]:
    if request.plan is None:
        return read_set(request.generated, request.split if not request.reference else "")
    wanted = list(captions)
    if not wanted:
        wanted = [Caption(sound.key, sound.texts, sound.label) for sound in reference if sound.texts]
    if not wanted:
        raise SonopaintError(f"{request.reference} has no captions to paint; give {setting('captions')}.")
    if request.limit and request.limit < len(wanted):
        chosen = random.Random(request.plan.seed).sample(range(len(wanted)), request.limit)
        wanted = [wanted[index] for index in sorted(chosen)]
    if len(wanted) < 2:
        raise SonopaintError("One caption is too few to measure anything; give at least two.")
    folder = generate_all(
        wanted, Path(request.out) / "sounds", request.plan, device=request.device, progress=progress
    )
    return read_set(folder)


def _hear(
    sounds: Sequence[Sound], embedding: Embedding, request: EvaluateOptions, progress: Progress | None
) -> Heard:
    return hear(sounds, embedding, cache=request.cache, seconds=request.seconds, progress=progress)


def _clap_figures(heard: Heard, clap: Clap, request: EvaluateOptions) -> list[dict[str, Any]]:
    rows = [index for index, sound in enumerate(heard.sounds) if sound.texts]
    if not rows:
        logger.warning(
            "No generated clip has a caption, so there is no CLAP score; give %s.", setting("captions")
        )
        return []
    texts = clap.texts([heard.sounds[index].texts[0] for index in rows])
    recipe = f"{clap.title} {clap.hash}, {clap.sample_rate / 1000:g} kHz mono by soxr HQ"
    return [dataclasses.asdict(clap_score(heard.clips[rows], texts, recipe))]


def _part(
    clap: Clap, figures: list[dict[str, Any]], first: dict[str, Any], request: EvaluateOptions
) -> dict[str, Any]:
    """CLAP's part where only its score was asked for."""
    empty: dict[str, Any] = {"labels": {}, "confusion": {}, "nearest": [], "warnings": []}
    sides = {name: first[name] for name in ("generated", "reference")}
    return {"embedding": describe(clap, request.seconds), **sides, "figures": figures, **empty}


def _labels(parts: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The first embedding's rows, and from whichever names kinds what it found."""
    table: dict[str, dict[str, Any]] = {}
    for part in reversed(parts):
        for label, row in part["labels"].items():
            table[label] = table.get(label, {}) | row
    return {label: table[label] for label in sorted(table)}
