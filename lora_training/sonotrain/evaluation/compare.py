"""Figures of a set of generated sounds beside a reference set, each with the recipe that it hangs on."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sonoconvert.errors import setting
from sonotrain.evaluation import frechet, metrics
from sonotrain.evaluation.embeddings.base import Embedding
from sonotrain.evaluation.hearing import Heard, heard_seconds
from sonotrain.evaluation.sets import pairs
from sonotrain.files.options import option

CERTAIN = 1.96  # standard errors to either side: 95 % of a normal distribution
FEW_FOR_INFINITY = 50  # clips: with fewer the line over 1 / n says nothing
MANY_ROWS = 2000  # from here on a bootstrap of Fréchet distances takes minutes, so fewer resamples are drawn
FEWER = 20
NAMED = 5  # nearest pairs that are listed


@dataclass(frozen=True)
class Figure:
    """A measured value, ± `error` (half of its 95 % interval) where there is one, and its recipe."""

    name: str
    value: float
    recipe: str
    better: str = ""  # "lower", "higher" or "" where neither is
    error: float | None = None


@dataclass(frozen=True)
class Measures:
    """How much to measure: `resamples` of the bootstrap (0: no errors), parts of the inception score, seed.

    replace: draw for FAD∞ as fadtk does (see frechet.infinity).
    """

    resamples: int = option(100, "bootstraps for ± (0: no ±)")
    splits: int = option(10, "parts of the inception score")
    seed: int = 0
    replace: bool = option(False, "draw for FAD∞ with replacement, as fadtk does", name="--fadtk")


def compare(
    generated: Heard,
    reference: Heard | None,
    embedding: Embedding,
    *,
    seconds: float,
    measures: Measures = Measures(),
) -> dict[str, Any]:
    """All figures of `embedding`, by label, nearest pairs and warnings: a JSON-able dict."""
    recipe = (
        f"{embedding.title} {embedding.hash}, {embedding.sample_rate / 1000:g} kHz mono by soxr HQ, "
        f"first {heard_seconds(embedding, seconds):g} s"
    )
    figures: list[Figure] = []
    if reference is not None:
        figures += _distances(generated, reference, recipe, measures)
    if generated.logits is not None:
        figures.append(_inception(generated.logits, recipe, measures))
    if reference is not None:
        figures += _paired(generated, reference, recipe)
        figures += _neighbours(generated, reference, recipe)
    figures += _diversity(generated, reference, recipe)
    labels = by_label(generated, reference, embedding)
    figures += _over_labels(labels, recipe)
    return {
        "embedding": describe(embedding, seconds),
        "generated": _side(generated),
        "reference": _side(reference) if reference is not None else None,
        "figures": [asdict(figure) for figure in figures],
        "labels": labels,
        "confusion": _confusion(generated, embedding),
        "nearest": nearest_pairs(generated, reference) if reference is not None else [],
        "warnings": warnings(generated, reference, embedding),
    }


def describe(embedding: Embedding, seconds: float) -> dict[str, Any]:
    """What an embedding is, for the report."""
    names = ("name", "title", "file", "hash", "sample_rate", "window_s", "details", "version")
    return {name: getattr(embedding, name) for name in names} | {
        "resampler": "soxr HQ",
        "channels": "mean",
        "first_seconds": heard_seconds(embedding, seconds),
    }


def clap_score(audio: Tensor, texts: Tensor, recipe: str) -> Figure:
    """Mean cosine similarity of clips [N, D] and their captions [N, D] (Huang et al. 2023, CLAP score)."""
    values = metrics.cosine(audio, texts)
    about = f"{recipe}, cosine of each clip with its caption, N {len(values)}"
    return averaged("CLAP score", values, about, "higher")


def by_label(generated: Heard, reference: Heard | None, embedding: Embedding) -> dict[str, dict[str, Any]]:
    """{label: clips, reference clips, Fréchet distances, diversity, nearness, share found, taken for}.

    Empty where the generated clips have no labels.
    """
    ours = _rows(generated)
    theirs = _rows(reference) if reference is not None else {}
    confusion = _confusion(generated, embedding)
    table: dict[str, dict[str, Any]] = {}
    for label, rows in sorted(ours.items()):
        clips = generated.clips[rows]
        row: dict[str, Any] = {"clips": len(rows), "reference": len(theirs.get(label, ()))}
        if len(rows) > 1:
            row["diversity"] = metrics.diversity(clips)
        if reference is not None and len(theirs.get(label, ())) > 1:
            other = reference.clips[theirs[label]]
            row["close"] = metrics.nearest(clips, other).close
            if len(rows) > 1:
                row["frechet"] = frechet.distance_of(clips, other)
            parts = _windows(generated, rows), _windows(reference, theirs[label])
            if parts[0] is not None and parts[1] is not None:
                row["frechet_windows"] = frechet.distance_of(parts[0], parts[1])
        if label in confusion:
            row["found"] = confusion[label].get(label, 0) / len(rows)
            row["taken_for"] = metrics.taken_for(confusion[label], label)
        table[label] = row
    return table


def nearest_pairs(generated: Heard, reference: Heard, count: int = NAMED) -> list[dict[str, Any]]:
    """The generated clips that are nearest to a reference clip, to be listened to."""
    near = metrics.nearest(generated.clips, reference.clips)
    return [
        {
            "generated": str(generated.sounds[index].path),
            "reference": str(reference.sounds[int(near.index[index])].path),
            "distance": near.distance[index].item(),
        }
        for index in near.distance.argsort()[:count].tolist()
    ]


def warnings(generated: Heard, reference: Heard | None, embedding: Embedding) -> list[str]:
    """What makes these figures worth less than they look, one sentence each."""
    found = []
    if embedding.name == "classifier":
        found.append(
            "These are features of Sonopaint's own corpus classifier, which knows the foley corpus only: "
            "compare them with each other, never with published figures (docs/evaluation.md: PANNs)."
        )
    sides = [("generated", generated)] + ([("reference", reference)] if reference is not None else [])
    size = generated.clips.shape[1]
    for name, side in sides:
        if len(side) <= size:
            found.append(
                f"{len(side)} {name} clips are fewer than the {size} dimensions: Fréchet distances are too "
                "large by an amount that hangs on their number, and the line to ∞ is rough; compare only "
                "runs with equally many."
            )
        if side.silent:
            found.append(
                f"{len(side.silent)} of {len(side)} {name} clips are silent (peak below −60 dBFS); FID and "
                "KL can look good on silence."
            )
        if side.skipped:
            found.append(f"{len(side.skipped)} {name} files could not be read and were passed over.")
        if len(side.rates) > 1:
            rates = ", ".join(f"{count} at {rate} Hz" for rate, count in sorted(side.rates.items()))
            found.append(f"The {name} clips have several sample rates ({rates}); all were resampled.")
    if reference is not None:
        if not set(generated.rates) & set(reference.rates):
            found.append(
                f"Generated clips have {max(generated.rates)} Hz and the reference {max(reference.rates)} "
                "Hz: bandwidth and resampling alone move FID and KL."
            )
        lengths = [statistics.median(side.seconds) for _, side in sides]
        if max(lengths) > 1.2 * min(lengths):
            found.append(
                f"Generated clips last {lengths[0]:.1f} s and the reference {lengths[1]:.1f} s (median): "
                f"compare equal lengths, for instance with {setting('seconds')}."
            )
    return found


def _distances(generated: Heard, reference: Heard, recipe: str, measures: Measures) -> list[Figure]:
    """FID on one vector per clip, FAD on windows, both also for endlessly many clips."""
    size = generated.clips.shape[1]
    figures = _distance(
        "FID",
        generated.clips,
        reference.clips,
        None,
        None,
        f"{recipe}, one vector [{size}] per clip",
        measures,
    )
    if generated.windows is not None and reference.windows is not None:
        several = len(generated.windows) + len(reference.windows) > len(generated) + len(reference)
        if several:  # else it would be the same figure
            figures += _distance(
                "FAD",
                generated.windows,
                reference.windows,
                generated.owners,
                reference.owners,
                f"{recipe}, windows [{size}]",
                measures,
            )
    return figures


def _distance(
    name: str,
    ours: Tensor,
    theirs: Tensor,
    owners: list[int] | None,
    their_owners: list[int] | None,
    recipe: str,
    measures: Measures,
) -> list[Figure]:
    """The Fréchet distance with its bootstrap error, and that of endlessly many clips."""
    about = f"{recipe}, N {len(ours)} vs {len(theirs)}"
    resamples = measures.resamples
    if max(len(ours), len(theirs)) > MANY_ROWS:
        resamples = min(resamples, FEWER)
    error, how = None, ""
    if resamples > 1:
        error = CERTAIN * frechet.bootstrap_error(
            ours, theirs, groups_a=owners, groups_b=their_owners, resamples=resamples, seed=measures.seed
        )
        how = f", ± 1.96 errors of {resamples} bootstraps by clip, seed {measures.seed}"
    side = frechet.Reference(theirs)
    figures = [Figure(name, side.distance(ours), about + how, "lower", error)]
    if len(set(owners) if owners else ours) >= FEW_FOR_INFINITY:
        line = frechet.infinity(ours, side, seed=measures.seed, replace=measures.replace)
        drawn = "with replacement as fadtk" if measures.replace else "without replacement"
        fit = (
            f"line over 1/n through {len(line.points)} sizes {line.points[0][0]}–{line.points[-1][0]} drawn "
            f"{drawn}, r² {line.r2:.2f}, seed {measures.seed}"
        )
        figures.append(Figure(f"{name}∞", line.value, f"{about}, {fit}", "lower"))
    return figures


def _inception(logits: Tensor, recipe: str, measures: Measures) -> Figure:
    splits = measures.splits if len(logits) >= 10 * measures.splits else 1
    value, deviation = metrics.inception_score(logits, splits=splits)
    spread = f", sd over splits {deviation:.2f}" if splits > 1 else ""
    parts = f"{splits} splits shuffled by seed 2020" if splits > 1 else "1 split"
    about = f"softmax over {logits.shape[1]} classes, {parts}, N {len(logits)}"
    return Figure("IS", value, f"{recipe}, {about}{spread}", "higher")


def _paired(generated: Heard, reference: Heard, recipe: str) -> list[Figure]:
    """KL and similarity of clips that belong together by name or by caption; nothing where none do."""
    matched, way = pairs(generated.sounds, reference.sounds)
    if not matched:
        return []
    ours, theirs = (torch.tensor(side) for side in zip(*matched, strict=True))
    about = f"{recipe}, {len(matched)} of {len(generated)} clips paired by {way}"
    figures = []
    if generated.logits is not None and reference.logits is not None:
        a, b = generated.logits[ours], reference.logits[theirs]
        soft = f"{about}, KL(reference‖generated), softmax, ε 1e-6 as AudioLDM's evaluation"
        single = f"{about}, one sigmoid per class, ε 1e-6 as AudioLDM's evaluation"
        figures = [
            averaged("KL", metrics.kl_softmax(a, b), soft, "lower"),
            averaged("KL sigmoid", metrics.kl_sigmoid(a, b), single, "lower"),
        ]
    similar = metrics.cosine(generated.clips[ours], reference.clips[theirs])
    return [*figures, averaged("alignment", similar, f"{about}, cosine similarity", "higher")]


def _neighbours(generated: Heard, reference: Heard, recipe: str) -> list[Figure]:
    near = metrics.nearest(generated.clips, reference.clips)
    about = f"{recipe}, cosine distance to the nearest of {len(reference)} reference clips"
    among = f"median; among the reference {near.typical:.3f}"
    chance = "share nearer than 95 % of the reference are to each other; 0.05 by chance"
    return [
        Figure("nearest", near.distance.median().item(), f"{about}, {among}"),
        Figure("close", near.close, f"{about}, {chance}", "lower"),
    ]


def _diversity(generated: Heard, reference: Heard | None, recipe: str) -> list[Figure]:
    value = metrics.diversity(generated.clips)
    beside = f"; of the reference {metrics.diversity(reference.clips):.3f}" if reference is not None else ""
    about = f"{recipe}, mean cosine distance of all pairs of {len(generated)}{beside}"
    return [Figure("diversity", value, about, "higher")]


def _over_labels(labels: dict[str, dict[str, Any]], recipe: str) -> list[Figure]:
    figures = []
    for name, field, what in (
        ("FID by label", "frechet", "one vector per clip"),
        ("FAD by label", "frechet_windows", "windows"),
    ):
        distances = [row[field] for row in labels.values() if field in row]
        if len(distances) > 1:
            about = f"{recipe}, {what}, unweighted mean over {len(distances)} labels"
            figures.append(Figure(name, statistics.fmean(distances), about, "lower"))
    known = [(row["clips"], row["found"]) for row in labels.values() if "found" in row]
    if known:
        clips = sum(count for count, _ in known)
        share = sum(count * found for count, found in known) / clips
        about = f"{recipe}, share of {clips} clips that it calls by their label ({len(known)} labels)"
        figures.append(Figure("top-1", share, about, "higher"))
    return figures


def _confusion(generated: Heard, embedding: Embedding) -> dict[str, dict[str, int]]:
    """What the embedding's classes make of the labels that it knows."""
    if generated.logits is None or not embedding.kinds:
        return {}
    guesses = metrics.guesses(generated.logits, embedding.kinds)
    known = set(embedding.kinds)
    told = [
        (guess, sound.label)
        for guess, sound in zip(guesses, generated.sounds, strict=True)
        if sound.label is not None and sound.label in known
    ]
    return metrics.confusion([guess for guess, _ in told], [label for _, label in told])


def _windows(heard: Heard, clips: list[int]) -> Tensor | None:
    """The windows of some clips; None where there are fewer than two, or none at all."""
    if heard.windows is None:
        return None
    chosen = torch.isin(torch.tensor(heard.owners), torch.tensor(clips))
    return heard.windows[chosen] if int(chosen.sum()) > 1 else None


def _rows(heard: Heard) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for index, sound in enumerate(heard.sounds):
        if sound.label is not None:
            rows[sound.label].append(index)
    return dict(rows)


def _side(heard: Heard) -> dict[str, Any]:
    return {
        "clips": len(heard),
        "median_seconds": statistics.median(heard.seconds),
        "rates": {str(rate): count for rate, count in sorted(heard.rates.items())},
        "silent": [str(heard.sounds[index].path) for index in heard.silent],
        "skipped": [{"file": file, "reason": reason} for file, reason in heard.skipped],
    }


def averaged(name: str, values: Tensor, recipe: str, better: str) -> Figure:
    """The mean over clips and 1.96 of its standard errors."""
    error = CERTAIN * values.std().item() / len(values) ** 0.5 if len(values) > 1 else None
    return Figure(name, values.mean().item(), recipe, better, error)
