"""What is struck: bell, snare, kick drum, footsteps. What is random (noise) is held by the seed."""

from __future__ import annotations

import torch
from torch import Tensor

from sonopaint.match.synths.blocks import TAU, again, band, fall, gain, modes, since
from sonopaint.match.synths.protocol import Chance, Parameter, Synth, Values

START = 0.02  # s
_HELD = "the noise is that of the seed"


def _bell(p: Values, t: Tensor, chance: Chance) -> Tensor:
    """Hum, prime, tierce, quint, nominal and above; a dent moves them off their places, each its own way."""
    ratios = torch.tensor([[0.5, 1.0, 1.19, 1.5, 2.0, 2.51, 2.67, 3.01, 4.1, 5.4]]).to(t)
    moved = torch.tensor([[0.2, 0.0, 0.6, -0.5, 0.9, -0.8, 0.7, -1.0, 0.8, -0.9]]).to(t)
    partials = ratios * (1 + 0.12 * p["dent"] * moved)
    since_hit = since(t, START)
    ring = modes(
        since_hit,
        p["pitch"] * partials,
        p["decay"] * ratios ** -p["damping"],
        gain(p["brightness"] * torch.log2(ratios)) * 0.3,
    )
    strike = band(chance.noise(t), t, 3 * p["pitch"], 12 * p["pitch"]) * fall(since_hit, 0.03)
    return ring + 0.3 * gain(p["strike"]) * strike


BELL = Synth(
    "bell",
    "Bell",
    (
        Parameter("pitch", "Hz", 100, 2400, 440, 0.005, "higher"),
        Parameter("decay", "s", 0.2, 8, 2, 0.1, "rings longer"),
        Parameter("brightness", "dB/oct", -18, 6, -5, 1, "louder high partials", log=False),
        Parameter("damping", "", 0, 1.5, 0.5, 0.1, "high partials die sooner", log=False),
        Parameter("dent", "", 0, 1, 0.1, 0.05, "partials further from harmony", log=False),
        Parameter("strike", "dB", -40, 6, -12, 2, "a louder clapper", log=False),
    ),
    _bell,
    fixed=_HELD,
)


def _snare(p: Values, t: Tensor, chance: Chance) -> Tensor:
    since_hit = since(t, START)
    bent = since_hit + 0.02 * (2 ** (p["bend"] / 12) - 1) * (1 - torch.exp(-since_hit / 0.02))
    ratios = torch.tensor([[1.0, 1.6, 2.2]]).to(t)
    levels = torch.tensor([[0.3, 0.2, 0.1]]).to(t)
    skin = modes(since_hit, p["pitch"] * ratios, p["decay"] / ratios, levels, bent)
    wires = band(chance.noise(t), t, p["wires"], 2.5 * p["wires"], 9.0) * fall(since_hit, p["rattle"])
    return skin + 0.15 * gain(p["snares"]) * wires


SNARE = Synth(
    "snare",
    "Snare drum",
    (
        Parameter("pitch", "Hz", 100, 400, 190, 0.01, "a tighter skin"),
        Parameter("decay", "s", 0.04, 0.6, 0.15, 0.1, "the skin rings longer"),
        Parameter("rattle", "s", 0.04, 0.8, 0.25, 0.1, "the wires rattle longer"),
        Parameter("snares", "dB", -20, 16, 2, 1.5, "louder wires", log=False),
        Parameter("wires", "Hz", 800, 5000, 2200, 0.1, "brighter wires"),
        Parameter("bend", "st", 0, 12, 2, 1, "the pitch falls further", log=False),
    ),
    _snare,
    fixed=_HELD,
)


def _kick(p: Values, t: Tensor, chance: Chance) -> Tensor:
    s = since(t, START)
    turned = s + p["fall"] * (2 ** (p["drop"] / 12) - 1) * (1 - torch.exp(-s / p["fall"]))
    body = torch.sin(TAU * p["pitch"] * turned) * fall(s, p["decay"], 0.003)
    click = band(chance.noise(t), t, 1000.0, 6000.0, 9.0) * fall(s, 0.015)
    return 0.5 * body + 0.5 * gain(p["click"]) * click


KICK = Synth(
    "kick",
    "Kick drum",
    (
        Parameter("pitch", "Hz", 30, 120, 52, 0.02, "higher at its end"),
        Parameter("drop", "st", 0, 42, 20, 1, "begins higher", log=False),
        Parameter("fall", "s", 0.005, 0.12, 0.03, 0.15, "the pitch falls more slowly"),
        Parameter("decay", "s", 0.08, 1.6, 0.45, 0.1, "rings longer"),
        Parameter("click", "dB", -40, 6, -15, 2, "a louder beater", log=False),
    ),
    _kick,
    fixed=_HELD,
)


def _footsteps(p: Values, t: Tensor, chance: Chance) -> Tensor:
    s, gone = again(t, p["rate"])
    heel = torch.sin(TAU * p["pitch"] * s) * fall(s, p["decay"], 0.004)
    sole = band(chance.noise(t), t, p["ground"], 3 * p["ground"], 9.0) * fall(s, p["grit"], 0.004)
    return gone * (0.3 * heel + 0.15 * gain(p["crunch"]) * sole)


FOOTSTEPS = Synth(
    "footsteps",
    "Footsteps",
    (
        Parameter("rate", "/s", 0.8, 4.5, 1.9, 0.03, "walks faster"),
        Parameter("pitch", "Hz", 40, 250, 90, 0.05, "lighter"),
        Parameter("decay", "s", 0.03, 0.4, 0.12, 0.1, "a more hollow floor"),
        Parameter("crunch", "dB", -24, 18, 0, 1.5, "more of the ground", log=False),
        Parameter("ground", "Hz", 300, 5000, 1300, 0.1, "from soft to gravel"),
        Parameter("grit", "s", 0.02, 0.4, 0.09, 0.1, "each step lasts longer"),
    ),
    _footsteps,
    fixed="one step is like the next but for its noise, which is that of the seed; the first comes at 0.02 s",
)
