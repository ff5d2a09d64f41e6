"""Which recordings a source holds: a folder, a table, or the layout of a public dataset."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

from sonoconvert.errors import SonopaintError
from sonotrain.data.dataset import is_dataset
from sonotrain.data.options import DatasetOptions
from sonotrain.data.recordings import TABLES, Found, Recording, scan_folder
from sonotrain.data.tables import guess_layout, read_layout


def find_recordings(
    source: str | os.PathLike[str], options: DatasetOptions, exclude: Path | None = None
) -> Found:
    """All recordings of a folder or table. `exclude` is the folder of the dataset itself.

    Raises:
        SonopaintError: there is nothing at `source`, or nothing in it that could be used.
    """
    root = Path(source).expanduser()
    if not root.exists():
        raise SonopaintError(f"There is no folder or file {root}; give the folder that your sounds are in.")
    if is_dataset(root):
        raise SonopaintError(
            f"{root} is a finished dataset; train on it, or give the folder with the sounds."
        )
    if root.is_file() and root.suffix.lower() not in TABLES:
        raise SonopaintError(
            f"{root} is a single file; give the folder that it is in, or a table ({', '.join(TABLES)})."
        )
    layout = options.layout if options.layout != "auto" else guess_layout(root)
    found = scan_folder(root, exclude) if layout == "folder" else read_layout(layout, root, options, exclude)
    for encoding, names in sorted(found.encodings.items()):
        found.notes.append(
            f"{len(names)} caption file{'s were' if len(names) > 1 else ' was'} in {encoding}, not UTF-8 "
            f"({', '.join(names[:3])}{' …' if len(names) > 3 else ''}); check the accents."
        )
    wanted = options.labels()
    if wanted:
        kept = [r for r in found.recordings if r.label is not None and r.label.lower() in wanted]
        if not kept and found.recordings:
            known = sorted({r.label for r in found.recordings if r.label is not None})
            raise SonopaintError(
                f"No recording has one of the labels {', '.join(sorted(wanted))}; there are: "
                f"{', '.join(known[:20]) or 'none'}{' …' if len(known) > 20 else ''}."
            )
        found.recordings = kept
    if not found.recordings:
        raise SonopaintError(_nothing(root, found))
    found.recordings = [_grouped(recording, options.group) for recording in found.recordings]
    return found


def _grouped(recording: Recording, pattern: str) -> Recording:
    """The recording with its group: as the source says, by the pattern, else its name without the suffix."""
    stem = os.path.splitext(recording.source)[0]
    group = recording.group or unicodedata.normalize("NFC", stem)
    if pattern and (match := re.search(pattern, recording.source)):
        group = match.group(1) if match.groups() else match.group(0)
    return replace(recording, group=group or stem)


def _nothing(root: Path, found: Found) -> str:
    if found.skipped:
        first = found.skipped[0]
        return (
            f"None of the {len(found.skipped)} sounds of {root} can be used; the first: {first.source} "
            f"({first.reason})."
        )
    return f"{root} holds no sounds; give a folder with WAV, FLAC, OGG or MP3 files."
