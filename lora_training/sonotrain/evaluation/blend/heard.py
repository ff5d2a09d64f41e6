"""What is heard of a sound beside a target: pitch, melody, loudness, brightness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from sonoconvert.curves.measure import measure
from sonoconvert.files.clip import Clip

RATE = 62.5  # values a second
CENTS = 50.0
ONSET_S = 0.1  # a note begins with another one; latents are 0.128 s apart
_SHORTEST_S = 0.08
_QUIET_DB = 35.0  # below the loudest
Notes = Sequence[tuple[float, float, int]]  # beginning, end, MIDI number


def curves(clip: Clip) -> dict[str, np.ndarray]:
    """pitch in Hz (0: none), loudness in dB and brightness in Hz, at RATE; quick ones."""
    held = Clip(clip.waveform.clamp(-1, 1), clip.sample_rate)
    found = measure(held, ("pitch", "loudness", "brightness"), RATE, quick=True).values
    return {name: np.nan_to_num(values) for name, values in found.items()}


def same_pitch(heard: dict[str, np.ndarray], number: int) -> float:
    """1 where the median pitch is within 50 cents of a MIDI number, else 0."""
    voiced = _voiced(heard)
    if not voiced.any():
        return 0.0
    middle = float(np.median(heard["pitch"][voiced]))
    return float(abs(1200 * math.log2(middle / 440) - 100 * (number - 69)) < CENTS)


def melody_f1(heard: dict[str, np.ndarray], notes: Notes) -> float:
    """F1 of notes by mir_eval: begun within 100 ms, within 50 cents, ends not counted. NaN without it."""
    if find_spec("mir_eval") is None:
        return math.nan
    from mir_eval.transcription import precision_recall_f1_overlap

    found = transcribed(heard)
    if not found or not notes:
        return 0.0
    sides = []
    for side in (notes, found):
        spans = np.array([(a, max(b, a + 0.01)) for a, b, _ in side])
        sides += [spans, np.array([440.0 * 2 ** ((n - 69) / 12) for *_, n in side])]
    told = precision_recall_f1_overlap(
        *sides, onset_tolerance=ONSET_S, pitch_tolerance=CENTS, offset_ratio=None
    )
    return float(told[2])


def transcribed(heard: dict[str, np.ndarray]) -> list[tuple[float, float, int]]:
    """Notes of a melody of one voice: stretches of one semitone, 80 ms or longer."""
    voiced, pitch = _voiced(heard), heard["pitch"]
    numbers = np.where(voiced, np.round(69 + 12 * np.log2(np.maximum(pitch, 1.0) / 440)), -1).astype(int)
    wide = np.lib.stride_tricks.sliding_window_view(np.pad(numbers, 2, mode="edge"), 5)
    numbers = np.median(wide, axis=1).astype(int)
    edges = np.flatnonzero(np.diff(numbers, prepend=-2, append=-2))
    return [
        (a / RATE, b / RATE, int(numbers[a]))
        for a, b in zip(edges[:-1], edges[1:], strict=True)
        if numbers[a] > 0 and b - a >= _SHORTEST_S * RATE
    ]


def alike(heard: dict[str, np.ndarray], other: dict[str, np.ndarray], name: str) -> float:
    """Correlation over time of two sounds' loudness (dB), or brightness (octaves, where either is heard)."""
    one, two = heard[name], other[name]
    count = min(len(one), len(two))
    one, two = one[:count], two[:count]
    if name == "loudness":
        one, two = np.maximum(one, one.max() - 60), np.maximum(two, two.max() - 60)
    else:
        loud = _loud(heard)[:count] & _loud(other)[:count]
        if loud.sum() < 8:
            return 0.0
        one, two = (np.log2(np.maximum(values[loud], 20.0)) for values in (one, two))
    if one.std() < 1e-6 or two.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(one, two)[0, 1])


def _loud(heard: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(heard["loudness"] > heard["loudness"].max() - _QUIET_DB)


def _voiced(heard: dict[str, np.ndarray]) -> np.ndarray:
    return _loud(heard) & (heard["pitch"] > 0)
