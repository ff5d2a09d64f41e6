"""Monophonic lines between C3 and C5: generated, or out of MIDI files; and their curves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sonoconvert.curves.midi import Note, read_midi
from sonoconvert.errors import SonopaintError
from sonopaint.models.jingles.controls import FINEST_HZ, HIGHEST, LOWEST

logger = logging.getLogger(__name__)

RATE_HZ = FINEST_HZ  # of the curves
GAP_S = 0.02  # between notes, so that one that is struck again shows
LEAST_NOTES = 3  # of an excerpt
SOFTEST = 0.12
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), tuple(range(12)))


def generated(seconds: float, rng: np.random.Generator) -> list[Note]:
    """A random walk over a scale with rests, at a tempo and in a register of its own."""
    scale = _SCALES[int(rng.integers(len(_SCALES)))]
    root = int(rng.integers(12))
    ladder = [n for n in range(LOWEST, HIGHEST + 1) if (n - root) % 12 in scale]
    beat = float(np.exp(rng.uniform(np.log(0.16), np.log(0.7))))
    place, time = int(rng.integers(len(ladder))), float(rng.uniform(0, 0.6))
    notes: list[Note] = []
    while time < seconds - 0.1:
        length = beat * float(rng.choice([0.5, 1, 1, 1, 2, 2, 3]))
        if rng.random() < 0.12:
            time += length
            continue
        held = max(0.08, length * float(rng.choice([1, 1, 1, 0.6])) - GAP_S)
        notes.append(Note(time, min(time + held, seconds), ladder[place], 1.0))
        step = int(rng.choice([-7, -4, -3, -2, -1, -1, 0, 1, 1, 2, 3, 4, 7]))
        place = min(max(place + step, 0), len(ladder) - 1)
        time += length
    return notes or [Note(0.2, seconds - 0.2, ladder[place], 1.0)]


def lines_of(path: str | Path) -> list[list[Note]]:
    """The monophonic lines of a MIDI file, one for each of its channels that is not drums: the highest note.

    Notes outside C3 … C5 move by octaves. SonopaintError where the file can't be read.
    """
    channels: dict[tuple[int, int], list[Note]] = {}
    for note in read_midi(path):
        channels.setdefault((note.channel, note.program), []).append(note)
    return [monophonic(notes) for notes in channels.values()]


def monophonic(notes: Sequence[Note]) -> list[Note]:
    """One note at a time: of those that begin together the highest, each until the next begins; C3 … C5."""
    found: list[Note] = []
    for note in sorted(notes, key=lambda n: (n.start_s, -n.number)):
        if found and note.start_s < found[-1].start_s + GAP_S:
            continue
        if found and note.start_s < found[-1].end_s + GAP_S:
            found[-1] = replace(found[-1], end_s=max(found[-1].start_s + GAP_S, note.start_s - GAP_S))
        number = note.number
        number += 12 * max(0, -((number - LOWEST) // 12))
        number -= 12 * max(0, -((HIGHEST - number) // 12))
        found.append(replace(note, number=number))
    return found


def excerpt(line: Sequence[Note], seconds: float, rng: np.random.Generator) -> list[Note] | None:
    """The notes from a random note on, moved to the beginning; None where too few come within `seconds`."""
    if len(line) < LEAST_NOTES:
        return None
    first = int(rng.integers(len(line) - LEAST_NOTES + 1))
    start = line[first].start_s - float(rng.uniform(0, 0.3))
    moved = [replace(n, start_s=n.start_s - start, end_s=n.end_s - start) for n in line[first:]]
    inside = [replace(n, end_s=min(n.end_s, seconds)) for n in moved if n.start_s < seconds - 0.1]
    return inside if len(inside) >= LEAST_NOTES else None


def swayed(notes: Sequence[Note], seconds: float, rng: np.random.Generator) -> list[Note]:
    """The notes with velocities on a sine of random phase and frequency, 1/(8T) … 8/T (§ 3.3.3)."""
    hertz = float(np.exp(rng.uniform(np.log(1 / (8 * seconds)), np.log(8 / seconds))))
    phase, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.43)
    middle = rng.uniform(SOFTEST + depth, 1 - depth)
    return [
        replace(n, velocity=float(middle + depth * np.sin(2 * np.pi * hertz * n.start_s + phase)))
        for n in notes
    ]


def curves_of(notes: Sequence[Note], seconds: float, rate: float = RATE_HZ) -> tuple[np.ndarray, np.ndarray]:
    """Pitch in Hz and velocity (0: none) of notes that don't overlap, each float32 [seconds · rate]."""
    count = round(seconds * rate)
    pitch, velocity = np.zeros(count, np.float32), np.zeros(count, np.float32)
    for note in notes:
        first = round(note.start_s * rate)
        last = max(round(note.end_s * rate), first + 1)
        pitch[first:last], velocity[first:last] = note.hertz, note.velocity
    return pitch, velocity


def stretches(pitch: np.ndarray) -> list[tuple[int, int]]:
    """First and last (exclusive) value of each stretch of one pitch in Hz (0: none) of a curve."""
    edges = np.flatnonzero(np.diff(pitch, prepend=-1.0, append=-1.0))
    return [(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True) if pitch[a] > 0]


class Melodies:
    """Where lines come from: a folder of MIDI files, or nothing but random numbers."""

    def __init__(self, folder: str | Path = "") -> None:
        self.lines: list[list[Note]] = []
        if not folder:
            return
        paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in (".mid", ".midi"))
        for path in paths:
            try:
                self.lines += [line for line in lines_of(path) if len(line) >= LEAST_NOTES]
            except SonopaintError as error:
                logger.warning("%s is left out: %s", path.name, error)
        if not self.lines:
            raise SonopaintError(f"{folder} holds no MIDI file with a line of {LEAST_NOTES} notes or more.")

    def draw(self, seconds: float, rng: np.random.Generator) -> list[Note]:
        """Notes of a clip, with their velocities."""
        for _ in range(50 if self.lines else 0):
            found = excerpt(self.lines[int(rng.integers(len(self.lines)))], seconds, rng)
            if found:
                return swayed(found, seconds, rng)
        return swayed(generated(seconds, rng), seconds, rng)
