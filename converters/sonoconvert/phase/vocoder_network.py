"""The learned decoder's network: mel magnitudes → linear magnitudes and derivatives of the phase."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.grid import working_grid
from sonoconvert.pictures.spectrogram import mel_basis

# Magnitudes below this, relative to the loudest, are alike to the network (−100 dB).
FLOOR = 1e-5
# Cells that one position of the network stands for, unless it says otherwise: frames × bins.
PATCH = (2, 4)
# Times and frequencies of one cell of the network's deepest level, in positions.
DEEP = 2
_EDGE = 12  # frames, at least
_OUTPUTS = 6


@lru_cache(maxsize=8)
def _bases(fmt: SpectrogramFormat, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(bands' mean, inverse, place, area): what turns mel magnitudes into the network's input.

    mean [bins, n_mels] interpolates the bands' mean magnitude at the bins; inverse [bins, n_mels] is the
    pseudo-inverse of the mel basis read at the bins; place [3, bins] tells the network how wide the bands
    are there, in bins, and where between two bands a bin lies; area [n_mels] is each filter's sum.
    """
    basis = mel_basis(fmt)
    bins = working_grid(fmt).bins
    hertz = np.arange(bins) * fmt.sample_rate / fmt.win_length
    row = np.array([fmt.mel_row(max(value, 1e-3)) for value in hertz])
    left = np.clip(np.floor(row), 0, fmt.n_mels - 2).astype(int) if fmt.n_mels > 1 else np.zeros(bins, int)
    right = np.minimum(left + 1, fmt.n_mels - 1)
    fraction = np.clip(row - left, 0, 1)
    area = np.maximum(basis.sum(1), 1e-9)
    mean = np.zeros((bins, fmt.n_mels))
    mean[np.arange(bins), left] += (1 - fraction) / area[left]
    mean[np.arange(bins), right] += fraction / area[right]
    inverse = basis.T @ np.linalg.pinv(basis @ basis.T, rcond=1e-6, hermitian=True)
    fine = np.linspace(0, fmt.sample_rate / 2, fmt.n_fft // 2 + 1)
    position = np.minimum(hertz / fine[1], len(fine) - 1)
    low = np.minimum(position.astype(int), len(fine) - 2)
    part = (position - low)[:, None]
    rows = inverse[low] * (1 - part) + inverse[low + 1] * part
    width = np.gradient(hertz) / np.maximum(np.gradient(row), 1e-6) / np.gradient(hertz)
    place = np.stack([np.log2(width) / 4, np.sin(2 * np.pi * row), np.cos(2 * np.pi * row)])
    tensors = [torch.from_numpy(array).float().to(device) for array in (mean, rows, place, area)]
    return tensors[0], tensors[1], tensors[2], tensors[3]


def reference_of(mel: Tensor, fmt: SpectrogramFormat) -> Tensor:
    """The loudest band's mean magnitude of each clip: mel [B, n_mels, frames] → [B], above 0."""
    area = _bases(fmt, mel.device)[3]
    return (mel.amax(dim=-1) / area).amax(dim=-1).clamp_min(1e-30)


def features(mel: Tensor, fmt: SpectrogramFormat, reference: Tensor) -> Tensor:
    """The network's input: mel [B, n_mels, frames] → log10 magnitudes [B, 2, frames, bins].

    Relative to `reference` [B] and floored: the bands' mean, interpolated, and the pseudo-inverse.
    """
    mean, inverse, _, _ = _bases(fmt, mel.device)
    columns = mel.transpose(-1, -2)
    both = torch.stack([columns @ mean.T, columns @ inverse.T], dim=1)
    return torch.log10((both / reference[:, None, None, None]).clamp_min(FLOOR))


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.leaky_relu_(self.first(F.leaky_relu(x, 0.1)), 0.1)).add_(x)


class VocoderNetwork(nn.Module):
    """log10 magnitudes [B, 2, frames, bins] → magnitude and phase derivatives of every cell.

    A small convolutional network over time and frequency, without normalisation, so that what it says of a
    frame depends on at most `reach` frames on either side. One position stands for `frames` × `bins` cells:
    the more, the quicker. Output [B, 5, frames, bins]:

    0: log10 magnitude; 1, 2: the phase's advance to the next frame, beyond the bin's own 2π·k·hop/size,
    as a complex number whose length is the certainty; 3, 4: the same to the next bin, for a phase that is
    referred to the window's centre.
    """

    def __init__(
        self,
        width: int = 48,
        deep: int = 64,
        blocks: int = 3,
        frames: int = PATCH[0],
        bins: int = PATCH[1],
    ) -> None:
        super().__init__()
        self.config = {"width": width, "deep": deep, "blocks": blocks, "frames": frames, "bins": bins}
        self.patch = (frames, bins)
        cells = frames * bins
        self.stem = nn.Conv2d(2 * cells + 3 * bins, width, 3, padding=1)
        self.before = _Block(width)
        self.down = nn.Conv2d(width, deep, DEEP, stride=DEEP)
        self.deep = nn.Sequential(*[_Block(deep) for _ in range(blocks)])
        self.up = nn.ConvTranspose2d(deep, width, DEEP, stride=DEEP)
        self.after = _Block(width)
        self.head = nn.Conv2d(width, _OUTPUTS * cells, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.normal_(parameter, std=1e-3)

    def channels_last(self) -> VocoderNetwork:
        """Kernels in the memory layout in which convolutions are quickest on a processor."""
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return self

    @property
    def whole(self) -> int:
        """Frames of one position of the deepest level: what begins elsewhere is seen otherwise."""
        return self.patch[0] * DEEP

    @property
    def reach(self) -> int:
        """Frames on either side that an output depends on, rounded up to `whole` ones."""
        positions = 1 + 2 + 2 + 1 + DEEP * 2 * len(self.deep) + DEEP
        return -(-positions * self.patch[0] // self.whole) * self.whole

    @property
    def edge(self) -> int:
        """Mirrored frames that it sees beyond a clip's ends, in its training, too."""
        return -(-_EDGE // self.whole) * self.whole

    def forward(self, logs: Tensor, place: Tensor) -> Tensor:
        batch, _, frames, bins = logs.shape
        tall, broad = self.patch
        x = F.pad(logs, (0, -bins % (DEEP * broad), 0, -frames % (DEEP * tall)), mode="replicate")
        high, wide = x.shape[-2] // tall, x.shape[-1] // broad
        x = x.reshape(batch, 2, high, tall, wide, broad).permute(0, 2, 4, 1, 3, 5)
        x = x.reshape(batch, high, wide, -1) * 0.4 + 1.0
        where = F.pad(place[None], (0, wide * broad - bins), mode="replicate")[0]
        where = where.reshape(3, wide, broad).permute(1, 0, 2).reshape(wide, -1)
        x = torch.cat([x, where.expand(batch, high, -1, -1)], dim=-1)
        x = x.permute(0, 3, 1, 2)  # now in channels-last memory
        x = self.before(self.stem(x))
        x = x + self.up(self.deep(self.down(x)))
        x = self.head(F.leaky_relu(self.after(x), 0.1)).float()
        x = x.reshape(batch, _OUTPUTS, tall, broad, high, wide).permute(0, 1, 4, 2, 5, 3)
        x = x.reshape(batch, _OUTPUTS, tall * high, broad * wide)[..., :frames, :bins]
        share = torch.sigmoid(x[:, 5])
        magnitude = logs[:, 0] * share + logs[:, 1] * (1 - share) + x[:, 0]
        # No cell is ten times as loud as the bands around it.
        magnitude = torch.minimum(magnitude, logs[:, 0] + 1.0)
        return torch.cat([magnitude[:, None], x[:, 1:5]], dim=1)


def place_of(fmt: SpectrogramFormat, device: torch.device) -> Tensor:
    """[3, bins]: width and position of the mel bands at each bin, the network's second argument."""
    return _bases(fmt, device)[2]
