"""The part of the neighbourhood that fits best, copied into a gap."""

from __future__ import annotations

import numpy as np

CONTEXT_S = 0.05  # on either side of a gap, by which a part is found
REACH_S = 4.0  # how far away it may lie


def copied(
    sound: np.ndarray, start: int, stop: int, rate: int, *, broken: np.ndarray | None = None
) -> tuple[np.ndarray | None, float]:
    """(samples [stop − start], how well they fit, 0 … 1) of the part whose surroundings are most alike.

    sound [samples]; broken: bool [samples], what must not be copied beside the gap itself. The fit is the
    normalised correlation of both surroundings; (None, 0) where the neighbourhood is too short.
    """
    from scipy.signal import fftconvolve

    count, context = stop - start, round(CONTEXT_S * rate)
    low, high = max(start - context, 0), min(stop + context, len(sound))
    reach = round(REACH_S * rate) + count
    first, last = max(low - reach, 0), min(high + reach, len(sound))
    near = sound[first:last].astype(np.float64)
    bad = np.zeros(len(near), bool) if broken is None else broken[first:last].copy()
    bad[start - first : stop - first] = True
    near[bad] = 0
    template = near[low - first : high - first].copy()
    kept = np.ones(len(template))
    kept[start - low : stop - low] = 0
    if len(near) < len(template) or not template.any():
        return None, 0.0
    matches = fftconvolve(near, template[::-1], "valid")
    energy = fftconvolve(near**2, kept[::-1], "valid").clip(1e-9)
    alike = matches / np.sqrt(energy * (template @ template))
    # No donor that holds a broken sample, nor the place itself.
    sums = np.concatenate([[0], np.cumsum(bad)])
    alike[sums[len(template) :] - sums[: -len(template)] > 0] = -1
    best = int(np.argmax(alike))
    if alike[best] <= 0:
        return None, 0.0
    gain = min(np.sqrt(template @ template / energy[best]), 2.0)
    donor = near[best + start - low : best + stop - low]
    return donor * gain, float(alike[best])
