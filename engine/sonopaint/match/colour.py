"""What a synthesiser can't say of a recording: a filter that changes in time, as one grid of decibels."""

from __future__ import annotations

import torch
from torch import Tensor

BANDS, FRAMES = 24, 32
_MOST_DB = 30.0
_FLOOR_DB = -60.0  # below the loudest
_WINDOW = 1024
_LOW, _HIGH = 60.0, 7600.0  # Hz, of the bands' centres


def colour(original: Tensor, made: Tensor, rate: int) -> Tensor:
    """dB [BANDS, FRAMES] by which an original [samples] is louder than what was made [samples]."""
    one, other = (_levels(x, rate) for x in (original, made))
    return (one - other).clamp(-_MOST_DB, _MOST_DB)


def coloured(made: Tensor, rate: int, decibels: Tensor, seconds: float, amount: float) -> Tensor:
    """Sound [samples] with `amount` (0 … 1) of a filter over its first `seconds`; then its last frame."""
    if amount == 0:
        return made
    window = torch.hann_window(_WINDOW)
    spectrum = torch.stft(made, _WINDOW, _WINDOW // 4, window=window, return_complex=True)
    rows = _place(torch.fft.rfftfreq(_WINDOW, 1 / rate)).clamp(0, BANDS - 1)
    columns = torch.arange(spectrum.shape[1]) * (_WINDOW // 4) / rate / seconds * FRAMES - 0.5
    columns = columns.clamp(0, FRAMES - 1)
    grid = torch.stack(torch.meshgrid(
        rows / (BANDS - 1) * 2 - 1, columns / (FRAMES - 1) * 2 - 1, indexing="ij"
    )[::-1], -1)  # fmt: skip
    gains = torch.nn.functional.grid_sample(decibels[None, None], grid[None], align_corners=True)[0, 0]
    spectrum = spectrum * 10 ** (amount * gains / 20)
    return torch.istft(spectrum, _WINDOW, _WINDOW // 4, window=window, length=len(made))


def _levels(x: Tensor, rate: int) -> Tensor:
    """Levels in dB of bands and frames, smooth in both."""
    window = torch.hann_window(_WINDOW)
    power = torch.stft(x, _WINDOW, _WINDOW // 4, window=window, return_complex=True).abs().square()
    place = _place(torch.fft.rfftfreq(_WINDOW, 1 / rate))
    weights = (1 - (place[None] - torch.arange(BANDS)[:, None]).abs()).clamp_min(0)
    weights = weights + 1e-3 * torch.exp(-((place[None] - torch.arange(BANDS)[:, None]) ** 2))
    bands = weights @ power / weights.sum(1, keepdim=True)
    frames = torch.nn.functional.interpolate(bands[None], FRAMES, mode="area")[0]
    frames = torch.nn.functional.avg_pool2d(frames[None], 3, 1, 1, count_include_pad=False)[0]
    level = 10 * torch.log10(frames.clamp_min(1e-12))
    return level.clamp_min(float(level.max()) + _FLOOR_DB)


def _place(hertz: Tensor) -> Tensor:
    """Where frequencies lie among the bands."""
    share = torch.log(hertz.clamp_min(1.0) / _LOW) / torch.log(torch.tensor(_HIGH / _LOW))
    return share * (BANDS - 1)
