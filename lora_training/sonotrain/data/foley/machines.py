"""Tools, household machines and impacts."""

from __future__ import annotations

import torch
from torch import Tensor

from .draw import (
    Draw,
    attack_decay,
    band,
    formants,
    grains_of,
    modes,
    phase,
    place,
    saw,
    seconds,
    sine,
    swell,
    tilt,
    unit,
)


def keyboard_typing(d: Draw) -> Tensor:
    """Key presses: a click down, a softer click up, in bursts."""
    t = seconds(0.05)

    def key() -> Tensor:
        click = unit(
            band(d.noise(t.shape[1]), d.uniform(1500, 2600), d.uniform(6000, 11000), 10)
        ) * attack_decay(t, 0.0006, d.uniform(0.008, 0.018))
        return click + 0.5 * sine(d.uniform(250, 480) + 0 * t) * attack_decay(t, 0.001, 0.03)

    down = d.steady(d.trait("rate", 3.5, 11), 60, 0.55)
    up = down + d.uniform(0.06, 0.11, 60)
    times, gains = (
        torch.cat([down, up], 1),
        torch.cat([d.uniform(0.5, 1.0, 60), d.uniform(0.15, 0.35, 60)], 1),
    )
    pause = (torch.sin(6.28 * (times * d.uniform(0.3, 0.7) + d.rand(1))) > -0.8).float()
    return place(d, times, grains_of(5, key), gains * pause)


def drill(d: Draw) -> Tensor:
    """An electric drill: motor whine with gear buzz, starting and biting."""
    speed = d.trait("pitch", 240, 620)
    start, stop = d.uniform(0.0, 0.6), d.uniform(3.6, 5.6)
    run = ((d.time - start) / 0.35).clamp(0, 1) * ((stop - d.time) / 0.3).clamp(0, 1)
    load = 1 - 0.18 * (d.wander(1.2) > 0) * d.rand(1)
    f = speed * load * (0.25 + 0.75 * run) * (1 + 0.01 * d.wander(30.0))
    motor = saw(f) + 0.6 * saw(f * 3.02) + 0.4 * saw(f * 7.1)
    grind = unit(band(d.noise(), 1200.0, 8000.0, 8)) * (1 + 0.6 * sine(f * 0.25))
    return (unit(tilt(motor, 1.0, 1500.0)) + 0.35 * unit(grind)) * run


def clock_ticking(d: Draw) -> Tensor:
    """Tick, tock: two small dry clicks in turn."""
    t = seconds(0.06)

    def tick(f: Tensor) -> Tensor:
        body = modes(
            t, torch.cat([f, 2.3 * f, 3.7 * f], 1), d.uniform(0.012, 0.03, 3), d.uniform(0.5, 1.0, 3)
        )
        return body + 0.3 * d.noise(t.shape[1]) * attack_decay(t, 0.0003, 0.004)

    f = d.uniform(1500, 2600)
    return (
        place(d, d.steady(d.trait("rate", 1.0, 4.5), 26, 0.004), torch.stack([tick(f), tick(f * 0.82)], 1))
        + 0.0015 * d.noise()
    )


def hammer(d: Draw) -> Tensor:
    """A hammer on a nail: metallic ring, wooden thud."""
    t = seconds(0.35)
    nail = d.trait("pitch", 1700, 3600)

    def blow() -> Tensor:
        ring = modes(
            t,
            nail * torch.tensor([[1.0, 1.58, 2.24, 3.1]], device=d.device) * d.uniform(0.98, 1.02),
            d.uniform(0.1, 0.3, 4),
            d.uniform(0.4, 1.0, 4),
        )
        wood = modes(
            t,
            torch.cat([d.uniform(130, 200), d.uniform(330, 480)], 1),
            d.uniform(0.06, 0.12, 2),
            d.uniform(0.8, 1.2, 2),
        )
        return 0.7 * ring + wood + 0.7 * d.noise(t.shape[1]) * attack_decay(t, 0.0003, 0.02)

    return place(
        d, d.steady(d.trait("rate", 1.1, 3.0), 17, 0.08), grains_of(3, blow), d.uniform(0.7, 1.0, 17)
    )


def hand_saw(d: Draw) -> Tensor:
    """Strokes through wood: rasping noise, bright on the push, duller on the pull."""
    rate = d.trait("rate", 0.8, 2.2)
    p = (d.time * rate + d.rand(1)) % 1
    push, pull = swell(p, 0.46, 0.15, 0.2), swell((p - 0.52).clamp(min=0), 0.44, 0.15, 0.2)
    teeth = torch.exp(-3 * ((phase(d.uniform(70, 150) * (0.5 + push + pull))) % 1))
    rasp = d.noise() * teeth
    bright, dull = band(rasp, d.uniform(1800, 2600), 9000.0, 12), band(rasp, 700.0, 2600.0, 12)
    return unit(bright) * push + 0.6 * unit(dull) * pull


def vacuum_cleaner(d: Draw) -> Tensor:
    """A motor's whine and its harmonics over rushing air."""
    f = (
        d.trait("pitch", 160, 420)
        * ((d.time / d.uniform(0.05, 0.9)).clamp(0.2, 1)) ** 0.3
        * (1 + 0.004 * d.wander(3.0))
    )
    tone = sine(f) + 0.6 * sine(2 * f) + 0.5 * sine(4 * f) + 0.3 * sine(8 * f)
    air = unit(band(d.noise(), 250.0, d.uniform(3500, 8000), 5))
    return 0.3 * tone + air


def glass_break(d: Draw) -> Tensor:
    """A sharp burst, then shards that tinkle down."""
    at = d.uniform(0.1, 1.2)
    t = seconds(0.3)
    shard = grains_of(
        12, lambda: modes(t, d.log_uniform(2500, 11000, 3), d.uniform(0.05, 0.28, 3), d.uniform(0.3, 1.0, 3))
    )
    spread = d.trait("length", 0.35, 1.2)
    times = at + spread * -torch.log(d.rand(70).clamp(min=1e-3)) * 0.6
    shards = place(d, times, shard, d.log_uniform(0.08, 0.8, 70) * torch.exp(-(times - at)))
    burst = unit(band(d.noise(), 1800.0, 14000.0, 8)) * attack_decay(d.time - at, 0.001, 0.25)
    return burst + unit(shards)


def door_knock(d: Draw) -> Tensor:
    """Knuckles on a wooden door."""
    t = seconds(0.2)
    panel = d.trait("pitch", 110, 260)

    def knock() -> Tensor:
        wood = modes(
            t,
            panel * torch.tensor([[1.0, 1.9, 3.1, 4.6]], device=d.device) * d.uniform(0.98, 1.02),
            d.uniform(0.05, 0.12, 4),
            torch.tensor([[1.0, 0.7, 0.45, 0.25]], device=d.device),
        )
        return wood + 0.25 * band(d.noise(t.shape[1]), 400.0, 2500.0) * attack_decay(t, 0.0008, 0.015)

    count = (2 + 4 * d.rand(1)).round()
    first = d.strings(count, 6, d.uniform(0.16, 0.3), 1.2)
    again = torch.where(d.rand(1) < 0.4, first + d.uniform(1.6, 2.6), 99.0)
    return place(d, torch.cat([first, again], 1), grains_of(2, knock), d.uniform(0.7, 1.0, 12))


def door_slam(d: Draw) -> Tensor:
    """A creak, then a heavy wooden slam with a rattle."""
    at = d.uniform(0.8, 2.6)
    t = d.time - at
    thud = unit(band(d.noise(), 40.0, 350.0, 8)) * attack_decay(t, 0.003, 0.35)
    crack = unit(band(d.noise(), 500.0, 4000.0, 6)) * attack_decay(t, 0.001, 0.12)
    rattle = (
        unit(band(d.noise(), 900.0, 5000.0, 8))
        * attack_decay(t - 0.06, 0.01, 0.4)
        * (torch.sin(6.28 * d.uniform(22, 40) * d.time) > 0.3)
    )
    creak_f = d.uniform(180, 420) * (1 + 0.5 * d.time / at) * (1 + 0.12 * d.wander(12.0))
    creak = unit(
        formants(saw(creak_f), torch.cat([d.uniform(700, 1100), d.uniform(1800, 2600)], 1), 0.3)
    ) * swell(d.time, at * 0.95, 0.3, 0.2)
    return thud + 0.7 * crack + 0.15 * rattle + d.trait("creak", 0.03, 0.5) * creak


def metal_clang(d: Draw) -> Tensor:
    """A struck pipe or sheet: many inharmonic partials that ring on."""
    f = d.trait("pitch", 220, 900)
    t = seconds(2.6)
    ratios = torch.tensor([[1.0, 1.72, 2.76, 3.9, 5.4, 6.8, 8.93, 11.3]], device=d.device) * (
        1 + 0.06 * (d.rand(8) - 0.5)
    )
    ring = modes(t, f * ratios, d.log_uniform(0.7, 2.8) / ratios**0.25, d.uniform(0.3, 1.0, 8))
    hit = band(d.noise(t.shape[1]), 800.0, 10000.0) * attack_decay(t, 0.0004, 0.04)
    return place(
        d,
        d.strings((1 + 3 * d.rand(1)).round(), 4, d.uniform(0.7, 1.6), 0.6),
        unit(ring) + 0.4 * unit(hit),
        d.uniform(0.6, 1.0, 4),
    )
