"""The last steps of a dataset: duplicates out, captions in, metadata, and the report."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import UNFINISHED, write_text
from sonoconvert.pictures.format import SpectrogramFormat
from sonotrain.data.captions import MAX_TOKENS, count_tokens, load_counter, make_captions
from sonotrain.data.checks import PRINT_SIZE, find_duplicates
from sonotrain.data.dataset import ABOUT, SPLITS, VERSION, read_lines, write_lines
from sonotrain.data.ledger import Ledger
from sonotrain.data.options import DatasetOptions
from sonotrain.data.recordings import Found, Recording, Skipped
from sonotrain.data.report import Summary, write_report
from sonotrain.data.split import share
from sonotrain.files.json_files import write_json

if TYPE_CHECKING:
    from sonotrain.data.clips import Planned
    from sonotrain.data.tags import Tagger

logger = logging.getLogger(__name__)
Progress = Callable[[int, int, str], None]
_MADE_FILE = re.compile(r"[0-9a-f]{10}-\d+\.(png|flac)")


@dataclass(frozen=True)
class Made:
    """A clip that was made, with the recording that it is from."""

    recording: Recording
    split: str
    clip: dict[str, Any]  # as in the ledger

    @property
    def stem(self) -> str:
        return str(self.clip["stem"])


def finish(
    target: Path,
    source: Path,
    fmt: SpectrogramFormat,
    options: DatasetOptions,
    found: Found,
    planned: Sequence[Planned],
    ledger: Ledger,
    tell: Progress,
    tagger: Tagger | None = None,
) -> None:
    """Write metadata.jsonl of every split, dataset.json, skipped.jsonl and report.html.

    Raises SonopaintError where no clip is left to train on (the report says why).
    """
    made = [
        Made(item.recording, item.split, clip)
        for item in planned
        for job in item.jobs
        for clip in ledger.results[job.name]["clips"]
    ]
    tell(0, 0, "Looking for duplicates")
    clips, left_out = _without_duplicates(made, options, found)
    clips = _with_validation(target, clips, options, ledger)
    tags = _tags(target, clips, tagger, options.tags, ledger, tell) if tagger else {}
    tell(0, 0, "Writing captions")
    lines, written, kept = _lines(target, clips, tags, options, ledger)
    tokens = _count_tokens(lines, options, found)
    _note(clips, lines, kept, options, found)
    ledger.will_write(written)
    for split in SPLITS:
        if lines[split] or (target / split).is_dir():
            (target / split).mkdir(parents=True, exist_ok=True)
            write_lines(target, split, lines[split])
    labels = Counter(item.recording.label for item in clips if item.recording.label is not None)
    about = {
        "version": VERSION,
        "format": fmt.to_dict(),
        "trigger": options.trigger,
        "options": asdict(options),
        "splits": {split: len(lines[split]) for split in SPLITS},
        "labels": dict(sorted(labels.items())),
    }
    write_json(target / ABOUT, about)
    ledger.finish(written, left_out)
    _remove_orphans(target, clips)
    text = "".join(json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in found.skipped)
    write_text(target / "skipped.jsonl", text, force=True)
    tell(0, 0, "Writing the report")
    write_report(
        Summary(
            folder=target,
            source=source.name,
            format=fmt,
            options=options,
            layout=found.layout,
            recordings_s=[item.seconds for item in planned],
            clips=[(item.split, item.clip) for item in clips],
            lines=lines,
            tokens=tokens,
            skipped=found.skipped,
            notes=found.notes,
        )
    )
    for note in found.notes:
        logger.warning("%s", note)
    if not lines["train"]:
        reasons = Counter(item.kind for item in found.skipped)
        said = ", ".join(f"{count} {kind}" for kind, count in reasons.most_common()) or "nothing was found"
        raise SonopaintError(
            f"No clip is left to train on ({said}); {target / 'report.html'} lists what was left out and why."
        )


def _without_duplicates(
    made: list[Made], options: DatasetOptions, found: Found
) -> tuple[list[Made], list[str]]:
    """(clips to keep, names of those left out)."""
    if options.duplicates == "keep" or not made:
        return made, []
    prints = np.stack(
        [np.frombuffer(base64.b64decode(item.clip["print"]), dtype=np.int8) for item in made]
    ).reshape(-1, PRINT_SIZE)
    similarity = options.similarity if options.duplicates == "near" else 2.0
    hashes = [item.clip["hash"] for item in made]
    repeats = find_duplicates(hashes, prints, [item.clip["columns"] for item in made], similarity)
    kept, left_out = [], []
    for item, earlier in zip(made, repeats, strict=True):
        if earlier < 0:
            kept.append(item)
            continue
        left_out.append(item.stem)
        first = made[earlier]
        where = first.recording.source
        if first.clip["start_s"]:
            where += f" from {first.clip['start_s']:g} s"
        same = item.clip["hash"] == first.clip["hash"]
        reason = f"{'is the same sound as' if same else 'sounds almost like'} {where}"
        found.skipped.append(Skipped(item.recording.source, "duplicate", reason, item.clip["start_s"]))
    return kept, left_out


def _with_validation(target: Path, clips: list[Made], options: DatasetOptions, ledger: Ledger) -> list[Made]:
    """Move one recording from training to validation where what was meant for it was left out."""
    if options.validation <= 0 or any(item.split == "validation" for item in clips):
        return clips
    training = {item.recording.group for item in clips if item.split == "train"}
    said = {item.recording.group for item in clips if item.recording.split is not None}
    free = sorted(training - said, key=lambda group: (share(group, options.seed), group))
    if len(training) < 2 or not free:
        return clips
    moved = []
    (target / "validation").mkdir(exist_ok=True)
    for item in clips:
        if item.split == "train" and item.recording.group == free[0]:
            for suffix in (".png", ".flac"):
                name = f"{item.stem}{suffix}"
                os.replace(target / "train" / name, target / "validation" / name)
            item = replace(item, split="validation")
        moved.append(item)
    ledger.keep_groups({free[0]: "validation"})
    return moved


def _tags(
    target: Path, clips: list[Made], tagger: Tagger, most: int, ledger: Ledger, tell: Progress
) -> dict[str, tuple[str, ...]]:
    """Tags by clip; what is known from the last build with the same tagger is not asked again."""
    from sonotrain.data.tags import tag_clips

    maker = [str(tagger.folder.resolve()), most, tagger.words]
    saved = ledger.read("tags.json")
    known = saved.get("tags", {}) if saved.get("maker") == maker else {}
    # By content: a replaced sound keeps its name.
    paths = [(item.clip["hash"], target / item.split / f"{item.stem}.flac") for item in clips]
    try:
        found = tag_clips(tagger, paths, most, known, tell)
    finally:
        ledger.write("tags.json", {"maker": maker, "tags": known})
    return {item.stem: found[item.clip["hash"]] for item in clips}


def _lines(
    target: Path,
    clips: list[Made],
    tags: dict[str, tuple[str, ...]],
    options: DatasetOptions,
    ledger: Ledger,
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str], int]:
    """(metadata by split, captions as made by clip, number of edited captions that were kept)."""
    edited = {}
    for split in SPLITS:
        for line in read_lines(target, split):
            stem = line["file_name"].removesuffix(".png")
            if stem in ledger.captions and line["text"] not in ledger.captions[stem]:
                edited[stem] = line["text"]
    lines: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    written: dict[str, str] = {}
    kept = 0
    for item in clips:
        recording, stem = item.recording, item.stem
        first, *more = make_captions(
            options, recording.source, recording.texts, recording.label, tags.get(stem, ())
        )
        written[stem] = first
        kept += stem in edited
        lines[item.split].append(
            {
                "file_name": f"{stem}.png",
                "text": edited.get(stem, first),
                "audio": f"{stem}.flac",
                "label": recording.label,
                "source": recording.source,
                "start_s": item.clip["start_s"],
                "columns": item.clip["columns"],
                "peak": item.clip["peak"],
                "more_texts": more,
                **({"repeats": recording.repeats} if recording.repeats > 1 else {}),
            }
        )
    return lines, written, kept


def _count_tokens(lines: dict[str, list[dict[str, Any]]], options: DatasetOptions, found: Found) -> list[int]:
    """Tokens of every caption; too long ones are said. Empty where there is no tokenizer."""
    every = [line for split in SPLITS for line in lines[split]]
    tokenizer = load_counter(options.model)
    if tokenizer is None:
        found.notes.append("Captions were not counted in tokens: that needs transformers.")
        return []
    tokens = count_tokens(tokenizer, [line["text"] for line in every])
    long = [line for line, count in zip(every, tokens, strict=True) if count > MAX_TOKENS]
    if long:
        whose = options.model or "CLIP"
        found.notes.append(
            f"{len(long)} caption{'s are' if len(long) > 1 else ' is'} longer than the {MAX_TOKENS} tokens "
            f"that {whose} reads, so the end is not learnt: {long[0]['source']} (“{long[0]['text'][:60]} …”)."
        )
    return tokens


def _note(
    clips: list[Made],
    lines: dict[str, list[dict[str, Any]]],
    kept: int,
    options: DatasetOptions,
    found: Found,
) -> None:
    """What people should know of the finished dataset."""
    if kept:
        found.notes.append(f"{kept} captions that were edited in the dataset were kept as they are.")
    silent = [line for split in SPLITS for line in lines[split] if line["text"] in ("", options.trigger)]
    if silent:
        found.notes.append(
            f"{len(silent)} clips have no caption of their own ({silent[0]['source']} …): put them into "
            "folders with names, or a text file beside each."
        )
    texts = {line["text"] for split in SPLITS for line in lines[split]} - {"", options.trigger}
    if len(texts) == 1 and len(clips) > 1 and not silent:
        found.notes.append(
            f"All {len(clips)} clips have the same caption, “{texts.pop()}”: right for one sound; otherwise "
            "describe each in a text file beside it, or use the files' names (caption template {name})."
        )
    if clips and not lines["validation"] and options.validation > 0:
        found.notes.append("Nothing is left to validate with: there are too few different recordings.")
    missing = sum(item.kind == "missing" for item in found.skipped)
    if missing:
        found.notes.append(f"{missing} rows of the table have no sound here.")


def _remove_orphans(target: Path, clips: list[Made]) -> None:
    """Delete clips that no line of the metadata names (duplicates, lost sounds) and half-written files."""
    kept = {(item.split, item.stem) for item in clips}
    for split in SPLITS:
        folder = target / split
        for path in folder.iterdir() if folder.is_dir() else ():
            unused = _MADE_FILE.fullmatch(path.name) and (split, path.stem) not in kept
            if unused or UNFINISHED.fullmatch(path.name):
                path.unlink()
