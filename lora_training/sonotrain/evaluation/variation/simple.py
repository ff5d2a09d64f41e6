"""The simple opponent: no model, only another pitch, speed and level. What does not beat it is no good."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from sonoconvert.files.clip import Clip
from sonopaint.tasks.progress import Progress
from sonopaint.variations.protocol import Ask, Candidate

MOST_CENTS, MOST_DB = 700.0, 6.0


class PitchAndGain:
    """Played faster or slower by up to 700 cents × strength, louder or softer by up to 6 dB."""

    name = "pitch-and-gain"

    def candidates(
        self, reference: Clip, ask: Ask, seeds: Sequence[int], progress: Progress | None = None
    ) -> Iterator[Candidate]:
        """See Variator."""
        del progress
        for seed in seeds:
            rng = random.Random(seed)
            cents = ask.strength * rng.uniform(-MOST_CENTS, MOST_CENTS)
            gain = 10 ** (rng.uniform(-MOST_DB, MOST_DB) / 20)
            rate = reference.sample_rate
            other = Clip(gain * reference.waveform, round(rate * 2 ** (cents / 1200)))
            yield Candidate(other.resampled(rate), seed, None, {"cents": round(cents, 1)})

    def describe(self) -> dict[str, Any]:
        """See Variator."""
        return {"variator": self.name, "cents": MOST_CENTS, "db": MOST_DB}
