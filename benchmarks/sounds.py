"""What the conversion's benchmarks share: sounds, and how far a result is from the original."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from sonoconvert.conversion.convert import mix_to
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import read_clip

RATE = 44_100
SAMPLES = 512 * 441  # 5.12 s, a riffusion-v1 picture
SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".mp3"}


def measures(original: torch.Tensor, result: torch.Tensor) -> tuple[float, float]:
    """Spectral convergence and log-spectral distance in dB of two waveforms [T], below 10 kHz."""

    def magnitudes(waveform: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(waveform, 2048, 512, window=torch.hann_window(2048), return_complex=True)
        return spectrum.abs()[: int(10_000 / RATE * 2048)]

    true, made = magnitudes(original), magnitudes(result)
    floor = true.max() * 1e-4
    convergence = torch.linalg.norm(true - made) / torch.linalg.norm(true)
    difference = 20 * torch.log10(true.clamp_min(floor) / made.clamp_min(floor))
    return float(convergence), float(difference.square().mean(dim=0).sqrt().mean())


def synthesised() -> dict[str, np.ndarray]:
    """A few sounds of different nature, float32 [SAMPLES]."""
    noise = np.random.default_rng(0)
    t = np.arange(SAMPLES) / RATE

    def decaying(start: float, rate: float) -> np.ndarray:
        return np.where(t >= start, np.exp(-np.maximum(t - start, 0) * rate), 0)

    def band(low: float, high: float) -> np.ndarray:
        spectrum = np.fft.rfft(noise.standard_normal(SAMPLES))
        hertz = np.fft.rfftfreq(SAMPLES, 1 / RATE)
        return np.fft.irfft(spectrum * ((hertz > low) & (hertz < high)), SAMPLES)

    def string(pitch: float, start: float) -> np.ndarray:
        tones = (np.sin(2 * np.pi * pitch * k * t * (1 + 3e-4 * k * k)) / k for k in range(1, 16))
        return sum(tones) * decaying(start, 1.8)

    chord = sum(string(pitch, 0.3 * i) for i, pitch in enumerate((110, 165, 220, 277, 330, 440)))
    drums = sum(
        np.sin(2 * np.pi * 55 * (t - s) + 9 * decaying(s, 30)) * decaying(s, 9)
        + 0.6 * band(1500, 9000) * decaying(s + 0.35, 22)
        for s in np.arange(0, 5, 0.7)
    )
    bell = sum(
        np.sin(2 * np.pi * 523 * r * t) * decaying(0.1, 0.8 * r)
        for r in (0.5, 1, 1.19, 1.56, 2, 2.51, 3.01, 4.1)
    )
    vibrato = 130 * t + 0.5 * np.sin(2 * np.pi * 5 * t)
    voice = sum(
        np.sin(2 * np.pi * k * vibrato)
        * sum(np.exp(-(((130 * k - f) / 120) ** 2)) for f in (650, 1100 + 300 * np.sin(t), 2600))
        for k in range(1, 40)
    ) * (0.5 + 0.5 * np.sin(2 * np.pi * 1.5 * t))
    chirps = sum(
        np.sin(2 * np.pi * (3500 * (t - s) + 2600 * (t - s) ** 2)) * decaying(s, 14)
        for s in np.sort(noise.uniform(0, 5, 14))
    )
    sea = band(60, 6000) * (0.3 + np.sin(2 * np.pi * 0.2 * t) ** 2)
    claps = sum(band(700, 5000) * decaying(s, 60) for s in np.sort(noise.uniform(0, 5, 60)))
    shot = band(30, 9000) * decaying(0.5, 6) + 0.2 * band(30, 2000) * decaying(0.5, 1.2)
    sounds = {
        "chord": chord,
        "drums": drums,
        "bell": bell,
        "voice": voice,
        "birds": chirps,
        "sea": sea,
        "applause": claps,
        "gunshot": shot,
    }
    return {name: (0.5 * sound / np.abs(sound).max()).astype(np.float32) for name, sound in sounds.items()}


def recordings(folder: Path) -> dict[str, np.ndarray]:
    """The first 5.1 s of each sound in a folder, float32 [≤ SAMPLES]."""
    sounds = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        try:
            clip = mix_to(read_clip(path, duration_s=SAMPLES / RATE), 1).resampled(RATE)
        except SonopaintError as error:
            sys.stderr.write(f"{error}\n")
            continue
        if clip.num_samples > RATE // 2 and clip.waveform.abs().max() > 1e-3:
            sounds[path.name] = clip.waveform[0, :SAMPLES].numpy()
    return sounds
