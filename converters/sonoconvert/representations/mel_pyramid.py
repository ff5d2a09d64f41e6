"""Three mel spectrograms of rising resolution: coarse, middle, fine.

"Multi-scale latent diffusion using hierarchical models" (Pichard 2024), § 3, eq. 39: the fine one has 128
bands at hop 256 (window and FFT 1024, 44.1 kHz); each coarser one has half the bands and half the frames. Two
readings of the equation's "downsample" are in use, and both are here. The levels are called coarse, middle
and fine, never 1 to 3: the document's tables number them in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.phase.search import reconstruct
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.spectrogram import mel_basis, stft

SAMPLE_RATE = 44_100


@dataclass(frozen=True)
class LogMel:
    """log(1 + mel power): one level of a pyramid, a `Representation` [1, bands, frames] of a mean channel.

    Bands are Slaney's, of equal area, from 0 Hz to 22.05 kHz; window and FFT are four hops; the surplus last
    frame is left out. At the fine level a few of the lowest bands lie between two FFT bins and stay 0, as
    they do with these parameters in any library.
    """

    bands: int = 128
    hop: int = 256

    @property
    def sample_rate(self) -> int:
        return SAMPLE_RATE

    @property
    def frame_rate(self) -> float:
        return SAMPLE_RATE / self.hop

    @property
    def format(self) -> SpectrogramFormat:
        """Its frames and bands, of magnitudes in place of powers."""
        return SpectrogramFormat(
            name="log-mel",
            sample_rate=SAMPLE_RATE,
            n_fft=4 * self.hop,
            win_length=4 * self.hop,
            hop_length=self.hop,
            n_mels=self.bands,
            f_min=0.0,
            f_max=SAMPLE_RATE / 2,
            mel_scale="slaney",
            mel_norm="slaney",
        )

    def shape(self, num_samples: int) -> tuple[int, ...]:
        return (1, self.bands, max(1, num_samples // self.hop))

    def header(self) -> dict[str, Any]:
        return {"kind": "log-mel", **asdict(self)}

    def of(self, waveform: torch.Tensor) -> torch.Tensor:
        """Float [..., samples] at 44.1 kHz → [..., bands, frames]; differentiable."""
        power = stft(waveform, 4 * self.hop, 4 * self.hop, self.hop).abs().square()
        frames = self.shape(waveform.shape[-1])[-1]
        return torch.log1p(_basis(self, waveform.dtype, waveform.device) @ power[..., :frames])

    def encode(self, clip: Clip) -> torch.Tensor:
        return self.of(clip.mono().resampled(SAMPLE_RATE).waveform)

    def decode(self, tensor: torch.Tensor, num_samples: int | None = None) -> Clip:
        """By a phase search, twice: even magnitudes within a band, then as the first sound has them."""
        length = tensor.shape[-1] * self.hop if num_samples is None else num_samples
        power = torch.expm1(tensor.float()).clamp_min(0)
        mel = (power * _basis(self, power.dtype, power.device).sum(dim=1)[:, None]).sqrt()
        for _ in range(2):
            made = reconstruct(mel, self.format, length=length)
            missed = power / torch.expm1(self.of(made)).clamp_min(1e-6)
            mel = mel * missed.clamp(0.01, 100).sqrt()
        return Clip(made, SAMPLE_RATE)


FINE = LogMel(128, 256)
MULTI_SCALE = (LogMel(32, 1024), LogMel(64, 512), FINE)


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
    pyramid = [FINE.of(waveform)]
    for _ in range(levels - 1):
        if pyramid[-1].shape[-1] < 2:
            raise SonopaintError(
                f"{waveform.shape[-1]} samples are too short for {levels} levels of a mel pyramid; give at "
                f"least {FINE.hop * 2 ** (levels - 1)}."
            )
        pyramid.append(halved(pyramid[-1]))
    return pyramid[::-1]


def halved(mel: torch.Tensor) -> torch.Tensor:
    """The next coarser level of [..., bands, frames]: the mean of 2 × 2 cells."""
    flat = mel.reshape(-1, 1, *mel.shape[-2:])
    coarse = torch.nn.functional.avg_pool2d(flat, 2)
    return coarse.reshape(*mel.shape[:-2], *coarse.shape[-2:])


def multi_scale_mels(waveform: torch.Tensor, scales: Sequence[LogMel] = MULTI_SCALE) -> list[torch.Tensor]:
    """Eq. 39 as the authors' experiments did it: each level a mel spectrogram of its own.

    A coarser level then has longer windows and resolves what the fine one's bands blur.

    Args:
        waveform: float [..., samples] at 44.1 kHz.
        scales: the levels.

    Returns:
        Log mel spectrograms [..., bands, frames] in the order of `scales`. Differentiable.
    """
    return [scale.of(waveform) for scale in scales]


@lru_cache(maxsize=16)
def _basis(scale: LogMel, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(mel_basis(scale.format)).to(device=device, dtype=dtype)
