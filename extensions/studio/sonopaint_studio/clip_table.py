"""The clips of a dataset for the page: found by words, a page at a time, with what the browser needs."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.view import row_edges
from sonopaint_studio.session import Session
from sonopaint_studio.sounds import save_view
from sonotrain.data.dataset import SPLITS, Example, SoundDataset

logger = logging.getLogger(__name__)
PAGE_CLIPS = 12
KEPT_PAGES = 3  # a quick reader's browser still loads from the page before


@dataclass(frozen=True)
class Found:
    """Some clips of a dataset: (split, example), in the dataset's order."""

    clips: list[tuple[str, Example]]

    @property
    def pages(self) -> int:
        return max(1, -(-len(self.clips) // PAGE_CLIPS))


def search(dataset: SoundDataset, split: str, words: str) -> Found:
    """Clips of a split ("" for all) whose caption, label or source holds all the words."""
    wanted = words.lower().split()
    found = []
    for name in SPLITS:
        for example in dataset.splits[name] if split in ("", name) else ():
            text = f"{example.text} {example.label or ''} {example.source}".lower()
            if all(word in text for word in wanted):
                found.append((name, example))
    return Found(found)


def page_value(session: Session, dataset: SoundDataset, found: Found, page: int) -> dict[str, Any]:
    """What captions.js shows. The page's clips are copied into the session's folder, older pages go."""
    page = min(max(page, 0), found.pages - 1)
    folder = session.new_folder()
    session.pages.append(folder)
    while len(session.pages) > KEPT_PAGES:
        shutil.rmtree(session.pages.pop(0), ignore_errors=True)
    shown = found.clips[page * PAGE_CLIPS : (page + 1) * PAGE_CLIPS]
    edges = row_edges(dataset.format)
    return {
        "clips": [_view(folder, split, example, dataset.format, edges) for split, example in shown],
        "page": page,
        "pages": found.pages,
        "total": len(found.clips),
        "empty": "No clip has these words." if any(dataset.splits.values()) else "The dataset is empty.",
    }


def _view(
    folder: Path, split: str, example: Example, fmt: SpectrogramFormat, edges: list[float]
) -> dict[str, Any]:
    from sonoconvert.pictures.picture import load_picture

    stem = example.picture.stem
    picture = load_picture(example.picture)
    save_view(picture, folder / f"{stem}.png", None)
    shutil.copyfile(example.audio, folder / example.audio.name)
    start = f" from {example.start_s:g} s" if example.start_s else ""
    return {
        "key": f"{split}/{example.picture.name}",
        "text": example.text,
        "more": list(example.more_texts),
        "source": f"{example.source}{start}",
        "split": split,
        "view": str(folder / f"{stem}.png"),
        "audio": str(folder / example.audio.name),
        "duration": fmt.seconds(fmt.width),
        "edges": edges,
    }


def empty_value(sentence: str) -> dict[str, Any]:
    """The page without a dataset."""
    return {"clips": [], "page": 0, "pages": 1, "total": 0, "empty": sentence}
