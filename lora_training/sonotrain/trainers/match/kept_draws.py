"""The draws that a match begins at (sonopaint.match.draws): described once, and kept."""

from __future__ import annotations

import hashlib
import inspect
import logging
from pathlib import Path

from sonoconvert.checkpoints.files import read_tensors, write_tensors
from sonoconvert.descriptors import scattering
from sonopaint.match.draws import descriptors, write_draws
from sonopaint.match.synths import SYNTHS, blocks, protocol

logger = logging.getLogger(__name__)


def keep_draws(out: Path, cache: Path, count: int) -> None:
    """Describe `count` draws of each synthesiser, or take them from `cache`; write what matches begin at."""
    cache.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, synth in SYNTHS.items():
        sources = [inspect.getsource(part) for part in (synth.make, blocks, protocol, scattering)]
        key = hashlib.sha256("".join(sources).encode()).hexdigest()[:12]
        path = cache / f"{name}-{key}-{count}.safetensors"
        if not path.is_file():
            write_tensors(path, {"descriptors": descriptors(synth, count)}, {"format": "pt"})
            logger.info("%s: %d sounds described", name, count)
        found[name] = read_tensors(path)["descriptors"]
    write_draws(out, found)
