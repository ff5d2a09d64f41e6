"""A bench's results as JSON, Markdown, a plot and a page: tables averaged, and one for each reference."""

from __future__ import annotations

import html
import os
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonoconvert.files.atomic import write_text
from sonotrain.data.charts import page
from sonotrain.evaluation.bench.drawing import save_plot, save_sheet
from sonotrain.evaluation.bench.nouns import BASE, PICTURES, REAL, Reference
from sonotrain.evaluation.tables import write_json

MISSING = 0.5  # more than that share of what was asked for
FLAT = 0.25  # of the diversity of real clips: below it every seed gives nearly the same
DEAF = 0.5  # of the base's agreement: below it the prompt's words are lost
SHOWN = 8  # outputs of a back-end on the page


class Cells(dict[tuple[str, str], dict[str, Any]]):
    """{(back-end, reference): figures}."""

    @property
    def rows(self) -> list[str]:
        """The back-ends (and REAL), in their order."""
        return list(dict.fromkeys(row for row, _ in self))

    def of(self, reference: str) -> dict[str, dict[str, Any]]:
        """{back-end: figures} of one reference."""
        return {row: figures for (row, name), figures in self.items() if name == reference}

    def average(self, among: Collection[str]) -> dict[str, dict[str, Any]]:
        """{back-end: the mean of its cells over the references `among`}; what a cell lacks is not counted."""
        found = {}
        for row in self.rows:
            cells = [figures for (name, of), figures in self.items() if name == row and of in among]
            if cells:
                found[row] = _mean(cells)
        return found


def _mean(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in dict.fromkeys(key for cell in cells for key in cell):
        values = [cell[key] for cell in cells if cell.get(key) is not None]
        if values and isinstance(values[0], (int, float)) and not isinstance(values[0], bool):
            found[key] = statistics.fmean(values)
        elif values and isinstance(values[0], tuple):
            found[key] = tuple(map(statistics.fmean, zip(*values, strict=True)))
    found["memorises"] = any(cell.get("memorises") for cell in cells)
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
    Column("diversity", "their mean ↑"),
    Column("intra_db", "intra, dB ↑", "{:.1f}"),
    Column("inter_db", "inter, dB ↑", "{:.1f}"),
    Column("nearest", "nearest"),
    Column("copies", "copies ↓", "{:.0%}"),
    Column("seconds", "s per clip ↓", "{:.2f}"),
    Column("minutes", "training, min ↓", "{:.1f}"),
    Column("memory_mb", "training, MB ↓", "{:.0f}"),
)


def faults(figures: Mapping[str, Any], real: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, str]:
    """{column: what is wrong}: copies, most missing, no gain over the base, every seed alike, words lost."""
    found = {}
    if figures.get("failed", 0) > MISSING:
        found["failed"] = "hands over less than half of what was asked for"
    if figures.get("memorises"):
        found["copies"] = "recites its references"
    if base and figures.get("identity", 0) <= base["identity"]:
        found["identity"] = "no nearer to the subject than the base"
    diversity = real.get("intra") or real.get("inter")
    if diversity and figures.get("intra") and figures["intra"][0] < FLAT * diversity[0]:
        found["intra"] = "every seed gives nearly the same"
    if base.get("agreement") and figures.get("agreement") is not None:
        if figures["agreement"] < DEAF * base["agreement"]:
            found["agreement"] = "loses the prompt's words"
    return found


Look = Callable[[Mapping[tuple[str, str], Sequence[Path]], Mapping[str, Any]], Sequence[Path]]


def table(rows: Mapping[str, Mapping[str, Any]], columns: Sequence[Column] = COLUMNS) -> str:
    """Markdown: a row for each back-end, ✗ at what is wrong, and what that is below."""
    shown = [column for column in columns if any(row.get(column.key) is not None for row in rows.values())]
    lines = [
        f"| method | {' | '.join(column.heading for column in shown)} |",
        "|---" * (len(shown) + 1) + "|",
    ]
    told = []
    for name, row in rows.items():
        wrong = {} if name in (REAL, BASE) else faults(row, rows.get(REAL, {}), rows.get(BASE, {}))
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


def brief(figures: Mapping[str, Any], columns: Sequence[Column] = COLUMNS) -> str:
    """The first figures of a cell, for the log."""
    shown = [column for column in columns if isinstance(figures.get(column.key), float)]
    return ", ".join(f"{column.key} {column.form.format(figures[column.key])}" for column in shown[:3])


def groups_of(references: Sequence[Reference]) -> dict[str, list[str]]:
    """{group: names of its references}; empty where all are of one group, which the average is already."""
    found: dict[str, list[str]] = {}
    for reference in references:
        found.setdefault(reference.group, []).append(reference.name)
    return found if len(found) > 1 else {}


def as_markdown(
    cells: Cells,
    references: Sequence[Reference],
    title: str,
    note: str,
    columns: Sequence[Column] = COLUMNS,
) -> str:
    """The averaged table, one for each group, one for each reference, then how they were measured."""
    known = sum(1 for row, _ in cells if row not in (REAL, BASE))
    every = cells.average([reference.name for reference in references])
    parts = [f"# {title}", f"Averaged over all ({known} cells of methods):", table(every, columns)]
    for group, names in groups_of(references).items():
        parts += [
            f"Averaged over {group or 'the others'} ({len(names)}):",
            table(cells.average(names), columns),
        ]
    for one in references:
        count = f", {len(one.files)} references" if len(one.files) > 1 else ""
        parts += [f"## {one.name} ({one.noun}{count})", table(cells.of(one.name), columns)]
    return "\n\n".join(part.rstrip("\n") for part in [*parts, note]) + "\n"


def write_reports(
    out: Path,
    cells: Cells,
    made: Mapping[tuple[str, str], Sequence[Path]],
    references: Sequence[Reference],
    title: str,
    note: str,
    facts: Mapping[str, Any],
    *,
    columns: Sequence[Column] = COLUMNS,
    look: Look | None = None,
    heading: str = "Subjects",
    last: bool = True,
) -> dict[str, Any]:
    """Writes results.json, results.md, results.png, sheet-NAME.png and index.html; returns the JSON.

    look: draws instead of the sheets, when the `last` back-end is there.
    """
    out.mkdir(parents=True, exist_ok=True)
    average = cells.average([reference.name for reference in references])
    results = {
        **facts,
        "subjects": {reference.name: cells.of(reference.name) for reference in references},
        "average": average,
        "groups": {group: cells.average(names) for group, names in groups_of(references).items()},
    }
    write_json(out / "results.json", results)
    markdown = as_markdown(cells, references, title, note, columns)
    write_text(out / "results.md", markdown, force=True)
    pictures = [save_plot(cells, average, out / "results.png")] if last or look is None else []
    if look and last:
        pictures += look(made, average)
    body: list[str] = []
    for one in references:
        rows = {"references": list(one.files)}
        rows |= {row: list(files) for (row, name), files in made.items() if name == one.name}
        if look is None:
            pictures.append(save_sheet(rows, out / f"sheet-{one.name}.png"))
        body += [part for row, files in rows.items() for part in _shelf(out, f"{one.name}: {row}", files)]
    images = [
        f'<p><img src="{html.escape(path.name)}" style="max-width:100%" alt=""></p>'
        for path in pictures
        if path
    ]
    write_text(out / "index.html", page(heading, "".join([_html(markdown), *images, *body])), force=True)
    return results


def _shelf(out: Path, name: str, files: Sequence[Path]) -> list[str]:
    """A heading and some of the files, to be heard or seen."""
    found = [f"<h2>{html.escape(name)}</h2><div class='clips'>"]
    for path in files[:: max(1, len(files) // SHOWN)][:SHOWN]:
        source = html.escape(Path(os.path.relpath(path, out)).as_posix())
        inner = f'<audio controls preload="none" src="{source}"></audio>'
        if path.suffix.lower() in PICTURES:
            inner = f'<img src="{source}" alt="">'
        found.append(f"<figure>{inner}<figcaption>{html.escape(path.stem)}</figcaption></figure>")
    return [*found, "</div>"]


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
