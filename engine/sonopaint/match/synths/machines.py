"""Machines and signals: engine, siren, train horn, laser."""

from __future__ import annotations

import torch
from torch import Tensor

from sonopaint.match.synths.blocks import (
    TAU,
    again,
    band,
    buzz,
    fall,
    gain,
    hertz,
    running,
    shaped,
    since,
)
from sonopaint.match.synths.protocol import Chance, Parameter, Synth, Values


def _resonance(x: Tensor, t: Tensor, centre: Tensor, width: float, floor_db: float) -> Tensor:
    """x through a resonance, `width` octaves wide, over a floor."""
    away = torch.log2(hertz(t) / centre) / width
    return shaped(x, floor_db * (1 - torch.exp(-0.5 * away**2)))


def _engine(p: Values, t: Tensor, chance: Chance) -> Tensor:
    """Firing pulses through an exhaust; no two cycles alike, by as much as it is rough."""
    turns, phases = 0.15 + 0.2 * chance.rand(6), chance.rand(6)
    order = torch.arange(1, 7)[None] * 0.5
    uneven = torch.zeros_like(t)
    curve = p["rate"] * 2 ** (p["rev"] * (t - t[:, -1:] / 2))
    cycles = running(curve + 0 * t, t)
    for k in range(6):
        uneven = uneven + turns[0, k] * torch.sin(TAU * (order[0, k] * cycles + phases[0, k]))
    pulse = torch.exp(p["sharpness"] * (torch.cos(TAU * cycles) - 1)) * (1 + 1.2 * p["roughness"] * uneven)
    body = _resonance(pulse - pulse.mean(-1, keepdim=True), t, p["body"], 0.9, -30.0)
    hiss = band(chance.noise(t), t, 100.0, 1800.0, 8.0) * (0.4 + pulse)
    return 0.2 * body * p["sharpness"] ** 0.25 + 0.1 * gain(p["exhaust"]) * hiss


ENGINE = Synth(
    "engine",
    "Engine",
    (
        Parameter("rate", "Hz", 10, 130, 35, 0.02, "turns faster"),
        Parameter("rev", "oct/s", -0.6, 0.6, 0, 0.05, "speeds up", log=False),
        Parameter("sharpness", "", 1.5, 40, 8, 0.15, "harder strokes"),
        Parameter("roughness", "", 0, 1, 0.3, 0.07, "strokes less alike", log=False),
        Parameter("body", "Hz", 80, 1600, 350, 0.08, "a smaller exhaust"),
        Parameter("exhaust", "dB", -30, 12, -9, 1.5, "more hiss", log=False),
    ),
    _engine,
    fixed="how the strokes differ, and the noise, are those of the seed",
)


def _siren(p: Values, t: Tensor, chance: Chance) -> Tensor:
    del chance
    sweep = 0.5 - 0.5 * torch.cos(TAU * (p["rate"] * t + p["start"]))
    curve = p["pitch"] * 2 ** (p["range"] * sweep)
    tone = buzz(running(curve, t), curve, p["softness"], t)
    return 0.2 * _resonance(tone, t, p["horn"], 0.8, -20.0)


SIREN = Synth(
    "siren",
    "Siren",
    (
        Parameter("pitch", "Hz", 250, 1400, 520, 0.01, "higher"),
        Parameter("range", "oct", 0.05, 2, 1, 0.05, "wails further"),
        Parameter("rate", "/s", 0.2, 6, 0.7, 0.04, "wails faster"),
        Parameter("start", "", 0, 1, 0, 0.04, "begins later in the wail", log=False),
        Parameter("softness", "dB", 1.5, 15, 4, 0.5, "fewer harmonics", log=False),
        Parameter("horn", "Hz", 500, 4000, 1200, 0.08, "a smaller horn"),
    ),
    _siren,
)


def _train_horn(p: Values, t: Tensor, chance: Chance) -> Tensor:
    s = since(t, 0.02)
    tones = torch.zeros_like(p["pitch"] * t)
    for ratio, slip in zip((1.0, 1.189, 1.335, 1.587, 2.0), (0.0, 0.3, 0.7, 0.1, 0.5), strict=True):
        f = p["pitch"] * ratio ** p["chord"]
        glide = s - 0.03 * 0.06 * (1 - torch.exp(-s / 0.06))
        tones = tones + buzz(f * glide + slip, f, p["softness"], t)
    breath = band(chance.noise(t), t, 800.0, 6000.0, 9.0)
    up = 1 - torch.exp(-((s / p["attack"]) ** 2))
    down = torch.sigmoid((p["length"] - s) / (0.02 + 0.08 * p["length"]))
    return up * down * (0.08 * tones + 0.2 * gain(p["breath"]) * breath)


TRAIN_HORN = Synth(
    "train_horn",
    "Train horn",
    (
        Parameter("pitch", "Hz", 120, 600, 260, 0.005, "higher"),
        Parameter("chord", "", 0, 1.4, 1, 0.03, "horns further apart; 0: one horn", log=False),
        Parameter("softness", "dB", 1, 12, 2.5, 0.5, "fewer harmonics", log=False),
        Parameter("breath", "dB", -40, 3, -18, 2, "more air", log=False),
        Parameter("attack", "s", 0.01, 0.4, 0.06, 0.15, "begins more slowly"),
        Parameter("length", "s", 0.2, 2.5, 1.5, 0.08, "blown longer"),
    ),
    _train_horn,
    fixed="five horns; the noise is that of the seed",
)


def _laser(p: Values, t: Tensor, chance: Chance) -> Tensor:
    del chance
    s, gone = again(t, p["rate"])
    dropped = torch.exp(-s / p["fall"])
    cycles = p["floor"] * s + p["pitch"] * p["fall"] * (1 - dropped)
    tone = buzz(cycles, p["floor"] + p["pitch"] * dropped, p["softness"], t)
    return 0.3 * gone * tone * fall(s, p["decay"], 0.002)


LASER = Synth(
    "laser",
    "Laser",
    (
        Parameter("pitch", "Hz", 500, 7000, 2500, 0.02, "begins higher"),
        Parameter("fall", "s", 0.02, 0.4, 0.09, 0.08, "falls more slowly"),
        Parameter("floor", "Hz", 50, 1200, 140, 0.03, "ends higher"),
        Parameter("decay", "s", 0.08, 1.2, 0.45, 0.1, "lasts longer"),
        Parameter("softness", "dB", 1.5, 20, 5, 0.7, "fewer harmonics", log=False),
        Parameter("rate", "/s", 0.4, 7, 1.5, 0.03, "shoots faster"),
    ),
    _laser,
    fixed="all shots are alike; the first comes at 0.02 s",
)
