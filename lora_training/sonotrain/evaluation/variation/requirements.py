"""Requirements R1 to R11 as a matrix: what back-ends state, what was measured, who serves a need best."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import write_text
from sonotrain.evaluation.bench.nouns import REAL
from sonotrain.evaluation.variation.back_ends import AT, UNCHOSEN
from sonotrain.files.toml_files import read_toml

MEASURED = "measured"


SHIPPED = Path(__file__).with_name("requirements.toml")  # requirements, and what back-ends state


def read_matrix(path: str | Path = "") -> dict[str, Any]:
    """{"requirements", "stated", "measured"} of a file, or the shipped one."""
    found = read_toml(path or SHIPPED)
    if not isinstance(found.get("requirements"), dict):
        raise SonopaintError(f"{path} holds no requirements; give the requirements.toml of a bench.")
    return {"stated": {}, MEASURED: {}, **found}


def write_matrix(path: Path, results: Mapping[str, Any]) -> None:
    """The shipped matrix and a bench's figures, averaged over its references, as TOML.

    A back-end that was swept gets "swept": how surely more strength means less alignment (−Spearman's ρ).
    What listeners said of it stays (see ``fill_smos``).
    """
    heard = {}
    if path.is_file():
        heard = {name: one["smos"] for name, one in read_matrix(path)[MEASURED].items() if "smos" in one}
    wanted = {figure[1:] for one in read_matrix()["requirements"].values() for figure in one["figures"]}
    lines = [
        SHIPPED.read_text(encoding="utf-8").rstrip(),
        "",
        f"# Measured by `sonotrain bench variation`; judge: {results['judge']}.",
    ]
    strengths = results.get("strengths", {})
    for name, figures in results["average"].items():
        if name == REAL or UNCHOSEN in name or AT in name:
            continue
        kind = results.get("kinds", {}).get(name, name)
        lines += ["", _heading(name), f"kind = {json.dumps(kind)}"]
        for key in sorted(wanted):
            value = figures.get(key)
            value = value[0] if isinstance(value, (tuple, list)) else value
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                lines.append(f"{key} = {float(value):.6g}")
        if (swept := _swept(name, strengths, results["average"])) is not None:
            lines.append(f"swept = {swept:.6g}")
    write_text(path, "\n".join(lines) + "\n", force=True)
    if again := {name: heard[name] for name in heard.keys() & results["average"].keys()}:
        fill_smos(path, again)


def fill_smos(path: Path, smos: Mapping[str, float]) -> list[str]:
    """Write what listeners said ({method: S-MOS}) into a bench's matrix; the methods that it has come back.

    Raises SonopaintError for a file that is no matrix, and where it measured none of the methods.
    """
    found = [name for name in smos if name in read_matrix(path)[MEASURED]]
    if not found:
        raise SonopaintError(
            f"{path} has measured none of {', '.join(smos) or 'no method'}; give the requirements.toml of "
            "the bench that the listening test was built from."
        )
    lines: list[str] = []
    method = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            method = next((name for name in found if line == _heading(name)), "")
        if method and line.startswith("smos ="):
            continue
        lines.append(line)
        if method and line == _heading(method):
            lines.append(f"smos = {smos[method]:.6g}")
    write_text(path, "\n".join(lines) + "\n", force=True)
    return found


def _heading(name: str) -> str:
    return f"[{MEASURED}.{json.dumps(name)}]"


def _swept(name: str, strengths: Mapping[str, float], average: Mapping[str, Any]) -> float | None:
    points = [
        (strength, average[other]["identity"])
        for other, strength in strengths.items()
        if (other == name or other.startswith(name + AT)) and UNCHOSEN not in other
        if "identity" in average.get(other, {})
    ]
    if len(points) < 3 or len({identity for _, identity in points}) < 2:
        return None
    from scipy.stats import spearmanr

    return -float(spearmanr(*zip(*points, strict=True)).statistic)


def rank(
    matrix: Mapping[str, Any], needs: Sequence[str], only: Sequence[str] = ()
) -> list[tuple[str, float, dict[str, str]]]:
    """(back-end, score 0 to 1, {need: what it rests on}), best first.

    A need's score is the mean over its figures of where a back-end stands between the worst (0) and the best
    (1) of those that were measured; what was not measured counts by what its kind states, never more than 0.9
    of it. Raises SonopaintError for a need that is none.
    """
    known = matrix["requirements"]
    if not needs or (unknown := [need for need in needs if need not in known]):
        raise SonopaintError(
            f"{setting('need')} names requirements with commas between: {', '.join(known)}; not "
            f"{unknown[0]!r}."
            if needs
            else f"{setting('need')} names none of {', '.join(known)}."
        )
    measured: Mapping[str, Mapping[str, Any]] = matrix[MEASURED]
    kinds = {name: str(figures.get("kind", name)) for name, figures in measured.items()}
    names = [*measured, *(name for name in matrix["stated"] if name not in kinds.values())]
    found = []
    for name in names:
        if only and name not in only:
            continue
        scores, why = [], {}
        for need in needs:
            placed, told = _placed(name, known[need]["figures"], measured)
            if placed is None:
                stated = matrix["stated"].get(kinds.get(name, name), {}).get(need)
                placed = 0.9 * float(stated) if stated is not None else None
                told = "not known" if stated is None else f"stated: {STATED[float(stated)]}"
            scores.append(placed or 0.0)
            why[need] = told
        found.append((name, statistics.fmean(scores), why))
    return sorted(found, key=lambda one: -one[1])


STATED = {0.0: "no", 0.5: "in part", 1.0: "yes"}


def _placed(
    name: str, figures: Sequence[str], measured: Mapping[str, Mapping[str, Any]]
) -> tuple[float | None, str]:
    """(where a back-end stands among those measured, its figures in words)."""
    places, told = [], []
    for figure in figures:
        sign, key = figure[0], figure[1:]
        values = {other: float(one[key]) for other, one in measured.items() if key in one}
        if name not in values:
            continue
        low, high = min(values.values()), max(values.values())
        place = (values[name] - low) / (high - low) if high > low else 1.0
        places.append(place if sign == "+" else 1 - place if high > low else 1.0)
        told.append(f"{key} {values[name]:.3g}")
    return (statistics.fmean(places), ", ".join(told)) if places else (None, "")


def as_markdown(
    matrix: Mapping[str, Any], ranked: Sequence[tuple[str, float, Mapping[str, str]]], needs: Sequence[str]
) -> str:
    """The ranking as a table, each need with what it rests on."""
    heads = [f"{need} {matrix['requirements'][need]['name']}" for need in needs]
    lines = [f"| back-end | score | {' | '.join(heads)} |", "|---" * (len(needs) + 2) + "|"]
    lines += [
        f"| {name} | {score:.2f} | {' | '.join(why[need] for need in needs)} |" for name, score, why in ranked
    ]
    return "\n".join(lines) + "\n"
