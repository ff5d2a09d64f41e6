"""Which sampler, steps and guidance paint best: the same captions and noise for every setting.

Only one thing changes at a time: guidance at the model's own sampler and steps, then steps for every sampler
at the model's own guidance. Each round of clips, one of every kind, is kept, so that a sweep goes on where it
stopped, and more rounds cost only themselves.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import write_text
from sonotrain.evaluation import metrics
from sonotrain.evaluation.base.examine import check_kinds, real_clips
from sonotrain.evaluation.embeddings.base import Embedding
from sonotrain.evaluation.embeddings.corpus import load_corpus_classifier
from sonotrain.evaluation.frechet import Reference
from sonotrain.evaluation.hearing import Heard, hear_waveforms
from sonotrain.files.json_files import write_json
from sonotrain.files.options import option
from sonotrain.files.plots import plot
from sonotrain.files.tensors import keep, kept
from sonotrain.training.painting import paint, to_sound

logger = logging.getLogger(__name__)

RESAMPLES = 200
HEARD = "heard"  # the folder of what was heard


@dataclass(frozen=True)
class Sweep:
    """What to compare. Empty or 0 where the model's default is meant."""

    model: str = option("weights/mini", "model folder, file or name")
    samplers: tuple[str, ...] = option(
        ("dpmpp_2m", "euler", "heun", "ddim"), "with commas between", commas=True
    )
    steps: tuple[int, ...] = option((5, 10, 20, 40), "of each sampler", of=int, commas=True)
    guidances: tuple[float, ...] = option(
        (1.0, 2.0, 3.0, 4.0, 6.0, 8.0), "of the model's sampler", of=float, commas=True
    )
    kinds: tuple[str, ...] = option((), "only these kinds, with commas between", commas=True)
    per_kind: int = option(2, "clips of each kind; raise it later")
    reference: int = 8  # corpus clips of each kind that the Fréchet distance compares with
    seed: int = option(6000, "seed of captions and noise")


@dataclass(frozen=True)
class SamplerSetting:
    """How one column of clips is painted."""

    sampler: str
    steps: int
    guidance_scale: float

    def __str__(self) -> str:
        return f"{self.sampler}, {self.steps} steps, guidance {self.guidance_scale:g}"


def settings_of(plan: Sweep, defaults: dict[str, Any]) -> list[SamplerSetting]:
    """The default first, then all others, each once."""
    own = SamplerSetting(defaults["sampler"], defaults["steps"], defaults["guidance_scale"])
    found = [own]
    found += [SamplerSetting(own.sampler, own.steps, float(scale)) for scale in plan.guidances]
    found += [
        SamplerSetting(name, steps, own.guidance_scale) for name in plan.samplers for steps in plan.steps
    ]
    return list(dict.fromkeys(found))


def sweep(plan: Sweep, out: str | Path, device: str = "auto") -> dict[str, Any]:
    """Paints, judges and writes sweep.json, sweep.md and sweep.png into `out`; returns the JSON."""
    from sonopaint.models.loading import load_model
    from sonopaint.samplers import SAMPLERS
    from sonotrain.data import foley
    from sonotrain.training.compute import choose_device

    kinds = list(plan.kinds or foley.BASE_KINDS)
    if plan.per_kind * len(kinds) < 2 or plan.reference * len(kinds) < 2:
        raise SonopaintError(
            f"A Fréchet distance needs at least two clips; raise {setting('per_kind')} or "
            f"{setting('reference')}."
        )
    if unknown := sorted(set(plan.samplers) - (set(SAMPLERS) - {"one_step"})):
        raise SonopaintError(f"{unknown[0]!r} is no sampler to sweep; choose from {', '.join(SAMPLERS)}.")
    check_kinds(kinds)
    if any(value <= 0 for value in (*plan.steps, *plan.guidances)):
        raise SonopaintError(f"{setting('steps')} and {setting('guidances')} must be above 0.")
    judge = load_corpus_classifier()
    model = load_model(plan.model, device=choose_device(device), dtype=torch.float32)
    if model.one_step is not None:
        raise SonopaintError(f"{plan.model} paints in one step, so there is nothing to sweep.")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    labels = kinds * plan.per_kind
    reference, _ = real_clips(judge, kinds, plan.reference, plan.seed - 1)
    rounds = [real_clips(judge, kinds, 1, plan.seed + index) for index in range(plan.per_kind)]
    real = _joined([_judged(heard) for heard, _ in rounds])
    settings = settings_of(plan, model.defaults)
    made: list[list[tuple[Tensor, Tensor]]] = [[] for _ in settings]
    for index, (_, captions) in enumerate(rounds):
        for place, cell in enumerate(settings):
            made[place].append(_heard(folder, model, judge, captions, plan.seed + index, cell))
            logger.info("round %d of %d: %s", index + 1, plan.per_kind, cell)
    rows = compare(
        [_joined(parts) for parts in [*made, [real]]], labels, judge.kinds, Reference(reference.clips)
    )
    for row, cell in zip(rows, settings, strict=False):
        row |= asdict(cell) | {"calls": calls(cell)}
    result = {
        "model": plan.model,
        "hash": model.hash,
        "clips": len(labels),
        "kinds": len(kinds),
        "seed": plan.seed,
        "reference": len(kinds) * plan.reference,
        "settings": rows[:-1],
        "real": rows[-1],
    }
    write_json(folder / "sweep.json", result)
    write_text(folder / "sweep.md", as_markdown(result), force=True)
    draw(result, folder / "sweep.png")
    return result


def calls(setting: SamplerSetting) -> int:
    """How often the U-Net looks at one clip: guidance doubles it, Heun's method all steps but the last."""
    steps = 2 * setting.steps - 1 if setting.sampler == "heun" else setting.steps
    return steps * (1 if setting.guidance_scale == 1.0 else 2)


def compare(
    judged: Sequence[tuple[Tensor, Tensor]], labels: Sequence[str], kinds: Sequence[str], reference: Reference
) -> list[dict[str, Any]]:
    """One row for each (logits, features) of the clips `labels`; differences are from the first row.

    Figures with their standard errors from one bootstrap over clips (Efron 1979), the same draws for all: a
    difference of two settings, which share captions and noise, is surer than either figure.
    """
    wanted = torch.tensor([list(kinds).index(label) for label in labels])
    draws = np.random.default_rng(0).integers(len(labels), size=(RESAMPLES, len(labels)))
    rows: list[dict[str, Any]] = []
    first: tuple[Tensor, np.ndarray, np.ndarray] | None = None
    for logits, features in judged:
        right = (logits.argmax(1) == wanted).double()
        top1 = right.numpy()[draws].mean(1)
        frechet = np.array([reference.distance(features[torch.from_numpy(draw)]) for draw in draws])
        row: dict[str, Any] = {
            "top1": right.mean().item(),
            "top1_error": float(top1.std(ddof=1)),
            "frechet": reference.distance(features),
            "frechet_error": float(frechet.std(ddof=1)),
            "diversity": _within(features, labels),
        }
        if first is None:
            first = right, top1, frechet
        row["top1_more"] = (right - first[0]).mean().item()
        row["top1_more_error"] = float((top1 - first[1]).std(ddof=1))
        row["frechet_more"] = row["frechet"] - (rows[0]["frechet"] if rows else row["frechet"])
        row["frechet_more_error"] = float((frechet - first[2]).std(ddof=1))
        rows.append(row)
    return rows


def _within(features: Tensor, labels: Sequence[str]) -> float | None:
    """Mean distance of two clips of one kind; None where each kind has one clip."""
    groups = [[i for i, name in enumerate(labels) if name == kind] for kind in dict.fromkeys(labels)]
    if min(map(len, groups)) < 2:
        return None
    return float(np.mean([metrics.diversity(features[group], measure="l2") for group in groups]))


def _judged(heard: Heard) -> tuple[Tensor, Tensor]:
    assert heard.logits is not None
    return heard.logits, heard.clips


def _joined(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    logits, features = zip(*parts, strict=True)
    return torch.cat(logits), torch.cat(features)


def _heard(
    folder: Path, model: Any, judge: Embedding, captions: list[str], seed: int, setting: SamplerSetting
) -> tuple[Tensor, Tensor]:
    """(logits, features) of one round, from the folder where another sweep has left them."""
    from sonotrain.training.compute import autocast

    name = f"{model.hash}-{seed}-{setting.sampler}-{setting.steps}-{setting.guidance_scale:g}.safetensors"
    path = folder / HEARD / name
    asked = json.dumps(captions)
    found = kept(path)
    if found and bytes(found["captions"].tolist()).decode() == asked:
        return found["logits"], found["features"]
    with autocast(model.device):
        painted = paint(model, captions, seed=seed, **asdict(setting))
    logits, features = _judged(hear_waveforms([(to_sound(painted), captions)], judge))
    told = torch.tensor(list(asked.encode()), dtype=torch.uint8)
    keep(path, {"logits": logits, "features": features, "captions": told})
    return logits, features


def as_markdown(result: dict[str, Any]) -> str:
    """The table, best top-1 first; ± are standard errors, differences are from the model's own setting."""
    own, real = result["settings"][0], result["real"]
    lines = [
        f"{result['clips']} clips of {result['kinds']} kinds for each setting, the same captions and noise "
        f"(seed {result['seed']}), decoded to sound and judged by the shipped classifier; ± is one standard "
        "error (bootstrap over clips). Calls: how often the U-Net looks at one clip. Diversity: mean "
        "distance of two clips of one kind, as a share of real clips'. Differences are from the first row.",
        "",
        "| sampler | steps | guidance | calls | top-1 | difference | Fréchet | difference | diversity |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in [own, *sorted(result["settings"][1:], key=lambda row: (row["sampler"], row["calls"]))]:
        lines.append(
            f"| {row['sampler']} | {row['steps']} | {row['guidance_scale']:g} | {row['calls']} | "
            f"{row['top1']:.1%} ± {row['top1_error']:.1%} | "
            f"{row['top1_more']:+.1%} ± {row['top1_more_error']:.1%} | "
            f"{row['frechet']:.1f} ± {row['frechet_error']:.1f} | "
            f"{row['frechet_more']:+.1f} ± {row['frechet_more_error']:.1f} | {_share(row, real)} |"
        )
    lines.append(
        f"| real clips | | | | {real['top1']:.1%} ± {real['top1_error']:.1%} | | "
        f"{real['frechet']:.1f} ± {real['frechet_error']:.1f} | | {_share(real, real)} |"
    )
    return "\n".join(lines) + "\n"


def _share(row: dict[str, Any], real: dict[str, Any]) -> str:
    return f"{row['diversity'] / real['diversity']:.0%}" if row["diversity"] and real["diversity"] else ""


def draw(result: dict[str, Any], path: Path) -> Path | None:
    """Top-1 and Fréchet distance over guidance, and over the U-Net's calls for each sampler."""
    rows, own = result["settings"], result["settings"][0]
    guided = [r for r in rows if (r["sampler"], r["steps"]) == (own["sampler"], own["steps"])]
    lines = [(own["sampler"], sorted(guided, key=lambda row: row["guidance_scale"]), "guidance_scale")]
    for name in dict.fromkeys(row["sampler"] for row in rows):
        same = [r for r in rows if r["sampler"] == name and r["guidance_scale"] == own["guidance_scale"]]
        lines.append((name, sorted(same, key=lambda row: row["calls"]), "calls"))

    def panels(figure: Any) -> None:
        panels = figure.subplots(2, 2, sharey="row")
        for line, (measure, title) in enumerate((("top1", "top-1"), ("frechet", "Fréchet distance"))):
            for label, chosen, over in lines:
                panels[line][0 if over == "guidance_scale" else 1].errorbar(
                    [row[over] for row in chosen],
                    [row[measure] for row in chosen],
                    [row[f"{measure}_error"] for row in chosen],
                    marker=".",
                    capsize=2,
                    linewidth=1.4,
                    label=label,
                )
            panels[line][0].set_ylabel(title)
            for axis in panels[line]:
                axis.grid(alpha=0.25)
        panels[1][0].set_xlabel(f"guidance ({own['sampler']}, {own['steps']} steps)")
        panels[1][1].set_xlabel(f"calls of the U-Net for a clip (guidance {own['guidance_scale']:g})")
        ticks = sorted({row["calls"] for row in rows})
        for axis in panels[:, 1]:
            axis.set_xscale("log")
            axis.set_xticks(ticks, labels=[str(calls) for calls in ticks])
            axis.minorticks_off()
        panels[0][1].legend(frameon=False, fontsize=8)

    return plot(path, (9, 6), panels, dpi=100)
