"""Ways to find a picture's phase: quality over processor time, in one run.

    python benchmarks/phase.py [--folder RECORDINGS] [--threads N]

All start from the same 8-bit riffusion-v1 pictures; the measures are those of conversion.py. What is shown:

* Griffin–Lim: fast Griffin–Lim (Perraudin 2013) from random phases, on fixed magnitudes;
* ADMM: the same projections by ADMM (Masuyama, Yatabe & Oikawa 2019, ρ = 0.1);
* RTISI-LA: frame by frame with look-ahead (Zhu, Beauregard & Wyse 2007): the way for streams;
* gradient: phase-gradient integration (Průša 2017) alone, and as the start of Griffin–Lim;
* bands: the magnitudes within a mel band free (`sonoconvert.phase.inversion.MelBands`), from random phases;
* sonoconvert: `sonoconvert.phase.search.reconstruct`: gradient start, bands, coarse frames before fine ones;
* sonoconvert, learned: the same from the learned decoder's phases, where there are weights.

The first three and plain starts are here for comparison only. All but the last two work on every second
frame.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sounds import RATE, measures, recordings, synthesised
from torch import Tensor

from sonoconvert.conversion.convert import encode
from sonoconvert.files.clip import Clip
from sonoconvert.phase.gradient import phase_gradient
from sonoconvert.phase.inversion import mel_bands, mel_to_linear
from sonoconvert.phase.search import PhaseSearch, reconstruct
from sonoconvert.pictures.format import PRESETS
from sonoconvert.pictures.spectrogram import (
    absolute,
    analyse,
    frame,
    from_levels,
    overlap_add,
    pad_ends,
    synthesise,
)

FORMAT = PRESETS["riffusion-v1"]
SIZE, HOP = 2000, 400  # the work at 20 kHz, every second frame
SCALE = SIZE / FORMAT.win_length
Project = Callable[[Tensor], Tensor]


def sound_of(spectrum: Tensor) -> Tensor:
    """[frames, bins] → samples at 20 kHz."""
    return overlap_add(synthesise(spectrum, SIZE, SIZE), SIZE, HOP)


def consistent(spectrum: Tensor) -> Tensor:
    """The nearest spectrum that is one of a sound."""
    return analyse(frame(pad_ends(sound_of(spectrum), SIZE, HOP), SIZE, HOP), SIZE, SIZE)


def at_full_rate(spectrum: Tensor, length: int) -> Tensor:
    """[frames, bins] at 20 kHz → samples [length] at the format's rate."""
    win = FORMAT.win_length
    full = torch.nn.functional.pad(spectrum, (0, (win - SIZE) // 2)) / SCALE
    return overlap_add(synthesise(full, win, win), win, 2 * FORMAT.hop_length, length=length)


def fast_griffin_lim(spectrum: Tensor, project: Project, iterations: int) -> Tensor:
    previous = None
    for _ in range(iterations):
        here = consistent(spectrum)
        ahead = here if previous is None else torch.lerp(previous, here, 1.99)
        spectrum, previous = project(ahead), here
    return spectrum


def admm(spectrum: Tensor, project: Project, iterations: int, rho: float = 0.1) -> Tensor:
    z, u = spectrum, torch.zeros_like(spectrum)
    for _ in range(iterations):
        x = project(z - u)
        z = (rho * (x + u) + consistent(x + u)) / (1 + rho)
        u = u + x - z
    return project(z - u)


def rtisi_la(magnitude: Tensor, iterations: int, ahead: int = 4) -> Tensor:
    """Each frame is settled `iterations` times while it is among the `ahead` newest ones."""
    frames = len(magnitude)
    spectrum = magnitude.to(torch.complex64)
    window = torch.hann_window(SIZE)
    total, weight = torch.zeros(frames * HOP + SIZE), torch.zeros(frames * HOP + SIZE)
    for first in range(frames):
        stop = min(first + ahead, frames)
        for _ in range(max(iterations // ahead, 1)):
            made = torch.fft.irfft(spectrum[first:stop], n=SIZE) * window
            now, norm = (
                total[first * HOP : stop * HOP + SIZE].clone(),
                weight[first * HOP : stop * HOP + SIZE].clone(),
            )
            for i, part in enumerate(made):
                now[i * HOP : i * HOP + SIZE] += part
                norm[i * HOP : i * HOP + SIZE] += window.square()
            now = now / norm.clamp_min(1e-3)
            heard = torch.fft.rfft(now[: (stop - first - 1) * HOP + SIZE].unfold(0, SIZE, HOP) * window)
            spectrum[first:stop] = magnitude[first:stop] * torch.sgn(heard)
        total[first * HOP : first * HOP + SIZE] += torch.fft.irfft(spectrum[first], n=SIZE) * window
        weight[first * HOP : first * HOP + SIZE] += window.square()
    return spectrum


def ways(mel: Tensor, length: int) -> dict[str, Callable[[int], Tensor]]:
    """Name → (iterations → samples [length]), for mel magnitudes [n_mels, frames]."""
    magnitude = (mel_to_linear(mel[None], FORMAT)[0, : SIZE // 2 + 1].T * SCALE)[::2].contiguous()
    wanted = (mel.T * SCALE)[::2].contiguous()
    bands = mel_bands(FORMAT, SIZE // 2 + 1, torch.float32, mel.device)
    angle = torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(0)) * 2 * torch.pi
    random = torch.polar(magnitude, angle)

    def fixed(spectrum: Tensor) -> Tensor:
        return torch.sgn(spectrum) * magnitude

    def free(spectrum: Tensor) -> Tensor:
        return spectrum * bands.correction(absolute(spectrum), wanted)

    def gradient() -> Tensor:
        return magnitude * phase_gradient(magnitude, SIZE, HOP)

    coarse: dict[str, Callable[[int], Tensor]] = {
        "Griffin–Lim": lambda n: fast_griffin_lim(random, fixed, n),
        "ADMM": lambda n: admm(random, fixed, n),
        "RTISI-LA": lambda n: rtisi_la(magnitude, n),
        "gradient, Griffin–Lim": lambda n: fast_griffin_lim(gradient(), fixed, n),
        "bands": lambda n: fast_griffin_lim(random, free, n),
        "gradient, bands": lambda n: fast_griffin_lim(gradient(), free, n),
    }

    def finished(way: Callable[[int], Tensor]) -> Callable[[int], Tensor]:
        return lambda n: at_full_rate(way(n), length)

    def searched(learned: bool) -> Callable[[int], Tensor]:
        return lambda n: reconstruct(mel[None], FORMAT, PhaseSearch(n, learned=learned), length=length)[0]

    return {name: finished(way) for name, way in coarse.items()} | {
        name: searched(learned)
        for name, learned in {"sonoconvert": False, "sonoconvert, learned": True}.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, help="recordings to use as well")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--iterations", type=int, nargs="+", default=[0, 16, 32, 64])
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for samples in (synthesised() | (recordings(options.folder) if options.folder else {})).values():
        clip = Clip(torch.from_numpy(samples)[None], RATE)
        picture = encode(clip, FORMAT)
        mel = from_levels(picture.levels(), FORMAT, torch.tensor(picture.peak))
        jobs = ways(mel[0], clip.num_samples)
        for name, job in jobs.items():
            for iterations in options.iterations:
                if name == "RTISI-LA" and not iterations:
                    continue
                began = time.process_time()
                sound = job(iterations)
                spent = time.process_time() - began
                found.setdefault((name, iterations), []).append((*measures(clip.waveform[0], sound), spent))
    sys.stdout.write(
        "| way | iterations | processor s | spectral convergence | log-spectral distance, dB |\n"
    )
    sys.stdout.write("|---|---|---|---|---|\n")
    for (name, iterations), rows in found.items():
        convergence, distance, _ = np.mean(rows, axis=0)
        spent = np.median([row[2] for row in rows])
        sys.stdout.write(f"| {name} | {iterations} | {spent:.2f} | {convergence:.3f} | {distance:.2f} |\n")


if __name__ == "__main__":
    main()
