"""Curves: named time series of one rate, each value of which may be free; and how they are resampled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sonoconvert.errors import SonopaintError

FREE = math.nan  # a value that the model may choose
RATE_HZ = (
    62.5  # values a second where nothing else asks for a rate: the columns of the shipped model's pictures
)
LONGEST_S = 3600.0


@dataclass(frozen=True)
class Kind:
    """What a curve's values are.

    low, high: its range in `unit`. blend: how values between two are had: "linear", "log" (of hertz),
    "hold" (the nearer one: notes) or "peak" (the highest: moments). off: the value that says "there is
    none here", such as a pitch in silence; it is not free, and never mixed with others.
    """

    unit: str
    low: float
    high: float
    blend: str = "linear"
    off: float | None = None


KINDS: dict[str, Kind] = {
    "loudness": Kind("dB", -120.0, 12.0),  # RMS, 0 = full scale
    "pitch": Kind("Hz", 20.0, 8000.0, "log", 0.0),
    "brightness": Kind("Hz", 10.0, 24_000.0, "log"),  # spectral centroid
    "onsets": Kind("", 0.0, 1.0, "peak"),
    "chroma": Kind("semitones above C", 0.0, 12.0, "hold", -1.0),
    "octave": Kind("", 0.0, 10.0, "hold", -1.0),
    "velocity": Kind("", 0.0, 1.0, "hold"),
}
ACTIVATION = Kind("", 0.0, 1.0)  # of "kind:NAME": how much of an instrument or of a kind of sound


def kind_of(name: str) -> Kind:
    """What the values of the curve `name` are. SonopaintError where there is no such curve."""
    if name in KINDS:
        return KINDS[name]
    if name.startswith("kind:") and len(name) > 5:
        return ACTIVATION
    raise SonopaintError(f"There is no curve {name[:40]!r}; choose from {', '.join(KINDS)}, kind:NAME.")


@dataclass(frozen=True)
class Curves:
    """Curves of one sound.

    Attributes:
        rate: values a second; value k belongs to the time k / rate.
        values: {name: float32 [N]}, all of one length, NaN = free. See KINDS for names and units.
        notes: sentences for people: what was done to an input that was not quite what curves are.
    """

    rate: float
    values: Mapping[str, np.ndarray]
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate) and 0 < self.rate <= 48_000):
            raise SonopaintError(f"Curves have a rate of up to 48000 values a second, not {self.rate:g}.")
        checked = {name: _checked(name, values) for name, values in self.values.items()}
        lengths = {len(values) for values in checked.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise SonopaintError("Curves need at least one value, and all of them equally many.")
        if max(lengths) / self.rate > LONGEST_S:
            raise SonopaintError(
                f"Curves may last {LONGEST_S:g} s; these last {max(lengths) / self.rate:.0f}."
            )
        object.__setattr__(self, "values", checked)

    @property
    def frames(self) -> int:
        return len(next(iter(self.values.values())))

    @property
    def duration_s(self) -> float:
        return self.frames / self.rate

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.values)

    @property
    def is_free(self) -> bool:
        """Whether no curve asks for anything."""
        return all(bool(np.isnan(values).all()) for values in self.values.values())

    def only(self, names: Iterable[str]) -> Curves:
        """Those of the curves that are named. SonopaintError where one is missing."""
        names = tuple(names)
        for name in names:
            kind_of(name)
            if name not in self.values:
                raise SonopaintError(f"There is no {name} here; these curves are {', '.join(self.names)}.")
        return Curves(self.rate, {name: self.values[name] for name in names}, self.notes)

    def at(self, rate: float, frames: int) -> Curves:
        """The curves at another rate, `frames` values long: cut, or free behind their end.

        Several values for one are averaged (or their highest, or the middle one: see Kind); values between
        two are interpolated, but never between a pitch and none.
        """
        if (rate, frames) == (self.rate, self.frames):
            return self
        times = np.arange(frames) / rate
        moved = {
            name: _resampled(values, times * self.rate, self.rate / rate, kind_of(name))
            for name, values in self.values.items()
        }
        return Curves(rate, moved, self.notes)

    def joined(self, other: Curves) -> Curves:
        """These and the other's (which win where both have one), at this rate, as long as the longer."""
        frames = max(self.frames, math.ceil(other.duration_s * self.rate - 1e-6))
        mine, theirs = self.at(self.rate, frames), other.at(self.rate, frames)
        return Curves(self.rate, {**mine.values, **theirs.values}, self.notes + other.notes)

    def part(self, start_s: float, seconds: float) -> Curves:
        """The curves from a second on, so many seconds long; free where they have no values."""
        first, count = round(start_s * self.rate), max(1, round(seconds * self.rate))
        places = np.arange(first, first + count)
        inside = (places >= 0) & (places < self.frames)
        cut = {}
        for name, values in self.values.items():
            cut[name] = np.full(count, np.nan, np.float32)
            cut[name][inside] = values[places[inside]]
        return Curves(self.rate, cut, self.notes)

    def to_dict(self) -> dict[str, Any]:
        """As it is saved with a sound's settings: four digits, None = free."""
        rounded = {
            name: [None if math.isnan(v) else float(f"{v:.4g}") for v in values.tolist()]
            for name, values in self.values.items()
        }
        return {"rate": self.rate, "values": rounded}

    @classmethod
    def from_dict(cls, saved: Any) -> Curves:
        """Curves that `to_dict` told. SonopaintError for anything else."""
        try:
            values = {
                str(name): np.array([math.nan if v is None else float(v) for v in row], np.float32)
                for name, row in saved["values"].items()
            }
            rate = float(saved["rate"])
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise SonopaintError("These are no curves; they hold a rate and lists of values.") from error
        return cls(rate, values)


def chroma_and_octave(pitch: np.ndarray) -> dict[str, np.ndarray]:
    """The curves "chroma" (0 = C … below 12) and "octave" (4 from middle C on) of a pitch in Hz [N]."""
    voiced = pitch > 0  # False for free ones, too
    semitones = np.zeros_like(pitch)
    semitones[voiced] = 69 + 12 * np.log2(pitch[voiced] / 440.0)
    other = np.where(np.isnan(pitch), np.nan, -1.0)
    octave = np.where(voiced, np.clip(np.floor(semitones / 12 + 1e-4) - 1, 0, 10), other)
    chroma = np.where(voiced, np.clip(semitones - 12 * (octave + 1), 0, 12), other)
    return {"chroma": chroma.astype(np.float32), "octave": octave.astype(np.float32)}


def hertz_of(chroma: np.ndarray, octave: np.ndarray) -> np.ndarray:
    """The pitch in Hz [N] of chroma and octave [N]; 0 where there is no note, NaN where either is free."""
    hertz = 440.0 * 2 ** ((chroma + 12 * (octave + 1) - 69) / 12)
    return np.where((chroma < 0) | (octave < 0), 0.0, hertz).astype(np.float32)


def sketched(curves: Curves, rng: np.random.Generator, longest_s: float = 0.4) -> Curves:
    """The curves as somebody would draw or sing them: median filters of random widths.

    Sketch2Sound (García et al. 2024, arXiv:2412.08550, section 3.2); moments and notes stay as they are.
    """
    smooth = {
        name: _median(values, 2 * int(rng.integers(1 + round(longest_s * curves.rate / 2))) + 1)
        if kind_of(name).blend in ("linear", "log")
        else values
        for name, values in curves.values.items()
    }
    return Curves(curves.rate, smooth, curves.notes)


def _checked(name: str, values: Sequence[float] | np.ndarray) -> np.ndarray:
    kind = kind_of(name)
    array = np.asarray(values, np.float32)
    if array.ndim != 1:
        raise SonopaintError(f"The curve {name} must be a row of values.")
    wrong = ~np.isnan(array) & ((array < kind.low) | (array > kind.high))
    if kind.off is not None:
        wrong &= array != np.float32(kind.off)
    if wrong.any():
        found = float(array[wrong][0])
        raise SonopaintError(
            f"The curve {name} is {found:g} {kind.unit}".rstrip()
            + f" at one place; it can be from {kind.low:g} to {kind.high:g}"
            + (f", or {kind.off:g} for none." if kind.off is not None else ".")
        )
    return array


def _median(values: np.ndarray, width: int) -> np.ndarray:
    """A running median that leaves free values free, and out of the others'."""
    if width < 2:
        return values
    padded = np.pad(values, width // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    known = ~np.isnan(windows)
    ordered = np.sort(np.where(known, windows, np.inf), axis=1)
    middle = np.maximum(known.sum(1) - 1, 0) // 2  # a value that is there, not a mean of pitch and none
    found = np.take_along_axis(ordered, middle[:, None], 1)[:, 0]
    return np.where(np.isnan(values), np.nan, found).astype(np.float32)


def _resampled(values: np.ndarray, places: np.ndarray, ratio: float, kind: Kind) -> np.ndarray:
    """`values` at fractional `places`; `ratio` of them go into one where that is more than one."""
    count = len(values)
    if ratio > 1:
        low = np.ceil(places - ratio / 2).astype(int).clip(0, count)
        high = np.ceil(places + ratio / 2).astype(int).clip(0, count)
        high = np.where((high == low) & (low < count), low + 1, high)
        result = np.full(len(places), np.nan, np.float32)
        for k, (a, b) in enumerate(zip(low, high, strict=True)):
            result[k] = _one_of(values[a:b], kind)
        return result
    nearest = np.rint(places).astype(int)
    inside = places < count - 1e-6
    result = np.where(inside, values[nearest.clip(0, count - 1)], np.nan)
    if kind.blend in ("hold", "peak"):
        if kind.blend == "peak" and ratio < 1:  # a moment stays one moment
            result = np.where(np.isnan(result), np.nan, 0.0)
            marks = np.flatnonzero(values > 0)
            at = np.rint(marks / ratio).astype(int)
            keep = at < len(result)
            result[at[keep]] = values[marks[keep]]
        return result.astype(np.float32)
    first = np.floor(places).astype(int).clip(0, count - 1)
    second = (first + 1).clip(0, count - 1)
    a, b = values[first].astype(np.float64), values[second].astype(np.float64)
    mixes = inside & ~np.isnan(a) & ~np.isnan(b)
    if kind.off is not None:
        mixes &= (a != kind.off) & (b != kind.off)
    weight = (places - first)[mixes].clip(0, 1)
    if kind.blend == "log":
        result[mixes] = np.exp(np.log(a[mixes]) * (1 - weight) + np.log(b[mixes]) * weight)
    else:
        result[mixes] = a[mixes] * (1 - weight) + b[mixes] * weight
    return result.astype(np.float32)


def _one_of(values: np.ndarray, kind: Kind) -> float:
    """What stands for several values."""
    known = values[~np.isnan(values)]
    if 2 * len(known) < len(values) or not len(known):
        return math.nan
    if kind.blend == "peak":
        return float(known.max())
    if kind.blend == "hold":
        return float(known[len(known) // 2])
    if kind.off is not None:
        there = known[known != kind.off]
        if 2 * len(there) < len(known):
            return kind.off
        known = there
    return float(np.exp(np.log(known).mean()) if kind.blend == "log" else known.mean())
