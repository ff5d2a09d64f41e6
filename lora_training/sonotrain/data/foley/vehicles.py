"""Vehicles, horns, sirens, bells and other alarms."""

from __future__ import annotations

import torch
from torch import Tensor

from .draw import (
    Draw,
    attack_decay,
    band,
    formants,
    modes,
    phase,
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


def engine(d: Draw) -> Tensor:
    """A combustion engine: firing pulses that rev up and down, plus exhaust noise."""
    speed = d.trait("rate", 18, 75)
    f = speed * (1 + d.uniform(0, 0.5) * d.wander(0.8) + 0.01 * d.wander(25.0))
    p = phase(f) % 1
    firing = torch.exp(-7 * p) + 0.6 * torch.exp(-7 * ((p * 2 + 0.3) % 1)) - 0.3
    exhaust = unit(band(d.noise(), 100.0, 1800.0, 8)) * (0.35 + torch.exp(-4 * p))
    body = formants(firing, torch.cat([speed * 3.2, d.uniform(280, 480), d.uniform(900, 1600)], 1), 0.6, -30)
    return unit(body) + 0.35 * unit(exhaust)


def train_horn(d: Draw) -> Tensor:
    """A chord of three to five reed horns, blown long."""
    root = d.trait("pitch", 180, 360)
    t = d.time - d.uniform(0.05, 0.9)
    length = d.uniform(1.8, 3.9)
    out = torch.zeros_like(d.time).expand(d.n, -1).clone()
    for ratio in (1.0, 1.189, 1.335, 1.587, 2.0):
        f = root * ratio * d.uniform(0.99, 1.01) * (1 - 0.03 * torch.exp(-t.clamp(min=0) * 18))
        out += saw(f) * (1.0 if ratio < 1.4 else (d.rand(1) < 0.7).float())
    return unit(tilt(out, -2.5, 900.0)) * swell(t, length, 0.04, 0.1) + 0.05 * band(
        d.noise(), 800.0, 6000.0
    ) * swell(t, length, 0.04, 0.1)


def car_horn(d: Draw) -> Tensor:
    """Two buzzing notes a third apart, honked once or several times."""
    f = d.trait("pitch", 330, 520)
    tone = pulse(f + 0 * d.time, 0.3) + pulse(f * d.uniform(1.19, 1.27) + 0 * d.time, 0.35)
    tone = unit(formants(tone, torch.cat([f * 2.1, f * 5.2, f * 8.5], 1), 0.6, -24))
    count = (1 + 4 * d.trait("count", 0.1, 1.0)).round()
    length = torch.where(count < 2, d.uniform(1.0, 2.5), d.uniform(0.18, 0.5))
    times = d.strings(count, 5, length + d.uniform(0.15, 0.3), 0.6)
    gate = torch.zeros_like(tone)
    for k in range(5):
        s = (d.time - times[:, k : k + 1]) / length
        gate = torch.maximum(gate, ((s * 40).clamp(0, 1) * ((1 - s) * 25).clamp(0, 1)))
    return tone * gate


def helicopter(d: Draw) -> Tensor:
    """Blade slaps over turbine whine."""
    rate = d.trait("rate", 9, 20)
    p = (phase(rate * (1 + 0.01 * d.wander(3.0))) + d.rand(1)) % 1
    slap = unit(band(d.noise(), 60.0, 900.0, 8)) * torch.exp(-9 * p) + 0.6 * sine(
        d.uniform(55, 90) + 0 * d.time
    ) * torch.exp(-7 * p)
    whine = sine(d.uniform(900, 2200) * (1 + 0.002 * d.wander(4.0)))
    hiss = unit(band(d.noise(), 300.0, 5000.0, 6))
    return unit(slap) + 0.05 * whine + 0.12 * hiss


def jet(d: Draw) -> Tensor:
    """A jet passing over: roar that swells, whine that falls in pitch (Doppler)."""
    x = (d.time - d.uniform(1.6, 3.4)) * d.uniform(0.8, 2.0)
    near = 1 / (1 + x**2)
    doppler = 1 - 0.22 * x / (1 + x**2) ** 0.5
    roar = unit(band(d.noise(), 90.0, 1600.0, 5)) * near
    air = unit(band(d.noise(), 1500.0, 9000.0, 6)) * near**2
    whine = sine(d.trait("pitch", 1400, 3800) * doppler) + 0.5 * sine(d.uniform(3000, 5200) * doppler)
    return roar + 0.5 * air + 0.13 * whine * near**1.3


def siren(d: Draw) -> Tensor:
    """Emergency sirens: wail, yelp or two tones."""
    rate = d.trait("rate", 0.22, 3.2)
    p = (d.time * rate + d.rand(1)) % 1
    sweep = 0.5 - 0.5 * torch.cos(6.2832 * p)
    two_tone = (p > 0.5).float()
    style = (d.rand(1) < 0.3).float()
    low = d.uniform(420, 680)
    f = low * 2 ** (d.uniform(0.9, 1.4) * sweep * (1 - style) + 0.42 * two_tone * style)
    return unit(
        formants(pulse(f, 0.4), torch.cat([d.uniform(900, 1300), d.uniform(2200, 3000)], 1), 0.7, -22)
    )


def alarm_clock(d: Draw) -> Tensor:
    """Groups of short electronic beeps."""
    f = d.trait("pitch", 1500, 3400)
    p = (d.time * d.uniform(0.9, 1.6)) % 1
    group = (p < 0.5).float() * (((p * 8) % 1) < 0.55)
    return (sine(f + 0 * d.time) + 0.3 * sine(3 * f.clamp(max=5000) + 0 * d.time)) * smooth(group, 0.002)


def church_bell(d: Draw) -> Tensor:
    """A struck bell: hum, prime, tierce, quint, nominal and higher partials, long decay."""
    prime = d.trait("pitch", 180, 620)
    ratios = torch.tensor([[0.5, 1.0, 1.19, 1.5, 2.0, 2.51, 2.67, 3.01, 4.1, 5.4]], device=d.device)
    t = seconds(4.6)
    bell = modes(
        t,
        prime * ratios * (1 + 0.004 * (d.rand(10) - 0.5)),
        d.uniform(2.5, 6.5) / ratios.sqrt(),
        d.uniform(0.4, 1.0, 10) / ratios**0.4,
    )
    strike = band(d.noise(t.shape[1]), 1500.0, 7000.0) * attack_decay(t, 0.0008, 0.03)
    return place(
        d,
        d.strings((1 + 3 * d.rand(1)).round(), 4, d.uniform(1.1, 2.2), 0.5),
        unit(bell) + 0.15 * unit(strike),
    )


def telephone(d: Draw) -> Tensor:
    """An old telephone: two small bells struck 20 times a second, ringing and pausing."""
    f = d.trait("pitch", 900, 1700)
    t = seconds(0.25)
    ratios = torch.tensor([[1.0, 2.02, 2.74, 4.2]], device=d.device)
    ding = [modes(t, f * k * ratios, d.uniform(0.15, 0.35) / ratios, 1 / ratios) for k in (1.0, 1.21)]
    times = d.steady(d.uniform(18, 24), 120, 0.02, 0.1)
    cycle = (times * d.uniform(0.33, 0.5) + d.uniform(0, 0.3)) % 1
    return place(d, times, torch.stack(ding, 1), (cycle < 0.6).float().expand(-1, 120))


def bicycle_bell(d: Draw) -> Tensor:
    """Bright ting-tings of a small bell."""
    f = d.trait("pitch", 1900, 3600)
    t = seconds(1.2)
    ratios = torch.tensor([[1.0, 1.007, 2.41, 2.43, 4.1]], device=d.device)
    ting = unit(modes(t, f * ratios, d.uniform(0.6, 1.3) / ratios**0.7, 1 / ratios))
    pairs = d.strings((1 + 3 * d.rand(1)).round(), 4, d.uniform(0.7, 1.2), 0.5)
    times = torch.stack([pairs, pairs + d.uniform(0.12, 0.2)], 2).flatten(1)
    return place(d, times, ting, d.uniform(0.6, 1.0, 8))
