"""Curves as a network's channels: the document's features (§ 3.3.2), and better ones for pitch.

Each feature has rows over time, −1 all over where it is not said. The document's `chroma` has 0 for silence
and for the note C; `pitch` is a roll with one row for each note, where silence is no note. Networks at fewer
frames a second than notes need see several values a frame, folded into channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sonoconvert.curves.curves import Curves
from sonoconvert.errors import SonopaintError

FREE = -1.0
LOWEST, HIGHEST = 48, 72  # C3 to C5, as MIDI numbers
FEATURES = ("velocity", "pitch", "chroma", "octave", "instruments")
FINEST_HZ = 62.5  # values a second that are enough for notes
KIND = "kind:"


@dataclass(frozen=True)
class Controls:
    """Which features a network follows, and how.

    instruments: names of the rows of `instruments`; frame_rate: of the network; fold: values a frame.
    """

    features: tuple[str, ...]
    instruments: tuple[str, ...]
    frame_rate: float
    fold: int = 1

    def __post_init__(self) -> None:
        wrong = [name for name in self.features if name not in FEATURES]
        if wrong or not self.features:
            said = repr(wrong[0]) if wrong else "none"
            raise SonopaintError(f"There is no feature {said}; choose from {', '.join(FEATURES)}.")

    @classmethod
    def at(cls, features: tuple[str, ...], instruments: tuple[str, ...], frame_rate: float) -> Controls:
        """With as many values a frame as notes need."""
        return cls(features, instruments, frame_rate, max(1, round(FINEST_HZ / frame_rate)))

    @property
    def rate(self) -> float:
        """Values a second."""
        return self.frame_rate * self.fold

    @property
    def rows(self) -> dict[str, int]:
        """Of each feature, before values are folded."""
        sizes = {"pitch": HIGHEST - LOWEST + 1, "instruments": len(self.instruments)}
        return {name: sizes.get(name, 1) for name in self.features}

    @property
    def size(self) -> int:
        """Channels of what `tensor` makes."""
        return self.fold * sum(self.rows.values())

    def tensor(self, pitch: Tensor, velocity: Tensor, kinds: Tensor, dropped: Tensor | None = None) -> Tensor:
        """[B, size, frames] of pitch in Hz (0: none) and velocity [B, frames · fold] and kinds [B, K, …].

        NaN = free. dropped: bool [B, features], those that are not said.
        """
        made = []
        for number, name in enumerate(self.features):
            rows = _rows(name, pitch, velocity, kinds)
            rows = rows.nan_to_num(nan=FREE)
            if dropped is not None:
                rows = torch.where(dropped[:, number, None, None], FREE, rows)
            made.append(rows.unflatten(-1, (-1, self.fold)).transpose(-1, -2).flatten(1, 2))
        return torch.cat(made, 1)

    def of(self, curves: Curves, frames: int) -> Tensor:
        """[1, size, frames] of somebody's curves; what they don't have is free.

        "pitch", "velocity" and "kind:NAME". Instruments that are not named are off where another one is.
        """
        count = frames * self.fold
        moved = curves.at(self.rate, count).values
        nothing = np.full(count, np.nan, np.float32)
        named = {name[len(KIND) :] for name in moved if name.startswith(KIND)}
        unknown = sorted(named - set(self.instruments))
        if unknown:
            raise SonopaintError(
                f"This model has no instrument {unknown[0]!r}; it has {', '.join(self.instruments)}."
            )
        rest = np.zeros(count, np.float32) if named else nothing
        kinds = np.stack([moved.get(KIND + name, rest) for name in self.instruments])
        pitch, velocity = (moved.get(name, nothing) for name in ("pitch", "velocity"))
        arrays = (pitch[None], velocity[None], kinds[None])
        return self.tensor(*(torch.from_numpy(np.ascontiguousarray(a)).float() for a in arrays))

    def facts(self) -> dict[str, Any]:
        return {"features": list(self.features), "instruments": list(self.instruments),
                "frame_rate": self.frame_rate, "fold": self.fold}  # fmt: skip

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Controls:
        return cls(
            tuple(map(str, facts["features"])), tuple(map(str, facts["instruments"])),
            float(facts["frame_rate"]), int(facts["fold"]),
        )  # fmt: skip


def number_of(hertz: Tensor) -> Tensor:
    """MIDI numbers of hertz above 0."""
    return 69 + 12 * torch.log2(hertz.clamp_min(1e-3) / 440)


def hertz_of(number: float) -> float:
    return 440.0 * 2 ** ((number - 69) / 12)


def _rows(name: str, pitch: Tensor, velocity: Tensor, kinds: Tensor) -> Tensor:
    """[B, rows, T]; NaN = free."""
    if name == "velocity":
        return velocity[:, None]
    if name == "instruments":
        return kinds
    number, silent = number_of(pitch), pitch == 0
    free = pitch.isnan()
    if name == "pitch":
        notes = torch.arange(LOWEST, HIGHEST + 1, device=pitch.device)[:, None]
        roll = (1 - (number[:, None] - notes).abs()).clamp_min(0)
        return torch.where(free[:, None], math.nan, torch.where(silent[:, None], 0.0, roll))
    # As the document has them: 0 for none.
    octave = torch.floor(number / 12 + 1e-4)
    value = (number - 12 * octave) / 11 if name == "chroma" else (octave - 1) / 10
    return torch.where(free, math.nan, torch.where(silent, 0.0, value))[:, None]
