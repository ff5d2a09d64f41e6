"""What each picture format keeps of a stereo sound: error, level, balance, level in mono, size of the PNG.

Run: python benchmarks/formats.py [--picture docs/images/formats.png]

The sound is made from the recordings in tests/fixtures: speech on the left and later on the right, a bell on
the right, a chime in the middle, and a wide noise. Spectral convergence is that of each channel, 2048/512
Hann, below 10 kHz and below the format's own limit. "In mono" is how much louder the mean of both channels
became beside the channels themselves: below 0 where what lay in the middle no longer does.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from sonoconvert.conversion.convert import decode, encode, mix_to
from sonoconvert.files.clip import Clip, read_clip
from sonoconvert.pictures.format import PRESETS, SpectrogramFormat, get_format
from sonoconvert.pictures.picture import load_picture, save_picture
from sonoconvert.representations.cqt import CqtFormat, cqt, icqt

ROOT = Path(__file__).resolve().parent.parent
RATE, SECONDS = 48_000, 5.0
MORE = ("perkins-10s-mid-side", "sonopaint-mini-stereo", "sonopaint-mini-mid-side", "sonopaint-mini-rgb")


def scene() -> Clip:
    """Five seconds of 48 kHz stereo."""
    count = int(RATE * SECONDS)
    wave = 0.004 * torch.randn(2, count, generator=torch.Generator().manual_seed(0))
    for start_s, name, gains in (
        (0.0, "speech.flac", (0.5, 0.1)),
        (1.5, "bell.oga", (0.1, 0.5)),
        (2.6, "complete.oga", (0.3, 0.3)),
        (3.6, "speech.flac", (0.1, 0.5)),
    ):
        first = int(start_s * RATE)
        sound = read_clip(ROOT / "tests" / "fixtures" / name).mono().resampled(RATE).waveform
        sound = sound[:, : count - first] / sound.abs().max()
        wave[:, first : first + sound.shape[1]] += torch.tensor(gains)[:, None] * sound
    return Clip(wave, RATE)


def below(wave: torch.Tensor, rate: int, low: float, high: float) -> torch.Tensor:
    """Complex STFT [channels, bins, frames] between two frequencies."""
    spectrum = torch.stft(wave, 2048, 512, window=torch.hann_window(2048), return_complex=True)
    hz = torch.linspace(0, rate / 2, spectrum.shape[1])
    return spectrum[:, (hz >= low) & (hz <= high)]


def row(clip: Clip, fmt: SpectrogramFormat, depth: int, folder: Path) -> str:
    target = folder / f"{fmt.name}-{depth}.png"
    save_picture(encode(clip, fmt, depth=depth), target)
    made = decode(load_picture(target))
    true = mix_to(clip, fmt.num_channels).resampled(fmt.sample_rate)
    spectra = [below(c.waveform, fmt.sample_rate, fmt.f_min, min(fmt.f_max, 10_000)) for c in (true, made)]
    convergence = float(
        torch.linalg.norm(spectra[1].abs() - spectra[0].abs()) / torch.linalg.norm(spectra[0].abs())
    )
    power = [spectrum.abs().square().mean(dim=(1, 2)) for spectrum in spectra]
    decibels = 10 * torch.log10(power[1] / power[0])
    balance = middle = "–"
    if fmt.num_channels == 2:
        balance = f"{float(decibels[0] - decibels[1]):+.1f}"
        mono = [spectrum.mean(dim=0).abs().square().mean() for spectrum in spectra]
        middle = f"{float(10 * torch.log10(mono[1] / mono[0]) - decibels.mean()):+.1f}"
    size = target.stat().st_size / 1000 / clip.duration_s
    return (
        f"| `{fmt.name}` | {depth} | {convergence:.3f} | {float(decibels.mean()):+.1f} | {balance} "
        f"| {middle} | {size:.0f} |"
    )


def cqt_decibels(clip: Clip) -> float:
    """SNR of the constant-Q transform and its inverse on what lies in its band, in dB."""
    fmt = CqtFormat()
    wave = clip.mono().resampled(fmt.sample_rate).waveform[0]
    wave = wave * torch.hann_window(len(wave), periodic=False)
    band = icqt(cqt(wave, fmt), fmt, length=len(wave))  # what it holds of the sound …
    again = icqt(cqt(band, fmt), fmt, length=len(band))  # … comes back
    return float(10 * torch.log10(band.square().sum() / (again - band).square().sum()))


def draw(clip: Clip, path: Path) -> None:
    """One picture of each layout, side by side."""
    names = ("riffusion-v1", "riffusion-v1-stereo", "riffusion-v1-mid-side", "riffusion-v1-rgb")
    names += ("perkins-10s", "perkins-10s-db", "full-48k-mid-side", "sonopaint-mini")
    cell, title = (180, 180), 14
    sheet = Image.new("RGB", (4 * (cell[0] + 4), 2 * (cell[1] + title + 4)), (40, 40, 40))
    pen = ImageDraw.Draw(sheet)
    for index, name in enumerate(names):
        x, y = index % 4 * (cell[0] + 4), index // 4 * (cell[1] + title + 4)
        image = Image.fromarray(encode(clip, name).pixels).resize(cell, Image.Resampling.BOX)
        sheet.paste(image, (x, y + title))
        pen.text((x + 2, y + 1), name, fill=(255, 255, 255))
    sheet.quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--picture", type=Path, help="also draw one picture of each layout")
    options = parser.parse_args()
    clip = scene()
    print("| format | bits | spectral convergence | level, dB | balance, dB | in mono, dB | kB/s |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in (*PRESETS, *MORE):
            for depth in (8, 16):
                print(row(clip, get_format(name), depth, Path(folder)), flush=True)
    print(f"constant-Q and back, inside its band: {cqt_decibels(clip):.0f} dB")
    if options.picture is not None:
        draw(clip, options.picture)


if __name__ == "__main__":
    main()
