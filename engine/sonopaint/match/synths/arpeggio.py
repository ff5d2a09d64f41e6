"""The AM/FM arpeggio of Han, Lostanlen & Lagrange, eqs. 6 to 8: a chirp whose loudness beats.

The phases of all notes are one phase (the index cancels in eq. 8), so the sum is one exponential chirp
through f_c at t = 0, under a Gaussian, times the notes' gate. By the document a note is the positive half
of a sine; the Gaussian has 0.2/γ seconds of deviation, which is the two octaves of its figure (the
printed 1/γ would be cut by the clip's ends and alias). The authors' own program beats by a whole sine,
and multiplies by γ in place of 1/γ.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sonopaint.match.synths.blocks import TAU
from sonopaint.match.synths.protocol import Chance, Parameter, Synth, Values

_WIDTH = 0.2  # deviation of the Gaussian in octaves of sweep


def _arpeggio(p: Values, t: Tensor, chance: Chance) -> Tensor:
    del chance
    return torch.relu(torch.sin(TAU * p["rate"] * t)) * _chirp(p, t) / p["sweep"]


def _authors(p: Values, t: Tensor, chance: Chance) -> Tensor:
    del chance
    return torch.sin(TAU * p["rate"] * t) * _chirp(p, t) * p["sweep"]


def _chirp(p: Values, t: Tensor) -> Tensor:
    pitch, sweep = p["pitch"], p["sweep"]
    cycles = pitch / (sweep * math.log(2)) * torch.expm1(sweep * math.log(2) * t.clamp(-20 / 8, 20 / 8))
    return torch.exp(-0.5 * (sweep * t / _WIDTH) ** 2) * torch.sin(TAU * cycles)


_PARAMETERS = (
    Parameter("pitch", "Hz", 512, 1024, 724, 0.005, "higher in the middle of the sweep"),
    Parameter("rate", "Hz", 4, 16, 8, 0.05, "more notes a second"),
    Parameter("sweep", "oct/s", 0.5, 4, 1.4, 0.05, "sweeps faster, and is shorter"),
)
ARPEGGIO = Synth("arpeggio", "Arpeggio", _PARAMETERS, _arpeggio, rate=8192, start=-2.0)
ARPEGGIO_AUTHORS = Synth(
    "arpeggio-authors", "Arpeggio (the authors' program)", _PARAMETERS, _authors, rate=8192, start=-2.0
)
