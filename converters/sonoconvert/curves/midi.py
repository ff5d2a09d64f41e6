"""Notes of standard MIDI files (types 0 and 1), read without another package, and curves from them."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sonoconvert.curves.curves import LONGEST_S, RATE_HZ, Curves, chroma_and_octave
from sonoconvert.errors import SonopaintError

QUIETEST_DB = -60.0
_MOST_BYTES = 1 << 25


@dataclass(frozen=True)
class Note:
    """One note: MIDI number (69 = A4 = 440 Hz), velocity in (0, 1], channel and program from 0."""

    start_s: float
    end_s: float
    number: int
    velocity: float
    channel: int = 0
    program: int = 0

    @property
    def hertz(self) -> float:
        return float(440.0 * 2 ** ((self.number - 69) / 12))


def read_midi(path: str | os.PathLike[str]) -> list[Note]:
    """All notes of a MIDI file but those of the drum channel, by their start.

    Raises SonopaintError for files that are no MIDI, or damaged.
    """
    path = Path(path)
    if path.stat().st_size > _MOST_BYTES:
        raise SonopaintError(f"{path} is too large for a MIDI file.")
    data = path.read_bytes()
    try:
        return _notes(data)
    except (struct.error, IndexError, ValueError) as error:
        raise SonopaintError(
            f"{path} is no MIDI file that can be read ({error}); export it again."
        ) from error


def midi_curves(
    notes: list[Note], rate: float = RATE_HZ, low: int = 24, high: int = 108, seconds: float | None = None
) -> Curves:
    """pitch, loudness, velocity, onsets, chroma and octave of notes, one at a time: the highest that sounds.

    Notes outside `low` … `high` (MIDI numbers) are moved by octaves. Velocities become −60 … 0 dB with their
    square. Raises SonopaintError where there are no notes; what was changed is in the curves' notes.
    """
    said = []
    if not notes:
        raise SonopaintError("The MIDI file holds no notes (drums aside); choose another.")
    end = max(note.end_s for note in notes)
    length = min(end, seconds or end)
    if length > LONGEST_S:
        said.append(f"The MIDI file lasts {length / 60:.0f} minutes; its first hour is used.")
        length = LONGEST_S
    frames = max(1, round(length * rate))
    pitch, velocity, onsets, top = (np.zeros(frames, np.float32) for _ in range(4))
    moved = 0
    for note in sorted(notes, key=lambda n: n.start_s):
        first, last = (
            round(note.start_s * rate),
            max(round(note.end_s * rate), round(note.start_s * rate) + 1),
        )
        if first >= frames:
            continue
        last = min(last, frames)
        number = note.number
        while number < low:
            number += 12
        while number > high:
            number -= 12
        moved += number != note.number
        wins = top[first:last] < number
        pitch[first:last][wins] = 440.0 * 2 ** ((number - 69) / 12)
        velocity[first:last][wins] = note.velocity
        top[first:last][wins] = number
        if wins[0]:
            onsets[first] = 1.0
    if any(a.end_s > b.start_s + 0.05 for a, b in zip(_by_start(notes), _by_start(notes)[1:], strict=False)):
        said.append("Where several notes sound at once, the highest is taken.")
    if moved:
        said.append(f"{moved} notes were out of range and were moved by octaves.")
    loudness = np.maximum(40 * np.log10(np.maximum(velocity, 1e-3)), QUIETEST_DB)
    values = {"pitch": pitch, "loudness": loudness, "velocity": velocity, "onsets": onsets}
    return Curves(rate, values | chroma_and_octave(pitch), tuple(said))


def _by_start(notes: list[Note]) -> list[Note]:
    return sorted(notes, key=lambda note: note.start_s)


def _notes(data: bytes) -> list[Note]:
    if data[:4] != b"MThd":
        raise ValueError("no header")
    size, form, count, division = struct.unpack(">IHHh", data[4:14])
    if form > 1 or not division:
        raise ValueError(f"type {form}")
    place = 8 + size
    events: list[tuple[int, int, int, tuple[int, ...]]] = []  # tick, order, track, bytes
    for track in range(count):
        if data[place : place + 4] != b"MTrk":
            break  # cut off: what was there is used
        length = struct.unpack(">I", data[place + 4 : place + 8])[0]
        with suppress(IndexError):  # cut off within an event: what came before is used
            _track(data[place + 8 : place + 8 + length], track, events)
        place += 8 + length
    events.sort(key=lambda event: (event[0], event[1]))
    return _sounding(events, division)


def _track(data: bytes, track: int, events: list[tuple[int, int, int, tuple[int, ...]]]) -> None:
    place = tick = status = 0

    def number() -> int:
        nonlocal place
        value = 0
        for _ in range(4):
            byte = data[place]
            place += 1
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
        raise ValueError("a number has no end")

    while place < len(data):
        tick += number()
        if data[place] >= 0x80:
            status = data[place]
            place += 1
        if status in (0xF0, 0xF7):
            place += number()
        elif status == 0xFF:
            kind = data[place]
            place += 1
            length = number()
            if kind == 0x51 and length == 3:
                events.append((tick, 0, track, (0xFF, *data[place : place + 3])))
            place += length
        elif status >= 0x80:
            width = 1 if 0xC0 <= status < 0xE0 else 2
            values = tuple(data[place : place + width])
            if len(values) < width:
                return  # cut off within an event
            place += width
            off = status >> 4 == 8 or (status >> 4 == 9 and values[1] == 0)
            events.append((tick, 1 if off else 2, track, (status, *values)))
        else:
            raise ValueError("data without an event")


def _sounding(events: list[tuple[int, int, int, tuple[int, ...]]], division: int) -> list[Note]:
    """Notes out of events in order: ticks become seconds by the tempo (or by SMPTE frames)."""
    beat = 0.5  # seconds a quarter
    per_tick = beat / division if division > 0 else 1 / (-(division >> 8) * (division & 0xFF))
    now, last = 0.0, 0
    programs: dict[int, int] = {}
    begun: dict[tuple[int, int, int], list[tuple[float, float]]] = {}
    notes = []
    for tick, _, track, values in events:
        now += (tick - last) * per_tick
        last = tick
        if values[0] == 0xFF:
            if division > 0:
                per_tick = (values[1] << 16 | values[2] << 8 | values[3]) / 1e6 / division
            continue
        kind, channel = values[0] >> 4, values[0] & 15
        if kind == 0xC:
            programs[channel] = values[1]
        if kind not in (8, 9) or channel == 9:
            continue
        key = (track, channel, values[1])
        if kind == 9 and values[2]:
            begun.setdefault(key, []).append((now, values[2] / 127))
        elif begun.get(key):
            start, velocity = begun[key].pop(0)
            if now > start:
                notes.append(Note(start, now, values[1], velocity, channel, programs.get(channel, 0)))
    for (_, channel, note), open_ones in begun.items():  # never let go
        notes += [
            Note(s, max(now, s + 0.1), note, v, channel, programs.get(channel, 0)) for s, v in open_ones
        ]
    return _by_start(notes)
