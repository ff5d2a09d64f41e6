"""A rectangular drum by the functional transformation method (Trautmann & Rabenstein 2003), five parameters.

Han & Lostanlen 2023, "Perceptual–neural–physical sound matching": a stiff membrane with damping that
grows with frequency, struck and heard at one point. Of mode (m, n), with γ = (m² + α² n²) / (1 + α²): it
decays at (1 + p (γ − 1)) / τ (`decay` is τ ln 1000: 60 dB) and turns at ω √((1 − D²) γ + D² γ²).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sonopaint.match.synths.blocks import modes, since
from sonopaint.match.synths.protocol import Chance, Parameter, Synth, Values

_MODES = 6  # along each side
_STRUCK = 0.38  # of each side


def _drum(p: Values, t: Tensor, chance: Chance) -> Tensor:
    del chance
    index = torch.arange(1, _MODES + 1, dtype=t.dtype, device=t.device)
    m, n = (part.reshape(1, -1) for part in torch.meshgrid(index, index, indexing="ij"))
    square = p["shape"] ** 2
    gamma = (m**2 + square * n**2) / (1 + square)
    stiff = p["stiffness"] ** 2
    frequencies = p["pitch"] * ((1 - stiff) * gamma + stiff * gamma**2).sqrt()
    decays = p["decay"] / (1 + p["damping"] * (gamma - 1))
    gains = (torch.sin(torch.pi * m * _STRUCK) * torch.sin(torch.pi * n * _STRUCK)) ** 2 / gamma.sqrt()
    return 0.3 * modes(since(t, 0.02), frequencies, decays, gains)


DRUM = Synth(
    "drum",
    "Drum",
    (
        Parameter("pitch", "Hz", 40, 600, 120, 0.005, "higher"),
        Parameter("decay", "s", 0.1, 4, 0.8, 0.1, "rings longer"),
        Parameter("damping", "", 0.003, 0.3, 0.03, 0.2, "high partials die sooner"),
        Parameter("stiffness", "", 0.01, 0.6, 0.1, 0.1, "from skin to plate"),
        Parameter("shape", "", 0.3, 1, 0.7, 0.03, "from long to square"),
    ),
    _drum,
)
