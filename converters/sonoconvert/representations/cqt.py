"""Complex constant-Q transform with an exact inverse: real and imaginary parts as two channels.

"Diffusion models for EDM jingles", § 3.3.1 (representation D1): 24 kHz, f_min = C3, 36 bins an octave, 216
bins (six octaves, to 8.4 kHz), hop 100; 8 s become [2, 216, 1921]. There is no phase to reconstruct.

It is a non-stationary Gabor frame built on one FFT of the whole clip (Velasco, Holighaus, Dörfler & Grill
2011, "Constructing an invertible constant-Q transform with non-stationary Gabor frames"): bin k is the
spectrum under a Hann window around f_k, brought back to time at the rate of the frames. Where no window is
wider than that rate (the painless case, Balazs et al. 2011, theorem 1) the frame operator is diagonal in
frequency, so dividing by Σ|g_k|² inverts it exactly, in the band that the windows cover. Time is circular:
what lies at the clip's end reaches into its beginning, within a bin's window (0.4 s for the lowest bins).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip

# Below this share of the frame operator's largest value a frequency counts as outside the band.
_OUTSIDE = 1e-6


@dataclass(frozen=True)
class CqtFormat:
    """Parameters in Hz and samples; the defaults are those of § 3.3.1.

    As a `Representation`: the real and imaginary parts of a clip's mean channel, [2, n_bins, frames].
    """

    sample_rate: int = 24_000
    f_min: float = 440.0 * 2 ** (-21 / 12)  # C3, 130.81 Hz
    bins_per_octave: int = 36
    n_bins: int = 216
    hop_length: int = 100

    def __post_init__(self) -> None:
        if min(self.sample_rate, self.bins_per_octave, self.n_bins, self.hop_length) < 1 or self.f_min <= 0:
            raise SonopaintError(f"All numbers of a constant-Q format must be above 0: {self}.")
        above = self.hz(self.n_bins)
        if above > self.sample_rate / 2:
            raise SonopaintError(
                f"{self.n_bins} bins from {self.f_min:g} Hz reach {above:.0f} Hz, beyond half of the sample "
                f"rate {self.sample_rate}; take fewer bins or a lower f_min."
            )
        step = above - self.hz(self.n_bins - 1)
        if step * self.hop_length > self.sample_rate:
            raise SonopaintError(
                f"A hop of {self.hop_length} samples is too long for bins {step:.0f} Hz apart; take at most "
                f"{int(self.sample_rate / step)}."
            )

    def hz(self, bin: float) -> float:
        """Centre frequency in Hz of a (fractional) bin."""
        return self.f_min * 2.0 ** (bin / self.bins_per_octave)

    def frames(self, num_samples: int) -> int:
        """Frames of a clip: 1 + samples // hop."""
        return 1 + num_samples // self.hop_length

    @property
    def frame_rate(self) -> float:
        return self.sample_rate / self.hop_length

    def shape(self, num_samples: int) -> tuple[int, ...]:
        return (2, self.n_bins, self.frames(num_samples))

    def header(self) -> dict[str, Any]:
        return {"kind": "cqt", **asdict(self)}

    def encode(self, clip: Clip) -> torch.Tensor:
        return to_channels(cqt(clip.mono().resampled(self.sample_rate).waveform[0], self))

    def decode(self, tensor: torch.Tensor, num_samples: int | None = None) -> Clip:
        length = (tensor.shape[-1] - 1) * self.hop_length if num_samples is None else num_samples
        return Clip(icqt(from_channels(tensor.float()), self, length=length)[None], self.sample_rate)


def cqt(waveform: torch.Tensor, fmt: CqtFormat | None = None) -> torch.Tensor:
    """Constant-Q coefficients of float [..., samples] at `fmt.sample_rate`; differentiable.

    A steady sine of amplitude a at a bin's frequency has magnitude a there, and its phase is that of the
    sine at the frame's time, k·hop.

    Returns:
        complex [..., n_bins, frames].
    """
    fmt = fmt or CqtFormat()
    frames = fmt.frames(waveform.shape[-1])
    index, window, _ = _windows(fmt, frames, waveform.dtype, waveform.device)
    spectrum = torch.fft.rfft(waveform, n=frames * fmt.hop_length)
    # 2 / length: a sine's share of the FFT; ifft divides by the frames.
    return torch.fft.ifft(spectrum[..., index] * window) * (2.0 / fmt.hop_length)


def icqt(coefficients: torch.Tensor, fmt: CqtFormat | None = None, *, length: int) -> torch.Tensor:
    """The inverse of `cqt`: exact in the band of the bins, nothing outside; differentiable.

    Coefficients that no sound has (painted ones) give the sound whose own are nearest to them in the least
    squares sense (the canonical dual frame).

    Args:
        coefficients: complex [..., n_bins, frames].
        length: samples to return; `fmt.frames(length)` must be the frames.

    Returns:
        float [..., length].
    """
    fmt = fmt or CqtFormat()
    bins, frames = coefficients.shape[-2:]
    if bins != fmt.n_bins or frames != fmt.frames(length):
        raise SonopaintError(
            f"{length} samples have constant-Q coefficients of [{fmt.n_bins}, {fmt.frames(length)}], not "
            f"[{bins}, {frames}]; give the format and the length that they were made with."
        )
    index, _, dual = _windows(fmt, frames, coefficients.real.dtype, coefficients.device)
    parts = torch.fft.fft(coefficients) * (dual * (fmt.hop_length / 2.0))
    total = frames * fmt.hop_length
    spectrum = parts.new_zeros(*parts.shape[:-2], total // 2 + 1)
    spectrum = spectrum.index_add(-1, index.reshape(-1), parts.flatten(-2))
    return torch.fft.irfft(spectrum, n=total)[..., :length]


def to_channels(coefficients: torch.Tensor) -> torch.Tensor:
    """Complex [..., F, T] → float [..., 2, F, T], real and imaginary part: what a 2-D network sees."""
    return torch.stack([coefficients.real, coefficients.imag], dim=-3)


def from_channels(channels: torch.Tensor) -> torch.Tensor:
    """The inverse of `to_channels`."""
    real, imaginary = channels.unbind(dim=-3)
    return torch.complex(real, imaginary)


@lru_cache(maxsize=8)
def _windows(
    fmt: CqtFormat, frames: int, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """FFT bins [n_bins, frames], windows and dual windows on them.

    Column p of a row holds the FFT bin that is p modulo `frames`: sampling a bin's signal at the frames' rate
    folds its spectrum so, and no two bins under one window fold onto each other.
    """
    total = frames * fmt.hop_length
    bins = np.arange(fmt.n_bins)
    centre = fmt.hz(0) * 2.0 ** (bins / fmt.bins_per_octave)
    # From one neighbour to the other, but not beyond what the frames' rate can hold.
    rate = fmt.sample_rate / fmt.hop_length
    ratio = 2.0 ** (1 / fmt.bins_per_octave)
    below = np.minimum(centre * (1 - 1 / ratio), rate / 2)
    above = np.minimum(centre * (ratio - 1), rate / 2)
    first = np.floor(centre * total / fmt.sample_rate).astype(int) - frames // 2
    index = first[:, None] + (np.arange(frames)[None] - first[:, None]) % frames
    distance = index * (fmt.sample_rate / total) - centre[:, None]
    distance /= np.where(distance < 0, below[:, None], above[:, None])
    window = np.where(np.abs(distance) < 1, np.cos(np.pi / 2 * np.clip(distance, -1, 1)) ** 2, 0.0)
    window[(index < 0) | (index > total // 2)] = 0
    index = np.clip(index, 0, total // 2)
    operator = np.bincount(index.ravel(), (window**2).ravel(), minlength=total // 2 + 1)
    inside = operator > _OUTSIDE * operator.max()
    dual = window * np.divide(1.0, operator, where=inside, out=np.zeros_like(operator))[index]

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device=device, dtype=dtype)

    return torch.from_numpy(index).to(device), tensor(window), tensor(dual)
