"""Waveforms for the vocoder's training: the foley corpus at many pitches, and synthetic signals."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import soxr
import torch
from torch import Tensor

from sonotrain.files.processes import several

SECONDS = 5.0
_CHUNK = 136  # sounds made at once: each foley kind once, and as many synthetic ones


def waveforms(clips: int, rate: int, seed: int, workers: int = 1) -> Tensor:
    """`clips` sounds int16 [clips, 5 s · rate]: half foley kinds at many pitches, half synthetic signals.

    Depends on clips, rate and seed alone. No recording is among them. `workers` processes make them.
    """
    jobs = [(min(_CHUNK, clips - first), rate, seed, first // _CHUNK) for first in range(0, clips, _CHUNK)]
    with several(min(workers, len(jobs))) as run:
        return torch.cat([torch.from_numpy(made) for made in run(_chunk, jobs)])


def _chunk(job: tuple[int, int, int, int]) -> np.ndarray:
    """An array: a tensor would travel through shared memory, which containers have little of."""
    clips, rate, seed, number = job
    length = int(SECONDS * rate)
    result = np.zeros((clips, length), dtype=np.int16)
    rng = np.random.default_rng((seed, number))
    foley = _foley(clips // 2, rate, length, seed * 10_007 + number, rng)
    for index in range(clips):
        sound = next(foley) if index % 2 else signal(length, rate, rng)
        if rng.random() < 0.15:  # two at once
            sound = sound + signal(length, rate, rng) * 10 ** (-rng.uniform(0, 30) / 20)
        sound = _coloured(sound, rate, rng)
        peak = np.abs(sound).max()
        result[index] = (sound * (32000 / max(peak, 1e-9))).round()
    return result


def _foley(count: int, rate: int, length: int, seed: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """`count` sounds [length] of as many kinds as there are."""
    from sonotrain.data import foley

    kinds = [str(kind) for kind in rng.permutation(list(foley.KINDS))[:count]]
    if kinds:
        for sound in foley.batch(count, seed, kinds=kinds).waveforms.numpy():
            # Played faster or slower: pitch and tempo from an octave below to an octave above.
            factor = 2.0 ** rng.uniform(-1, 1)
            moved = soxr.resample(sound, foley.SAMPLE_RATE * factor, rate, quality="MQ")
            start = int(rng.integers(0, max(len(moved) - length, 0) + 1))
            piece = moved[start : start + length]
            yield np.pad(piece, (0, length - len(piece)))


def _coloured(sound: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A random smooth filter (±15 dB, sometimes a steep cut-off), and sometimes a noise floor."""
    spectrum = np.fft.rfft(sound)
    octave = np.log2(np.maximum(np.arange(len(spectrum)) * rate / len(sound), 20) / 20)
    gain = np.interp(octave, np.linspace(0, 10, 6), rng.normal(0, 6, 6))
    if rng.random() < 0.25:
        gain -= np.maximum(octave - rng.uniform(5, 9), 0) * rng.uniform(12, 60)
    sound = np.fft.irfft(spectrum * 10 ** (gain / 20), len(sound))
    if rng.random() < 0.4:
        level = np.abs(sound).max() * 10 ** (-rng.uniform(45, 95) / 20)
        sound = sound + level * rng.standard_normal(len(sound))
    return sound


def signal(length: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """One synthetic sound [length]: notes, voices, bells, sweeps, noises, clicks, or several of them."""
    makers = (_notes, _notes, _voice, _voice, _bells, _sweeps, _noises, _clicks, _clicks)
    total = np.zeros(length)
    for _ in range(1 + int(rng.random() < 0.3)):
        part = makers[int(rng.integers(len(makers)))](length, rate, rng)
        total += part / max(np.abs(part).max(), 1e-9) * 10 ** (-rng.uniform(0, 20) / 20)
    return total


def _hertz(rng: np.random.Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def _smooth(length: int, rate: int, rng: np.random.Generator, changes_per_second: float) -> np.ndarray:
    """A wandering curve of standard deviation 1."""
    count = max(int(length / rate * changes_per_second), 1) + 4
    knots = rng.standard_normal(count)
    return np.interp(np.linspace(0, count - 1, length), np.arange(count), knots)


def _notes(length: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Struck or held tones with harmonics, chords included."""
    total = np.zeros(length)
    decay, slope, stretch = rng.uniform(0, 8), rng.uniform(0.3, 2), rng.choice([0.0, 0.0, 3e-4])
    odd = rng.random() < 0.2
    for _ in range(int(rng.integers(1, 16))):
        start = int(rng.integers(-rate // 4, length))
        t = np.arange(length - max(start, 0)) / rate
        base = _hertz(rng, 40, 1800)
        attack = rng.uniform(0.002, 0.08)
        envelope = np.minimum(t / attack, 1) * np.exp(-decay * t)
        envelope = envelope * (t < rng.uniform(0.1, 3))
        bend = 1 + 0.004 * rng.random() * np.sin(2 * np.pi * rng.uniform(3, 8) * t)
        turns = np.cumsum(base * bend) / rate
        note = np.zeros_like(t)
        for k in range(1, int(rng.integers(2, 40)), 2 if odd else 1):
            if base * k * 1.1 > rate / 2:
                break
            ratio = k * math.sqrt(1 + stretch * k * k)
            level = k**-slope * rng.uniform(0.3, 1) * np.exp(-0.3 * decay * k * t)
            note += level * np.sin(2 * np.pi * (ratio * turns + rng.random()))
        total[max(start, 0) :] += note * envelope * rng.uniform(0.2, 1)
    return total


def _voice(length: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Pulses of a wandering pitch, or breath, through wandering formants, in syllables."""
    pitch = _hertz(rng, 70, 350) * 2 ** (0.2 * _smooth(length, rate, rng, rng.uniform(1, 6)))
    turns = np.cumsum(pitch) / rate
    # Band-limited enough: a smooth pulse once a turn, and noise between.
    source = np.exp(-((turns % 1) ** 2) * rng.uniform(80, 3000)) - 0.05
    source = source + rng.uniform(0.0, 0.1) * rng.standard_normal(length)
    breath = 0.4 * rng.standard_normal(length)
    voiced = np.clip(0.5 + 1.5 * _smooth(length, rate, rng, rng.uniform(2, 8)), 0, 1)
    source = source * voiced + breath * (1 - voiced) * rng.uniform(0, 1)
    block = int(0.02 * rate)
    window = np.hanning(2 * block + 1)[:-1]
    centres = [
        base * 2 ** (0.35 * _smooth(length, rate, rng, 5)) for base in (500.0, 1500.0, 2600.0, 3800.0, 6500.0)
    ]
    widths = rng.uniform(60, 400, 5)
    hertz = np.fft.rfftfreq(2 * block, 1 / rate)
    total = np.zeros(length + 2 * block)
    padded = np.pad(source, (0, 2 * block))
    for start in range(0, length, block):
        here = min(start, length - 1)
        shape = sum(
            rng_level / (1 + ((hertz - centre[here]) / width) ** 2)
            for centre, width, rng_level in zip(centres, widths, (1, 0.6, 0.35, 0.25, 0.2), strict=True)
        )
        piece = np.fft.irfft(np.fft.rfft(padded[start : start + 2 * block] * window) * shape, 2 * block)
        total[start : start + 2 * block] += piece
    loud = np.clip(0.4 + _smooth(length, rate, rng, rng.uniform(2, 9)), 0, 2)
    return total[:length] * loud


def _bells(length: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Inharmonic decaying modes."""
    total = np.zeros(length)
    for _ in range(int(rng.integers(1, 7))):
        start = int(rng.integers(0, length))
        t = np.arange(length - start) / rate
        base, loss = _hertz(rng, 80, 2500), _hertz(rng, 0.5, 40)
        for _ in range(int(rng.integers(3, 20))):
            hertz = base * rng.uniform(0.5, 8)
            if hertz < rate / 2:
                decay = loss * (hertz / base) ** rng.uniform(0, 1)
                total[start:] += (
                    rng.random() * np.exp(-decay * t) * np.sin(2 * np.pi * (hertz * t + rng.random()))
                )
    return total


def _sweeps(length: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Chirps and sirens."""
    total = np.zeros(length)
    for _ in range(int(rng.integers(1, 12))):
        start, span = int(rng.integers(0, length)), int(_hertz(rng, 0.03, 4) * rate)
        span = min(span, length - start)
        if span < 8:
            continue
        u = np.linspace(0, 1, span)
        curve = np.exp(
            np.interp(u, np.linspace(0, 1, 4), np.log([_hertz(rng, 80, rate / 2.2) for _ in range(4)]))
        )
        if rng.random() < 0.5:
            curve = np.exp(np.interp(u, [0, 1], np.log([curve[0], curve[-1]])))
        tone = np.sin(2 * np.pi * (np.cumsum(curve) / rate + rng.random()))
        total[start : start + span] += tone * np.sin(np.pi * u) ** rng.uniform(0.1, 1.5) * rng.random()
    return total


def _noises(length: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of a random spectrum, swelling or in bursts."""
    total = np.zeros(length)
    t = np.arange(length) / rate
    for _ in range(int(rng.integers(1, 4))):
        spectrum = np.fft.rfft(rng.standard_normal(length))
        octave = np.log2(np.maximum(np.arange(len(spectrum)) * rate / length, 20) / 20)
        gain = np.interp(octave, np.linspace(0, 10, 12), rng.normal(0, 12, 12)) - rng.uniform(0, 6) * octave
        noise = np.fft.irfft(spectrum * 10 ** (gain / 20), length)
        if rng.random() < 0.5:
            loud = np.exp(1.2 * _smooth(length, rate, rng, _hertz(rng, 0.5, 20)))
        else:
            loud = np.zeros(length)
            for start in rng.uniform(0, length / rate, int(rng.integers(1, 10))):
                loud += (t >= start) * np.exp(-np.maximum(t - start, 0) * _hertz(rng, 2, 80))
        total += noise / max(np.abs(noise).max(), 1e-9) * loud * rng.random()
    return total


def _clicks(length: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Impulses through short resonances: single, in trains, or dense as applause."""
    total = np.zeros(length)
    count = int(_hertz(rng, 1, 600))
    if rng.random() < 0.3:
        places = np.arange(rng.integers(0, rate // 4), length, max(length // count, 8))
    else:
        places = rng.integers(0, length, count)
    total[places.astype(int)] = rng.normal(0, 1, len(places)) * np.exp(0.6 * rng.standard_normal(len(places)))
    span = int(_hertz(rng, 0.002, 0.3) * rate) + 4
    t = np.arange(span) / rate
    kernel = rng.standard_normal(span) * np.exp(-t * 5 * rate / span) * rng.choice([0.0, 1.0])
    for _ in range(int(rng.integers(0, 5))):
        hertz = _hertz(rng, 60, rate / 2.1)
        kernel += np.exp(-t * rng.uniform(3, 9) * rate / span) * np.sin(
            2 * np.pi * (hertz * t + rng.random())
        )
    kernel[0] += 1
    size = 1 << (length + span).bit_length()
    return np.fft.irfft(np.fft.rfft(total, size) * np.fft.rfft(kernel, size), size)[:length]
