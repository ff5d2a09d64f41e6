"""Notes written as text, "C4:0.5 E4:0.5 - G4:1", and notes as curves."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sonoconvert.curves.curves import Curves
from sonoconvert.curves.midi import Note
from sonoconvert.errors import SonopaintError
from sonopaint.models.jingles.controls import FINEST_HZ, HIGHEST, KIND, LOWEST

SECONDS, VELOCITY, GAP_S = 0.5, 0.7, 0.02
SOFTEST = 0.12  # velocity that a model has heard
LONGEST_S = 120.0
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11, "H": 11}
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_NOTE = re.compile(r"(?P<name>[A-Ha-h])(?P<sharp>[#♯b♭]?)(?P<octave>-?\d)|(?P<rest>[-_.])")
_NUMBER = re.compile(r"\d{1,9}(?:[.,]\d{0,9})?")


def parse_notes(text: str) -> list[Note]:
    """Notes one after another: NAME OCTAVE [:SECONDS[:VELOCITY]], "-" is a rest; C4 is middle C.

    What is not said is as long and loud as the note before (at first 0.5 s and 0.7 of 1). SonopaintError
    names the word that can't be read.
    """
    time, seconds, velocity = 0.0, SECONDS, VELOCITY
    notes: list[Note] = []
    for word in text.replace("|", " ").replace(";", " ").split():
        name, *numbers = word.split(":")
        found = _NOTE.fullmatch(name)
        if not found or len(numbers) > 2 or not all(map(_NUMBER.fullmatch, numbers)):
            raise SonopaintError(
                f"{word!r} is no note; write them as C4:0.5 F#4:1:0.8 - (name and octave, seconds, velocity "
                "up to 1; - is a rest)."
            )
        values = [float(number.replace(",", ".")) for number in numbers]
        seconds = values[0] if values else seconds
        velocity = values[1] if len(values) > 1 else velocity
        if not 0.02 <= seconds <= LONGEST_S or not 0 < velocity <= 1:
            raise SonopaintError(
                f"The note {word!r} must last from 0.02 to {LONGEST_S:g} s, its velocity be at most 1."
            )
        if not found["rest"]:
            number = _STEPS[found["name"].upper()] + 12 * (int(found["octave"]) + 1)
            number += {"#": 1, "♯": 1, "b": -1, "♭": -1}.get(found["sharp"], 0)
            end = time + max(seconds - GAP_S, seconds / 2)
            notes.append(Note(time, end, number, velocity))
        time += seconds
    if not notes:
        raise SonopaintError('There are no notes; write some, such as "C4:0.5 E4 G4 - C5:1".')
    if time > LONGEST_S:
        raise SonopaintError(f"The notes last {time:.0f} s; {LONGEST_S:g} s are the most.")
    return notes


def in_range(notes: Sequence[Note]) -> tuple[list[Note], int]:
    """The notes with those outside C3 … C5 moved by octaves, and how many of them were."""
    moved = [replace(n, number=_folded(n.number)) for n in notes]
    return moved, sum(a.number != b.number for a, b in zip(moved, notes, strict=True))


def _folded(number: int) -> int:
    while number < LOWEST:
        number += 12
    while number > HIGHEST:
        number -= 12
    return number


def curves_of_notes(
    notes: Sequence[Note], instrument: str = "", seconds: float = 0.0, rate: float = FINEST_HZ
) -> Curves:
    """pitch, velocity and kind:INSTRUMENT ("" leaves it free) of notes, one at a time.

    A later note cuts an earlier one. seconds: of the whole (0: half a second after the last note). Between
    notes there is silence, so that one that is struck again shows.
    """
    notes, moved = in_range(sorted(notes, key=lambda n: n.start_s))
    said: tuple[str, ...] = (f"{moved} notes outside C3 to C5 were moved by octaves.",) if moved else ()
    length = seconds or max(n.end_s for n in notes) + 0.5
    if length > LONGEST_S:
        said += (f"The notes last {length:.0f} s; the first {LONGEST_S:g} s are played.",)
        length = LONGEST_S
    count = math.ceil(length * rate)
    pitch, velocity = np.zeros(count, np.float32), np.zeros(count, np.float32)
    for number, note in enumerate(notes):
        first, last = (
            round(note.start_s * rate),
            max(round(note.end_s * rate), round(note.start_s * rate) + 1),
        )
        if number + 1 < len(notes):
            last = min(last, max(round((notes[number + 1].start_s - GAP_S) * rate), first + 1))
        pitch[first:], velocity[first:] = 0, 0
        pitch[first:last], velocity[first:last] = note.hertz, note.velocity
    values = {"pitch": pitch, "velocity": velocity}
    if instrument:
        values[KIND + instrument] = np.ones(count, np.float32)
    return Curves(rate, values, said)


def followed(curves: Curves) -> Curves:
    """What a jingle model follows of any curves: pitch moved by octaves to C3 … C5, velocity out of loudness.

    A recording's loudest moment is velocity 1, 30 dB below it SOFTEST; there is none where no pitch sounds.
    """
    values: dict[str, np.ndarray] = {n: v for n, v in curves.values.items() if n.startswith(KIND)}
    said: tuple[str, ...] = ()
    pitch = curves.values.get("pitch")
    if pitch is not None:
        voiced = pitch > 0
        if not voiced.any():
            raise SonopaintError("There is no pitch in it to play; give notes, or hum something.")
        number = 69 + 12 * np.log2(np.where(voiced, pitch, 440.0) / 440.0)
        moved = number + 12 * np.ceil((LOWEST - 0.5 - number).clip(0) / 12)
        moved = moved - 12 * np.ceil((moved - HIGHEST - 0.5).clip(0) / 12)
        if (np.abs(moved - number)[voiced] > 1).any():
            said += ("Notes outside C3 to C5 were moved by octaves.",)
        hertz = 440.0 * 2 ** ((moved.clip(LOWEST, HIGHEST) - 69) / 12)
        values["pitch"] = np.where(voiced, hertz, pitch).astype(np.float32)
    velocity, loudness = curves.values.get("velocity"), curves.values.get("loudness")
    if velocity is None and loudness is not None and not np.isnan(loudness).all():
        loud = np.nanmax(loudness)
        velocity = (1 + (loudness - loud) / 30 * (1 - SOFTEST)).clip(SOFTEST, 1).astype(np.float32)
        if pitch is not None:
            velocity = np.where(pitch == 0, 0, velocity).astype(np.float32)
    if velocity is not None:
        values["velocity"] = velocity
    if not values:
        raise SonopaintError("These curves hold neither pitch nor velocity nor loudness; give others.")
    return Curves(curves.rate, values, curves.notes + said)


def slots_of(notes: Sequence[Note]) -> list[dict[str, float]]:
    """Notes of `parse_notes` as a roll has them: start, seconds until the next, number, velocity."""
    return [
        {
            "start": round(n.start_s, 3),
            "seconds": round(n.end_s - n.start_s + min(GAP_S, n.end_s - n.start_s), 3),
            "number": _folded(n.number),
            "velocity": n.velocity,
        }
        for n in notes
    ]


def text_of(notes: Sequence[Note]) -> tuple[str, tuple[str, ...]]:
    """Notes as `parse_notes` reads them, one at a time, and what there is to say of it.

    Begins with the first note. SonopaintError where there is none.
    """
    if not notes:
        raise SonopaintError("The MIDI file holds no notes (drums aside); choose another.")
    first = min(n.start_s for n in notes)
    line: list[Note] = []
    chords = late = 0
    for note in sorted(notes, key=lambda n: (n.start_s, -n.number)):
        note = replace(note, start_s=note.start_s - first, end_s=note.end_s - first)
        if note.start_s >= LONGEST_S - 1:
            late += 1
        elif line and note.start_s < line[-1].start_s + 0.04:
            chords += 1  # the highest of those that begin together has come first
        else:
            if line and note.start_s < line[-1].end_s:
                line[-1] = replace(line[-1], end_s=note.start_s)
            line.append(note)
    moved, count = in_range(line)
    words, time = [], 0.0
    for k, note in enumerate(moved):
        if note.start_s - time > 0.02:
            words.append(f"-:{note.start_s - time:.3f}")
        else:
            note = replace(note, start_s=time)
        until = moved[k + 1].start_s if k + 1 < len(moved) else LONGEST_S - 1
        seconds = max(min(note.end_s + GAP_S, until) - note.start_s, 0.04)
        words.append(f"{_NAMES[note.number % 12]}{note.number // 12 - 1}:{seconds:.3f}:{note.velocity:.2f}")
        time = note.start_s + round(seconds, 3)
    said: tuple[str, ...] = ()
    if chords:
        said += ("Where several notes begin at once, the highest is played.",)
    if count:
        said += (f"{count} notes outside C3 to C5 were moved by octaves.",)
    if late:
        said += (f"{late} notes after the first {LONGEST_S - 1:.0f} s are left out.",)
    return " ".join(words), said
