"""Multi-scale spectra: how far two sounds are apart at several resolutions."""

from __future__ import annotations

import torch
from torch import Tensor

# FFT, hop, window: auraloss' three resolutions (Yamamoto et al. 2020, "Parallel WaveGAN").
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))


def multiscale_distance(one: Tensor, other: Tensor) -> Tensor:
    """MSS distance [...] of sounds [..., samples]: spectral convergence and L1 of log-magnitudes, averaged.

    `other` is the reference. Differentiable. It is auraloss' `MultiResolutionSTFTLoss` of one pair.
    """
    shape = one.shape[:-1]
    one, other = one.reshape(-1, one.shape[-1]), other.reshape(-1, other.shape[-1])
    total = one.new_zeros(len(one))
    for fft, hop, window in RESOLUTIONS:
        a, b = (_magnitudes(x, fft, hop, window) for x in (one, other))
        convergence = (b - a).flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1)
        total = total + convergence + (a.log() - b.log()).abs().flatten(1).mean(1)
    return (total / len(RESOLUTIONS)).reshape(shape)


def _magnitudes(x: Tensor, fft: int, hop: int, window: int) -> Tensor:
    shape = torch.hann_window(window, device=x.device, dtype=x.dtype)
    spectrum = torch.stft(x, fft, hop, window, shape, return_complex=True)
    return torch.view_as_real(spectrum).square().sum(-1).clamp_min(1e-8).sqrt()
