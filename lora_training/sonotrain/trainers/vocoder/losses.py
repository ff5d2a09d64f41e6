"""What the learned decoder is trained by: steps of the phase, spectra of the waveform, a discriminator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonoconvert.phase.vocoder_network import FLOOR
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.spectrogram import overlap_add, stft, synthesise

# Down to −55 dB all cells count alike, because the valleys tie one partial's phase to the next one's; from
# there to −95 dB less and less. log10 of the reference.
_FULL, _NOTHING = -2.75, -4.75


def cell_losses(output: Tensor, spectrum: Tensor, fmt: SpectrogramFormat) -> dict[str, Tensor]:
    """Errors of the network's outputs [B, 5, frames, bins] against true spectra, complex [B, frames, bins].

    log: mean difference of the magnitudes in dB; linear: their spectral convergence; advance, across: mean
    squared distance of the steps of the phase to the true unit phasors.
    """
    magnitude = spectrum.abs()
    level = torch.log10(magnitude.clamp_min(FLOOR))
    floor = -4.5
    difference = output[:, 0].clamp_min(floor) - level.clamp_min(floor)
    made = 10 ** output[:, 0].clamp(max=3)
    energy = magnitude.square().sum((1, 2)).clamp_min(1e-12)
    advance, across = steps(spectrum, fmt)
    weight = ((level - _NOTHING) / (_FULL - _NOTHING)).clamp(0, 1)
    along = torch.minimum(weight[:, :-1], weight[:, 1:])
    over = torch.minimum(weight[:, :, :-1], weight[:, :, 1:])
    error_along = (output[:, 1, :-1] - advance.real).square() + (output[:, 2, :-1] - advance.imag).square()
    error_over = (output[:, 3, :, :-1] - across.real).square() + (output[:, 4, :, :-1] - across.imag).square()
    return {
        "log": 20 * difference.abs().mean(),
        "linear": ((made - magnitude).square().sum((1, 2)) / energy).sqrt().mean(),
        "advance": (error_along * along).sum() / along.sum().clamp_min(1e-6),
        "across": (error_over * over).sum() / over.sum().clamp_min(1e-6),
    }


def steps(spectrum: Tensor, fmt: SpectrogramFormat) -> tuple[Tensor, Tensor]:
    """Unit phasors of the phase's steps: to the next frame [B, frames − 1, bins], to the next bin [B, frames,
    bins − 1], as `VocoderNetwork` gives them (complex; fmt is at the working rate)."""
    unit = torch.sgn(spectrum)
    advance = unit[:, 1:] * unit[:, :-1].conj() * _turn(spectrum, fmt).conj()
    # A frame starts half a window before its centre: the centred phase is (−1)^bin times this one.
    return advance, -unit[:, :, 1:] * unit[:, :, :-1].conj()


def waveform_of_steps(output: Tensor, spectrum: Tensor, fmt: SpectrogramFormat) -> Tensor:
    """Sound [B, samples] of the network's magnitudes, each phase a predicted step from its true neighbours.

    The integration of the phases has no gradient; a single step from the true phase has one.
    """
    unit = torch.sgn(spectrum)
    onward = unit[:, :-1] * _turn(spectrum, fmt) * torch.complex(output[:, 1, :-1], output[:, 2, :-1])
    upward = -unit[:, :, :-1] * torch.complex(output[:, 3, :, :-1], output[:, 4, :, :-1])
    direction = F.pad(onward, (0, 0, 1, 0)) + F.pad(upward, (1, 0))
    direction = direction / direction.abs().clamp_min(1e-3)
    return waveform_of(10 ** output[:, 0].clamp(max=3) * direction, fmt)


def waveform_of(spectrum: Tensor, fmt: SpectrogramFormat) -> Tensor:
    """Sound [B, samples] of a spectrum, complex [B, frames, bins]."""
    return overlap_add(synthesise(spectrum, fmt.win_length, fmt.win_length), fmt.win_length, fmt.hop_length)


def _turn(spectrum: Tensor, fmt: SpectrogramFormat) -> Tensor:
    """e^{i2π·bin·hop/size}: how far a bin's own frequency turns in a hop."""
    bins = torch.arange(spectrum.shape[-1], device=spectrum.device)
    angle = 2 * torch.pi * (bins * fmt.hop_length % fmt.win_length) / fmt.win_length
    return torch.polar(torch.ones_like(angle), angle)


def stft_loss(made: Tensor, true: Tensor, sizes: Sequence[int] = (256, 1024, 2048)) -> Tensor:
    """Multi-resolution STFT loss of waveforms [B, samples] (Yamamoto, Song & Kim 2020, eq. 3–6).

    Over FFT sizes with a quarter of them as hop: spectral convergence + mean |difference of log magnitudes|,
    floored at −80 dB of each clip's loudest cell.
    """
    total = made.new_zeros(())
    for size in sizes:
        first, second = (stft(sound, size, size, size // 4).abs() for sound in (made, true))
        floor = second.amax(dim=(-1, -2), keepdim=True).clamp_min(1e-9) * 1e-4
        convergence = torch.linalg.norm(first - second) / torch.linalg.norm(second).clamp_min(1e-9)
        logs = (torch.log(first.clamp_min(1e-9) + floor) - torch.log(second + floor)).abs().mean()
        total = total + convergence + logs
    return total / len(sizes)


class SpectrogramDiscriminator(nn.Module):
    """One small convolutional judge for each FFT size (multi-resolution, as UnivNet's; Jang et al. 2021).

    Waveforms [B, samples] → a list of logits, one [B, 1, …] a size, from log magnitudes.
    """

    def __init__(self, sizes: Sequence[int] = (256, 1024, 2048), channels: int = 16) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.judges = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(1, channels, (3, 7), padding=(1, 3)),
                nn.LeakyReLU(0.2),
                nn.Conv2d(channels, channels, (3, 7), stride=(1, 2), padding=(1, 3)),
                nn.LeakyReLU(0.2),
                nn.Conv2d(channels, 2 * channels, (3, 7), stride=(2, 2), padding=(1, 3)),
                nn.LeakyReLU(0.2),
                nn.Conv2d(2 * channels, 1, 3, padding=1),
            )
            for _ in self.sizes
        )

    def forward(self, sound: Tensor) -> list[Tensor]:
        loudest = sound.abs().amax(dim=-1, keepdim=True).clamp_min(1e-6)
        return [
            judge(torch.log10(stft(sound / loudest, size, size, size // 4).abs() + 1e-4)[:, None])
            for judge, size in zip(self.judges, self.sizes, strict=True)
        ]


def distances(true: Tensor, made: Tensor, rate: int) -> tuple[float, float]:
    """Spectral convergence and log-spectral distance in dB of waveforms [samples], below 10 kHz.

    As in benchmarks/conversion.py, on the power of two that is nearest to 46 ms.
    """
    size = 1 << round(torch.log2(torch.tensor(0.0464 * rate)).item())
    first, second = (stft(sound, size, size, size // 4).abs() for sound in (true, made))
    used = min(int(10_000 / rate * size), size // 2 + 1)
    first, second = first[:used], second[:used]
    floor = first.max() * 1e-4
    convergence = torch.linalg.norm(first - second) / torch.linalg.norm(first)
    difference = 20 * torch.log10(first.clamp_min(floor) / second.clamp_min(floor))
    return convergence.item(), difference.square().mean(dim=0).sqrt().mean().item()
