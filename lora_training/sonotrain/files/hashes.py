"""Checksums of files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a model's (U-Net's) file."""
    from sonopaint.models.info import unet_file

    return sha256_of(unet_file(path) if path.is_dir() else path)


def file_key(*facts: Any) -> str:
    """A short name that hangs on facts (JSON-able)."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:20]
