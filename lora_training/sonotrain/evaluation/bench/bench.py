"""A bench: back-ends make outputs for references, a judge measures them, a report puts them side by side.

What was made stays on disk, so that a bench that was stopped goes on, and never mixes outputs of two recipes.
"""

from __future__ import annotations

import json
import logging
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError, setting
from sonotrain.evaluation.bench.nouns import REAL, BackEnd, Judge, Reference
from sonotrain.evaluation.bench.report import COLUMNS, Cells, Column, Look, brief, write_reports
from sonotrain.evaluation.hearing import Progress
from sonotrain.evaluation.tables import write_json
from sonotrain.files.json_files import read_json
from sonotrain.files.pace import Pace

logger = logging.getLogger(__name__)

ABOUT, TIMES = "painted.json", "seconds.jsonl"
TELL_S = 10.0  # seconds between two lines of progress


@dataclass(frozen=True)
class Bench:
    """What is compared.

    facts: further lines of results.json; title, note: of results.md, heading: of the page; columns: of the
    tables; look: draws more pictures of what was made and of the averages.
    """

    references: Sequence[Reference]
    back_ends: Sequence[BackEnd]
    judge: Judge
    out: Path
    title: str
    note: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[Column, ...] = COLUMNS
    look: Look | None = None
    heading: str = "Subjects"


def run_bench(bench: Bench, progress: Progress | None = None) -> dict[str, Any]:
    """Fills every cell and writes results.json, .md, .png, .html and a contact sheet for each reference.

    Called again it goes on where it was stopped. SonopaintError where `out` holds outputs of another recipe.
    """
    cells, made = Cells(), {}
    for reference in bench.references:
        if reference.held_out:
            cells[REAL, reference.name] = bench.judge.real(reference)
    known = [one for one in bench.references if one.held_out]
    _together(bench, cells, REAL, known, {one.name: one.held_out for one in known})
    results: dict[str, Any] = {}
    for back_end in bench.back_ends:
        for reference in bench.references:
            key = back_end.name, reference.name
            shots = back_end.shots(reference)
            made[key], cost = make_all(back_end, reference, bench.out / "made" / Path(*key), progress)
            cells[key] = bench.judge.measure(reference, shots, made[key]) | cost
            logger.info("%s, %s: %s", *key, brief(cells[key], bench.columns))
        files = {one.name: made[back_end.name, one.name] for one in bench.references}
        _together(bench, cells, back_end.name, bench.references, files)
        results = write_reports(  # what there is, should it be stopped
            bench.out, cells, made, bench.references, bench.title,
            f"Judge: {bench.judge.about()}. {bench.note}", {"judge": bench.judge.about(), **bench.facts},
            columns=bench.columns, look=bench.look, heading=bench.heading,
            last=back_end is bench.back_ends[-1],
        )  # fmt: skip
    return results


def _together(
    bench: Bench, cells: Cells, row: str, references: Sequence[Reference], made: Mapping[str, Sequence[Path]]
) -> None:
    """Adds to a row's cells what only shows in all of them."""
    if references:
        for name, figures in bench.judge.together(references, made).items():
            cells[row, name] |= figures


def make_all(
    back_end: BackEnd, reference: Reference, folder: Path, progress: Progress | None = None
) -> tuple[list[Path], dict[str, Any]]:
    """Makes the missing shots into `folder`, one after another, each timed: (files in order, what they cost).

    Raises SonopaintError where the folder holds outputs of other facts.
    """
    shots = back_end.shots(reference)
    facts = {**back_end.facts(reference), "plain": shots[0].text}
    _check(folder, facts)
    files = [folder / f"{shot.stem}{back_end.suffix}" for shot in shots]
    missing = [index for index, file in enumerate(files) if not file.is_file()]
    if missing:
        name = f"{back_end.name}/{reference.name}"
        make, figures = back_end.open(reference)
        write_json(folder / ABOUT, read_json(folder / ABOUT) | figures)
        pace = Pace(TELL_S)
        for done, index in enumerate(missing, 1):
            begin = time.perf_counter()
            make(shots[index], files[index])
            _append(folder / TIMES, {"seconds": time.perf_counter() - begin, "shot": shots[index].stem})
            if progress:
                progress(done, len(missing), f"painting {name}")
            if pace.due() or done == len(missing):
                left = pace.left(done, len(missing) - done)
                logger.info("%s: painted %d of %d, %s left", name, done, len(missing), left)
    figures = {name: value for name, value in read_json(folder / ABOUT).items() if name not in facts}
    return files, figures | {"seconds": _median_seconds(folder / TIMES)} | back_end.cost(reference)


def _check(folder: Path, about: dict[str, Any]) -> None:
    """A folder belongs to one back-end and one way of asking it, so that outputs are never mixed from two."""
    about = json.loads(json.dumps(about))
    if (folder / ABOUT).is_file():
        before = read_json(folder / ABOUT)
        if changed := [name for name, value in about.items() if before.get(name) != value]:
            raise SonopaintError(
                f"{folder} holds clips that were painted with other {', '.join(changed)}; choose another "
                f"{setting('out')}, or delete the folder."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / ABOUT, about)


def _append(path: Path, line: dict[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _median_seconds(path: Path) -> float | None:
    """Of one shot, without the first, which warms up (unless it is the only one)."""
    if not path.is_file():
        return None
    seconds = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            seconds.append(float(json.loads(line)["seconds"]))
        except (ValueError, KeyError, TypeError):
            continue  # a line that was cut off
    return statistics.median(seconds[1:] or seconds) if seconds else None
