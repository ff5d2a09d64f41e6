"""Table 1 of Han, Lostanlen & Lagrange on a grid that a small machine can afford, and with refinement."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sonoconvert.files.atomic import write_text
from sonoconvert.files.clip import Clip
from sonopaint.match.draws import COUNT
from sonopaint.match.matching import STEPS
from sonopaint.match.synths import get_synth
from sonotrain.evaluation.match.measures import (
    best_of_draws,
    distances,
    mean_and_spread,
    noticeable,
    refined,
    step_seconds,
)
from sonotrain.files.json_files import read_json, write_json
from sonotrain.trainers.match.draws import TEST
from sonotrain.trainers.match.metrics import known
from sonotrain.trainers.match.train import MatchOptions, MatchTrainer, averaged, plans
from sonotrain.training.loop import Budget
from sonotrain.training.run import train_once

logger = logging.getLogger(__name__)
ROWS = (
    ("p", {"loss": "p", "raw": True}),
    ("pnp", {"loss": "pnp", "raw": True}),
    ("reg", {"loss": "reg", "raw": True}),
    ("spectral", {"loss": "spectral", "raw": True}),
    ("p-scaled", {"loss": "p", "raw": False}),
    ("reg-scaled", {"loss": "reg", "raw": False}),
)  # as the document has them, with parameters as they are; and in the sliders' coordinates
REFINED = ("p", "reg")


def run_table(
    out: str | Path, given: Mapping[str, Any], steps: int, inits: int, *, refine_steps: int = STEPS
) -> dict[str, Any]:
    """Trains every row so many times, or goes on where it was stopped; table.json and table.md in `out`.

    given: options of `sonotrain match train` for all rows. The spectral loss trains for as many steps as its
    measured cost allows in the time of P's. refine_steps: of `sonopaint match`'s refinement, after P and
    regularised PNP.
    """
    out = Path(out)
    base = {"cache": str(out / "metrics"), "preview_minutes": 1e9, **given}
    options = MatchOptions(**base)
    plan = plans(options)[0]
    data = known(plan, options.cache, options.workers)
    rows = data.draws.of(TEST)
    synth, true = get_synth(plan.synth), data.draws.places[rows]
    costs_path = out / "costs.json"
    if not costs_path.is_file():
        write_json(costs_path, step_seconds({name: base | row for name, row in ROWS[:4]}))
    costs = read_json(costs_path)
    allowed = max(1, int(steps * costs["p"] / costs["spectral"]))
    # What others ramp up over in so many steps, the spectral loss does in its few.
    hurried = {"warmup": max(1, options.warmup * allowed // steps)}
    table: dict[str, Any] = {
        "synth": synth.name, "grid": options.grid, "sounds": len(data.heard), "test": len(rows),
        "steps": steps, "inits": inits, "refinement": refine_steps, "step_seconds": costs, "rows": {},
    }  # fmt: skip

    def measure(name: str, guesses: list[Any], taken: int) -> None:
        found = [distances(synth, guess, true) for guess in guesses]
        errors = [noticeable(synth, guess, true).median().item() for guess in guesses]
        table["rows"][name] = {
            "jtfs": mean_and_spread([jtfs.mean().item() for jtfs, _ in found]),
            "mss": mean_and_spread([mss.mean().item() for _, mss in found]),
            "noticeable": mean_and_spread(errors),
            "steps": taken,
        }
        write_json(out / "table.json", table)
        logger.info("%s: %s", name, table["rows"][name])

    guesses: dict[str, list[Any]] = {}
    for name, row in ROWS:
        taken, more = (allowed, hurried) if name == "spectral" else (steps, {})
        guesses[name] = []
        for init in range(inits):
            run = out / f"{name}-{init}"
            options_of = base | row | more | {"seed": init}
            train_once(MatchTrainer, run, options_of, Budget(steps=taken), device="cpu")
            analyser = averaged(run)[0]
            features = analyser.features(data.heard[rows].float())
            guesses[name].append(analyser.places(features, synth.name).detach())
        measure(name, guesses[name], taken)
    measure(f"best of {COUNT} draws", [best_of_draws(synth, true, COUNT)], 0)
    for name in REFINED:
        nearer = [refined(synth, guess, true, refine_steps) for guess in guesses[name]]
        measure(f"{name}, refined", nearer, steps)
    write_text(out / "table.md", as_markdown(table), force=True)
    return table


def as_markdown(table: Mapping[str, Any]) -> str:
    """The table for people."""
    reference = table["rows"]["p"]
    lines = [
        "| loss | JTFS distance | of P's | MSS distance | of P's | median error (JND) | steps | step |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in table["rows"].items():
        cost = table["step_seconds"].get(name)
        told = f"{cost / table['step_seconds']['p']:.2f} × P" if cost else ""
        lines.append(
            f"| {name} | {row['jtfs'][0]:.2f} ± {row['jtfs'][1]:.2f} "
            f"| {row['jtfs'][0] / reference['jtfs'][0]:.2f} | {row['mss'][0]:.3f} ± {row['mss'][1]:.3f} "
            f"| {row['mss'][0] / reference['mss'][0]:.2f} | {row['noticeable'][0]:.1f} | {row['steps']} "
            f"| {told} |"
        )
    return "\n".join(lines) + "\n"


def held_out(
    analyser_path: str | Path, count: int, draws: int, refine_steps: int, *, data_seed: int = 1000
) -> dict[str, dict[str, float]]:
    """Every synthesiser of an analyser on parameters that it never saw: medians over `count` sounds.

    JTFS distances of the best of `draws` draws, of the analyser, and of what `sonopaint match` finds with so
    many steps; errors in just noticeable differences of the last two; and a match's processor seconds.
    """
    from sonopaint.match.analyser import heard, load_analyser
    from sonopaint.match.matching import match
    from sonotrain.trainers.match.draws import drawn

    analyser, found = load_analyser(analyser_path), {}
    for name in analyser.synths:
        synth = get_synth(name)
        true = drawn(len(synth.parameters), 0, count, 0, data_seed).places
        # The recording's noise is not that of the synthesiser which matches it.
        sounds = synth.render(synth.theta(true), seed=77)
        said = analyser.places(analyser.features(heard(sounds)), name).detach()
        begun = time.process_time()
        matches = [
            match(Clip(one[None], synth.rate), name, count=refine_steps, analyser=analyser) for one in sounds
        ]
        seconds = (time.process_time() - begun) / count
        nearer = torch.stack([synth.place(one.sheet.theta) for one in matches])
        found[name] = {
            "draws": distances(synth, best_of_draws(synth, true, draws), true)[0].median().item(),
            "analyser": distances(synth, said, true)[0].median().item(),
            "refined": distances(synth, nearer, true)[0].median().item(),
            "analyser_jnd": noticeable(synth, said, true).median().item(),
            "refined_jnd": noticeable(synth, nearer, true).median().item(),
            "seconds": seconds,
        }
        logger.info("%s: %s", name, found[name])
    return found
