"""Kept draws: sounds all over a synthesiser's ranges, described once, so that a match begins near by.

The file holds, of each synthesiser, the descriptors of spread-out (Sobol) places in the directions in which
descriptors differ most; the places are drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sonoconvert.checkpoints.files import write_tensors
from sonopaint.match.metric import described
from sonopaint.match.synths import Synth, get_synth
from sonopaint.models.folders import shipped_folder

COUNT = 1024
DIRECTIONS = 64
_SAME = 0.02  # of a descriptor's size: what fp16 and another processor change


def places(synth: Synth, count: int = COUNT) -> Tensor:
    """Spread-out places [count, D]."""
    return torch.quasirandom.SobolEngine(len(synth.parameters), scramble=True, seed=17).draw(count).float()


@torch.no_grad()
def descriptors(synth: Synth, count: int = COUNT) -> Tensor:
    """Φ of the draws [count, P]; 0.05 processor seconds each."""
    descriptor = described(synth)
    return torch.cat([descriptor(part) for part in places(synth, count).split(8)])


def write_draws(path: Path, found: Mapping[str, Tensor]) -> None:
    """Descriptors [count, P] of synthesisers by name, as the file that `nearest` reads."""
    everything = torch.cat(list(found.values()))
    mean = everything.mean(0)
    basis = torch.linalg.svd(everything - mean, full_matrices=False)[2][:DIRECTIONS].T.contiguous()
    tensors = {name: ((one - mean) @ basis).half() for name, one in found.items()}
    write_tensors(path, tensors | {"mean": mean, "basis": basis.half()}, {"format": "pt"}, force=True)


def shipped_draws() -> Path:
    """Where they lie."""
    return shipped_folder() / "match" / "draws.safetensors"


def nearest(synth: Synth, wanted: Tensor, count: int) -> Tensor:
    """Places [≤ count, D] of the draws nearest to a descriptor [P]; none where none are kept."""
    kept = _kept(shipped_draws(), synth.name)
    if kept is None:
        return torch.zeros(0, len(synth.parameters))
    mean, basis, codes = kept
    away = (codes - (wanted - mean) @ basis).norm(dim=1)
    return places(synth, len(codes))[away.argsort()[:count]]


@lru_cache(maxsize=16)
@torch.no_grad()
def _kept(path: Path, name: str) -> tuple[Tensor, Tensor, Tensor] | None:
    """(mean [P], basis [P, 64], codes [count, 64]); None where the synth sounds otherwise now."""
    try:
        with safe_open(str(path), framework="pt") as file:
            mean, basis, codes = (file.get_tensor(key).float() for key in ("mean", "basis", name))
    except (OSError, SafetensorError):
        return None
    synth = get_synth(name)
    now = described(synth)(places(synth, 1))[0] - mean
    return (mean, basis, codes) if (now @ basis - codes[0]).norm() < _SAME * now.norm() else None
