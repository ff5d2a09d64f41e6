"""Mel inversion: linear-frequency magnitudes whose mel bands are a picture's."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from sonoconvert.pictures.banded import Banded
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.spectrogram import mel_basis


def mel_to_linear(mel: torch.Tensor, fmt: SpectrogramFormat) -> torch.Tensor:
    """Linear-frequency magnitudes from mel magnitudes, on the grid of the un-padded window.

    A cached pseudo-inverse of the mel basis on the fine grid (`n_fft`), read at the frequencies of a
    `win_length` FFT; negative values become 0. Energy is spread evenly within a band: where a waveform is
    known as well, `MelBands.correction` says more.

    Args:
        mel: float [..., n_mels, frames].

    Returns:
        float [..., win_length // 2 + 1, frames], ≥ 0.
    """
    inverse = _inverse_basis(fmt, mel.dtype, mel.device)
    bins = torch.matmul(inverse, mel).clamp_min_(0)
    return torch.nn.functional.pad(bins, (0, 0, 0, fmt.win_length // 2 + 1 - bins.shape[-2]))


class MelBands:
    """The mel bands of the magnitudes of an un-padded FFT, read between its bins by linear interpolation.

    Args:
        fmt: the format.
        bins: how many of the lowest bins of a `fmt.win_length` FFT are used.
    """

    def __init__(self, fmt: SpectrogramFormat, bins: int, dtype: torch.dtype, device: torch.device) -> None:
        basis = mel_basis(fmt)
        position = np.arange(fmt.n_fft // 2 + 1) * (fmt.win_length / fmt.n_fft)
        used = position <= bins - 1
        left = np.minimum(position[used].astype(int), bins - 2)
        fraction = position[used] - left
        weights = np.zeros((bins, fmt.n_mels))
        np.add.at(weights, left, (basis[:, used] * (1 - fraction)).T)
        np.add.at(weights, left + 1, (basis[:, used] * fraction).T)
        total = weights.sum(axis=1)
        per_bin = np.divide(1, total, where=total > 1e-9, out=np.zeros_like(total))
        self._weights = Banded(weights.T, dtype, device)
        self._shares = Banded(weights * per_bin[:, None], dtype, device)

    def mel(self, linear: torch.Tensor) -> torch.Tensor:
        """Mel magnitudes [..., frames, n_mels] of linear magnitudes [..., frames, bins]."""
        return self._weights.times(linear)

    def correction(self, linear: torch.Tensor, mel: torch.Tensor) -> torch.Tensor:
        """Factors [..., frames, bins] that bring linear magnitudes nearer to having the bands `mel`.

        One step of the multiplicative update for the Kullback–Leibler divergence (Lee & Seung 2000, eq. 5;
        Richardson 1972): what is ≥ 0 stays ≥ 0, and where the bands are right the factor is 1.
        """
        floor = 1e-7 * mel.amax(dim=(-1, -2), keepdim=True) + torch.finfo(mel.dtype).tiny
        ratio = mel / (self.mel(linear) + floor)
        return self._shares.times(ratio)


@lru_cache(maxsize=8)
def mel_bands(fmt: SpectrogramFormat, bins: int, dtype: torch.dtype, device: torch.device) -> MelBands:
    """The cached `MelBands` of a format."""
    return MelBands(fmt, bins, dtype, device)


@lru_cache(maxsize=8)
def _inverse_basis(fmt: SpectrogramFormat, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Pseudo-inverse [bins, n_mels] of the mel basis, read on the un-padded window's grid."""
    from scipy.linalg import eigh_tridiagonal
    from scipy.sparse import csr_array

    basis = csr_array(mel_basis(fmt))
    # Through the small Gram matrix, which is tridiagonal, because a band overlaps with its neighbours only.
    gram = basis @ basis.T
    values, vectors = eigh_tridiagonal(gram.diagonal(), gram.diagonal(1))
    usable = values > 1e-10 * values.max()
    inverse_gram = (vectors[:, usable] / values[usable]) @ vectors[:, usable].T
    across = csr_array(basis.T)
    position = np.arange(fmt.win_length // 2 + 1) * (fmt.n_fft / fmt.win_length)
    left = np.minimum(position.astype(int), fmt.n_fft // 2 - 1)
    fraction = (position - left)[:, None]
    rows = (across[left] @ inverse_gram) * (1 - fraction) + (across[left + 1] @ inverse_gram) * fraction
    used = int(np.flatnonzero(rows.any(axis=1))[-1]) + 1 if rows.any() else 1
    return torch.from_numpy(rows[:used].copy()).to(device=device, dtype=dtype)
