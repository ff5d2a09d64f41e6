"""What a synthesiser is: named parameters with unit and range, and sounds made from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError

PLAY_RATE = 32_000  # Hz, of what people hear
Values = Mapping[str, Tensor]


@dataclass(frozen=True)
class Parameter:
    """One knob. unit: "Hz", "s", "dB" … or "" for a share; says: what turning it up does.

    log: it is heard in ratios, and a slider moves it so. jnd: the smallest change that is heard, a share
    of the value where `log` (0.01: 1 %), else in the unit.
    """

    name: str
    unit: str
    low: float
    high: float
    default: float
    jnd: float
    says: str
    log: bool = True

    def to_unit(self, value: Tensor) -> Tensor:
        """Where values lie in the range: 0 … 1 from low to high."""
        if self.log:
            return (value / self.low).log() / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def from_unit(self, place: Tensor) -> Tensor:
        """The inverse of `to_unit`."""
        if self.log:
            return self.low * (place * math.log(self.high / self.low)).exp()
        return self.low + place * (self.high - self.low)

    def noticeable(self, one: Tensor, other: Tensor) -> Tensor:
        """How many just noticeable differences two values are apart."""
        if self.log:
            return (one / other).log().abs() / math.log1p(self.jnd)
        return (one - other).abs() / self.jnd

    def checked(self, value: float) -> float:
        """The value. SonopaintError where it lies outside the range."""
        rounding = 1e-6 * (abs(self.low) + abs(self.high))
        if not self.low - rounding <= value <= self.high + rounding:
            unit = f" {self.unit}" if self.unit else ""
            raise SonopaintError(
                f"{self.name} must be {self.low:g} to {self.high:g}{unit}, not {value:g}; choose one inside."
            )
        return value


class Chance:
    """What is random in a sound, held fixed by a seed: the same for all parameters."""

    def __init__(self, seed: int) -> None:
        self.numbers = np.random.default_rng(seed)  # not torch's: vmap refuses those, and versions differ

    def rand(self, count: int) -> Tensor:
        """Uniform numbers [1, count] in 0 … 1."""
        return torch.from_numpy(self.numbers.random((1, count), dtype=np.float32))

    def noise(self, time: Tensor) -> Tensor:
        """White noise of unit variance, as long as `time` [1, samples]."""
        return torch.from_numpy(self.numbers.standard_normal(time.shape, dtype=np.float32)).to(time)


@dataclass(frozen=True)
class Synth:
    """A synthesiser. make(values, time, chance) → [B, samples]: `values` of each parameter [B, 1], `time`
    [1, samples] in seconds.

    rate, samples: of the piece by which sounds are matched (a power of two); it begins at `start` seconds.
    """

    name: str
    title: str
    parameters: tuple[Parameter, ...]
    make: Callable[[Values, Tensor, Chance], Tensor]
    rate: int = 16_000
    samples: int = 32_768
    start: float = 0.0
    fixed: str = ""  # what is random or discrete in it, and how it is held

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def seconds(self) -> float:
        return self.samples / self.rate

    def theta(self, place: Tensor) -> Tensor:
        """Values [..., D] of places 0 … 1 in the ranges."""
        parts = [p.from_unit(place[..., k]) for k, p in enumerate(self.parameters)]
        return torch.stack(parts, -1)

    def place(self, theta: Tensor) -> Tensor:
        """The inverse of `theta`."""
        return torch.stack([p.to_unit(theta[..., k]) for k, p in enumerate(self.parameters)], -1)

    def defaults(self) -> Tensor:
        """[D]"""
        return torch.tensor([parameter.default for parameter in self.parameters])

    def values(self, theta: Tensor) -> dict[str, float]:
        """A [D] as names and numbers."""
        return dict(zip(self.names, theta.tolist(), strict=True))

    def theta_of(self, values: Mapping[str, float]) -> Tensor:
        """[D] of named values, the others at their defaults. SonopaintError: unknown names, out of range."""
        unknown = [name for name in values if name not in self.names]
        if unknown:
            raise SonopaintError(
                f"{self.title} has no parameter {unknown[0]!r}; it has {', '.join(self.names)}."
            )
        return torch.tensor([p.checked(float(values.get(p.name, p.default))) for p in self.parameters])

    def render(
        self, theta: Tensor, *, rate: int | None = None, seconds: float | None = None, seed: int = 0
    ) -> Tensor:
        """Sounds [B, samples] of values [B, D]; differentiable. By default the piece that is matched."""
        rate = rate or self.rate
        count = self.samples if seconds is None else round(seconds * rate)
        if seconds is None and rate != self.rate:
            count = round(self.seconds * rate)
        time = self.start + torch.arange(count, dtype=theta.dtype, device=theta.device)[None] / rate
        values = {name: theta[:, k : k + 1] for k, name in enumerate(self.names)}
        return self.make(values, time, Chance(seed))
