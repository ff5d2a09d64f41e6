"""Judges a model as sound: top-1 of the classifier, Fréchet distance, order of two events, for each kind."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonotrain.data.corpus import clock
from sonotrain.data.words import FRAMES
from sonotrain.evaluation import metrics
from sonotrain.evaluation.frechet import distance_of
from sonotrain.evaluation.plots import save_confusion
from sonotrain.files.json_files import write_json
from sonotrain.trainers.mini.sound_classifier import SoundClassifier, load_classifier
from sonotrain.training.painting import paint, to_sound

logger = logging.getLogger(__name__)

BATCH = 24  # clips painted between two lines of progress


@dataclass(frozen=True)
class Evaluation:
    """What to judge, and how much of it."""

    model: str = "mini"
    lora: str = ""  # a LoRA's file, a one-step student's or a sound's; empty: none
    classifier: str = ""  # a folder or file; empty: the shipped one
    per_kind: int = 10
    sequences: int = 40
    reference: int = 20  # held-out corpus clips of each kind that the Fréchet distance compares with
    kinds: tuple[str, ...] = ()  # empty: all that Mini learns
    seed: int = 5000
    steps: int = 0  # 0: the model's default
    guidance_scale: float = 0.0  # 0: the model's default
    sampler: str = ""  # empty: the model's default


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
    start = time.monotonic()
    classifier, verdict = load_classifier(plan.classifier or None)
    if strange := sorted(set(kinds) - set(classifier.kinds)):
        raise SonopaintError(f"The classifier does not know {strange[0]!r}; train one on a newer corpus.")
    loras = [(plan.lora, 1.0)] if plan.lora else []
    model = load_model(plan.model, device=choose_device(device), dtype=torch.float32, loras=loras)
    settings = sampling(model, plan)
    labels = [kind for kind in kinds for _ in range(plan.per_kind)]
    logger.info("synthesising %d real clips", len(kinds) * (plan.per_kind + plan.reference))
    real, captions = real_clips(classifier, kinds, plan.per_kind, plan.seed)
    reference, _ = real_clips(classifier, kinds, plan.reference, plan.seed + 1)
    logger.info("painting %d clips with %s", len(labels), settings)
    made = _judge_model(model, classifier, captions, plan.seed, settings)
    order = _judge_order(model, classifier, kinds, plan.sequences, plan.seed, settings)
    guesses = metrics.guesses(made[0], classifier.kinds)
    confusion = metrics.confusion(guesses, labels)
    table = {}
    for index, kind in enumerate(kinds):
        mine = slice(index * plan.per_kind, (index + 1) * plan.per_kind)
        theirs = slice(index * plan.reference, (index + 1) * plan.reference)
        table[kind] = {
            "top1": metrics.found(made[0][mine], classifier.kinds, kind),
            "real_top1": metrics.found(real[0][mine], classifier.kinds, kind),
            "frechet": distance_of(made[1][mine], reference[1][theirs]),
            "floor": distance_of(real[1][mine], reference[1][theirs]),
            "taken_for": metrics.taken_for(confusion[kind], kind),
        }
    return {
        "model": plan.model,
        "lora": plan.lora,
        "clips": len(labels),
        "kinds": len(kinds),
        "per_kind": plan.per_kind,
        "seed": plan.seed,
        **settings,
        "top1": metrics.top1(guesses, labels),
        "real_top1": metrics.top1(metrics.guesses(real[0], classifier.kinds), labels),
        "frechet": distance_of(made[1], reference[1]),
        "floor": distance_of(real[1], reference[1]),
        **order,
        "classifier": verdict,
        "seconds": time.monotonic() - start,
        "table": table,
        "captions": captions,
        "guesses": guesses,
        "labels": labels,
    }


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
    (folder / "evaluation.md").write_text(table, encoding="utf-8")
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


def real_clips(
    classifier: SoundClassifier, kinds: Sequence[str], count: int, seed: int
) -> tuple[tuple[Tensor, Tensor], list[str]]:
    """(logits, features) of corpus clips with a seed of their own, and an unseen caption for each."""
    from sonotrain.data import foley
    from sonotrain.data.foley import phrases

    rng = random.Random(seed)
    judged, said = [], []
    for kind in kinds:
        clips = foley.batch(count, rng.randrange(1 << 31), [kind], relations=[("single", 1.0)])
        judged.append(classifier.judge(clips.waveforms))
        for attributes in clips.attributes:
            text = phrases.single(foley.KINDS[kind], attributes, rng)
            said.append(rng.choice(FRAMES).format(text))
    logits, features = zip(*judged, strict=True)
    return (torch.cat(logits), torch.cat(features)), said


def _judge_model(
    model: Any, classifier: SoundClassifier, captions: Sequence[str], seed: int, settings: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """(logits, features) of the model's clips, heard as sound."""
    start, judged = time.monotonic(), []
    for first in range(0, len(captions), BATCH):
        chosen = captions[first : first + BATCH]
        pictures = paint(model, chosen, seed=seed + 7919 * (first + 1), **settings)
        judged.append(classifier.judge(to_sound(pictures)))
        done = first + len(chosen)
        left = (time.monotonic() - start) / done * (len(captions) - done)
        logger.info("%d of %d clips, %s left", done, len(captions), clock(left))
    logits, features = zip(*judged, strict=True)
    return torch.cat(logits), torch.cat(features)


def _judge_order(
    model: Any,
    classifier: SoundClassifier,
    kinds: Sequence[str],
    count: int,
    seed: int,
    settings: dict[str, Any],
) -> dict[str, float]:
    """Two events in sequence, painted and (as ``real_``…) out of the corpus; see order_heard."""
    from sonoconvert.pictures.format import get_format
    from sonoconvert.pictures.spectrogram import levels
    from sonotrain.data import foley
    from sonotrain.data.corpus import FORMAT
    from sonotrain.data.foley import phrases

    if count < 1 or len(kinds) < 2:
        return {}
    rng = random.Random(seed)
    pairs = [rng.sample(list(kinds), 2) for _ in range(count)]
    said = [phrases.pair(foley.KINDS[a], foley.KINDS[b], "sequence", rng) for a, b in pairs]
    fmt, parts = get_format(FORMAT), []
    for first in range(0, count, BATCH):
        pictures = paint(model, said[first : first + BATCH], seed=seed + first, **settings)
        parts.append(levels(to_sound(pictures), fmt))
    real = foley.batch(count, seed, kinds, relations=[("sequence", 1.0)])
    made, best = (
        order_heard(classifier, sounds, wanted)
        for sounds, wanted in ((torch.cat(parts), pairs), (levels(real.waveforms, fmt), real.kinds))
    )
    return {"sequences": count, **made, **{f"real_{name}": share for name, share in best.items()}}


def order_heard(
    classifier: SoundClassifier, sounds: Tensor, pairs: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Shares of `sounds` (levels [N, 128, W]), which ought to be the kinds A then B of `pairs`.

    `order`: "A then B" fits the clip's ends better than "B then A". `both`: the classifier names A in the
    first and B in the last 40 %, out of all kinds.
    """
    first, last = (part.log_softmax(-1) for part in classifier.judge_halves(sounds))
    order = both = 0
    for row, pair in enumerate(pairs):
        i, j = map(classifier.kinds.index, pair)
        order += bool(first[row, i] + last[row, j] > first[row, j] + last[row, i])
        both += bool(first[row].argmax() == i and last[row].argmax() == j)
    return {"order": order / len(pairs), "both": both / len(pairs)}


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
