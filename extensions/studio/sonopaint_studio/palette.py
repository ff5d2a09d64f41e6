"""What Mini knows, to look at and to hear, and sounds to begin with: they ship with Studio.

``docs/make_palette.py`` makes them from the weights.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "assets" / "palette"


@lru_cache(maxsize=1)
def palette() -> dict[str, Any]:
    """What palette.js shows: {groups: {title: [tile]}, demos: [tile]}, a tile: {key, prompt, view, audio}."""
    known = json.loads((FOLDER / "palette.json").read_text(encoding="utf-8"))
    groups: dict[str, list[dict[str, str]]] = {}
    for one in known["kinds"]:
        groups.setdefault(one["group"].capitalize(), []).append(_tile(one))
    return {"groups": groups, "demos": [_tile(one) for one in known["demos"]]}


def demo(key: str) -> tuple[Path, str] | None:
    """(file, prompt) of a sound to begin with."""
    found = next((one for one in palette()["demos"] if one["key"] == key), None)
    return (Path(found["audio"]), found["prompt"]) if found else None


def _tile(one: dict[str, str]) -> dict[str, str]:
    name = one["name"]
    return {
        "key": name,
        "prompt": one["prompt"],
        "view": str(FOLDER / f"{name}.webp"),
        "audio": str(FOLDER / f"{name}.mp3"),
    }
