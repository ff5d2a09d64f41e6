"""The mel picture as a representation: levels without a picture's 8 bits, its peak or its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from sonoconvert.conversion.convert import magnitudes, waveform_of
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.phase.search import PhaseSearch
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.spectrogram import from_levels, mel_magnitude, to_levels


@dataclass(frozen=True)
class MelPicture:
    """Levels in [0, 1], float32 [planes, n_mels, frames], row 0 = lowest band.

    format: of the pictures.
    peak: mel magnitude of level 1; None: of a sine of full scale. What lies far below it falls under the
        floor of "db" formats: for soft sounds take their own (`Picture.peak`).
    search: for the phase, when it becomes sound again.
    """

    format: SpectrogramFormat
    peak: float | None = None
    search: PhaseSearch = field(default_factory=PhaseSearch)

    @classmethod
    def from_facts(cls, format: Mapping[str, Any], peak: float) -> MelPicture:
        """What `header` described; the search is the default one."""
        return cls(SpectrogramFormat.from_dict(format), peak)

    @property
    def white(self) -> float:
        """Mel magnitude of level 1."""
        return full_scale(self.format) if self.peak is None else self.peak

    @property
    def sample_rate(self) -> int:
        return self.format.sample_rate

    @property
    def frame_rate(self) -> float:
        return self.format.sample_rate / self.format.hop_length

    def shape(self, num_samples: int) -> tuple[int, ...]:
        return (self.format.num_planes, self.format.n_mels, self.format.frames(num_samples))

    def header(self) -> dict[str, Any]:
        return {"kind": "mel-picture", "format": self.format.to_dict(), "peak": self.white}

    def encode(self, clip: Clip) -> Tensor:
        return to_levels(magnitudes(clip, self.format)[0], self.format, self.white)[0]

    def decode(self, tensor: Tensor, num_samples: int | None = None) -> Clip:
        fmt, frames = self.format, tensor.shape[-1]
        length = frames * fmt.hop_length if num_samples is None else num_samples
        if tuple(tensor.shape) != self.shape(length):
            raise SonopaintError(
                f"{length} samples of {fmt.name} are levels of {list(self.shape(length))}, not "
                f"{list(tensor.shape)}."
            )
        drawn = from_levels(tensor.float(), fmt, self.white)
        return Clip(waveform_of(drawn, fmt, self.search, length=length), fmt.sample_rate)


@lru_cache(maxsize=8)
def full_scale(fmt: SpectrogramFormat) -> float:
    """The largest mel magnitude of sines of amplitude 1, in bands all over the format."""
    rows = torch.linspace(0, fmt.n_mels - 1, 9)
    hertz = torch.tensor([fmt.hz(float(row)) for row in rows])
    time = torch.arange(4 * fmt.win_length) / fmt.sample_rate
    tones = torch.sin(2 * torch.pi * hertz[:, None] * time)
    return float(mel_magnitude(tones, fmt)[..., 1:-1].max())
