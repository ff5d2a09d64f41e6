"""Weather, water, fire and places."""

from __future__ import annotations

import torch
from torch import Tensor

from .draw import (
    Draw,
    attack_decay,
    band,
    grains_of,
    place,
    seconds,
    sine,
    swell,
    tilt,
    unit,
)


def rain(d: Draw) -> Tensor:
    """A hiss of countless drops plus single drops on leaves and puddles."""
    heavy = d.trait("intensity", 0.15, 1.0)
    hiss = unit(band(tilt(d.noise(), -1.0, 3000.0), d.uniform(500, 1200), 14000.0, 9)) * heavy
    t = seconds(0.02)
    drop = grains_of(
        4, lambda: attack_decay(t, 0.0006, d.uniform(0.006, 0.02)) * sine(d.uniform(1500, 6500) + 0 * t)
    )
    drops = place(d, d.scattered(120 + 500 * heavy, 620, 0.0, 5.1), drop, d.log_uniform(0.08, 1.0, 620))
    return hiss + 0.5 * unit(drops) * (1.1 - 0.5 * heavy)


def thunder(d: Draw) -> Tensor:
    """A crack, then rolling rumble that darkens as it dies away."""
    t = d.time - d.uniform(0.1, 0.8)
    roll = d.trait("length", 1.5, 6.0)
    crack = band(d.noise(), 120.0, 3500.0, 9) * attack_decay(t, 0.01, 0.5)
    rumble = band(d.noise(), 25.0, d.uniform(90, 180), 14)
    rumble = unit(rumble) * attack_decay(t, 0.15, roll) * (0.6 + 0.6 * d.wander(5.0))
    middle = (
        unit(band(d.noise(), 60.0, 600.0, 10))
        * attack_decay(t, 0.05, roll * 0.4)
        * (0.6 + 0.5 * d.wander(9.0))
    )
    return 1.2 * rumble + 0.6 * middle + 0.5 * unit(crack) * d.rand(1)


def wind(d: Draw) -> Tensor:
    """Noise through a resonance that wanders with the gusts."""
    strength = d.trait("intensity", 0.5, 1.6)
    gust = (0.55 + 0.45 * d.wander(0.9)).clamp(0.05)
    base = unit(band(d.noise(), 60.0, 500.0, 8)) * gust
    carrier = d.log_uniform(300, 700) * strength * 2 ** (0.7 * (gust - 0.5))
    # a narrow band of noise moved to the whistle's frequency: slow noise times a sine
    howl = unit(band(d.noise(), 1.0, 35.0, 18)) * sine(carrier.clamp(100, 3000)) * gust**2
    return base + (0.2 + 0.8 * d.rand(1)) * howl


def ocean_waves(d: Draw) -> Tensor:
    """Surf: slow swells of noise, brightest when the wave breaks."""
    period = 1 / d.trait("rate", 0.2, 0.55)
    p = (d.time / period + d.rand(1)) % 1
    wave = (p / 0.45).clamp(max=1) ** 2.2 * ((1 - p) / 0.55).clamp(max=1) ** 1.4
    low = unit(band(d.noise(), 80.0, 500.0, 7)) * (0.15 + 0.6 * wave)
    foam = unit(band(d.noise(), 900.0, 7000.0, 6)) * wave**1.7
    return low + 0.9 * foam + 0.03 * d.noise() * wave


def stream(d: Draw) -> Tensor:
    """Running water: many short bubbles, each a rising decaying sine (Minnaert resonance)."""
    flow = d.trait("intensity", 60, 260)
    t = seconds(0.09)

    def bubble() -> Tensor:
        f = d.log_uniform(350, 2400)
        return sine(f * (1 + d.uniform(0.5, 3.0) * t)) * attack_decay(t, 0.002, d.uniform(0.03, 0.09))

    bubbles = place(
        d, d.scattered(flow * 5, 1300, 0.0, 5.1), grains_of(10, bubble), d.log_uniform(0.1, 1.0, 1300)
    )
    return unit(bubbles) + 0.12 * unit(band(d.noise(), 400.0, 4000.0, 8))


def fire(d: Draw) -> Tensor:
    """Crackles over a soft roar."""
    t = seconds(0.03)
    crack = grains_of(
        5,
        lambda: (
            band(d.noise(960), d.uniform(600, 2500), 12000.0, 12)
            * attack_decay(t, 0.0004, d.log_uniform(0.004, 0.03))
        ),
    )
    rate = d.trait("intensity", 6, 30)
    crackles = place(d, d.scattered(rate * 5, 160, 0.0, 5.1), crack, d.log_uniform(0.05, 1.0, 160))
    roar = unit(band(d.noise(), 40.0, 350.0, 7)) * (0.8 + 0.3 * d.wander(3.0))
    return unit(crackles) + 0.16 * roar


def _chirps(d: Draw, count: Tensor, limit: int, low: float, high: float) -> Tensor:
    t = seconds(0.22)

    def chirp() -> Tensor:
        f, length = d.log_uniform(low, high), d.uniform(0.06, 0.2)
        bend = d.uniform(-0.35, 0.35)
        return sine(
            f * (1 + bend * t / length + d.uniform(0, 0.05) * torch.sin(6.28 * d.uniform(20, 45) * t))
        ) * swell(t, length)

    return place(d, d.scattered(count, limit, 0.05, 4.8), grains_of(5, chirp), d.uniform(0.2, 1.0, limit))


def forest_ambience(d: Draw) -> Tensor:
    """Leaves rustling, soft wind and a few far birds."""
    rustle = unit(band(d.noise(), 1500.0, 9000.0, 6)) * (0.5 + 0.5 * d.wander(2.0)).clamp(0.05) ** 2
    air = unit(band(d.noise(), 80.0, 700.0, 5)) * (0.7 + 0.3 * d.wander(0.8))
    birds = unit(_chirps(d, 3 + 10 * d.trait("birds", 0.05, 1.0), 14, 2200, 5200))
    return 0.35 * rustle + 0.3 * air + d.uniform(0.15, 0.4) * birds


def waterdrops(d: Draw) -> Tensor:
    """Single drops into still water: a click and a rising plink each."""
    t = seconds(0.18)

    def drop() -> Tensor:
        f = d.log_uniform(500, 1300)
        plink = sine(f * (1 + 2.2 * t / 0.1)) * attack_decay(t, 0.004, d.uniform(0.08, 0.16))
        return plink + 0.12 * d.noise(t.shape[1]) * attack_decay(t, 0.0005, 0.008)

    rate = d.trait("rate", 0.9, 4.5)
    return place(d, d.steady(rate, 26, 0.35), grains_of(4, drop), d.uniform(0.4, 1.0, 26))
