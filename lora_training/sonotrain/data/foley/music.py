"""Drums and instruments."""

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
    saw,
    seconds,
    sine,
    smooth,
    tilt,
    unit,
)

SCALE = (0, 2, 4, 5, 7, 9, 11, 12, 14, 16)


def _notes(d: Draw, root: Tensor, count: int) -> list[Tensor]:
    """``count`` random notes ``[n, 1]`` of a major scale above ``root`` hertz."""
    steps = torch.tensor(SCALE, device=d.device, dtype=torch.float32)
    return [root * 2 ** (steps[(d.rand(1) * len(SCALE)).long()] / 12) for _ in range(count)]


def snare_drum(d: Draw) -> Tensor:
    """Two skin modes and the rattle of the snares; single strokes, rolls or a beat."""
    t = seconds(0.35)
    pitch = d.trait("pitch", 150, 260)

    def hit() -> Tensor:
        skin = modes(t, torch.cat([pitch, pitch * 1.6], 1), d.uniform(0.1, 0.2, 2), d.uniform(0.5, 1.0, 2))
        wires = unit(band(d.noise(t.shape[1]), 1200.0, 11000.0, 5)) * attack_decay(
            t, 0.001, d.uniform(0.15, 0.32)
        )
        return skin + 1.1 * wires

    return place(
        d, d.steady(d.trait("rate", 0.9, 9.0), 46, 0.03), grains_of(2, hit), d.uniform(0.55, 1.0, 46)
    )


def kick_drum(d: Draw) -> Tensor:
    """A low sine whose pitch drops fast, with a beater click."""
    t = seconds(0.5)
    low = d.trait("pitch", 42, 75)
    drop = low * (1 + d.uniform(2.5, 5.0) * torch.exp(-t * d.uniform(25, 50)))
    hit = sine(drop) * attack_decay(t, 0.002, d.uniform(0.25, 0.5)) + 0.15 * d.noise(
        t.shape[1]
    ) * attack_decay(t, 0.0003, 0.008)
    return place(d, d.steady(d.trait("rate", 1.0, 3.2), 17, 0.006), hit, d.uniform(0.85, 1.0, 17))


def cymbal(d: Draw) -> Tensor:
    """A crash or ride: dense high partials and bright noise that wash out."""
    t = seconds(3.6)
    wash = d.trait("length", 0.8, 3.8)
    partials = modes(
        t, d.log_uniform(2500, 12000, 14), wash * d.uniform(0.5, 1.0, 14), d.uniform(0.2, 0.6, 14)
    )
    hiss = unit(band(d.noise(t.shape[1]), 3500.0, 15000.0, 9)) * attack_decay(t, 0.003, wash)
    return place(
        d,
        d.strings((1 + 4 * d.rand(1)).round(), 5, d.uniform(0.5, 1.3), 0.5),
        0.35 * unit(partials) + hiss,
        d.uniform(0.6, 1.0, 5),
    )


def hi_hat(d: Draw) -> Tensor:
    """Closed hi-hat in a steady pattern, an open one now and then."""
    t = seconds(0.4)
    closed = band(d.noise(t.shape[1]), 6500.0, 15500.0, 18) * attack_decay(t, 0.0005, d.uniform(0.04, 0.07))
    opened = band(d.noise(t.shape[1]), 6000.0, 15500.0, 18) * attack_decay(t, 0.001, 0.4)
    grains = torch.stack([unit(closed), unit(closed) * 0.7, unit(closed), unit(opened) * 0.8], 1)
    return place(d, d.steady(d.trait("rate", 3.0, 9.0), 48, 0.005), grains, d.uniform(0.8, 1.0, 48))


def _pluck(
    d: Draw, t: Tensor, f: Tensor, decay: Tensor, partials: int, position: Tensor, stretch: float
) -> Tensor:
    k = torch.arange(1, partials + 1, device=d.device, dtype=torch.float32)[None]
    gains = torch.sin(3.14159 * k * position).abs() / k
    return unit(modes(t, f * k * (1 + stretch * k**2) ** 0.5, decay / k**0.65, gains))


def acoustic_guitar(d: Draw) -> Tensor:
    """Plucked strings: a picked pattern or strummed chords through a wooden body."""
    root = d.trait("pitch", 82, 200)
    t = seconds(2.0)
    notes = [_pluck(d, t, f, d.uniform(1.5, 3.5), 16, d.uniform(0.12, 0.3), 2e-5) for f in _notes(d, root, 5)]
    pick = 0.06 * band(d.noise(t.shape[1]), 1500.0, 6000.0) * attack_decay(t, 0.0005, 0.01)
    grains = torch.stack([note + pick for note in notes], 1)
    rate = d.trait("rate", 1.4, 5.5)
    return formants(
        place(d, d.steady(rate, 30, 0.03), grains, d.uniform(0.6, 1.0, 30)),
        torch.cat([d.uniform(100, 120), d.uniform(200, 240), d.uniform(450, 2500)], 1),
        1.6,
        -12,
    )


def piano(d: Draw) -> Tensor:
    """Struck strings: slightly stretched partials, hammer thump, long two-stage decay."""
    root = d.trait("pitch", 130, 520)
    t = seconds(2.4)

    def note(f: Tensor) -> Tensor:
        string = _pluck(d, t, f, d.uniform(2.0, 4.5), 12, d.uniform(0.11, 0.14), 4e-4)
        thump = band(d.noise(t.shape[1]), 60.0, 500.0) * attack_decay(t, 0.002, 0.06)
        return string * (0.35 + 0.65 * torch.exp(-t * 5)) * (t / 0.004).clamp(max=1) + 0.04 * unit(thump)

    grains = torch.stack([note(f) for f in _notes(d, root, 4)], 1)
    beat = d.steady(d.trait("rate", 0.9, 4.0), 22, 0.02)
    chord = torch.where(d.rand(1) < 0.5, beat + 0.004, 99.0)
    return place(d, torch.stack([beat, chord], 2).flatten(1), grains, d.uniform(0.6, 1.0, 44))


def _melody(d: Draw, root: Tensor, rate: Tensor, glide_s: float = 0.03) -> tuple[Tensor, Tensor]:
    """Frequency curve and note phase (0…1) of a random tune."""
    steps = torch.tensor(SCALE, device=d.device, dtype=torch.float32)[(d.rand(18) * len(SCALE)).long()]
    clock = d.time * rate + d.rand(1)
    note = torch.gather(steps, 1, clock.long().clamp(max=17))
    return root * 2 ** (smooth(note, glide_s) / 12), clock % 1


def flute(d: Draw) -> Tensor:
    """Breathy, nearly pure tones with vibrato."""
    f, p = _melody(d, d.trait("pitch", 400, 850), d.trait("rate", 0.8, 3.5))
    f = f * (1 + 0.007 * torch.sin(6.28 * 5 * d.time))
    gate = (p * 12).clamp(max=1) * ((1 - p) * 10).clamp(max=1)
    tone = sine(f) + 0.28 * sine(2 * f) + 0.1 * sine(3 * f)
    breath = unit(band(d.noise(), 900.0, 6000.0, 6))
    return (tone * (1 + 0.12 * torch.sin(6.28 * 5 * d.time)) + 0.09 * breath) * gate


def violin(d: Draw) -> Tensor:
    """Bowed strings: a bright sawtooth with vibrato through the body's resonances."""
    f, p = _melody(d, d.trait("pitch", 200, 480), d.trait("rate", 0.5, 2.2), 0.06)
    f = f * (1 + 0.012 * torch.sin(6.28 * d.uniform(5, 6.5) * d.time) + 0.002 * d.wander(40.0))
    bow = (p * 6).clamp(max=1) * ((1 - p) * 9).clamp(max=1) * (0.85 + 0.15 * d.wander(6.0))
    string = saw(f) * (1 + 0.08 * d.noise())
    return (
        formants(
            string, torch.cat([d.uniform(270, 300), d.uniform(430, 560), d.uniform(2300, 3200)], 1), 0.9, -16
        )
        * bow
    )


def trumpet(d: Draw) -> Tensor:
    """Brass: brightness follows the level, with a short scoop into each note."""
    f, p = _melody(d, d.trait("pitch", 230, 480), d.trait("rate", 0.9, 3.6), 0.02)
    level = (p * 14).clamp(max=1) * ((1 - p) * 8).clamp(max=1) * (1 - 0.25 * p)
    f = f * (1 - 0.03 * torch.exp(-p * 30)) * (1 + 0.005 * torch.sin(6.28 * 5.5 * d.time))
    soft, bright = (
        tilt(saw(f), -9.0, 500.0),
        formants(saw(f), torch.cat([d.uniform(1100, 1400), d.uniform(2200, 2600)], 1), 0.8, -22),
    )
    return unit(soft) * level + 0.9 * unit(bright) * level**2.5
