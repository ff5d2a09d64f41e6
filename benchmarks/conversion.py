"""Sound → riffusion-v1 picture → sound, in one run: how quick and how true.

    python benchmarks/conversion.py [--folder SOUNDS] [--repeats 3] [--threads N] [--write] [--encode-only]

The reference is Riffusion's converter as it is described (its parameters on stock torch parts): mel
inversion by least squares, 32 Griffin–Lim iterations with momentum 0.99 on the padded 17640 FFT. librosa's
path is its own melspectrogram, non-negative least squares and griffinlim with 32 iterations, on the window's
own FFT: on the padded grid its inversion asks for more than 100 GiB. It takes minutes for a sound, so that it
decodes only the first --librosa of them, and its measures are theirs.
All decode the same 8-bit pictures. Measures compare with the original below 10 kHz, on a 2048/512 Hann
STFT whose magnitudes are floored at −80 dB of the peak:

* spectral convergence: ‖S − Ŝ‖ / ‖S‖ (lower is better);
* log-spectral distance: mean over frames of the root mean square of the difference in dB.

Encoding is timed in memory, and from a WAV file to a PNG file that says how to read it (the reference writes
plain pixels, with Pillow's defaults). --encode-only leaves decoding and "long" out.

"Long" is all sounds in one: drawn as one picture, and as parts that are read and decoded by and by
(`conversion.parts`), which must be as true.

Means of the measures and medians of the times over 5.1 s clips, after one warm-up (the mel basis and its
inverse are cached by all): seconds on the clock, and of processor time over all threads, which a busy
machine disturbs less. The ratios are of processor time. --write puts the tables and a plot into docs/.
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
import soundfile
import torch
from PIL import Image
from sounds import RATE, SAMPLES, measures, recordings, synthesised

from sonoconvert.conversion.convert import decode, encode
from sonoconvert.conversion.parts import decode_parts, encode_parts
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.phase.search import QUALITIES, PhaseSearch
from sonoconvert.pictures.format import PRESETS
from sonoconvert.pictures.picture import Picture, save_picture
from sonoconvert.pictures.spectrogram import from_levels, mel_basis

FORMAT = PRESETS["riffusion-v1"]
DOCS = Path(__file__).resolve().parent.parent / "docs"
DECODING, ENCODING = "conversion", "encoding"  # what stands between the marks of docs/conversion.md


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


def reference_file(sound: Path) -> None:
    """A WAV file → a PNG file beside it."""
    mel = reference_encode(torch.from_numpy(soundfile.read(sound, dtype="float32")[0]))
    grey = (255 - 255 * (mel / mel.max()) ** FORMAT.exponent).numpy().astype(np.uint8)[::-1]
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(sound.with_suffix(".png"))


def our_file(sound: Path) -> None:
    """A WAV file → a PNG file beside it."""
    save_picture(encode(read_clip(sound), FORMAT), sound.with_suffix(".png"), force=True)


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
FILES: dict[str, Callable[[Path], None]] = {"reference": reference_file, "sonoconvert": our_file}
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


def encode_table(sounds: dict[str, np.ndarray], repeats: int) -> list[str]:
    """Markdown rows of the times of encoding, in memory and from file to file; the ways take turns."""
    inside: dict[str, list[tuple[float, float]]] = {name: [] for name in ENCODERS}
    files: dict[str, list[tuple[float, float]]] = {name: [] for name in FILES}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.wav"
        for samples in sounds.values():
            clip = Clip(torch.from_numpy(samples)[None], RATE)
            write_clip(clip, path, force=True)
            for _ in range(repeats):
                for way, encoder in ENCODERS.items():
                    inside[way].append(timed(encoder, clip)[0])
                for way, filed in FILES.items():
                    files[way].append(timed(filed, path)[0])
    return [
        "| encode | clock s | processor s | faster |",
        "|---|---|---|---|",
        *table(list(ENCODERS), inside, {}),
        "",
        "| WAV file to PNG file | clock s | processor s | faster |",
        "|---|---|---|---|",
        *table(list(FILES), files, {}),
    ]


def write_between(mark: str, text: str) -> None:
    """Put a text between a page's marks."""
    begin, end = f"<!-- {mark}:begin -->", f"<!-- {mark}:end -->"
    page = DOCS / "conversion.md"
    head, _, rest = page.read_text(encoding="utf-8").partition(begin)
    page.write_text(f"{head}{begin}\n{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, help="recordings to use as well")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument(
        "--librosa", type=int, default=1, help="sounds that librosa decodes, minutes each (1)"
    )
    parser.add_argument("--encode-only", action="store_true", help="leave decoding out")
    parser.add_argument("--write", action="store_true", help="put tables and plot into docs/")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    sounds = synthesised() | (recordings(options.folder) if options.folder else {})
    sounds = {name: np.pad(sound, (0, SAMPLES - len(sound))) for name, sound in sounds.items()}

    warm = Clip(torch.randn(1, SAMPLES) * 0.1, RATE)
    warm_picture = encode(warm, FORMAT)
    setting = f"{len(sounds)} sounds of 5.12 s, {torch.get_num_threads()} threads, torch {torch.__version__}."
    encode_table({"warm": warm.waveform[0].numpy()}, 1)
    encoded = "\n".join([setting, "", *encode_table(sounds, options.repeats)])
    sys.stdout.write(f"{encoded}\n\n")
    if options.write:
        write_between(ENCODING, encoded)
    if options.encode_only:
        return
    decode(warm_picture, PhaseSearch(1))
    librosa_decode(librosa_encode(warm.waveform[0])[:, :20], 20 * FORMAT.hop_length)
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
            setting,
            f"librosa decoded {min(options.librosa, len(sounds))} of them.",
            "",
            "| decode | clock s | processor s | faster | spectral convergence | log-spectral distance, dB |",
            "|---|---|---|---|---|---|",
            *table(list(DECODERS), decoding, truth),
            "",
            "| long, decode | spectral convergence | log-spectral distance, dB |",
            "|---|---|---|",
            *long_table(sounds),
        ]
    )
    sys.stdout.write(f"\n\n{text}\n")
    if options.write:
        plot(decoding, truth)
        write_between(DECODING, text)


if __name__ == "__main__":
    main()
