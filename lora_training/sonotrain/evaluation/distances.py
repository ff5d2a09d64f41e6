"""How far sounds are from their partners: JTFS and MSS distances, by which no network listens.

Asked for by `sonotrain evaluate --distances`; for round trips, seams and re-syntheses, whose partner is the
sound that they came from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sonoconvert.descriptors.scattering import Scattering
from sonoconvert.descriptors.spectra import multiscale_distance
from sonoconvert.files.clip import read_clip
from sonotrain.evaluation.compare import Figure, averaged
from sonotrain.evaluation.sets import Sound, pairs

PIECE = 32_768  # samples that are described at once
LEVEL = 0.1  # root mean square that the reference is brought to; its partner takes the same gain
SILENT = 1e-4


def distance_figures(
    generated: Sequence[Sound], reference: Sequence[Sound], kinds: Sequence[str], seconds: float
) -> list[Figure]:
    """The mean distance of each kind over the first `seconds` of all pairs; nothing where there are none."""
    matched, way = pairs(generated, reference)
    figures = []
    for kind in dict.fromkeys(kinds):
        rate, distance, how = _HOW[kind]
        found = [
            distance(*_together(generated[one].path, reference[other].path, rate, seconds))
            for one, other in matched
        ]
        if found:
            about = f"{len(found)} of {len(generated)} clips paired by {way}, {rate / 1000:g} kHz mono, "
            level = f"the reference at {LEVEL:g} RMS and its partner with the same gain"
            figures.append(averaged(kind.upper(), torch.stack(found), f"{how}, {about}{level}", "lower"))
    return figures


def jtfs(one: Tensor, other: Tensor) -> Tensor:
    """‖Φ(x) − Φ(y)‖₂ of sounds [samples] at 16 kHz: the mean over pieces of two seconds."""
    count = -(-one.shape[-1] // PIECE) * PIECE
    transform = Scattering(PIECE)
    a, b = (F.pad(x, (0, count - len(x))).unflatten(0, (-1, PIECE)) for x in (one, other))
    return torch.stack([
        (transform(x) - transform(y)).norm(dim=-1) for x, y in zip(a, b, strict=True)
    ]).mean()  # fmt: skip


def _together(one: Path, other: Path, rate: int, seconds: float) -> tuple[Tensor, Tensor]:
    """Two sounds [samples], as long as the longer, by one gain at one level."""
    a, b = (
        read_clip(path, duration_s=seconds).mono().resampled(rate).waveform[0].float()
        for path in (one, other)
    )
    samples = max(len(a), len(b), 2048)
    gain = LEVEL / max(float(b.square().mean().sqrt()), SILENT)
    a, b = (gain * F.pad(x, (0, samples - len(x))) for x in (a, b))
    return a, b


_HOW: dict[str, tuple[int, Callable[[Tensor, Tensor], Tensor], str]] = {
    "jtfs": (16_000, jtfs, "joint time-frequency scattering, orders 1 and 2, L2 of log(1 + S/0.001)"),
    "mss": (
        32_000,
        multiscale_distance,
        "spectral convergence + L1 of log-magnitudes, three windows",
    ),
}
