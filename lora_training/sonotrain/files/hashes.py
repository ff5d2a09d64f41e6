"""Names that hang on what went into a file."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def file_key(*facts: Any) -> str:
    """A short name that hangs on facts (JSON-able)."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:20]
