"""The lowest sample rate that holds a format's bands: the same cells for less work."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sonoconvert.pictures.format import SpectrogramFormat


@dataclass(frozen=True)
class Grid:
    """A format's frames and bins at another sample rate.

    Window, hop and FFT are whole numbers of samples at `rate` Hz; bins of a FFT of `win` are the format's
    own (`rate / win` = `sample_rate / win_length`), `bins` = win // 2 + 1 of them.
    """

    rate: int
    win: int
    hop: int
    n_fft: int

    @property
    def bins(self) -> int:
        return self.win // 2 + 1


def working_grid(fmt: SpectrogramFormat, margin: float = 1.0) -> Grid:
    """The grid at the lowest rate whose half is `margin` · f_max or more, at most the format's own."""
    sizes = (fmt.sample_rate, fmt.hop_length, fmt.n_fft)
    step = math.lcm(*(fmt.win_length // math.gcd(fmt.win_length, size) for size in sizes), 2)
    needed = 2 * math.ceil(margin * fmt.f_max * fmt.win_length / fmt.sample_rate)
    win = min(math.ceil(needed / step) * step, fmt.win_length)
    rate, hop, n_fft = (size * win // fmt.win_length for size in sizes)
    return Grid(rate, win, hop, n_fft)
