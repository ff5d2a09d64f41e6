"""What the chosen model does not know of a prompt, said before anything is painted."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from sonopaint.knowledge import Knowledge, knowledge_of
from sonopaint_studio.context import Chosen


def unknown_words(prompt: str | None, chosen: Chosen) -> str:
    """A sentence, or nothing where the model knows it all or does not say what it knows."""
    if not chosen.model or not str(prompt or "").strip():
        return ""
    path = Path(chosen.model)
    config = path / "config.json" if path.is_dir() else path
    loras = tuple(Path(lora).stem for lora, weight in chosen.loras if weight)
    try:
        known = _knowledge(path, config.stat().st_mtime, loras)
    except OSError:
        return ""
    return known.sentence(str(prompt), path.stem) if known else ""


@lru_cache(maxsize=8)
def _knowledge(path: Path, modified: float, loras: tuple[str, ...]) -> Knowledge | None:
    del modified
    return knowledge_of(path, loras)
