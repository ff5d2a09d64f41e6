"""How much memory Studio uses, and giving back what it no longer needs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sonotrain.training.compute import give_back_memory

__all__ = ["give_back_memory", "used_bytes"]


def used_bytes() -> int:
    """Memory of this process, and on the graphics card where there is one, in bytes; 0 where nobody tells."""
    used = 0
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        used += torch.cuda.memory_reserved()
    return used
