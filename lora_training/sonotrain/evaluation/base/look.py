"""A look at what a base model makes: sheets of every kind, attributes that prompts name, how seeds differ."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import atomic_path, write_text
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.plot import plot_spectrogram
from sonoconvert.pictures.spectrogram import levels
from sonotrain.data.corpus import FORMAT
from sonotrain.evaluation import metrics
from sonotrain.evaluation.base.checks import as_dicts, as_lines, check
from sonotrain.evaluation.base.examine import Evaluation, check_kinds, evaluate_and_report, sampling
from sonotrain.evaluation.base.mixtures import at_once, judge_of_mixtures
from sonotrain.evaluation.base.pictures import grain, quiet
from sonotrain.evaluation.traits import OCTAVES, RATIO, SHARE, Traits, listen
from sonotrain.files.json_files import write_json
from sonotrain.files.options import option
from sonotrain.trainers.mini.sound_classifier import SoundClassifier, load_classifier
from sonotrain.training.painting import paint, through_vae, to_sound

logger = logging.getLogger(__name__)

CELL, TITLE = (236, 132), 14
PER_LINE = 2  # kinds beside each other on the sheet
# Attribute: the two ends as the corpus names them ("" is the plain caption), what is measured, and kinds on
# which the corpus's own clips show it.
ATTRIBUTES: dict[str, tuple[tuple[str, str], str, tuple[str, ...]]] = {
    "high, not low": (
        ("pitch-low", "pitch-high"),
        "brightness",
        ("dog_bark", "train_horn", "flute", "frog", "laser"),
    ),
    "fast, not slow": (
        ("rate-low", "rate-high"),
        "rate",
        ("footsteps", "horse_hooves", "clock_ticking", "kick_drum"),
    ),
    "repeated, not single": (("count-low", "count-high"), "events", ("dog_bark", "car_horn")),
    "close, not distant": (("distant", "close"), "brightness", ("keyboard_typing", "siren", "footsteps")),
    "in a hall": (("", "hall"), "fullness", ("door_knock", "gunshot", "hammer")),
}


@dataclass(frozen=True)
class Look:
    """How much to look at, beside the evaluation (whose `per_kind` 0 leaves it out)."""

    evaluation: Evaluation
    seeds: int = option(2, "clips of one caption of each kind: the sheet, and how they differ")
    pairs: int = option(4, "pairs of opposite captions for each kind of an attribute")


def look(plan: Look, out: str | Path, device: str = "auto") -> str:
    """Writes look.md, look.json, sheet.png, evaluation.* and confusion.png; returns the Markdown."""
    from sonopaint.models.loading import load_model
    from sonotrain.data import foley
    from sonotrain.training.compute import choose_device

    asked = plan.evaluation
    kinds = list(asked.kinds or foley.BASE_KINDS)
    check_kinds(kinds)
    if plan.seeds < 2:
        raise SonopaintError(f"{setting('seeds')} must be at least 2 to differ, not {plan.seeds}.")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    parts = [f"# A look at {Path(asked.model).name}", ""]
    if asked.per_kind:
        alone = replace(asked, mixtures=0)  # below
        parts += [evaluate_and_report(alone, folder, device), "![Confusion](confusion.png)", ""]
    classifier, _ = load_classifier(asked.classifier or None)
    loras = [(asked.lora, 1.0)] if asked.lora else []
    model = load_model(asked.model, device=choose_device(device), dtype=torch.float32, loras=loras)
    settings = sampling(model, asked)
    result: dict[str, Any] = {"plan": asdict(plan), **settings, "hash": model.hash}
    result["kinds"] = _kinds(model, classifier, kinds, plan, settings, folder / "sheet.png")
    logger.info("attributes")
    result["attributes"] = _attributes(model, classifier, kinds, plan, settings)
    found = check(model, classifier, seed=asked.seed, count=plan.seeds, settings=settings)
    result["checks"] = as_dicts(found)
    judge = judge_of_mixtures(asked.classifier)
    result["at_once"] = at_once(model, judge, kinds, asked.mixtures, asked.seed, settings)
    text = "\n".join([*parts, as_markdown(result)])
    write_json(folder / "look.json", result)
    write_text(folder / "look.md", text, force=True)
    return text


def _kinds(
    model: Any,
    classifier: SoundClassifier,
    kinds: Sequence[str],
    plan: Look,
    settings: dict[str, Any],
    path: Path,
) -> dict[str, dict[str, float]]:
    """For each kind one caption, painted from several seeds, beside corpus clips; also draws the sheet."""
    from sonotrain.data import foley

    fmt, rows, table = get_format(FORMAT), [], {}
    for place, kind in enumerate(kinds):
        clips = foley.batch(plan.seeds, plan.evaluation.seed + place, [kind], relations=[("single", 1.0)])
        real = levels(clips.waveforms, fmt)
        kept = through_vae(model, real)
        caption = clips.captions[0]
        made = paint(model, [caption] * plan.seeds, seed=plan.evaluation.seed + place, **settings)
        judged = {"real": classifier.judge(clips.waveforms)}
        judged |= {name: classifier.judge(to_sound(part)) for name, part in (("vae", kept), ("made", made))}
        found = {name: metrics.found(logits, classifier.kinds, kind) for name, (logits, _) in judged.items()}
        rough = {f"grain_{n}": grain(part) for n, part in (("real", real), ("vae", kept), ("made", made))}
        apart = {
            f"apart_{name}": metrics.diversity(judged[name][1], measure="l2") for name in ("real", "made")
        }
        still = {"quiet_real": quiet(real), "quiet_made": quiet(made)}
        table[kind] = found | rough | still | apart
        titles = ("corpus", "its VAE", *("painted" for _ in made))
        rows.append((caption, list(zip(titles, [real[0], kept[0], *made], strict=True))))
        logger.info("%d of %d kinds", place + 1, len(kinds))
    save_sheet(rows, path)
    return table


def save_sheet(rows: Sequence[tuple[str, Sequence[tuple[str, Tensor]]]], path: Path) -> None:
    """Rows of (caption, [(label, levels [128, W])]), two rows beside each other, each cell with its axes."""
    font, fmt = ImageFont.load_default(), get_format(FORMAT)
    cells = max(len(row) for _, row in rows)
    width, height = cells * CELL[0] + 12, CELL[1] + TITLE
    sheet = Image.new("RGB", (width * min(PER_LINE, len(rows)), -(-len(rows) // PER_LINE) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (caption, row) in enumerate(rows):
        left, top = number % PER_LINE * width, number // PER_LINE * height
        for column, (label, picture) in enumerate(row):
            plot = plot_spectrogram(Picture.from_levels(picture[None], fmt), size=CELL)
            sheet.paste(plot, (left + column * CELL[0], top + TITLE))
            said = f"{label}: {caption}" if column == 0 else label
            draw.text((left + column * CELL[0] + 46, top + 3), said[:38], fill=(40, 40, 46), font=font)
    with atomic_path(path, force=True) as beside:
        sheet.quantize(128).save(beside, format="PNG", optimize=True)


def _attributes(
    model: Any, classifier: SoundClassifier, kinds: Sequence[str], plan: Look, settings: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """How often a clip obeys its attribute, against the opposite caption from the same noise."""
    from sonotrain.data import foley
    from sonotrain.data.foley import phrases

    found: dict[str, dict[str, Any]] = {}
    for name, ((low, high), measure, shown_by) in ATTRIBUTES.items():
        obeyed, real = [], []
        for kind in (kind for kind in shown_by if kind in kinds):
            said = [
                phrases.single(foley.KINDS[kind], (end,) if end else (), random.Random(index))
                for end in (low, high)
                for index in range(plan.pairs)
            ]
            seed = plan.evaluation.seed + 31
            ends = [
                listen(to_sound(paint(model, part, seed=seed, **settings)), classifier)
                for part in (said[: plan.pairs], said[plan.pairs :])
            ]
            obeyed += [more(b, a, measure) for a, b in zip(*ends, strict=True)]
            real += _real_pairs(classifier, kind, (low, high), measure, plan)
        if obeyed:
            found[name] = {"clips": len(obeyed), "obeyed": sum(obeyed) / len(obeyed), "measure": measure}
            found[name]["real"] = sum(real) / len(real) if real else None
    return found


def _real_pairs(
    classifier: SoundClassifier, kind: str, ends: tuple[str, str], measure: str, plan: Look
) -> list[bool]:
    """The same question to corpus clips: each with one attribute against one with the other."""
    from sonotrain.data import foley

    clips = foley.batch(12 * plan.pairs, plan.evaluation.seed, [kind], relations=[("single", 1.0)])
    chosen = []
    for end in ends:
        others = {"distant", "hall"} - {end}  # places change what is measured
        fitting = [
            index
            for index, named in enumerate(clips.attributes)
            if (end in named or not end) and not others & set(named)
        ]
        chosen.append(listen(clips.waveforms[fitting[: plan.pairs]], classifier))
    return [more(b, a, measure) for a, b in zip(*chosen, strict=False)]


def more(clip: Traits, other: Traits, measure: str) -> bool:
    """Whether `clip` has more of what is measured than `other`, by more than what counts as changed."""
    one, two = getattr(clip, measure), getattr(other, measure)
    if measure in ("rate", "events"):
        return bool(one > two * (RATIO if measure == "rate" else 1))
    return bool(one > two + (OCTAVES if measure == "brightness" else SHARE))


def as_markdown(result: dict[str, Any]) -> str:
    """Attributes, then kinds, the worst first."""
    plan = result["plan"]
    lines = [
        f"Painted with {result['sampler']}, {result['steps']} steps, guidance {result['guidance_scale']:g}, "
        f"seed {plan['evaluation']['seed']}.",
        "",
        "## What prompts say",
        "",
        "Pairs of opposite captions from the same noise: how often the measure differs the right way. "
        "Without any effect it would in less than half of them.",
        "",
        "| attribute | measure | pairs | painted | corpus clips |",
        "|---|---|---|---|---|",
    ]
    for name, row in result["attributes"].items():
        real = "" if row["real"] is None else f"{row['real']:.0%}"
        lines.append(f"| {name} | {row['measure']} | {row['clips']} | {row['obeyed']:.0%} | {real} |")
    if both := result["at_once"]:
        lines.append(
            f"| two events at once | both among the classifier's first three | {both['clips']} | "
            f"{both['made']:.0%} | {both['real']:.0%} |"
        )
    lines += [
        "",
        "## What must stay",
        "",
        f"What was lost once, over {plan['seeds']} seeds.",
        "",
        *as_lines(result["checks"]),
        "",
        "## Every kind",
        "",
        f"{plan['seeds']} clips of one caption. VAE: corpus clips through the VAE, all that painting could "
        "reach with it. Grain: mean step between neighbouring columns in dB, where it is loud; noise is "
        "rough, blur is smooth. Quiet: level of the quietest fifth of the time in dB; "
        "-80 is silence. Apart: mean distance of two clips (painted: of one caption).",
        "",
        "| kind | top-1: real | VAE | painted | grain: real | VAE | painted | quiet: real | painted | "
        "apart: real | painted |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, row in sorted(result["kinds"].items(), key=lambda item: (item[1]["made"], item[1]["vae"])):
        lines.append(
            f"| {kind.replace('_', ' ')} | {row['real']:.0%} | {row['vae']:.0%} | {row['made']:.0%} | "
            f"{row['grain_real']:.1f} | {row['grain_vae']:.1f} | {row['grain_made']:.1f} | "
            f"{row['quiet_real']:.0f} | {row['quiet_made']:.0f} | "
            f"{row['apart_real']:.1f} | {row['apart_made']:.1f} |"
        )
    lines += ["", "![Every kind](sheet.png)"]
    return "\n".join(lines) + "\n"
