"""`sonotrain bench variation`: the same references for every back-end, made, judged and reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sonopaint.variations.protocol import COUNT, KEEPS, KEPT, STRENGTH, Ask, Keep
from sonotrain.evaluation.bench.bench import Bench, run_bench
from sonotrain.evaluation.bench.nouns import REAL
from sonotrain.evaluation.hearing import Progress
from sonotrain.evaluation.variation.back_ends import AT, UNCHOSEN, Varying, read_methods
from sonotrain.evaluation.variation.judge import COLUMNS, VariationJudge
from sonotrain.evaluation.variation.methods import kind_of, open_method
from sonotrain.evaluation.variation.pictures import save_panel, save_sweep
from sonotrain.evaluation.variation.references import Protocol, find_references
from sonotrain.evaluation.variation.requirements import write_matrix
from sonotrain.files.options import option

SWEPT = (("fd", "FD ↓"), ("identity", "alignment ↑"), ("intra", "diversity ↑"), ("right", "right kind ↑"))


@dataclass(frozen=True)
class VariationBenchOptions:
    """What `sonotrain bench variation` was asked for."""

    sounds: str
    methods: tuple[str, ...] = option(
        ("vary", "one-step", "pitch-and-gain"),
        "back-ends, each NAME or NAME=WHAT, with +LORA at its end for a LoRA (default: vary one-step "
        "pitch-and-gain)",
        metavar="NAME",
    )
    variations: int = option(COUNT, "variations of each reference")
    strength: float = option(STRENGTH, "how far from the reference")
    sweep: tuple[float, ...] = option((), "further strengths, with commas between", of=float, commas=True)
    unchosen: bool = option(False, "beside what is chosen also what the first seeds gave")
    target: str = option("", "style transfer: what everything is to become")
    keep: tuple[str, ...] = option(KEPT, f"what of the reference is kept: {','.join(KEEPS)}", commas=True)
    model: str = option("mini", "the model of back-ends that paint spectrograms")
    embedding: str = option("auto", "panns, vggish, clap or classifier (default: as evaluate)")
    weights: str = option("", "the embedding's file (default: looked for in models/evaluation)")
    out: str = option("runs/bench-variation", "folder for everything")
    cache: str = option("runs/embeddings", "folder for what was heard")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 …")
    protocol: Protocol = field(default_factory=Protocol)


def run(request: VariationBenchOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Makes and measures everything (see bench.run_bench), and fills requirements.toml; returns results.json.

    Called again it goes on where it was stopped. Raises SonopaintError, with one sentence, for whatever is
    missing or does not fit, before anything is made.
    """
    keep = Keep.of(request.keep)
    ask = Ask(count=request.variations, strength=request.strength, text=request.target, keep=keep)
    asks = [ask, *(replace(ask, strength=strength) for strength in request.sweep if strength != ask.strength)]
    out = Path(request.out)
    variators = read_methods(
        request.methods, lambda what: open_method(what, request.model, device=request.device)
    )
    references = find_references(request.sounds, request.protocol, out)
    judge = VariationJudge(
        request.embedding, request.weights, target=request.target, cache=request.cache, device="cpu"
    )
    rows: list[Varying] = []
    for name, (_, variator) in variators.items():
        for one in asks:
            called = name if one is ask else f"{name}{AT}{one.strength:g}"
            told = (variator, one, request.protocol, out / "candidates", judge.ear)
            rows.append(Varying(called, *told))
            if request.unchosen:
                rows.append(Varying(called + UNCHOSEN, *told, choose=False))
    strengths = {row.name: row.ask.strength for row in rows}

    def look(made: Mapping[tuple[str, str], Sequence[Path]], average: Mapping[str, Any]) -> list[Path]:
        found = [_sweep(average, strengths, out)]
        for one in references:
            shown = {name: made[name, one.name] for name in variators}
            found.append(save_panel(one, shown, out / f"panel-{one.name}.png"))
        return [path for path in found if path]

    bench = Bench(
        references,
        rows,
        judge,
        out,
        title=f"Variations of {len(references)} sounds, {request.variations} of each",
        note=f"Strength {request.strength:g}; kept: {', '.join(request.keep) or 'nothing'}"
        f"{f'; asked to become {request.target!r}' if request.target else ''}; judged at "
        f"{request.protocol.rate or 'their own'} Hz, mono, at most {request.protocol.seconds:g} s. '{REAL}' "
        "are other takes of the references: the ceiling. What each figure means: docs/variation_bench.md.",
        facts={
            "protocol": asdict(request.protocol),
            "sounds": Path(request.sounds).name if request.sounds else "the corpus's held-out kinds",
            "methods": {row.name: row.described for row in rows},
            "kinds": {name: kind_of(what) for name, (what, _) in variators.items()},
            "strengths": strengths,
        },
        columns=COLUMNS,
        look=look,
        heading="Variations",
    )
    results = run_bench(bench, progress)
    write_matrix(out / "requirements.toml", results)
    return results


def _sweep(average: Mapping[str, Any], strengths: Mapping[str, float], out: Path) -> Path | None:
    points: dict[str, dict[float, Any]] = {}
    for name, figures in average.items():
        if name in strengths and UNCHOSEN not in name:
            points.setdefault(name.split(AT)[0], {})[strengths[name]] = figures
    return save_sweep(points, out / "sweep.png", SWEPT)
