"""The tables as Markdown, and what they say of the levels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sonotrain.evaluation.blend.swaps import ATTRIBUTES, NOTHING, WHOLE, share

PROBES = {
    "kind": "kind (corpus) ↑", "instrument": "instrument (notes) ↑", "pitch": "pitch (notes) ↑",
    "melody": "melody (BCE) ↓",
}  # fmt: skip


def as_markdown(table: Mapping[str, Any]) -> str:
    """Reconstruction (the document's table 1), probes (2 and 3), swaps (4 and 5), and their spread."""
    rows, counts = table["rows"], table["sounds"]
    lines = [
        f"{counts['corpus']} sounds of the corpus, {counts['notes']} notes, {counts['melodies']} melodies; "
        f"{counts['swaps']} swaps of each; a third of the sounds is held out from the probes.",
        "", f"**Reconstruction** (Fréchet distance by the {table['embedding']}; mel: error of log power)",
        "",
        *_grid(
            ["", "Fréchet ↓", "mel ↓"],
            [[r["name"], f"{r['frechet']:.1f}", f"{r['mel']:.2f}"] for r in rows],
        ),
        "", "**Probes** (accuracy; melody: binary cross-entropy)", "",
        *_grid(
            ["", "level", *PROBES.values()],
            [[r["name"], level, *(_told(probes.get(name), name) for name in PROBES)]
             for r in rows for level, probes in r["probes"].items()],
        ),
    ]  # fmt: skip
    for group, attributes in ATTRIBUTES.items():
        chosen = [r for r in rows if group in r["swaps"]]
        if not chosen:
            continue
        present = [name for name in attributes if name in chosen[0]["swaps"][group][WHOLE]]
        lines += ["", f"**Swaps of {group}**: likeness to the target of which one level is taken", ""]
        body = [
            [r["name"], way, *(_told(r["swaps"][group][way][name], name) for name in present)]
            for r in chosen
            for way in _ways(r, group)
        ]
        lines += _grid(["", "taken", *(f"{name} ↑" for name in present)], body)
    lines += ["", "**What each level brings along**, as a share of what reconstructing brings", ""]
    lines += _shares(rows)
    lines += ["", *(f"- {text}" for row in rows if len(row["levels"]) > 1 for text in _spread(row))]
    return "\n".join(lines) + "\n"


def separation(probes: Mapping[str, Mapping[str, float]], one: str = "kind", two: str = "pitch") -> float:
    """How much better one level tells `one` and another level `two` than the other way round; 0 … 2.

    The largest, over pairs of levels, of (one's accuracy here − there) + (two's accuracy there − here).
    """
    return max(
        (probes[a][one] - probes[b][one] + probes[b][two] - probes[a][two] for a in probes for b in probes),
        default=0.0,
    )


def _ways(row: Mapping[str, Any], group: str) -> list[str]:
    scores = row["swaps"][group]
    return [way for way in (NOTHING, *row["levels"], WHOLE) if way in scores]


def _shares(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = [(group, name) for group, names in ATTRIBUTES.items() for name in names]
    body = []
    for row in rows:
        for level in row["levels"] if len(row["levels"]) > 1 else ():
            cells = []
            for group, name in columns:
                scores = row["swaps"].get(group, {})
                known = level in scores and name in scores[level]
                cells.append(_percent(share(scores, level, name)) if known else "")
            body.append([row["name"], level, *cells])
    return _grid(["", "level", *(f"{name} ({group})" for group, name in columns)], body)


def _spread(row: Mapping[str, Any]) -> list[str]:
    """Sentences on a model's levels."""
    probes = row["probes"]
    said = []
    if all({"kind", "pitch"} <= told.keys() for told in probes.values()):
        said.append(
            f"{row['name']}: separation of kind and pitch by probes {separation(probes):.2f} "
            f"(spread of kind {_range(probes, 'kind')}, of pitch {_range(probes, 'pitch')})."
        )
    for level in row["levels"]:
        found = []
        for group, scores in row["swaps"].items():
            for name in scores.get(level, {}):
                value = share(scores, level, name)
                if not math.isnan(value):
                    found.append((value, f"{name} ({group})"))
        if len(found) > 1:
            (first, name), (second, other) = sorted(found, reverse=True)[:2]
            most = f"most of {name} ({_percent(first)}), then {other} ({_percent(second)})"
            said.append(f"{row['name']}, {level}: {most}.")
    return said


def _range(probes: Mapping[str, Mapping[str, float]], name: str) -> str:
    values = [told[name] for told in probes.values()]
    return f"{max(values) - min(values):.2f}"


def _told(value: float | None, name: str) -> str:
    if value is None or math.isnan(value):
        return "–"
    if name in ("kind", "instrument", "pitch"):
        return f"{value:.0%}"
    return f"{value:.4f}" if name == "melody" and value < 0.2 else f"{value:.2f}"


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0%}"


def _grid(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(cells) + " |" for cells in body]
