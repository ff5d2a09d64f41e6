"""Sound → riffusion-v1 picture → sound: speed and truth of the reference and of sonoconvert, in one run.

    python benchmarks/conversion.py [--folder RECORDINGS] [--repeats 3] [--threads N]

The reference is Riffusion's converter as it is described (its parameters on stock torch parts): mel
inversion by least squares, 32 Griffin–Lim iterations with momentum 0.99 on the padded 17640 FFT.
Both decode the same 8-bit pictures. Measures compare with the original below 10 kHz, on a 2048/512 Hann
STFT whose magnitudes are floored at −80 dB of the peak:

* spectral convergence: ‖S − Ŝ‖ / ‖S‖ (lower is better);
* log-spectral distance: mean over frames of the root mean square of the difference in dB.

Medians over 5.1 s clips, after one warm-up (the mel basis and its inverse are cached by both): seconds on the
clock, and of processor time over all threads, which a busy machine does not disturb.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from sonoconvert.clip import Clip, read_clip
from sonoconvert.convert import decode, encode, mix_to
from sonoconvert.errors import SonopaintError
from sonoconvert.format import PRESETS
from sonoconvert.spectrogram import from_levels, mel_basis

FORMAT = PRESETS["riffusion-v1"]
RATE = FORMAT.sample_rate
SAMPLES = FORMAT.width * FORMAT.hop_length
SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".mp3"}


def reference_encode(waveform: torch.Tensor) -> torch.Tensor:
    """float [T] → mel magnitudes [512, frames]."""
    basis = torch.from_numpy(mel_basis(FORMAT)).float()
    window = torch.hann_window(FORMAT.win_length)
    spectrum = torch.stft(
        waveform, FORMAT.n_fft, FORMAT.hop_length, FORMAT.win_length, window, return_complex=True
    )
    return basis @ spectrum.abs()


def reference_decode(mel: torch.Tensor, length: int, iterations: int = 32, seed: int = 0) -> torch.Tensor:
    """Mel magnitudes [512, frames] → float [length]."""
    fmt, momentum = FORMAT, 0.99
    basis = torch.from_numpy(mel_basis(fmt)).float()
    magnitude = torch.linalg.lstsq(basis, mel, driver="gels").solution.clamp_min(0)
    window = torch.hann_window(fmt.win_length)
    generator = torch.Generator().manual_seed(seed)
    angle = torch.rand(magnitude.shape, generator=generator) * (2 * torch.pi)
    phase, previous = torch.polar(torch.ones_like(angle), angle), torch.zeros(1)

    def inverse(spectrum: torch.Tensor) -> torch.Tensor:
        return torch.istft(spectrum, fmt.n_fft, fmt.hop_length, fmt.win_length, window, length=length)

    for _ in range(iterations):
        rebuilt = torch.stft(
            inverse(magnitude * phase),
            fmt.n_fft,
            fmt.hop_length,
            fmt.win_length,
            window,
            return_complex=True,
        )[:, : mel.shape[1]]
        phase = rebuilt - momentum / (1 + momentum) * previous
        phase = phase / (phase.abs() + 1e-16)
        previous = rebuilt
    return inverse(magnitude * phase)


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


Times = dict[str, list[tuple[float, float]]]


def seconds_of(
    job: Callable[[], torch.Tensor], repeats: int
) -> tuple[list[tuple[float, float]], torch.Tensor]:
    """(clock, processor) seconds of each repeat, and the last result."""
    times = []
    for _ in range(repeats):
        clock, processor = time.perf_counter(), time.process_time()
        result = job()
        times.append((time.perf_counter() - clock, time.process_time() - processor))
    return times, result


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
        if clip.num_samples > FORMAT.n_fft and clip.waveform.abs().max() > 1e-3:
            sounds[path.name] = clip.waveform[0, :SAMPLES].numpy()
    return sounds


def compare(clip: Clip, repeats: int, times: Times, truth: Times) -> None:
    """One sound, both ways; appends to `times` and `truth`."""
    waveform = clip.waveform[0]
    picture = encode(clip, FORMAT)
    mel = from_levels(picture.levels(), FORMAT, torch.tensor(picture.peak))[0]
    times["encode ref"] += seconds_of(lambda: reference_encode(waveform), repeats)[0]
    times["encode"] += seconds_of(lambda: encode(clip, FORMAT).levels(), repeats)[0]
    spent, slow = seconds_of(lambda: reference_decode(mel, clip.num_samples), repeats)
    times["decode ref"] += spent
    spent, quick = seconds_of(lambda: decode(picture).waveform[0], repeats)
    times["decode"] += spent
    truth["reference"].append(measures(waveform, slow))
    truth["sonoconvert"].append(measures(waveform, quick))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, help="recordings to use as well")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    sounds = synthesised() | (recordings(options.folder) if options.folder else {})

    warm = Clip(torch.randn(1, SAMPLES) * 0.1, RATE)
    decode(encode(warm, FORMAT), iterations=1)
    reference_decode(reference_encode(warm.waveform[0]), SAMPLES, iterations=1)
    times: Times = {"encode ref": [], "encode": [], "decode ref": [], "decode": []}
    truth: dict[str, list[tuple[float, float]]] = {"reference": [], "sonoconvert": []}
    sys.stdout.write(f"{'sound':28s} {'reference SC  LSD':>20s} {'sonoconvert SC  LSD':>22s}\n")
    for name, samples in sounds.items():
        clip = Clip(torch.from_numpy(samples)[None], RATE)
        compare(clip, options.repeats, times, truth)
        row = [truth[way][-1] for way in ("reference", "sonoconvert")]
        sys.stdout.write(f"{name[:28]:28s}" + "".join(f"{sc:15.3f} {lsd:5.2f}" for sc, lsd in row) + "\n")
        sys.stdout.flush()

    median = {name: np.median(values, axis=0) for name, values in times.items()}
    mean = {way: np.mean(values, axis=0) for way, values in truth.items()}
    sys.stdout.write(
        f"\n{len(sounds)} sounds, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
        f"{'':12s}{'encode s':>10s}{'cpu':>8s}{'faster':>8s}{'decode s':>10s}{'cpu':>8s}{'faster':>8s}"
        f"{'SC':>8s}{'LSD dB':>8s}\n"
    )
    for way, suffix in (("reference", " ref"), ("sonoconvert", "")):
        line = f"{way:12s}"
        for task in ("encode", "decode"):
            clock, processor = median[task + suffix]
            line += f"{clock:10.3f}{processor:8.3f}{median[task + ' ref'][1] / processor:8.1f}"
        sys.stdout.write(f"{line}{mean[way][0]:8.3f}{mean[way][1]:8.2f}\n")


if __name__ == "__main__":
    main()
