"""JSON objects in files, read with sentences for people and written by rename."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import write_text


def read_json(path: str | Path) -> dict[str, Any]:
    """Reads a JSON object; SonopaintError names the file when it is missing or broken."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise SonopaintError(f"{path} is missing; run the step that makes it first.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise SonopaintError(f"{path} cannot be read ({error}); make it anew.") from error
    if not isinstance(value, dict):
        raise SonopaintError(f"{path} holds no JSON object; make it anew.")
    return value


def write_json(path: str | Path, value: dict[str, Any]) -> None:
    """Writes or replaces a JSON object by rename, so that a reader never sees half of it."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", force=True)
