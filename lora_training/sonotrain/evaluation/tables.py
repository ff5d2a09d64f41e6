"""A report of figures as text, Markdown and JSON: no figure without its recipe."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sonoconvert.errors import flag, named
from sonoconvert.files.atomic import write_text

SHARES = {"close", "top-1"}


def as_text(report: Mapping[str, Any], width: int = 110) -> str:
    """Figures as a table for the terminal, wrapped at `width`, warnings below."""
    lines = [_sets(report), ""]
    for part in report["parts"]:
        for figure in part["figures"]:
            arrow = {"lower": "↓", "higher": "↑"}.get(figure["better"], " ")
            lines += textwrap.wrap(
                f"{figure['name']:>12} {arrow} {value_of(figure):<16} {figure['recipe']}",
                width=width,
                subsequent_indent=" " * 32,
                break_long_words=False,
            )
    lines += _label_lines(report, "{:<24}{:>6}{:>6}{:>10}{:>8}  {}")
    nearest = [pair for part in report["parts"] for pair in part["nearest"]][:3]
    if nearest:
        lines += ["", "Nearest to the reference (listen whether they are copies):"]
        lines += [f"  {p['distance']:.3f}  {p['generated']}  ~  {p['reference']}" for p in nearest]
    if report["warnings"]:
        lines += ["", *(f"! {text}" for text in report["warnings"])]
    return "\n".join(lines)


def as_markdown(report: Mapping[str, Any]) -> str:
    """The same for a card or an issue."""
    lines = [f"{_sets(report)}", "", "| figure | value | recipe |", "|---|---|---|"]
    for part in report["parts"]:
        for figure in part["figures"]:
            arrow = {"lower": " ↓", "higher": " ↑"}.get(figure["better"], "")
            lines.append(f"| {figure['name']}{arrow} | {value_of(figure)} | {_cell(figure['recipe'])} |")
    rows = report["labels"]
    if rows:
        lines += [
            "",
            "| label | clips | reference | FID | found | most taken for |",
            "|---|---|---|---|---|---|",
        ]
        lines += [f"| {' | '.join(map(_cell, _label_cells(name, row)))} |" for name, row in rows.items()]
    lines += ["", *(f"- {text}" for text in report["warnings"])] if report["warnings"] else []
    for part in report["parts"]:
        about = part["embedding"]
        lines += ["", f"{about['title']}: {about['file']} (SHA-256 {about['hash']}…), {about['details']}."]
    return "\n".join(lines) + "\n"


def write_report(report: Mapping[str, Any], folder: Path) -> None:
    """Writes evaluation.json and evaluation.md, replacing those of an earlier run."""
    for name, text in (("evaluation.json", as_json(report)), ("evaluation.md", as_markdown(report))):
        write_text(folder / name, named(text, flag), force=True)


def as_json(value: Mapping[str, Any]) -> str:
    """What is no number (NaN) becomes null."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes or replaces a JSON file."""
    write_text(path, as_json(value), force=True)


def value_of(figure: Mapping[str, Any]) -> str:
    """66.89 ± 2.10; shares in per cent."""
    value, error = figure["value"], figure["error"]
    if figure["name"] in SHARES:
        return f"{value:.1%}"
    digits = 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}" + (f" ± {error:.{digits}f}" if error is not None else "")


def _sets(report: Mapping[str, Any]) -> str:
    def side(name: str) -> str:
        about = report["parts"][0][name]
        rates = " + ".join(f"{int(rate) / 1000:g} kHz" for rate in about["rates"])
        return f"{report[name]} ({about['clips']} clips, {about['median_seconds']:.1f} s, {rates})"

    sets = f"Generated: {side('generated')}"
    if report["reference"]:
        sets += f"; reference: {side('reference')}"
    return sets + _painted(report["generation"])


def _painted(made: Mapping[str, Any] | None) -> str:
    """What painted the clips, where `--model` did."""
    if not made:
        return ""
    loras = "".join(f" + {name} × {weight:g}" for name, weight in made.get("loras", ()))
    how = f"{made['sampler']}, {made['steps']} steps, guidance {made['guidance_scale']:g}"
    name = f"{made['model']} {made['model_hash']}{loras}"
    return f". Painted by {name}: {how}, seeds from {made['seed']}, one caption per clip"


def _label_lines(report: Mapping[str, Any], form: str) -> list[str]:
    if not report["labels"]:
        return []
    rows = [_label_cells(name, row) for name, row in report["labels"].items()]
    head = form.format("label", "clips", "ref.", "FID", "found", "most taken for")
    return ["", head, *(form.format(*row) for row in rows)]


def _label_cells(name: str, row: Mapping[str, Any]) -> list[str]:
    distance = f"{row['frechet']:.2f}" if "frechet" in row else ""
    found = f"{row['found']:.0%}" if "found" in row else ""
    return [name, str(row["clips"]), str(row["reference"]), distance, found, row.get("taken_for", "")]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
