"""The corpus's own piano, violin and trumpet, playing given notes (see `data.foley.music`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sonoconvert.curves.midi import Note
from sonotrain.data.foley.draw import SAMPLE_RATE, band, formants, phase, saw, smooth, tilt, unit

LOUDNESS = 1.5  # amplitude is velocity to this power
GAIN = 0.6


def render(name: str, notes: Sequence[Note], seconds: float, rng: np.random.Generator) -> Tensor:
    """Float32 [samples] at 32 kHz of notes that don't overlap; `rng` varies the instrument a little."""
    samples = round(seconds * SAMPLE_RATE)
    return INSTRUMENTS[name](_Played(notes, samples), rng)[0] * GAIN


class _Played:
    """Notes as curves [1, samples]: hertz, velocity, seconds since the note began and since it was let go."""

    def __init__(self, notes: Sequence[Note], samples: int) -> None:
        time = np.arange(samples, dtype=np.float32) / SAMPLE_RATE
        hertz, velocity = np.full(samples, notes[0].hertz, np.float32), np.zeros(samples, np.float32)
        age, released = np.zeros(samples, np.float32), np.full(samples, 10.0, np.float32)
        for note in notes:
            first = round(note.start_s * SAMPLE_RATE)
            hertz[first:], velocity[first:] = note.hertz, note.velocity
            age[first:] = time[first:] - note.start_s
            released[first:] = np.maximum(time[first:] - note.end_s, 0)
        self.hertz, self.velocity, self.age, self.released = (
            torch.from_numpy(a)[None] for a in (hertz, velocity, age.clip(0), released)
        )
        self.time = torch.from_numpy(time)[None]

    def gate(self, attack: float, release: float) -> Tensor:
        """Rises after each note's beginning and falls after its end, without clicks."""
        return smooth((self.age / attack).clamp(0, 1) * torch.exp(-self.released / release), 0.006)


def piano(played: _Played, rng: np.random.Generator) -> Tensor:
    """Twelve stretched partials that die away, the high ones sooner; hard touch is brighter."""
    stretch, position, decay = 4e-4, rng.uniform(0.11, 0.14), rng.uniform(2.5, 4.5)
    total = torch.zeros_like(played.time)
    base = phase(played.hertz).double()
    lower = (262 / played.hertz).sqrt()
    size = 0.0
    for k in range(1, 13):
        factor = k * math.sqrt(1 + stretch * k * k)
        gain = abs(math.sin(math.pi * k * position)) / k
        size += gain / 2
        dies = torch.exp(-6.9 * played.age / (decay * lower / k**0.65))
        bright = (0.35 + 0.65 * played.velocity) ** (0.6 * (k - 1))
        audible = (played.hertz * factor < 15_000).float()
        total += gain * audible * bright * dies * torch.sin(2 * math.pi * (base * factor % 1)).float()
    thump = unit(band(_noise(total, rng), 60.0, 500.0)) * torch.exp(-played.age * 80) * 0.08
    return (total / size + thump) * played.velocity**LOUDNESS * played.gate(0.004, 0.07)


def violin(played: _Played, rng: np.random.Generator) -> Tensor:
    """A bowed sawtooth with a late vibrato through a body; more bow is brighter."""
    hertz = torch.exp(smooth(played.hertz.log(), 0.03))
    vibrato = torch.sin(2 * math.pi * rng.uniform(5, 6.3) * played.time) * (played.age / 0.4).clamp(0, 1)
    string = saw(hertz * (1 + rng.uniform(0.004, 0.009) * vibrato)) * (1 + 0.06 * _noise(hertz, rng))
    centres = torch.tensor([[rng.uniform(270, 300), rng.uniform(430, 560), rng.uniform(2300, 3200)]])
    bowed = unit(formants(string, centres, 0.9, -16))
    soft = unit(tilt(bowed, -6.0, 500.0))
    level = smooth(played.velocity, 0.03).clamp_min(0)
    return ((1 - level) * soft + level * bowed) * level**LOUDNESS * played.gate(0.06, 0.05)


def trumpet(played: _Played, rng: np.random.Generator) -> Tensor:
    """Brass: a scoop into each note, and brightness that grows with the level."""
    wobble = torch.sin(2 * math.pi * rng.uniform(5, 6) * played.time) * (played.age / 0.5).clamp(0, 1)
    lips = saw(played.hertz * (1 - 0.03 * torch.exp(-played.age * 50)) * (1 + 0.004 * wobble))
    soft = unit(tilt(lips, -9.0, 500.0))
    centres = torch.tensor([[rng.uniform(1100, 1400), rng.uniform(2200, 2600)]])
    bright = unit(formants(lips, centres, 0.8, -22))
    level = played.velocity * (1 - 0.25 * (1 - torch.exp(-played.age * 3)))
    return (soft + 0.9 * level * bright) / 1.3 * level**LOUDNESS * played.gate(0.025, 0.04)


def _noise(like: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(like.shape).astype(np.float32))


INSTRUMENTS: dict[str, Callable[[_Played, np.random.Generator], Tensor]] = {
    "piano": piano, "violin": violin, "trumpet": trumpet,
}  # fmt: skip
