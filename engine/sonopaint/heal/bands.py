"""What was above a cut-off: the band below it, copied up along the slope of the spectrum."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sonopaint.models.bridge import BINS, turns

STEEPEST_DB = 48.0  # an octave
_SMOOTH = 9  # frames over which the slope is measured


def copied_up(spectrum: Tensor, cutoff: int) -> Tensor:
    """Spectrum, complex [B, frames, 1025], whose bins from `cutoff` on are made of the octave below it.

    The octave is repeated upwards, partials and all, and falls by as much an octave as it does itself (never
    less than nothing, at most STEEPEST_DB), as in spectral band replication (Dietz et al. 2002).
    """
    x = spectrum[..., :BINS] * turns(spectrum.shape[-2], spectrum.device).conj()
    low = max(cutoff // 2, 1)
    middle = max(round(cutoff * 0.7), low + 1)
    power = x.abs().square()
    first, last = power[..., low:middle].mean(-1), power[..., middle:cutoff].mean(-1)
    both = F.avg_pool1d(F.pad(torch.stack([first, last]).flatten(0, 1)[:, None], (4, 4), mode="replicate"),
                        _SMOOTH, 1)[:, 0].reshape(2, *first.shape)  # fmt: skip
    octaves = torch.log2(torch.tensor((middle + cutoff) / (low + middle)))
    slope = (10 * torch.log10((both[1] + 1e-12) / (both[0] + 1e-12)) / octaves).clamp(-STEEPEST_DB, 0)
    bins = torch.arange(cutoff, BINS, device=x.device)
    source = low + (bins - cutoff) % (cutoff - low)
    gain = 10 ** (slope[..., None] * torch.log2(bins / source) / 20)
    made = x[..., source] * gain * turns(spectrum.shape[-2], spectrum.device)[:, cutoff:]
    return torch.cat([spectrum[..., :cutoff], made, made[..., -1:].abs().to(made.dtype)], dim=-1)
