"""Judges a model as sound: top-1 of the classifier, Fréchet distance, two events in order and at once."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import write_text
from sonotrain.data.words import FRAMES
from sonotrain.evaluation import metrics
from sonotrain.evaluation.base.mixtures import at_once, in_order, judge_of_mixtures
from sonotrain.evaluation.compare import by_label
from sonotrain.evaluation.embeddings.base import Embedding
from sonotrain.evaluation.embeddings.corpus import load_corpus_classifier
from sonotrain.evaluation.frechet import distance_of
from sonotrain.evaluation.hearing import Heard, hear_waveforms
from sonotrain.evaluation.plots import save_confusion
from sonotrain.files.json_files import write_json
from sonotrain.files.options import option
from sonotrain.files.pace import Pace
from sonotrain.training.painting import paint, to_sound

logger = logging.getLogger(__name__)

BATCH = 24  # clips painted between two lines of progress


@dataclass(frozen=True)
class Evaluation:
    """What to judge, and how much of it."""

    model: str = option("weights/mini", "model folder, file or name")
    lora: str = option("", "a LoRA on it, a one-step student's for example")
    classifier: str = option("", "classifier file (default: the shipped one)")
    per_kind: int = option(10, "clips of each kind")
    sequences: int = option(40, "clips of two events in turn")
    mixtures: int = option(40, "clips of two events at once")
    reference: int = option(20, "held-out corpus clips of each kind that the Fréchet distance compares with")
    kinds: tuple[str, ...] = option((), "only these kinds, with commas between", commas=True)
    seed: int = option(5000, "seed of captions and noise")
    steps: int = option(0, "sampling steps (default: the model's)")
    guidance_scale: float = option(0.0, "guidance scale (default: the model's)", name="--guidance")
    sampler: str = option("", "sampler (default: the model's)")


def evaluate(plan: Evaluation, device: str = "auto") -> dict[str, Any]:
    """All measurements as a JSON-able dict; the same on every run with the same plan and device."""
    from sonopaint.models.loading import load_model
    from sonotrain.data import foley
    from sonotrain.training.compute import choose_device

    kinds = list(plan.kinds or foley.BASE_KINDS)
    check_kinds(kinds)
    if plan.per_kind < 2 or plan.reference < 2:
        raise SonopaintError(
            f"A Fréchet distance needs {setting('per_kind')} and {setting('reference')} of at least 2."
        )
    pace = Pace()
    judge = load_corpus_classifier(plan.classifier)
    if strange := sorted(set(kinds) - set(judge.kinds)):
        raise SonopaintError(f"The classifier does not know {strange[0]!r}; train one on a newer corpus.")
    loras = [(plan.lora, 1.0)] if plan.lora else []
    model = load_model(plan.model, device=choose_device(device), dtype=torch.float32, loras=loras)
    settings = sampling(model, plan)
    labels = [kind for kind in kinds for _ in range(plan.per_kind)]
    logger.info("synthesising %d real clips", len(kinds) * (plan.per_kind + plan.reference))
    real, captions = real_clips(judge, kinds, plan.per_kind, plan.seed)
    reference, _ = real_clips(judge, kinds, plan.reference, plan.seed + 1)
    logger.info("painting %d clips with %s", len(labels), settings)
    made = hear_waveforms(_painted(model, captions, labels, plan.seed, settings), judge)
    rows, best = by_label(made, reference, judge), by_label(real, reference, judge)
    table = {
        kind: {
            "top1": rows[kind]["found"],
            "real_top1": best[kind]["found"],
            "frechet": rows[kind]["frechet"],
            "floor": best[kind]["frechet"],
            "taken_for": rows[kind]["taken_for"],
        }
        for kind in kinds
    }
    return {
        "model": plan.model,
        "lora": plan.lora,
        "clips": len(labels),
        "kinds": len(kinds),
        "per_kind": plan.per_kind,
        "seed": plan.seed,
        **settings,
        "top1": metrics.top1(guesses(made, judge), labels),
        "real_top1": metrics.top1(guesses(real, judge), labels),
        "frechet": distance_of(made.clips, reference.clips),
        "floor": distance_of(real.clips, reference.clips),
        **in_order(model, judge.model, kinds, plan.sequences, plan.seed, settings),
        "at_once": at_once(
            model, judge_of_mixtures(plan.classifier), kinds, plan.mixtures, plan.seed, settings
        ),
        "classifier": judge.metrics,
        "seconds": pace.seconds,
        "table": table,
        "captions": captions,
        "guesses": guesses(made, judge),
        "labels": labels,
    }


def guesses(heard: Heard, judge: Embedding) -> list[str]:
    """The most probable kind of each clip."""
    assert heard.logits is not None
    return metrics.guesses(heard.logits, judge.kinds)


def evaluate_and_report(
    plan: Evaluation, out: str | Path, device: str = "auto", *, card: bool = False
) -> str:
    """Evaluates and writes evaluation.json, evaluation.md and confusion.png into `out`; returns the Markdown.

    `card` also puts the table into the model folder's README.md.
    """
    from sonotrain.trainers.mini.export import quote_evaluation

    readme = Path(plan.model) / "README.md"
    if card and not readme.is_file():
        raise SonopaintError(
            f"{plan.model} has no README.md to put the evaluation into; leave {setting('card')} away."
        )
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    result = evaluate(plan, device)
    table = as_markdown(result)
    write_json(folder / "evaluation.json", result)
    write_text(folder / "evaluation.md", table, force=True)
    heard = metrics.confusion(result["guesses"], result["labels"])
    save_confusion(heard, folder / "confusion.png", f"Top-1 {result['top1']:.1%}")
    if card:
        quote_evaluation(readme, table)
    return table


def sampling(model: Any, plan: Evaluation) -> dict[str, Any]:
    """Steps, guidance scale and sampler: the plan's, else the model's; a one-step model has no choice."""
    if model.one_step is not None:
        return {"steps": 1, "guidance_scale": 1.0, "sampler": "one_step"}
    return {
        "steps": plan.steps or model.defaults["steps"],
        "guidance_scale": plan.guidance_scale or model.defaults["guidance_scale"],
        "sampler": plan.sampler or model.defaults["sampler"],
    }


def check_kinds(kinds: Sequence[str]) -> None:
    """Raises SonopaintError for what is no kind of the corpus."""
    from sonotrain.data import foley

    if unknown := sorted(set(kinds) - set(foley.KINDS)):
        raise SonopaintError(
            f"{unknown[0]!r} is not a kind of the corpus; choose from {', '.join(foley.KINDS)}."
        )


def real_clips(judge: Embedding, kinds: Sequence[str], count: int, seed: int) -> tuple[Heard, list[str]]:
    """`count` corpus clips of each kind with a seed of their own, heard, and an unseen caption for each."""
    from sonotrain.data import foley
    from sonotrain.data.foley import phrases

    rng, said = random.Random(seed), []

    def clips() -> Iterator[tuple[Tensor, list[str]]]:
        for kind in kinds:
            made = foley.batch(count, rng.randrange(1 << 31), [kind], relations=[("single", 1.0)])
            yield made.waveforms, [kind] * count
            for attributes in made.attributes:
                text = phrases.single(foley.KINDS[kind], attributes, rng)
                said.append(rng.choice(FRAMES).format(text))

    return hear_waveforms(clips(), judge), said


def _painted(
    model: Any, captions: Sequence[str], labels: Sequence[str], seed: int, settings: dict[str, Any]
) -> Iterator[tuple[Tensor, Sequence[str]]]:
    """The model's clips as sound, and what they ought to be."""
    pace = Pace()
    for first in range(0, len(captions), BATCH):
        chosen = slice(first, first + BATCH)
        pictures = paint(model, captions[chosen], seed=seed + 7919 * (first + 1), **settings)
        yield to_sound(pictures), labels[chosen]
        done = min(first + BATCH, len(captions))
        left = pace.left(done, len(captions) - done)
        logger.info("%d of %d clips, %s left", done, len(captions), left)


def as_markdown(result: dict[str, Any]) -> str:
    """The result as the table that model cards quote."""
    lines = [
        f"{result['clips']} clips of {result['kinds']} kinds for unseen captions "
        f"({result['sampler']}, {result['steps']} steps, guidance {result['guidance_scale']:g}, "
        f"seed {result['seed']}), decoded to sound and judged by the shipped classifier.",
        "",
        "| | model | real clips |",
        "|---|---|---|",
        f"| top-1 | **{result['top1']:.1%}** | {result['real_top1']:.1%} |",
        f"| Fréchet distance to corpus clips | **{result['frechet']:.2f}** | {result['floor']:.2f} |",
    ]
    if "order" in result:
        lines += [
            f"| two events: order right (chance 50 %) | **{result['order']:.1%}** | "
            f"{result['real_order']:.1%} |",
            f"| two events: both named, in order | {result['both']:.1%} | {result['real_both']:.1%} |",
        ]
    if both := result.get("at_once"):
        judge = "the judge of mixtures" if both["knows_mixtures"] else "a judge of single sounds"
        lines.append(f"| two at once: both named by {judge} | {both['made']:.1%} | {both['real']:.1%} |")
    lines += [
        "",
        "| kind | top-1 | real | most taken for | Fréchet | real vs real |",
        "|---|---|---|---|---|---|",
    ]
    for kind, row in result["table"].items():
        lines.append(
            f"| {kind.replace('_', ' ')} | {row['top1']:.0%} | {row['real_top1']:.0%} | "
            f"{row['taken_for'].replace('_', ' ')} | {row['frechet']:.1f} | {row['floor']:.1f} |"
        )
    weak = [kind.replace("_", " ") for kind, row in result["table"].items() if row["top1"] < 0.5]
    lines += ["", f"Kinds below 50 %: {', '.join(weak) or 'none'}."]
    return "\n".join(lines) + "\n"
