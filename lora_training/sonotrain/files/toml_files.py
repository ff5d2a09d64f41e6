"""TOML files, read with sentences for people."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError


def read_toml(path: str | Path) -> dict[str, Any]:
    """What a TOML file holds; SonopaintError where it can't be read, or where this Python has no reader."""
    path = Path(path)
    try:
        toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
        found: dict[str, Any] = toml.loads(path.read_text(encoding="utf-8-sig"))
    except ModuleNotFoundError as error:
        raise SonopaintError(f"Reading {path} needs Python 3.11 or the package tomli.") from error
    except OSError as error:
        raise SonopaintError(f"{path} can't be read ({error.strerror}); check the path.") from error
    except ValueError as error:
        raise SonopaintError(f"{path} is not valid TOML: {error}.") from error
    return found
