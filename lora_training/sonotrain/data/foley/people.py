"""People: voices, hands and feet."""

from __future__ import annotations

import torch
from torch import Tensor

from .draw import (
    Draw,
    attack_decay,
    band,
    contour,
    formants,
    grains_of,
    place,
    saw,
    seconds,
    sine,
    smooth,
    swell,
    tilt,
    unit,
)

VOWELS = torch.tensor(
    [[730, 1090, 2440], [530, 1840, 2480], [270, 2290, 3010], [570, 840, 2410], [300, 870, 2240]]
)


def _vowel(d: Draw, scale: Tensor) -> Tensor:
    """Formants ``[n, 3]`` of a random vowel (Peterson and Barney 1952), scaled to the speaker's size."""
    which = (d.rand(1)[:, 0] * 5).long()
    return VOWELS.to(d.device)[which].float() * scale


def speech(d: Draw) -> Tensor:
    """Mumbled syllables: vowels on a falling melody with breathy consonants between."""
    pitch = d.trait("pitch", 90, 230)
    scale = 0.9 + 0.25 * d.traits["pitch"][:, None]
    t = seconds(0.3)

    def syllable() -> Tensor:
        length, f = d.uniform(0.12, 0.28), pitch * d.uniform(0.85, 1.25)
        voice = tilt(saw(f * (1 - 0.5 * t)), -3.0)
        vowel = unit(formants(voice, _vowel(d, scale), 0.18)) * swell(t, length, 0.2, 0.4)
        consonant = unit(band(d.noise(t.shape[1]), d.uniform(1500, 4500), 9000.0)) * attack_decay(
            t, 0.01, d.uniform(0.04, 0.1)
        )
        return vowel + 0.2 * consonant

    times = d.steady(d.trait("rate", 2.8, 5.5), 30, 0.25)
    phrase = (torch.sin(6.28 * (times * d.uniform(0.3, 0.5) + d.rand(1))) > -0.7).float()
    return place(d, times, grains_of(7, syllable), phrase * d.uniform(0.5, 1.0, 30))


def laughter(d: Draw) -> Tensor:
    """Ha-ha-ha: regular breathy vowels, falling in pitch and level."""
    pitch = d.trait("pitch", 140, 380)
    t = seconds(0.19)

    def ha() -> Tensor:
        length = d.uniform(0.1, 0.16)
        voice = saw(contour(t, length, pitch * 1.1, pitch * 0.85)) + 0.5 * d.noise(t.shape[1])
        vowel = torch.cat([d.uniform(650, 850), d.uniform(1150, 1400), d.uniform(2500, 3000)], 1)
        return unit(formants(voice, vowel, 0.22)) * swell(t, length, 0.25, 0.45)

    rate = d.trait("rate", 3.8, 6.0)
    times = d.steady(rate, 30, 0.06)
    bout = (times * d.uniform(0.4, 0.6) + d.rand(1)) % 1
    return place(d, times, grains_of(3, ha), (bout < 0.75) * (1 - 0.7 * bout))


def cough(d: Draw) -> Tensor:
    """A burst of noise, then a rough voiced tail."""
    t = seconds(0.42)
    pitch = d.trait("pitch", 110, 280)

    def one() -> Tensor:
        length = d.uniform(0.2, 0.4)
        burst = unit(
            formants(
                d.noise(t.shape[1]),
                torch.cat([d.uniform(700, 1100), d.uniform(1500, 2300), d.uniform(3200, 4500)], 1),
                0.4,
                -25,
            )
        )
        voiced = unit(
            formants(
                saw(contour(t, length, pitch * 1.2, pitch * 0.7)),
                torch.cat([d.uniform(500, 700), d.uniform(1100, 1500)], 1),
                0.3,
            )
        )
        return burst * attack_decay(t, 0.006, length * 0.9) + 0.4 * voiced * swell(t, length, 0.3, 0.5)

    return place(
        d,
        d.strings((1 + 3 * d.rand(1)).round(), 4, d.uniform(0.45, 0.9), 0.8),
        grains_of(3, one),
        d.uniform(0.6, 1.0, 4),
    )


def baby_cry(d: Draw) -> Tensor:
    """Wails of about a second that rise and fall, with a gasp between."""
    pitch = d.trait("pitch", 380, 600)
    t = seconds(1.2)

    def wail() -> Tensor:
        length = d.uniform(0.7, 1.15)
        f = contour(t, length, pitch * 0.85, pitch * 1.25, pitch * 1.15, pitch * 0.8) * (
            1 + 0.02 * torch.sin(6.28 * d.uniform(5, 8) * t)
        )
        voice = saw(f) * (1 + 0.3 * d.wander(60.0, t.shape[1]))
        return unit(
            formants(
                voice,
                torch.cat([d.uniform(1000, 1300), d.uniform(2600, 3200), d.uniform(4200, 5000)], 1),
                0.3,
                -28,
            )
        ) * swell(t, length, 0.12, 0.25)

    return place(
        d, d.steady(1 / d.uniform(1.15, 1.5), 5, 0.08, 0.3), grains_of(2, wail), d.uniform(0.75, 1.0, 5)
    )


def whistling(d: Draw) -> Tensor:
    """A whistled tune: pure tones with breath and vibrato."""
    base = d.trait("pitch", 900, 1900)
    steps = torch.tensor([0, 2, 4, 7, 9, 12], device=d.device)[(d.rand(16) * 6).long()].float()
    rate = d.trait("rate", 1.6, 3.6)
    index = (d.time * rate).long().clamp(max=15)
    note = torch.gather(steps, 1, index.expand(d.n, -1))
    f = base * 2 ** (smooth(note, 0.04) / 12) * (1 + 0.008 * torch.sin(6.28 * 5.5 * d.time))
    gate = torch.sin(3.14 * ((d.time * rate) % 1)).clamp(min=0) ** 0.35
    return sine(f) * gate + 0.015 * band(d.noise(), 1000.0, 6000.0) * gate


def applause(d: Draw) -> Tensor:
    """Hundreds of hand claps at their own rhythms."""
    t = seconds(0.03)
    clap = grains_of(
        8,
        lambda: (
            unit(band(d.noise(t.shape[1]), d.uniform(500, 900), d.uniform(2500, 5000), 10))
            * attack_decay(t, 0.001, d.uniform(0.012, 0.03))
        ),
    )
    size = d.trait("size", 12, 220)
    claps = place(d, d.scattered(size * 5, 1100, 0.0, 5.1), clap, d.log_uniform(0.15, 1.0, 1100))
    return claps * (0.85 + 0.15 * d.wander(0.7))


def cheering(d: Draw) -> Tensor:
    """A crowd: many open vowels at once, swelling, with whoops and some claps."""
    crowd = unit(
        formants(
            d.noise(),
            torch.cat([d.uniform(650, 900), d.uniform(1150, 1500), d.uniform(2500, 3200)], 1),
            0.42,
            -26,
        )
    )
    t = seconds(1.0)

    def yell() -> Tensor:
        f, length = d.log_uniform(260, 620), d.uniform(0.5, 0.95)
        return unit(
            formants(
                saw(contour(t, length, f * 0.8, f * 1.25, f)),
                torch.cat([d.uniform(700, 950), d.uniform(1200, 1700), d.uniform(2600, 3400)], 1),
                0.25,
            )
        ) * swell(t, length, 0.3, 0.4)

    yells = place(
        d, d.scattered(20 + 20 * d.rand(1), 40, 0.0, 4.6), grains_of(6, yell), d.log_uniform(0.15, 1.0, 40)
    )
    wave = (0.7 + 0.3 * d.wander(0.6)) * (d.time / d.uniform(0.05, 0.8)).clamp(max=1)
    return (crowd * d.uniform(0.5, 0.9) + 0.7 * unit(yells)) * wave


def footsteps(d: Draw) -> Tensor:
    """Heel and toe on gravel, wood or stone."""
    t = seconds(0.22)
    hard = d.rand(1)
    d.traits["surface"] = hard[:, 0]

    def step() -> Tensor:
        heel = sine(d.uniform(70, 130) + 0 * t) * attack_decay(t, 0.003, 0.12)
        tap = unit(band(d.noise(t.shape[1]), 400.0, d.uniform(1500, 4000), 10)) * attack_decay(t, 0.002, 0.04)
        crunch = unit(band(d.noise(t.shape[1]) * (d.noise(t.shape[1]) > 0.8), 1200.0, 9000.0, 8)) * swell(
            t, 0.2, 0.2, 0.6
        )
        return 0.7 * heel + hard * tap + (1 - hard) * 0.8 * crunch

    return place(
        d, d.steady(d.trait("rate", 1.2, 3.4), 20, 0.05), grains_of(4, step), d.uniform(0.7, 1.0, 20)
    )


def heartbeat(d: Draw) -> Tensor:
    """Lub-dub: two soft low thumps a beat."""
    t = seconds(0.2)
    lub = sine(d.uniform(38, 60) * (1 + 0.4 * torch.exp(-t * 40))) * attack_decay(t, 0.012, 0.16)
    dub = sine(d.uniform(50, 75) * (1 + 0.4 * torch.exp(-t * 40))) * attack_decay(t, 0.01, 0.12) * 0.7
    rate = d.trait("rate", 0.8, 2.3)
    beat = d.steady(rate, 14, 0.03)
    times = torch.stack([beat, beat + d.uniform(0.26, 0.34) / rate.clamp(min=1)], 2).flatten(1)
    return place(d, times, torch.stack([lub, dub], 1)) + 0.003 * band(d.noise(), 30.0, 300.0)


def snoring(d: Draw) -> Tensor:
    """A rattling breath in, a soft breath out."""
    period = 1 / d.trait("rate", 0.3, 0.55)
    p = (d.time / period + d.rand(1)) % 1
    rattle = torch.exp(-4 * ((d.time * d.uniform(24, 38) * (1 + 0.1 * d.wander(6.0))) % 1))
    intake = unit(
        formants(d.noise() * rattle, torch.cat([d.uniform(180, 300), d.uniform(700, 1100)], 1), 0.5, -28)
    ) * swell(p, 0.5, 0.3, 0.3)
    breath = unit(band(d.noise(), 500.0, 2500.0, 8)) * swell((p - 0.55).clamp(min=0), 0.4, 0.4, 0.5)
    return intake + 0.15 * breath
