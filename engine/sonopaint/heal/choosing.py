"""Which method heals a mark best, as benchmarks/heal.py found."""

from __future__ import annotations

import numpy as np

SHORT_S = 0.03
COPY_FIT = 0.9


def chosen(seconds: float, fit: float, left: np.ndarray, right: np.ndarray, bridge: bool) -> str:
    """One of heal.METHODS for a mark.

    fit: of the best part to be copied (`copying.copied`). left, right: what is beside the mark.
    """
    if seconds <= SHORT_S:
        return "interpolate"
    if fit >= COPY_FIT:
        return "copy"
    return "bridge" if bridge else "continue"
