"""What the header of weights that this repository trains says of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sonotrain.files.json_files import read_json

OURS = {"modelspec.license": "MIT", "modelspec.author": "the Sonopaint authors"}


def our_header(description: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """ModelSpec's licence, author and description, and how the weights were made."""
    return OURS | {"modelspec.description": description, "sonopaint.training": json.dumps(facts)}


def facts_of(run: Path, command: str, data: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """How the weights of a run were made: of which data, on which machine, with which options and result."""
    machine, result = read_json(run / "environment.json"), run / f"{command}.json"
    return {
        "data": data,
        "hardware": machine["gpu"] or machine["processor"],
        "torch": machine["torch"],
        "options": dict(options),
        "result": read_json(result) if result.is_file() else {},
    }
