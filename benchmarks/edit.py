"""Painted regions: how true they are, and whether their seams can be heard.

    python benchmarks/edit.py [--folder RECORDINGS] [--format riffusion-v1] [--iterations N] [--no-learned]

Each sound is repainted from 1.5 s to 3 s by a painter who knows what comes: "mixed" adds the next sound of
the list there at half its level (a train horn over a forest: much of the source stays), "other" replaces it.
The truth is that mixture itself. Measures inside: spectral convergence and log-spectral distance (see
conversion.py). At the two seams: how far 2 ms of it stand out above 8 kHz of the loudest 2 ms within 60 ms (a
click is above 0 dB), and how far the step in level from the 50 ms before it to the 50 ms after it is from the
truth's. Outside: samples that differ.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy.signal import butter, sosfiltfilt
from sounds import RATE, SAMPLES, measures, recordings, synthesised

from sonoconvert.edits.canvas import Canvas, inpaint_canvas
from sonoconvert.edits.edit import put_back
from sonoconvert.edits.region import Box, Region
from sonoconvert.files.clip import Clip
from sonoconvert.phase.search import PhaseSearch
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.spectrogram import mel_magnitude, to_levels

START_S, STOP_S = 1.5, 3.0


def truth_of(source: np.ndarray, other: np.ndarray, kind: str) -> np.ndarray:
    """The source with the other sound mixed in, or in its place, from START_S to STOP_S (50 ms fades)."""
    time_s = np.arange(SAMPLES) / RATE
    weight = np.clip(np.minimum(time_s - START_S, STOP_S - time_s) / 0.05 + 0.5, 0, 1)
    if kind == "mixed":
        return source + 0.5 * weight * other
    return source * (1 - weight) + other * weight


def painted(canvas: Canvas, truth: np.ndarray) -> Picture:
    """The canvas's picture with the truth's levels where the mask is."""
    picture, fmt = canvas.picture, canvas.picture.format
    sound = Clip(torch.from_numpy(truth).float()[None], RATE).resampled(fmt.sample_rate)
    levels, _ = to_levels(mel_magnitude(sound.waveform, fmt), fmt, picture.peak)
    mask = torch.from_numpy(canvas.mask) > 0.5
    levels = torch.where(mask, levels[..., : picture.columns], picture.levels())
    return Picture.from_levels(levels, fmt, picture.peak, picture.num_samples)


def click_db(sound: np.ndarray, at: int) -> float:
    """How far 2 ms round `at` stand out above 8 kHz of the loudest 2 ms, 10 to 60 ms away."""
    size = round(0.002 * RATE)
    high = sosfiltfilt(butter(6, 8000, "highpass", fs=RATE, output="sos"), sound)

    def level(centre: int) -> float:
        return float(np.sqrt(np.mean(high[centre - size // 2 : centre + size // 2] ** 2))) + 1e-5

    return 20 * np.log10(
        level(at) / max(level(at + side * k * size) for k in range(5, 30) for side in (-1, 1))
    )


def jump_db(sound: np.ndarray, at: int) -> float:
    """Level of the 50 ms after `at` over that of the 50 ms before; below −60 dB of the peak all is one."""
    size = round(0.05 * RATE)
    floor = 1e-6 * np.max(sound**2)
    before, after = (np.mean(part**2) + floor for part in (sound[at - size : at], sound[at : at + size]))
    return 10 * float(np.log10(after / before))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, help="recordings to use as well")
    parser.add_argument("--format", default="riffusion-v1")
    parser.add_argument("--iterations", type=int, default=PhaseSearch.iterations, help="default: %(default)s")
    parser.add_argument("--no-learned", action="store_true", help="leave the learned decoder out")
    options = parser.parse_args()
    search = PhaseSearch(options.iterations, learned=not options.no_learned)
    sounds = synthesised() | (recordings(options.folder) if options.folder else {})
    sounds = {name: sound for name, sound in sounds.items() if len(sound) == SAMPLES}
    names = list(sounds)
    sys.stdout.write(f"{'kind':8s}{'SC':>8s}{'LSD dB':>8s}{'click dB':>10s}{'worst':>8s}{'jump dB':>9s}")
    sys.stdout.write(f"{'worst':>8s}{'outside':>9s}{'seconds':>9s}\n")
    for kind in ("mixed", "other"):
        rows = []
        for name, other in zip(names, names[1:] + names[:1], strict=True):
            truth = truth_of(sounds[name].astype(float), sounds[other].astype(float), kind)
            scale = 0.9 / max(np.abs(truth).max(), np.abs(sounds[name]).max())
            clip = Clip(torch.from_numpy(sounds[name] * np.float32(scale))[None], RATE)
            truth *= scale
            canvas = inpaint_canvas(clip, Region((Box(START_S, STOP_S),)), options.format)
            picture = painted(canvas, truth)
            began = time.process_time()
            result = put_back(canvas, picture, search).waveform[0]
            spent = time.process_time() - began
            inside = slice(round(START_S * RATE), round(STOP_S * RATE))
            convergence, distance = measures(torch.from_numpy(truth).float()[inside], result[inside])
            outside = torch.ones(SAMPLES, dtype=torch.bool)
            outside[round((START_S - 0.05) * RATE) : round((STOP_S + 0.05) * RATE)] = False
            differing = int((result != clip.waveform[0])[outside].sum())
            made = result.numpy().astype(float)
            seams = (inside.start, inside.stop)
            clicks = max(click_db(made, at) - max(click_db(truth, at), 0) for at in seams)
            jumps = max(abs(jump_db(made, at) - jump_db(truth, at)) for at in seams)
            rows.append((convergence, distance, clicks, jumps, differing, spent))
        table = np.array(rows)
        mean, worst = table.mean(axis=0), table.max(axis=0)
        sys.stdout.write(
            f"{kind:8s}{mean[0]:8.3f}{mean[1]:8.2f}{mean[2]:10.1f}{worst[2]:8.1f}{mean[3]:9.2f}{worst[3]:8.2f}"
            f"{int(table[:, 4].sum()):9d}{np.median(table[:, 5]):9.2f}\n"
        )


if __name__ == "__main__":
    main()
