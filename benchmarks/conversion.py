"""Sound → riffusion-v1 picture → sound, in one run: how quick and how true.

    python benchmarks/conversion.py [--folder RECORDINGS] [--repeats 3] [--threads N] [--write]

The reference is Riffusion's converter as it is described (its parameters on stock torch parts): mel
inversion by least squares, 32 Griffin–Lim iterations with momentum 0.99 on the padded 17640 FFT. librosa's
path is its own melspectrogram, non-negative least squares and griffinlim with 32 iterations, on the window's
own FFT: on the padded grid its inversion asks for more than 100 GiB. It takes minutes for a sound, so that it
decodes only the first --librosa of them, and its measures are theirs.
All decode the same 8-bit pictures. Measures compare with the original below 10 kHz, on a 2048/512 Hann
STFT whose magnitudes are floored at −80 dB of the peak:

* spectral convergence: ‖S − Ŝ‖ / ‖S‖ (lower is better);
* log-spectral distance: mean over frames of the root mean square of the difference in dB.

"Long" is all sounds in one: drawn as one picture, and as parts that are read and decoded by and by
(`conversion.parts`), which must be as true.

Means of the measures and medians of the times over 5.1 s clips, after one warm-up (the mel basis and its
inverse are cached by all): seconds on the clock, and of processor time over all threads, which a busy
machine disturbs less. The ratios are of processor time. --write puts the table and a plot into docs/.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sounds import RATE, SAMPLES, measures, recordings, synthesised

from sonoconvert.conversion.convert import decode, encode
from sonoconvert.conversion.parts import decode_parts, encode_parts
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.phase.search import QUALITIES, PhaseSearch
from sonoconvert.pictures.format import PRESETS
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.spectrogram import from_levels, mel_basis

FORMAT = PRESETS["riffusion-v1"]
DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- conversion:begin -->", "<!-- conversion:end -->"


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


def librosa_encode(waveform: torch.Tensor) -> torch.Tensor:
    """float [T] → mel magnitudes [512, frames], by librosa on the padded grid."""
    import librosa

    mel = librosa.feature.melspectrogram(
        y=waveform.numpy(), sr=RATE, n_fft=FORMAT.n_fft, hop_length=FORMAT.hop_length, fmax=FORMAT.f_max,
        win_length=FORMAT.win_length, n_mels=FORMAT.n_mels, htk=True, norm=None, power=1.0,
    )  # fmt: skip
    return torch.from_numpy(mel)


def librosa_decode(mel: torch.Tensor, length: int) -> torch.Tensor:
    """Mel magnitudes [512, frames] → float [length], by librosa on the window's own grid."""
    import librosa

    # The padded FFT has four bins where this one has one, and each band sums over its bins.
    fewer = FORMAT.win_length / FORMAT.n_fft
    mel = torch.nn.functional.pad(mel * fewer, (0, 1), mode="replicate")  # the frame that pictures crop
    linear = librosa.feature.inverse.mel_to_stft(
        mel.numpy(),
        sr=RATE,
        n_fft=FORMAT.win_length,
        power=1.0,
        fmax=FORMAT.f_max,
        htk=True,
        norm=None,
    )
    sound = librosa.griffinlim(linear, n_iter=32, hop_length=FORMAT.hop_length, random_state=0, length=length)
    return torch.from_numpy(sound)


def in_parts(clip: Clip, search: PhaseSearch, part_s: float) -> torch.Tensor:
    """A clip drawn as parts of `part_s` seconds and back: float [T]."""
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "x.wav"
        write_clip(clip, sound, subtype="FLOAT")
        index = encode_parts(sound, sound.with_suffix(".png"), FORMAT, part_s)[-1]
        decode_parts(index, sound, search, subtype="FLOAT", force=True)
        return read_clip(sound).waveform[0]


def long_table(sounds: dict[str, np.ndarray], part_s: float = 10.0) -> list[str]:
    """Markdown rows: all sounds as one long one, as one picture and in parts; means over its sounds."""
    clip = Clip(torch.from_numpy(np.concatenate(list(sounds.values())))[None], RATE)
    ways = {"learned": PhaseSearch(), "without": PhaseSearch(learned=False)}
    rows = []
    for name, search in ways.items():
        made = {
            "one picture": decode(encode(clip, FORMAT), search).waveform[0],
            f"parts of {part_s:g} s": in_parts(clip, search, part_s),
        }
        for shape, sound in made.items():
            pairs = zip(clip.waveform[0].split(SAMPLES), sound.split(SAMPLES), strict=True)
            convergence, distance = np.mean([measures(true, heard) for true, heard in pairs], axis=0)
            rows.append(f"| {shape}, {name} | {convergence:.3f} | {distance:.2f} |")
    return rows


LIBROSA = "librosa"
Encoder = Callable[[Clip], torch.Tensor | Picture]
Decoder = Callable[[Picture, torch.Tensor], torch.Tensor]

ENCODERS: dict[str, Encoder] = {
    "reference": lambda clip: reference_encode(clip.waveform[0]),
    LIBROSA: lambda clip: librosa_encode(clip.waveform[0]),
    "sonoconvert": lambda clip: encode(clip, FORMAT),
}
DECODERS: dict[str, Decoder] = {
    "reference": lambda picture, mel: reference_decode(mel, SAMPLES),
    LIBROSA: lambda picture, mel: librosa_decode(mel, SAMPLES),
}


def searched(name: str, search: PhaseSearch) -> None:
    DECODERS[f"sonoconvert, {name}"] = lambda picture, mel: decode(picture, search).waveform[0]


for quality in QUALITIES:
    searched(quality, PhaseSearch.of(quality, learned=False))
if PhaseSearch().decoder(FORMAT) is not None:
    for quality in QUALITIES:
        searched(f"learned, {quality}", PhaseSearch.of(quality))


def timed(job: Callable[..., Any], *arguments: Any) -> tuple[tuple[float, float], Any]:
    """(clock, processor) seconds, and the result."""
    clock, processor = time.perf_counter(), time.process_time()
    result = job(*arguments)
    return (time.perf_counter() - clock, time.process_time() - processor), result


def table(
    names: list[str], times: dict[str, list[tuple[float, float]]], truth: dict[str, list[tuple[float, float]]]
) -> list[str]:
    """Markdown rows of times, of their ratios to the reference's, and of the measures where there are any."""
    slow = np.median(times["reference"], axis=0)[1]
    rows = []
    for name in filter(times.get, names):
        clock, processor = np.median(times[name], axis=0)
        row = f"| {name} | {clock:.2f} | {processor:.2f} | {slow / processor:.1f} × |"
        if name in truth:
            convergence, distance = np.mean(truth[name], axis=0)
            row += f" {convergence:.3f} | {distance:.2f} |"
        rows.append(row)
    return rows


def plot(times: dict[str, list[tuple[float, float]]], truth: dict[str, list[tuple[float, float]]]) -> None:
    """docs/images/conversion.png: both measures over processor time."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for side, (axis, label) in enumerate(
        zip(axes, ("spectral convergence", "log-spectral distance, dB"), strict=True)
    ):
        for name in (name for name in DECODERS if name != LIBROSA):
            spent, value = np.median(times[name], axis=0)[1], np.mean(truth[name], axis=0)[side]
            axis.scatter(spent, value, s=50)
            axis.annotate(name, (spent, value), xytext=(0, 8), textcoords="offset points", ha="center")
        axis.set(xscale="log", xlabel="processor seconds for 5.1 s (log)", ylabel=f"{label} (lower is truer)")
        axis.margins(0.25, 0.2)
        axis.grid(alpha=0.3)
    figure.savefig(DOCS / "images" / "conversion.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, help="recordings to use as well")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument(
        "--librosa", type=int, default=1, help="sounds that librosa decodes, minutes each (1)"
    )
    parser.add_argument("--write", action="store_true", help="put table and plot into docs/")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    sounds = synthesised() | (recordings(options.folder) if options.folder else {})
    sounds = {name: np.pad(sound, (0, SAMPLES - len(sound))) for name, sound in sounds.items()}

    warm = Clip(torch.randn(1, SAMPLES) * 0.1, RATE)
    warm_picture = encode(warm, FORMAT)
    decode(warm_picture, PhaseSearch(1))
    librosa_decode(librosa_encode(warm.waveform[0])[:, :20], 20 * FORMAT.hop_length)
    encoding: dict[str, list[tuple[float, float]]] = {name: [] for name in ENCODERS}
    decoding: dict[str, list[tuple[float, float]]] = {name: [] for name in DECODERS}
    truth: dict[str, list[tuple[float, float]]] = {name: [] for name in DECODERS}
    sys.stdout.write(
        f"{'spectral convergence, log-spectral distance':30s}" + "".join(f"{n:>22s}" for n in DECODERS)
    )
    for name, samples in sounds.items():
        clip = Clip(torch.from_numpy(samples)[None], RATE)
        picture = encode(clip, FORMAT)
        mel = from_levels(picture.levels(), FORMAT, torch.tensor(picture.peak))[0]
        sys.stdout.write(f"\n{name[:28]:43s}")
        for way, encoder in ENCODERS.items():
            encoding[way] += [timed(encoder, clip)[0] for _ in range(options.repeats)]
        for way, decoder in DECODERS.items():
            if way == LIBROSA and len(truth[way]) >= options.librosa:
                continue
            results = [timed(decoder, picture, mel) for _ in range(options.repeats)]
            decoding[way] += [spent for spent, _ in results]
            truth[way].append(measures(clip.waveform[0], results[0][1]))
            sys.stdout.write(f"{truth[way][-1][0]:16.3f}{truth[way][-1][1]:6.2f}")
            sys.stdout.flush()
    text = "\n".join(
        [
            f"{len(sounds)} sounds of 5.12 s (librosa's decoding: {options.librosa}), "
            f"{torch.get_num_threads()} threads, torch {torch.__version__}.",
            "",
            "| decode | clock s | processor s | faster | spectral convergence | log-spectral distance, dB |",
            "|---|---|---|---|---|---|",
            *table(list(DECODERS), decoding, truth),
            "",
            "| encode | clock s | processor s | faster |",
            "|---|---|---|---|",
            *table(list(ENCODERS), encoding, {}),
            "",
            "| long, decode | spectral convergence | log-spectral distance, dB |",
            "|---|---|---|",
            *long_table(sounds),
        ]
    )
    sys.stdout.write(f"\n\n{text}\n")
    if options.write:
        plot(decoding, truth)
        page = DOCS / "conversion.md"
        head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        page.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
