"""Animals: voices are a buzz through formants, bird and insect calls are gliding sines."""

from __future__ import annotations

import torch
from torch import Tensor

from .draw import (
    Draw,
    attack_decay,
    contour,
    formants,
    grains_of,
    phase,
    place,
    saw,
    seconds,
    sine,
    swell,
    tilt,
    unit,
)


def bird_song(d: Draw) -> Tensor:
    """Phrases of quick whistled notes, each with its own glide or trill."""
    pitch = d.trait("pitch", 2000, 5500)
    t = seconds(0.26)

    def note() -> Tensor:
        f, length = pitch * d.log_uniform(0.75, 1.35), d.uniform(0.06, 0.25)
        trill = d.uniform(0, 0.1) * (d.rand(1) < 0.5) * torch.sin(6.28 * d.uniform(18, 40) * t)
        return sine((f * (1 + d.uniform(-0.4, 0.4) * t / length + trill)).clamp(800, 12000)) * swell(
            t, length
        )

    rate = d.trait("rate", 2.5, 7.0)
    times = d.steady(rate, 36, 0.3)
    phrases = (torch.sin(6.28 * (times * d.uniform(0.25, 0.6) + d.rand(1))) > -0.55).float()
    return place(d, times, grains_of(6, note), phrases * d.uniform(0.5, 1.0, 36))


def dog_bark(d: Draw) -> Tensor:
    """Short barks: a falling, rough buzz through an open mouth."""
    pitch = d.trait("pitch", 220, 800)
    t = seconds(0.32)
    mouth = torch.cat([pitch.clamp(300, 620) * 1.6, pitch.clamp(300, 620) * 3.4, d.uniform(2600, 3600)], 1)

    def bark() -> Tensor:
        length = d.uniform(0.14, 0.28)
        f = contour(t, length, pitch * 0.75, pitch * d.uniform(1.1, 1.3), pitch * 0.6)
        rough = saw(f) * (1 + 0.5 * torch.sin(6.28 * d.uniform(60, 110) * t)) + d.uniform(0.3, 0.9) * d.noise(
            t.shape[1]
        )
        return unit(formants(rough, mouth * d.uniform(0.93, 1.07), 0.35)) * swell(t, length, 0.12, 0.6)

    count = (1 + 6 * d.trait("count", 0.12, 1.0)).round()
    return place(d, d.strings(count, 8, d.uniform(0.35, 0.8)), grains_of(3, bark), d.uniform(0.7, 1.0, 8))


def cat_meow(d: Draw) -> Tensor:
    """A gliding cry whose mouth opens and closes."""
    pitch = d.trait("pitch", 380, 850)
    t = seconds(1.2)

    def meow() -> Tensor:
        length = d.uniform(0.55, 1.15)
        f = contour(t, length, pitch * 0.8, pitch * 1.25, pitch * 1.15, pitch * 0.7) * (
            1 + 0.012 * torch.sin(6.28 * 7 * t)
        )
        voice = tilt(saw(f), -4.0)
        closed, opened = (
            formants(voice, torch.cat([pitch * 1.1, pitch * 5.5], 1), 0.3),
            formants(voice, torch.cat([pitch * 2.2, pitch * 3.6, pitch * 7], 1), 0.3),
        )
        mix = torch.sin(3.14 * (t / length).clamp(0, 1))
        return unit(unit(closed) * (1 - mix) + unit(opened) * mix) * swell(t, length, 0.2, 0.35)

    return place(d, d.strings((1 + 2 * d.rand(1)).round(), 3, d.uniform(1.3, 2.0), 0.7), grains_of(2, meow))


def crow(d: Draw) -> Tensor:
    """Harsh caws: a noisy buzz around 1.5 kHz, in twos and threes."""
    pitch = d.trait("pitch", 420, 700)
    t = seconds(0.42)

    def caw() -> Tensor:
        length = d.uniform(0.25, 0.4)
        f = contour(t, length, pitch, pitch * 1.12, pitch * 0.85) * (1 + 0.06 * d.wander(160.0, t.shape[1]))
        x = saw(f) + 0.6 * d.noise(t.shape[1])
        return unit(formants(x, torch.cat([pitch * 2.6, pitch * 3.9], 1), 0.32, -30)) * swell(
            t, length, 0.1, 0.3
        )

    return place(d, d.strings((2 + 3 * d.rand(1)).round(), 5, d.uniform(0.55, 0.85)), grains_of(2, caw))


def cow(d: Draw) -> Tensor:
    """A long moo: low pitch, mouth opening from m to oo."""
    pitch = d.trait("pitch", 85, 190)
    t = seconds(2.4)
    length = d.uniform(1.3, 2.3)
    f = contour(t, length, pitch * 0.8, pitch * 1.15, pitch * 1.1, pitch * 0.75)
    voice = tilt(saw(f) * (1 + 0.15 * d.wander(25.0, t.shape[1])), -5.0, 300.0)
    moo = unit(
        formants(voice, torch.cat([d.uniform(240, 340), d.uniform(650, 950), d.uniform(2000, 2600)], 1), 0.35)
    ) * swell(t, length, 0.25, 0.25)
    return place(d, d.strings((1 + d.rand(1)).round(), 2, d.uniform(2.4, 2.8), 0.9), moo)


def sheep(d: Draw) -> Tensor:
    """A bleat: strong tremolo at 7–10 Hz on a nasal buzz."""
    pitch = d.trait("pitch", 210, 460)
    t = seconds(1.1)

    def bleat() -> Tensor:
        length = d.uniform(0.6, 1.05)
        shake = torch.sin(6.28 * d.uniform(7, 11) * t)
        voice = saw(pitch * (1 + 0.06 * shake) * (1 - 0.15 * t)) * (1 + 0.75 * shake) + 0.15 * d.noise(
            t.shape[1]
        )
        return unit(
            formants(
                voice, torch.cat([d.uniform(650, 850), d.uniform(1500, 2100), d.uniform(2700, 3300)], 1), 0.25
            )
        ) * swell(t, length, 0.1, 0.25)

    return place(
        d,
        d.strings((1 + 3 * d.rand(1)).round(), 4, d.uniform(1.1, 1.6)),
        grains_of(2, bleat),
        d.uniform(0.6, 1.0, 4),
    )


def frog(d: Draw) -> Tensor:
    """Croaks: trains of pulses through one low resonance."""
    pitch = d.trait("pitch", 350, 1100)
    t = seconds(0.4)

    def croak() -> Tensor:
        length = d.uniform(0.2, 0.38)
        pulses = torch.exp(-((phase(d.uniform(28, 60) + 0 * t) % 1) * 6))
        return sine(pitch + 0 * t) * pulses * swell(t, length, 0.3, 0.3) + 0.4 * sine(
            2.1 * pitch + 0 * t
        ) * pulses * swell(t, length)

    return place(
        d, d.steady(d.trait("rate", 0.9, 2.4), 14, 0.2), grains_of(2, croak), d.uniform(0.6, 1.0, 14)
    )


def crickets(d: Draw) -> Tensor:
    """Steady chirps near 4–5 kHz from a few crickets."""
    out = torch.zeros_like(d.time).expand(d.n, -1).clone()
    for k in range(3):
        f = d.uniform(3800, 5600)
        chirp = (torch.sin(6.28 * (d.time * d.uniform(1.6, 3.2) + d.rand(1))) > d.uniform(-0.2, 0.5)).float()
        pulses = torch.sin(3.14 * phase(d.uniform(24, 38) + 0 * d.time)).abs() ** 2
        out += sine(f + 0 * d.time) * pulses * chirp * (1.0 if k == 0 else d.rand(1) * 0.6)
    return out + 0.01 * d.noise()


def owl(d: Draw) -> Tensor:
    """Hoots: soft, almost pure tones in a rhythm of short and long."""
    pitch = d.trait("pitch", 260, 460)
    t = seconds(0.75)

    def hoot(low: float, high: float) -> Tensor:
        length = d.uniform(low, high)
        f = contour(t, length, pitch * 0.94, pitch, pitch * 0.93)
        return (sine(f) + 0.12 * sine(2 * f) + 0.04 * d.noise(t.shape[1])) * swell(t, length, 0.3, 0.4)

    grains = torch.stack([hoot(0.18, 0.26), hoot(0.5, 0.7)], 1)
    return place(
        d, d.strings((3 + 3 * d.rand(1)).round(), 6, d.uniform(0.65, 0.9)), grains, d.uniform(0.7, 1.0, 6)
    )


def horse_hooves(d: Draw) -> Tensor:
    """Clip-clop: hollow knocks in a walk, trot or gallop."""
    t = seconds(0.12)

    def hoof() -> Tensor:
        f = d.log_uniform(600, 1500)
        knock = (sine(f + 0 * t) + 0.5 * sine(f * 2.3 + 0 * t)) * attack_decay(
            t, 0.001, d.uniform(0.04, 0.08)
        )
        thud = sine(d.uniform(110, 190) + 0 * t) * attack_decay(t, 0.002, 0.09)
        return knock + 0.8 * thud + 0.4 * d.noise(t.shape[1]) * attack_decay(t, 0.0005, 0.015)

    rate = d.trait("rate", 1.2, 3.2)
    beat = d.steady(rate, 18, 0.03)
    off = d.uniform(0.28, 0.42) / rate
    times = torch.stack([beat, beat + off], 2).flatten(1)
    return place(d, times, grains_of(4, hoof), d.uniform(0.6, 1.0, 36))


def bee(d: Draw) -> Tensor:
    """A buzz that comes near, turns and leaves."""
    pitch = d.trait("pitch", 130, 260)
    f = pitch * (1 + 0.12 * d.wander(2.5) + 0.01 * d.wander(40.0))
    near = (0.55 + 0.45 * d.wander(1.4)).clamp(0.05)
    return unit(tilt(saw(f) + 0.3 * saw(f * 1.01), -2.0, 800.0)) * near**1.5 + 0.02 * d.noise() * near


def pig(d: Draw) -> Tensor:
    """Oinks: short grunts, noisy and nasal, some with a squeal."""
    pitch = d.trait("pitch", 90, 200)
    t = seconds(0.35)

    def grunt() -> Tensor:
        length = d.uniform(0.14, 0.32)
        x = torch.exp(-(phase(pitch * (1 + 0.5 * t) * (1 + 0.1 * d.wander(90.0, t.shape[1]))) % 1) * 5) - 0.2
        x = x * (1 + d.noise(t.shape[1]) * 0.9)
        return unit(
            formants(
                x, torch.cat([d.uniform(380, 560), d.uniform(1000, 1500), d.uniform(2200, 3000)], 1), 0.3
            )
        ) * swell(t, length, 0.2, 0.3)

    return place(
        d,
        d.strings((3 + 7 * d.rand(1)).round(), 10, d.uniform(0.35, 0.6)),
        grains_of(4, grunt),
        d.uniform(0.5, 1.0, 10),
    )
