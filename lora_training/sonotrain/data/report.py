"""The report of a dataset as one HTML page: sizes, levels, words, clips, what was left out and why."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sonoconvert.files.atomic import write_text
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.picture import load_picture
from sonotrain.data.charts import bars, histogram, page, table
from sonotrain.data.dataset import SPLITS
from sonotrain.data.options import DatasetOptions
from sonotrain.data.recordings import Skipped

SHOWN_CLIPS = 48
SHOWN_SKIPPED = 500
_THUMBNAIL = (240, 96)
_NO_WORDS = {
    "a",
    "an",
    "the",
    "of",
    "and",
    "in",
    "on",
    "with",
    "is",
    "are",
    "to",
    "at",
    "by",
    "as",
    "it",
    "its",
}
KINDS = {
    "unreadable": "could not be read",
    "refused": "refused",
    "missing": "named in the table, but not here",
    "short": "too short",
    "silent": "silent",
    "clipped": "clipped",
    "duplicate": "duplicates",
}


@dataclass(frozen=True)
class Summary:
    """What the report is made of; `clips` are (split, clip as in the ledger)."""

    folder: Path
    source: str
    format: SpectrogramFormat
    options: DatasetOptions
    layout: str
    recordings_s: list[float]
    clips: list[tuple[str, dict[str, Any]]]
    lines: dict[str, list[dict[str, Any]]]
    tokens: list[int]
    skipped: list[Skipped]
    notes: list[str]


def write_report(summary: Summary) -> None:
    """Write report.html into the dataset."""
    body = "".join(
        (_head(summary), _notes(summary), _charts(summary), _contact_sheet(summary), _left_out(summary))
    )
    write_text(summary.folder / "report.html", page(f"Dataset {summary.folder.name}", body), force=True)


def _head(summary: Summary) -> str:
    fmt, clips = summary.format, summary.clips
    heard = sum(fmt.seconds(clip["columns"]) for _, clip in clips)
    facts = {
        "recordings": f"{len(summary.recordings_s)}",
        "clips": f"{len(clips)}",
        **{split: f"{len(summary.lines[split])}" for split in SPLITS},
        "of sound": _duration(heard),
        "left out": f"{len(summary.skipped)}",
    }
    items = "".join(f"<li><b>{value}</b>{html.escape(name)}</li>" for name, value in facts.items())
    said = (
        f"Made from {summary.source} ({summary.layout}). {fmt.name}: {fmt.seconds(fmt.width):.2f} s, "
        f"{fmt.sample_rate / 1000:g} kHz, {fmt.f_min:g} to {fmt.f_max:g} Hz, {fmt.width} columns."
    )
    if summary.options.trigger:
        said += f" Every caption begins with “{summary.options.trigger}”."
    return (
        f'<h1>{html.escape(summary.folder.name)}</h1><p>{html.escape(said)}</p><ul class="facts">{items}</ul>'
    )


def _notes(summary: Summary) -> str:
    clipped = sum(clip["clipped"] > 0.001 for _, clip in summary.clips)
    notes = list(summary.notes)
    if clipped:
        notes.append(
            f"{clipped} clips are clipped in more than a thousandth of their samples, and were kept."
        )
    if not notes:
        return ""
    return '<div class="notes">' + "".join(f"<p>{html.escape(note)}</p>" for note in notes) + "</div>"


def _charts(summary: Summary) -> str:
    every = [line for split in SPLITS for line in summary.lines[split]]
    labels = Counter(line["label"] for line in every if line["label"] is not None)
    words = Counter(
        word
        for line in every
        for word in re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)?", line["text"].lower())
        if word not in _NO_WORDS
    )
    fmt = summary.format
    figures = (
        histogram("Length of the recordings", summary.recordings_s, "s"),
        histogram("Sound in each clip (the rest is padding)", _seconds(summary, fmt), "s"),
        histogram("Peak before normalisation", [clip["peak_db"] for _, clip in summary.clips], "dBFS"),
        histogram(
            "Loudness (RMS) before normalisation", [clip["rms_db"] for _, clip in summary.clips], "dBFS"
        ),
        histogram("Length of the captions", [float(count) for count in summary.tokens], "tokens"),
        bars("Labels", labels.most_common(16) if len(labels) > 1 else ()),
        bars("Words", words.most_common(16)),
    )
    split_rows = _split_table(summary, labels)
    return f'<h2>What is in it</h2><div class="grid">{"".join(figures)}</div>{split_rows}'


def _seconds(summary: Summary, fmt: SpectrogramFormat) -> list[float]:
    return [fmt.seconds(clip["columns"]) for _, clip in summary.clips]


def _split_table(summary: Summary, labels: Counter[str]) -> str:
    """How many clips of each label every split has."""
    if len(labels) < 2:
        return ""
    counts = {split: Counter(line["label"] for line in summary.lines[split]) for split in SPLITS}
    rows = [[label, *(str(counts[split][label]) for split in SPLITS)] for label, _ in labels.most_common()]
    content = table(("Label", *SPLITS), rows)
    return f"<details><summary>{len(labels)} labels by split</summary>{content}</details>"


def _contact_sheet(summary: Summary) -> str:
    """Some clips of every split, the same in every report of the same dataset."""
    every = [(split, line) for split in SPLITS for line in summary.lines[split]]
    chosen = sorted(every, key=lambda item: hashlib.sha256(item[1]["file_name"].encode()).digest())[
        :SHOWN_CLIPS
    ]
    figures = []
    for split, line in sorted(chosen, key=lambda item: (SPLITS.index(item[0]), item[1]["source"])):
        text = html.escape(line["text"]) or "<em>no caption</em>"
        source = html.escape(f"{split} · {line['source']}") + (
            f" from {line['start_s']:g} s" if line["start_s"] else ""
        )
        figures.append(
            f'<figure><img alt="" src="{_thumbnail(summary.folder / split / line["file_name"])}">'
            f"<figcaption>{text}</figcaption><small>{source}</small>"
            f'<audio controls preload="none" src="{split}/{line["audio"]}"></audio></figure>'
        )
    if not figures:
        return ""
    which = "All clips" if len(figures) == len(every) else f"{len(figures)} of {len(every)} clips"
    return f'<h2>{which}</h2><div class="clips">{"".join(figures)}</div>'


def _thumbnail(path: Path) -> str:
    """A small picture as a data address; loud is white whatever the format."""
    levels = load_picture(path).levels().mean(0).flip(0).numpy()
    image = Image.fromarray((255 * levels).astype(np.uint8)).resize(_THUMBNAIL, Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=70)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _left_out(summary: Summary) -> str:
    if not summary.skipped:
        return "<h2>Left out</h2><p>Nothing.</p>"
    kinds: dict[str, list[Skipped]] = defaultdict(list)
    for item in summary.skipped:
        kinds[item.kind].append(item)
    parts = []
    for kind, items in sorted(kinds.items(), key=lambda pair: -len(pair[1])):
        rows = [
            [item.source + (f" from {item.start_s:g} s" if item.start_s else ""), item.reason]
            for item in items[:SHOWN_SKIPPED]
        ]
        more = len(items) - len(rows)
        rest = f"<p>and {more} more in skipped.jsonl</p>" if more else ""
        parts.append(
            f"<details{' open' if len(items) <= 12 else ''}><summary>{len(items)} {html.escape(KINDS[kind])}"
            f"</summary>{table(('Sound', 'Why'), rows)}{rest}</details>"
        )
    return f"<h2>Left out</h2>{''.join(parts)}"


def _duration(seconds: float) -> str:
    """3 h 20 min, 12 min or 42 s."""
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
