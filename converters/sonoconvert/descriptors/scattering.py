"""Joint time-frequency scattering: which modulations, in time and along log-frequency, a sound has.

Andén, Lostanlen & Mallat 2019, "Joint time–frequency scattering"; log-compressed as in Han, Lostanlen &
Lagrange, "Riemannian manifold learning for the analysis–synthesis of non-stationary signals", eq. 9. The
filters are Kymatio's: Morlet wavelets whose centres and widths are geometric. It is differentiable, also
in forward mode, and cheap, because a modulus doesn't hear a shift of its frequency: each filter's band
alone goes through a short inverse FFT. Time is circular, so the ends are faded: a click where they meet
would change with every phase.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

EPSILON = 1e-3  # of eq. 9
_WIDE = 3.5  # deviations of a filter that are kept on either side


@dataclass(frozen=True)
class Scattering:
    """A transform of sounds of `samples` samples (a power of two).

    octaves, q: first-order filters: `q` to an octave, from near half of the sample rate down.
    rates: second-order filters along time, an octave apart, the fastest at 0.0055 of the sample rate (87 Hz
    at 16 kHz).
    scales: filters along log-frequency, an octave apart, each rising and falling, beside a low-pass.
    pool: bands that a second-order coefficient is averaged over; 0: all of them.
    fade: share of the sound at either end that is faded.
    """

    samples: int = 32_768
    octaves: int = 8
    q: int = 12
    rates: int = 7
    scales: int = 4
    pool: int = 8
    fade: float = 0.02

    @property
    def bands(self) -> int:
        return self.octaves * self.q

    def hertz(self, sample_rate: float) -> np.ndarray:
        """Centres of the first-order filters in Hz, highest first."""
        return highest(self.q) * sample_rate * 2.0 ** (-np.arange(self.bands) / self.q)

    def scalogram(self, x: Tensor) -> Tensor:
        """|x ∗ ψ|, float [..., bands, samples / 8], of float [..., samples]; highest band first."""
        index, window = _first(self)
        spectrum = torch.fft.rfft(x * _ends(self).to(x))[..., index.to(x.device)] * window.to(x.device)
        return torch.fft.ifft(spectrum).abs() * (index.shape[1] / self.samples)

    def orders(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """S1 [..., bands] and S2 [..., rates, 1 + 2·scales, pools] of float [..., samples], means over time.

        S2's middle axis: the low-pass, then for each scale, finest first, the rising and the falling one.
        """
        first = self.scalogram(x)
        frames = first.shape[-1]
        spectrum = torch.fft.rfft(first)
        second = []
        for rate in _second(self):
            rate = rate.to(x.device)
            wave = torch.fft.ifft(spectrum[..., : len(rate)] * rate) * (len(rate) / frames)
            second.append(self._along_frequency(wave))
        return first.mean(-1), torch.stack(second, -3)

    def __call__(self, x: Tensor) -> Tensor:
        """Φ(x) = log(1 + Sx / ε), float [..., features], of float [..., samples]."""
        first, second = self.orders(x)
        return torch.log1p(torch.cat([first, second.flatten(-3)], -1) / EPSILON)

    def _along_frequency(self, wave: Tensor) -> Tensor:
        """[..., 1 + 2·scales, pools] of complex [..., bands, frames]."""
        rows = _rows(self)
        spectrum = torch.fft.fft(wave, n=rows, dim=-2)
        found = []
        for index, window in _along(self):
            kept = spectrum[..., index.to(wave.device), :] * window.to(wave.device)[:, None]
            modulus = torch.fft.ifft(kept, dim=-2).abs().mean(-1) * (len(index) / rows)
            if not self.pool:
                found.append(modulus.sum(-1, keepdim=True) / len(index))
                continue
            step = rows // len(index)
            pools = modulus.unflatten(-1, (-1, self.pool // step)).mean(-1)
            found.append(pools[..., : -(-self.bands // self.pool)])
        return torch.stack(found, -2)


def scattering_distance(one: Tensor, other: Tensor, transform: Scattering | None = None) -> Tensor:
    """‖Φ(x) − Φ(y)‖₂ of sounds [..., samples]; `transform`: by default one for their length."""
    transform = transform or Scattering(one.shape[-1])
    return (transform(one) - transform(other)).norm(dim=-1)


def morlet(count: int, centre: float, width: float) -> np.ndarray:
    """Fourier transform, float64 [count], of a Morlet wavelet whose modulus sums to 1.

    centre, width: in cycles per sample; centre 0: the low-pass.
    """
    bins = np.arange(count) / count

    def bump(at: float) -> np.ndarray:
        return np.exp(-((bins[None] + np.arange(-4, 5)[:, None] - at) ** 2) / (2 * width**2)).sum(0)

    low = bump(0.0)
    band = low
    if centre:
        band = bump(centre)
        band = band - band[0] / low[0] * low
    return band / np.abs(np.fft.ifft(band)).sum()


def highest(q: int) -> float:
    """Centre of the first of filters, `q` to an octave, in cycles per sample."""
    return max(1 / (1 + 2 ** (3 / q)), 0.35)


def width_of(centre: float, q: int) -> float:
    """Standard deviation of a filter that meets its neighbours, `q` to an octave, at 1/√2."""
    ratio = 2.0 ** (-1 / q)
    return abs(centre) * (1 - ratio) / (1 + ratio) / math.sqrt(math.log(2))


def _rows(transform: Scattering) -> int:
    """Bands, padded with zeros for the filters along log-frequency."""
    return 2 ** math.ceil(math.log2(transform.bands * 1.2))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


@lru_cache(maxsize=8)
def _ends(transform: Scattering) -> Tensor:
    """The fade [samples]."""
    edge = np.arange(transform.samples) / max(transform.samples * transform.fade, 1e-9)
    rising = np.sin(np.pi / 2 * np.clip(edge, 0, 1)) ** 2 if transform.fade else np.ones(transform.samples)
    return _tensor(rising * rising[::-1])


@lru_cache(maxsize=8)
def _first(transform: Scattering) -> tuple[Tensor, Tensor]:
    """FFT bins [bands, frames] that each band is made of, and its window on them."""
    samples, frames = transform.samples, transform.samples // 8
    index = np.empty((transform.bands, frames), dtype=np.int64)
    window = np.zeros((transform.bands, frames), dtype=np.float32)
    for band, centre in enumerate(transform.hertz(1.0)):
        bins = round(centre * samples) - frames // 2 + np.arange(frames)
        inside = (bins >= 0) & (bins <= samples // 2)
        index[band] = bins.clip(0, samples // 2)
        window[band, inside] = morlet(samples, centre, width_of(centre, transform.q))[index[band, inside]]
    return _tensor(index), _tensor(window)


@lru_cache(maxsize=8)
def _second(transform: Scattering) -> list[Tensor]:
    """Filters along time, each on as many bins of the scalogram's spectrum as it needs."""
    filters = []
    for number in range(transform.rates):
        centre = highest(1) / 64 * 2.0**-number
        width = width_of(centre, 1)
        needed = (centre + _WIDE * width) * transform.samples
        kept = min(2 ** math.ceil(math.log2(needed)), transform.samples // 16)
        filters.append(_tensor(morlet(transform.samples, centre, width)[:kept].astype(np.float32)))
    return filters


@lru_cache(maxsize=8)
def _along(transform: Scattering) -> list[tuple[Tensor, Tensor]]:
    """FFT bins and windows of the filters along log-frequency."""
    rows = _rows(transform)
    centres = [highest(1) * 2.0**-number for number in range(transform.scales)]
    narrowest = centres[-1] / 2
    found = []
    for centre, width in [(0.0, width_of(narrowest, 1))] + [
        (sign * centre, width_of(centre, 1)) for centre in centres for sign in (1, -1)
    ]:
        needed = 2 * _WIDE * width * rows
        kept = min(max(2 ** math.ceil(math.log2(needed)), rows // max(transform.pool, 1), 16), rows)
        index = (round(centre * rows) - kept // 2 + np.arange(kept)) % rows
        window = morlet(rows, centre % 1, width) if centre else morlet(rows, 0.0, width)
        found.append((_tensor(index), _tensor(window[index].astype(np.float32))))
    return found
