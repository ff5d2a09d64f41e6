"""Weapons, explosions, user-interface and science-fiction sounds."""

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
    place,
    pulse,
    saw,
    seconds,
    sine,
    smooth,
    swell,
    tilt,
    unit,
)


def _shot(d: Draw, t: Tensor, decay: Tensor) -> Tensor:
    crack = unit(d.noise(t.shape[1])) * attack_decay(t, 0.0003, decay * 0.25)
    blast = unit(band(d.noise(t.shape[1]), 60.0, 900.0, 7)) * attack_decay(t, 0.001, decay)
    return crack + blast


def gunshot(d: Draw) -> Tensor:
    """One or a few shots: a sharp crack, a blast and its echo."""
    t = seconds(1.6)
    shot = _shot(d, t, d.trait("length", 0.3, 1.4))
    echo = torch.roll(band(shot, 100.0, 1500.0), int(0.18 * 32000), 1) * 0.25
    return place(
        d,
        d.strings((1 + 3 * d.rand(1) ** 2).round(), 4, d.uniform(0.6, 1.4), 0.9),
        shot + echo,
        d.uniform(0.8, 1.0, 4),
    )


def machine_gun(d: Draw) -> Tensor:
    """Bursts of fast shots."""
    t = seconds(0.35)
    times = d.steady(d.trait("rate", 7, 15), 76, 0.03)
    burst = (times * d.uniform(0.45, 0.9) + d.rand(1)) % 1 < d.uniform(0.5, 0.8)
    return place(
        d, times, grains_of(3, lambda: _shot(d, t, d.uniform(0.1, 0.22))), burst * d.uniform(0.85, 1.0, 76)
    )


def explosion(d: Draw) -> Tensor:
    """A blast with a long, dark, crumbling tail."""
    t = d.time - d.uniform(0.1, 1.0)
    size = d.trait("length", 1.6, 5.0)
    boom = sine(d.uniform(32, 55) * (1 + 2 * torch.exp(-t.clamp(min=0) * 9))) * attack_decay(
        t, 0.004, size * 0.7
    )
    body = unit(band(d.noise(), 30.0, 700.0, 5)) * attack_decay(t, 0.006, size)
    front = unit(band(d.noise(), 200.0, 9000.0, 4)) * attack_decay(t, 0.002, 0.5)
    debris = unit(band(d.noise() * (d.noise() > 2.4), 500.0, 6000.0, 6)) * attack_decay(t - 0.2, 0.2, size)
    return 0.8 * boom + body + 0.7 * front + 0.35 * debris


def sword_clash(d: Draw) -> Tensor:
    """Blades meeting: a bright inharmonic ring with a scrape."""
    t = seconds(1.3)

    def clash() -> Tensor:
        ring = modes(t, d.log_uniform(1800, 9500, 9), d.log_uniform(0.25, 1.2, 9), d.uniform(0.3, 1.0, 9))
        scrape = unit(band(d.noise(t.shape[1]), 3000.0, 12000.0, 10)) * attack_decay(t, 0.002, 0.12)
        return unit(ring) + 0.7 * scrape

    return place(
        d,
        d.strings((2 + 5 * d.trait("count", 0.1, 1.0)).round(), 7, d.uniform(0.35, 0.9), 0.5),
        grains_of(4, clash),
        d.uniform(0.6, 1.0, 7),
    )


def laser(d: Draw) -> Tensor:
    """Zaps: an oscillator that falls through several octaves in a fraction of a second."""
    t = seconds(0.5)
    top = d.trait("pitch", 1800, 6500)

    def zap() -> Tensor:
        f = top * torch.exp(-t * d.uniform(7, 14)) + d.uniform(80, 200)
        return pulse(f, 0.5) * attack_decay(t, 0.002, d.uniform(0.3, 0.55))

    return place(d, d.steady(d.trait("rate", 1.0, 5.5), 30, 0.15), grains_of(2, zap), d.uniform(0.8, 1.0, 30))


def notification(d: Draw) -> Tensor:
    """A user-interface chime: two to four soft bell tones going up or down."""
    t = seconds(1.2)
    root = d.trait("pitch", 500, 1300)
    step = torch.where(d.rand(1) < 0.6, 1.335, 0.749)
    ratios = torch.tensor([[1.0, 2.0, 3.01]], device=d.device)
    tones = [
        unit(modes(t, root * step**k * ratios, d.uniform(0.5, 1.1) / ratios, 1 / ratios**1.6))
        * (t / 0.004).clamp(max=1)
        for k in range(3)
    ]
    at, gap = d.uniform(0.1, 1.0), d.uniform(0.11, 0.22)
    chime = torch.cat([at, at + gap, torch.where(d.rand(1) < 0.5, at + 2 * gap, 99.0)], 1)
    again = torch.where(d.rand(1) < 0.6, chime + d.uniform(1.5, 2.3), 99.0)
    return place(d, torch.cat([chime, again], 1), torch.stack(tones, 1))


def robot(d: Draw) -> Tensor:
    """Computer blips: fast random steps of square-wave pitches."""
    rate = d.trait("rate", 6, 16)
    steps = d.log_uniform(250, 2600, 90)
    p = d.time * rate
    f = torch.gather(steps, 1, p.long().clamp(max=89))
    gate = ((p % 1) < d.uniform(0.6, 0.95)).float() * torch.gather(
        (d.rand(90) < 0.85).float(), 1, p.long().clamp(max=89)
    )
    return (pulse(f, 0.5) + 0.5 * sine(f * 2)) * smooth(gate, 0.003)


def spaceship(d: Draw) -> Tensor:
    """A deep pulsing hum with slow beating and a filtered hiss."""
    f = d.trait("pitch", 45, 110)
    hum = saw(f + 0 * d.time) + saw(f * 1.007 + 0 * d.time) + saw(f * 1.498 + 0 * d.time)
    sweep = 0.5 + 0.5 * torch.sin(6.28 * d.uniform(0.25, 1.4) * d.time + 6.28 * d.rand(1))
    dark, bright = (
        unit(tilt(hum, -9.0, 120.0)),
        unit(formants(hum, torch.cat([d.uniform(350, 700), d.uniform(900, 1500)], 1), 0.35)),
    )
    return dark + sweep * 0.7 * bright + 0.04 * unit(band(d.noise(), 500.0, 4000.0)) * sweep


def power_up(d: Draw) -> Tensor:
    """A rising sweep with vibrato, ending in a sparkle."""
    length = d.trait("length", 0.7, 3.2)
    t = d.time - d.uniform(0.1, 0.7)
    x = (t / length).clamp(0, 1)
    f = d.uniform(120, 300) * 2 ** (x * d.uniform(2.5, 4.0)) * (1 + 0.03 * torch.sin(6.28 * 11 * d.time))
    rise = (pulse(f, 0.4) + sine(f * 2)) * swell(t, length, 0.25, 0.06)
    g = seconds(0.6)
    sparkle = grains_of(4, lambda: sine(d.log_uniform(2500, 7000) + 0 * g) * attack_decay(g, 0.003, 0.4))
    ends = d.uniform(0.1, 0.7) + length + torch.arange(6, device=d.device)[None] * 0.07
    return rise + 0.5 * place(d, ends, sparkle)
