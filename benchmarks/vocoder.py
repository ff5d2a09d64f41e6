"""The learned decoder beside the iterative one, on sounds that it never saw, in one run.

    python benchmarks/vocoder.py [--format riffusion-v1] [--folder RECORDINGS] [--weights FILE] [--threads N]

Each sound becomes an 8-bit picture, and that becomes sound again by `phase.reconstruct` (fast and best) and
by the decoder (fast). Measures and sounds are those of
benchmarks/conversion.py (below 10 kHz; spectral convergence, log-spectral distance in dB; seconds on the
clock and of processor time over all threads). The decoder was trained on synthesised sounds only; recordings
in --folder are the test.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from sounds import RATE, measures, recordings, synthesised

from sonoconvert.conversion.convert import encode
from sonoconvert.files.clip import Clip
from sonoconvert.phase import vocoder
from sonoconvert.phase.search import PhaseSearch, reconstruct
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import from_levels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--format", default="riffusion-v1")
    parser.add_argument("--folder", type=Path, help="recordings to use in place of synthesised sounds")
    parser.add_argument("--weights", type=Path, help="decoder to judge (default: the one that is found)")
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    fmt = get_format(options.format)
    quick = PhaseSearch.of("fast")
    decoder = vocoder.read(options.weights) if options.weights else quick.decoder(fmt)
    if decoder is None:
        sys.exit(f"There are no decoder weights for {fmt.name}; train them (sonotrain vocoder train).")
    searches = [PhaseSearch.of(quality, learned=False) for quality in ("fast", "best")]
    ways = {
        "fast": lambda mel, length: reconstruct(mel, fmt, searches[0], length=length),
        "best": lambda mel, length: reconstruct(mel, fmt, searches[1], length=length),
        "learned": lambda mel, length: reconstruct(mel, fmt, quick, vocoder=decoder, length=length),
    }
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    spent: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    sounds = recordings(options.folder) if options.folder else synthesised()
    sys.stdout.write(f"{'sound':28s}" + "".join(f"{way + ' SC  LSD':>18s}" for way in ways) + "\n")
    warm = True
    for name, samples in sounds.items():
        true = torch.from_numpy(samples)
        clip = Clip(true[None], RATE)
        picture = encode(clip, fmt)
        mel = from_levels(picture.levels(), fmt, torch.tensor(picture.peak))
        length = int(picture.num_samples or 0)
        line = f"{name[:28]:28s}"
        for way, decode in ways.items():
            if warm:
                decode(mel, length)
            clock, processor = time.perf_counter(), time.process_time()
            made = decode(mel, length)
            spent[way].append((time.perf_counter() - clock, time.process_time() - processor))
            back = Clip(made, fmt.sample_rate).resampled(RATE).waveform[0]
            used = min(len(back), len(true))
            found[way].append(measures(true[:used], back[:used]))
            line += f"{found[way][-1][0]:12.3f}{found[way][-1][1]:6.2f}"
        warm = False
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    sys.stdout.write(
        f"\n{len(sounds)} sounds, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    sys.stdout.write(f"{'':12s}{'SC':>8s}{'LSD dB':>8s}{'seconds':>9s}{'cpu':>8s}\n")
    for way in ways:
        convergence, distance = np.mean(found[way], axis=0)
        clock, processor = np.median(spent[way], axis=0)
        sys.stdout.write(f"{way:12s}{convergence:8.3f}{distance:8.2f}{clock:9.3f}{processor:8.3f}\n")


if __name__ == "__main__":
    main()
