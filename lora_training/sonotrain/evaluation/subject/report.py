"""The bench's results as JSON, Markdown, a plot and a page: one table averaged, one for each subject."""

from __future__ import annotations

import html
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonotrain.data.charts import page
from sonotrain.evaluation.subject.drawing import save_plot, save_sheet
from sonotrain.evaluation.tables import write_json, write_text

FLAT = 0.25  # of the diversity of real clips: below it every seed gives nearly the same
DEAF = 0.5  # of the base's agreement: below it the prompt's words are lost
SHOWN = 8  # clips of a method on the page


class Cells(dict[tuple[str, str], dict[str, Any]]):
    """{(method, subject): figures}."""

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(method for method, _ in self))

    @property
    def subjects(self) -> list[str]:
        return list(dict.fromkeys(subject for _, subject in self))

    def average(self, method: str) -> dict[str, Any]:
        """The mean of a method's cells over the subjects; what a cell lacks is not counted."""
        rows = [figures for (name, _), figures in self.items() if name == method]
        found: dict[str, Any] = {}
        for key in dict.fromkeys(key for row in rows for key in row):
            values = [row[key] for row in rows if row.get(key) is not None]
            if values and isinstance(values[0], (int, float)) and not isinstance(values[0], bool):
                found[key] = statistics.fmean(values)
            elif values and isinstance(values[0], tuple):
                found[key] = tuple(map(statistics.fmean, zip(*values, strict=True)))
        found["memorises"] = any(row.get("memorises") for row in rows)
        return found


@dataclass(frozen=True)
class Column:
    """A figure in the tables: its key, heading and form; only shown where a cell has it."""

    key: str
    heading: str
    form: str = "{:.3f}"


COLUMNS = (
    Column("nfe", "NFE ↓", "{:.0f}"),
    Column("identity", "identity ↑"),
    Column("clip_i", "CLIP-I ↑"),
    Column("identity_plain", "plain prompt"),
    Column("agreement", "agreement ↑", "{:.0%}"),
    Column("text", "text ↑"),
    Column("intra", "intra ↑"),
    Column("inter", "inter ↑"),
    Column("intra_db", "intra, dB ↑", "{:.1f}"),
    Column("inter_db", "inter, dB ↑", "{:.1f}"),
    Column("nearest", "nearest"),
    Column("copies", "copies ↓", "{:.0%}"),
    Column("seconds", "s per clip ↓", "{:.2f}"),
    Column("minutes", "training, min ↓", "{:.1f}"),
    Column("memory_mb", "training, MB ↓", "{:.0f}"),
)


def faults(figures: Mapping[str, Any], real: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, str]:
    """{column: what is wrong with it}: copies, no gain over the base, every seed alike, words lost."""
    found = {}
    if figures.get("memorises"):
        found["copies"] = "recites its references"
    if base and figures["identity"] <= base["identity"]:
        found["identity"] = "no nearer to the subject than the base"
    diversity = real.get("intra") or real.get("inter")
    if diversity and figures.get("intra") and figures["intra"][0] < FLAT * diversity[0]:
        found["intra"] = "every seed gives nearly the same"
    if base.get("agreement") and figures.get("agreement") is not None:
        if figures["agreement"] < DEAF * base["agreement"]:
            found["agreement"] = "loses the prompt's words"
    return found


def table(rows: Mapping[str, Mapping[str, Any]], real: str, base: str) -> str:
    """Markdown: a row for each method, ✗ at what is wrong, and what that is below."""
    shown = [column for column in COLUMNS if any(row.get(column.key) is not None for row in rows.values())]
    lines = [
        f"| method | {' | '.join(column.heading for column in shown)} |",
        "|---" * (len(shown) + 1) + "|",
    ]
    told = []
    for name, row in rows.items():
        wrong = {} if name in (real, base) else faults(row, rows.get(real, {}), rows.get(base, {}))
        cells = [
            _cell(row.get(column.key), column) + (" ✗" if column.key in wrong else "") for column in shown
        ]
        lines.append(f"| {name.replace('|', '/')} | {' | '.join(cells)} |")
        told += [f"{name} {what}" for what in wrong.values()]
    return "\n".join(lines) + (f"\n\n✗ {'; '.join(told)}." if told else "") + "\n"


def _cell(value: Any, column: Column) -> str:
    if value is None:
        return "–"
    if isinstance(value, tuple):
        return " ± ".join(column.form.format(part) for part in (value if value[1] else value[:1]))
    return column.form.format(value)


def as_markdown(cells: Cells, facts: Mapping[str, Any], real: str, base: str) -> str:
    """The averaged table, then one for each subject, then how they were measured."""
    average = {method: cells.average(method) for method in cells.methods}
    known = sum(1 for key in cells if key[0] not in (real, base))
    parts = [
        f"# {len(cells.subjects)} subjects × {len(facts['templates'])} prompts × {len(facts['seeds'])} seeds",
        f"Averaged over the subjects ({known} cells of methods):",
        table(average, real, base),
    ]
    for subject in cells.subjects:
        rows = {method: cells[method, subject] for method in cells.methods if (method, subject) in cells}
        noun, count = facts["classes"][subject], facts["references"][subject]
        parts += [f"## {subject} ({noun}, {count} references)", table(rows, real, base)]
    how = facts["sampling"]
    parts.append(
        f"Judge: {facts['judge']}. Models of many steps: {how['steps']} steps of {how['sampler']}, guidance "
        f"{how['guidance'] or 'their own'}. What each figure means: docs/subject_bench.md."
    )
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def write_reports(
    out: Path,
    cells: Cells,
    facts: Mapping[str, Any],
    painted: Mapping[tuple[str, str], Sequence[Path]],
    references: Mapping[str, Sequence[Path]],
    *,
    sounds: bool,
    real: str = "held-out clips",
    base: str = "base",
) -> dict[str, Any]:
    """Writes results.json, results.md, results.png, sheet-SUBJECT.png and index.html; returns the JSON."""
    out.mkdir(parents=True, exist_ok=True)
    nested: dict[str, dict[str, Any]] = {}
    for (method, subject), figures in cells.items():
        nested.setdefault(subject, {})[method] = figures
    average = {method: cells.average(method) for method in cells.methods}
    results = {**facts, "subjects": nested, "average": average}
    write_json(out / "results.json", results)
    markdown = as_markdown(cells, facts, real, base)
    write_text(out / "results.md", markdown)
    pictures = [save_plot(cells, average, out / "results.png", real, base)]
    for subject in cells.subjects:
        rows = {"references": list(references[subject])}
        rows |= {method: list(files) for (method, name), files in painted.items() if name == subject}
        pictures.append(save_sheet(rows, out / f"sheet-{subject}.png", sounds=sounds))
    write_text(
        out / "index.html", _page(out, markdown, [p for p in pictures if p], painted, references, sounds)
    )
    return results


def _page(
    out: Path,
    markdown: str,
    pictures: Sequence[Path],
    painted: Mapping[tuple[str, str], Sequence[Path]],
    references: Mapping[str, Sequence[Path]],
    sounds: bool,
) -> str:
    body = [_html(markdown)]
    body += [
        f'<p><img src="{html.escape(path.name)}" style="max-width:100%" alt=""></p>' for path in pictures
    ]
    for subject, files in references.items():
        rows = {"references": files, **{m: f for (m, name), f in painted.items() if name == subject}}
        for method, made in rows.items():
            body.append(f"<h2>{html.escape(subject)}: {html.escape(method)}</h2><div class='clips'>")
            step = max(1, len(made) // SHOWN)
            for path in list(made)[::step][:SHOWN]:
                source = html.escape(Path(os.path.relpath(path, out)).as_posix())
                inner = f'<audio controls preload="none" src="{source}"></audio>'
                if not sounds:
                    inner = f'<img src="{source}" alt="">'
                body.append(f"<figure>{inner}<figcaption>{html.escape(path.stem)}</figcaption></figure>")
            body.append("</div>")
    return page("Subjects", "".join(body))


def _html(markdown: str) -> str:
    """The report's own Markdown (headings, tables, paragraphs) as HTML."""
    found: list[str] = []
    for block in markdown.strip().split("\n\n"):
        if block.startswith("|"):
            rows = [line.strip("|").split(" | ") for line in block.splitlines()]
            lines = [rows[0], *rows[2:]]
            cells = ["".join(f"<td>{html.escape(cell.strip())}</td>" for cell in row) for row in lines]
            found.append(f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>")
        elif block.startswith("#"):
            level = min(2, len(block) - len(block.lstrip("#")))
            found.append(f"<h{level}>{html.escape(block.lstrip('# '))}</h{level}>")
        else:
            found.append(f"<p>{html.escape(block)}</p>")
    return "".join(found)
