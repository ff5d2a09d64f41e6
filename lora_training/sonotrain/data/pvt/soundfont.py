"""Notes through FluidSynth and a soundfont of the user's or the system's (`pip install sonopaint[midi]`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sonoconvert.curves.midi import Note
from sonoconvert.errors import SonopaintError, setting

RATE = 32_000
# General MIDI programs, from 0, of the instruments that may be asked for.
PROGRAMS = {
    "piano": 0, "guitar": 24, "violin": 40, "cello": 42, "trumpet": 56, "saxophone": 65, "clarinet": 71,
    "flute": 73,
}  # fmt: skip
FOLDERS = ("/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/usr/share/soundfonts")


def system_soundfont() -> Path | None:
    """The largest soundfont that the system has: it sounds best."""
    found = [p for folder in FOLDERS for p in Path(folder).glob("*.sf[23]") if p.is_file()]
    return max(found, key=lambda p: p.stat().st_size, default=None)


class SoundFont:
    """A synthesiser with a soundfont; close it when it is done."""

    def __init__(self, path: str | Path) -> None:
        try:
            import fluidsynth
        except (ImportError, OSError) as error:
            raise SonopaintError(
                "Soundfonts need FluidSynth and its binding: install the system's package fluidsynth, and "
                "pip install pyfluidsynth."
            ) from error
        if not Path(path).is_file():
            raise SonopaintError(
                f"There is no soundfont {path}; name a .sf2 file with {setting('soundfont')}."
            )
        self.synth: Any = fluidsynth.Synth(gain=0.6, samplerate=float(RATE))
        self.font = self.synth.sfload(str(path))
        if self.font < 0:
            raise SonopaintError(f"{path} can't be read as a soundfont; choose another.")

    def render(self, name: str, notes: Sequence[Note], seconds: float) -> Tensor:
        """Float32 [samples] at 32 kHz, the mean of both channels."""
        if name not in PROGRAMS:
            raise SonopaintError(f"There is no instrument {name!r}; choose from {', '.join(PROGRAMS)}.")
        self.synth.system_reset()
        self.synth.program_select(0, self.font, 0, PROGRAMS[name])
        events = [(n.start_s, 1, n) for n in notes] + [(n.end_s, 0, n) for n in notes]
        done, parts = 0, []
        for time, kind, note in sorted(events, key=lambda e: e[:2]):
            parts.append(self._advance(round(time * RATE) - done))
            done = max(done, round(time * RATE))
            if kind:
                self.synth.noteon(0, note.number, max(1, round(note.velocity * 127)))
            else:
                self.synth.noteoff(0, note.number)
        samples = round(seconds * RATE)
        parts.append(self._advance(samples - done))
        return torch.from_numpy(np.concatenate(parts)[:samples].astype(np.float32) / 32768)

    def _advance(self, samples: int) -> np.ndarray:
        if samples <= 0:
            return np.zeros(0)
        return np.asarray(self.synth.get_samples(samples), np.float64).reshape(-1, 2).mean(1)

    def close(self) -> None:
        self.synth.delete()
