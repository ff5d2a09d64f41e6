"""`sonotrain bench subject-alpha`: what the target teacher's weight does to identity, words and variety.

Desbos 2026, table 2.5: α (a of eq. 2.4) in {0, 0.25, 0.5, 0.75, 1}, all else equal.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError, setting
from sonotrain.evaluation.subject.folders import find_subjects
from sonotrain.evaluation.subject.run import SubjectBenchOptions, run
from sonotrain.files.options import add_options, add_threads, given
from sonotrain.files.plots import plot
from sonotrain.trainers.subject.trainer import SubjectTrainer
from sonotrain.training.run import train_once

VALUES = (0.0, 0.25, 0.5, 0.75, 1.0)
PANELS = (("agreement", "agreement with the words"), ("intra", "diversity within a prompt"))


def run_alpha(request: SubjectBenchOptions, values: Sequence[float], given: Mapping[str, Any]) -> bool:
    """Trains Uni-DAD for each value and subject in OUT/alpha-VALUE/SUBJECT, benches all, and draws alpha.png.

    `given`: further options of the training. Called again it goes on where it was stopped. True when all is
    done, False when it was stopped. SonopaintError as the training and the bench have it.
    """
    if bad := [value for value in values if not 0 <= value <= 1]:
        raise SonopaintError(f"{setting('values')} are weights from 0 to 1, not {bad[0]:g}.")
    out, names = Path(request.out), {f"alpha-{value:g}": value for value in sorted(set(values))}
    for name, value in names.items():
        for subject in find_subjects(request.subjects, request.noun, request.only):
            options = {
                "clips": str(subject.files[0].parent), "noun": subject.noun, "token": request.token,
                "model": request.model, **given, "alpha": value,
            }  # fmt: skip
            if not train_once(SubjectTrainer, out / name / subject.name, options, device=request.device):
                return False
    methods = tuple(f"{name}={out / name}/{{subject}}" for name in names)
    results = run(replace(request, methods=methods, out=str(out)))
    averages = {"all": results["average"], **results["groups"]}
    lines = {group: {value: rows[name] for name, value in names.items()} for group, rows in averages.items()}
    draw(lines, out / "alpha.png")
    return True


def draw(lines: Mapping[str, Mapping[float, Mapping[str, Any]]], path: Path) -> Path | None:
    """Identity to the right; agreement and diversity upwards; a line for all and for each group."""

    def panels(figure: Any) -> None:
        for axis, (key, label) in zip(figure.subplots(1, 2), PANELS, strict=True):
            for group, average in lines.items():
                points = []
                for value, row in average.items():
                    found = row.get(key)
                    if found is not None:
                        height = found[0] if isinstance(found, tuple) else found
                        points.append((row["identity"], height, value))
                style = {"color": "#0a7d72"} if group == "all" else {"linewidth": 1, "alpha": 0.7}
                axis.plot([x for x, _, _ in points], [y for _, y, _ in points], "o-", label=group, **style)
                for x, y, value in points if group == "all" else ():
                    axis.annotate(
                        f"α {value:g}", (x, y), xytext=(6, 5), textcoords="offset points", fontsize=9
                    )
            axis.set(xlabel="identity to the references →", ylabel=f"{label} →")
            axis.grid(alpha=0.25)
            axis.margins(0.15)
            axis.legend(frameon=False, fontsize=8)

    return plot(path, (9, 4), panels)


def fill(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command; those of the training are `sonotrain subject`'s."""

    def command(arguments: argparse.Namespace) -> bool:
        further = {"threads": arguments.threads, "student": arguments.student, "steps": arguments.steps}
        request = SubjectBenchOptions(**given(arguments, SubjectBenchOptions))
        return run_alpha(request, arguments.values, {name: value for name, value in further.items() if value})

    add = parser.add_argument
    add("subjects", help="folder of one subject, or of a folder for each")
    add("--values", nargs="+", type=float, default=list(VALUES), metavar="α", help="0 0.25 0.5 0.75 1")
    add_options(parser, SubjectBenchOptions, ("noun", "only", "model", "prompts", "seeds", "smoke", "device"))
    add("--student", default="", help="one-step student of the base (default: the one beside it)")
    add("--steps", type=int, default=0, help="critic steps of each run (0: what suits the model)")
    add("--out", default="runs/alpha", help="folder of the runs and the report (default: runs/alpha)")
    add_threads(parser)
    parser.set_defaults(run=command, resumable=False)
