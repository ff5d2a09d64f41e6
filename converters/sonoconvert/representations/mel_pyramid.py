"""Three mel spectrograms of rising resolution: coarse, middle, fine.

"Multi-scale latent diffusion using hierarchical models" (Pichard 2024), § 3, eq. 39: the fine one has 128
bands at hop 256 (window and FFT 1024, 44.1 kHz); each coarser one has half the bands and half the frames. Two
readings of the equation's "downsample" are in use, and both are here. The levels are called coarse, middle
and fine, never 1 to 3: the document's tables number them in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.spectrogram import mel_basis, stft

SAMPLE_RATE = 44_100
FINE = (128, 256)  # bands, hop; window and FFT are four hops
MULTI_SCALE = ((32, 1024), (64, 512), (128, 256))


def mel_pyramid(waveform: torch.Tensor, levels: int = 3) -> list[torch.Tensor]:
    """Eq. 39 as it is written: x̃_fine = MelSpec(x), and each coarser level the mean of 2 × 2 cells.

    Args:
        waveform: float [..., samples] at 44.1 kHz. Whole numbers of 256 · 2^(levels − 1) samples give levels
            whose frames are exact halves; at other lengths the last odd frame is left out.

    Returns:
        Log mel spectrograms [..., bands, frames], the coarsest first; 131 072 samples give [..., 32, 128],
        [..., 64, 256] and [..., 128, 512]. Differentiable.
    """
    if not 1 <= levels <= 8:
        raise SonopaintError(f"A mel pyramid has 1 to 8 levels (128 bands halve 7 times), not {levels}.")
    pyramid = [log_mel(waveform, *FINE)]
    for _ in range(levels - 1):
        fine = pyramid[-1]
        flat = fine.reshape(-1, 1, *fine.shape[-2:])
        if flat.shape[-1] < 2:
            raise SonopaintError(
                f"{waveform.shape[-1]} samples are too short for {levels} levels of a mel pyramid; give at "
                f"least {FINE[1] * 2 ** (levels - 1)}."
            )
        coarse = torch.nn.functional.avg_pool2d(flat, 2)
        pyramid.append(coarse.reshape(*fine.shape[:-2], *coarse.shape[-2:]))
    return pyramid[::-1]


def multi_scale_mels(
    waveform: torch.Tensor, scales: Sequence[tuple[int, int]] = MULTI_SCALE
) -> list[torch.Tensor]:
    """Eq. 39 as the authors' experiments did it: each level a mel spectrogram of its own.

    A coarser level then has longer windows and resolves what the fine one's bands blur.

    Args:
        waveform: float [..., samples] at 44.1 kHz.
        scales: (bands, hop) of each level; window and FFT are four hops.

    Returns:
        Log mel spectrograms [..., bands, frames] in the order of `scales`. Differentiable.
    """
    return [log_mel(waveform, bands, hop) for bands, hop in scales]


def log_mel(waveform: torch.Tensor, bands: int, hop: int) -> torch.Tensor:
    """log(1 + mel power) of float [..., samples] at 44.1 kHz → [..., bands, samples // hop] (at least 1).

    Bands are Slaney's, of equal area, from 0 Hz to 22.05 kHz; the surplus last frame is left out. At the fine
    level a few of the lowest bands lie between two FFT bins and stay 0, as they do with these parameters
    in any library.
    """
    power = stft(waveform, 4 * hop, 4 * hop, hop).abs().square()
    frames = max(1, waveform.shape[-1] // hop)
    basis = _basis(bands, hop, waveform.dtype, waveform.device)
    return torch.log1p(basis @ power[..., :frames])


@lru_cache(maxsize=16)
def _basis(bands: int, hop: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    fmt = SpectrogramFormat(
        name="mel-pyramid",
        sample_rate=SAMPLE_RATE,
        n_fft=4 * hop,
        win_length=4 * hop,
        hop_length=hop,
        n_mels=bands,
        f_min=0.0,
        f_max=SAMPLE_RATE / 2,
        mel_scale="slaney",
        mel_norm="slaney",
    )
    return torch.from_numpy(mel_basis(fmt)).to(device=device, dtype=dtype)
