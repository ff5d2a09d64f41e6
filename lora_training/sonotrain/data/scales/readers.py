"""Where labelled sounds come from: the corpus, single notes, melodies, and a user's NSynth and Slakh."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from torch import Tensor

from sonoconvert.curves.midi import Note, read_midi
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip, sound_header
from sonotrain.data.corpus import BATCH_CLIPS, SHARD_CLIPS, Corpus, shard_seed, sounds
from sonotrain.data.foley import SAMPLE_RATE
from sonotrain.data.pvt.build import PvtDataset, notes_and_sound
from sonotrain.data.pvt.instruments import INSTRUMENTS, render
from sonotrain.data.pvt.melodies import Melodies, stretches
from sonotrain.data.pvt.soundfont import SoundFont
from sonotrain.files.json_files import read_json

LOWEST, HIGHEST = 48, 72  # of the notes that are made here, as MIDI numbers


@dataclass(frozen=True)
class Sound:
    """A mono sound and what is known of it. kind: of event, or the instrument; notes: () where unknown.

    group: one for sounds of the same origin, among which kinds are told apart.
    """

    clip: Clip
    group: str
    kind: str
    notes: tuple[Note, ...] = ()


class Reader(Protocol):
    """Sounds by number; each hangs on its number and the reader's settings alone."""

    def __len__(self) -> int: ...

    def sound(self, number: int) -> Sound: ...


class CorpusReader:
    """The first sounds of a corpus of `sonotrain base corpus`, made again from its seed."""

    def __init__(self, folder: str | Path, limit: int) -> None:
        corpus = Corpus(folder)
        if corpus.boxes is not None:
            raise SonopaintError(f"{folder} holds scenes; give a corpus of single events.")
        self.records = corpus.records
        self.settings = read_json(Path(folder) / "corpus.json")
        self.count = min(limit, len(self.records))

    def __len__(self) -> int:
        return self.count

    def sound(self, number: int) -> Sound:
        shard, place = divmod(number, SHARD_CLIPS)
        part = place // BATCH_CLIPS
        in_shard = min(SHARD_CLIPS, len(self.records) - shard * SHARD_CLIPS)
        size = min(BATCH_CLIPS, in_shard - part * BATCH_CLIPS)
        settings = (int(self.settings["seed"]), str(self.settings.get("content", "base")))
        wave = _corpus_batch(*settings, shard, part, size)[place % BATCH_CLIPS]
        return Sound(Clip(wave[None], SAMPLE_RATE), "corpus", " + ".join(self.records[number].kinds))


@lru_cache(maxsize=1)
def _corpus_batch(seed: int, content: str, shard: int, part: int, size: int) -> Tensor:
    return sounds(size, shard_seed(seed, shard, part), content).waveforms


@dataclass(frozen=True)
class InstrumentReader:
    """Sounds of the corpus's instruments in turn; a subclass says of which notes."""

    count: int
    seconds: float
    seed: int = 0

    group: ClassVar[str]
    salt: ClassVar[int]

    def __len__(self) -> int:
        return self.count

    def notes(self, rng: np.random.Generator) -> Sequence[Note]:
        raise NotImplementedError

    def sound(self, number: int) -> Sound:
        rng = np.random.default_rng((self.seed, number, self.salt))
        name = list(INSTRUMENTS)[number % len(INSTRUMENTS)]
        notes = self.notes(rng)
        wave = render(name, notes, self.seconds, rng)
        return Sound(Clip(wave[None], SAMPLE_RATE), self.group, name, tuple(notes))


class NoteReader(InstrumentReader):
    """Single notes of the corpus's instruments, as NSynth has them of real ones."""

    group, salt = "notes", 7

    def notes(self, rng: np.random.Generator) -> Sequence[Note]:
        start, length = rng.uniform(0.0, 0.3), rng.uniform(0.5, 0.75) * self.seconds
        pitch = int(rng.integers(LOWEST, HIGHEST + 1))
        return [Note(start, start + length, pitch, float(rng.uniform(0.3, 1.0)))]


class TuneReader(InstrumentReader):
    """Melodies that were never in a dataset, of the corpus's instruments."""

    group, salt = "melodies", 8

    def notes(self, rng: np.random.Generator) -> Sequence[Note]:
        return Melodies().draw(self.seconds, rng)


class MelodyReader:
    """Melodies of a dataset of `sonotrain jingles dataset`, played again."""

    def __init__(self, folder: str | Path, limit: int) -> None:
        self.data = PvtDataset(folder, _any_space(folder))
        # Shards that were made are numbered; some may be missing.
        self.numbers = [
            int(path.stem.split("-")[1]) * 100 + place
            for path in sorted(Path(folder).glob("shard-*.safetensors"))
            for place in range(100)
        ][: min(limit, len(self.data.kind))]
        self.settings = self.data.settings
        self.melodies = Melodies(self.settings["midi"])
        own = self.settings["soundfont"] == "own"
        self.font = None if own else SoundFont(self.settings["soundfont"])

    def __len__(self) -> int:
        return len(self.numbers)

    def sound(self, number: int) -> Sound:
        pitch, velocity, kind, wave = notes_and_sound(
            self.settings, self.numbers[number], self.melodies, self.font
        )
        rate = len(pitch) / float(self.settings["seconds"])
        notes = tuple(_notes(pitch, velocity, rate))
        return Sound(
            Clip(wave[None], SAMPLE_RATE), "melodies", str(self.settings["instruments"][kind]), notes
        )


class NSynthReader:
    """A folder of NSynth as it is unpacked: examples.json beside audio/."""

    def __init__(self, folder: str | Path, limit: int) -> None:
        self.folder = Path(folder)
        try:
            told: dict[str, dict[str, Any]] = json.loads(
                (self.folder / "examples.json").read_text(encoding="utf-8")
            )
            found = [
                (name, int(facts["pitch"]), str(facts["instrument_family_str"]), float(facts["velocity"]))
                for name, facts in sorted(told.items())
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SonopaintError(
                f"{folder} is no folder of NSynth ({error}); it has examples.json and audio/ in it."
            ) from error
        every = max(1, len(found) // max(limit, 1))
        self.found = found[::every][:limit]

    def __len__(self) -> int:
        return len(self.found)

    def sound(self, number: int) -> Sound:
        name, pitch, family, velocity = self.found[number]
        clip = read_clip(self.folder / "audio" / f"{name}.wav")
        note = Note(0.0, min(3.0, clip.duration_s), pitch, max(velocity, 1) / 127)  # held for 3 s
        return Sound(clip.mono(), "nsynth", family, (note,))


class SlakhReader:
    """A folder of Slakh's tracks: pieces of its stems that are no drums, with their MIDI."""

    def __init__(self, folder: str | Path, limit: int, seconds: float) -> None:
        import yaml

        self.seconds = seconds
        stems: list[tuple[Path, Path, str]] = []
        for path in sorted(Path(folder).rglob("metadata.yaml")):
            try:
                told = yaml.safe_load(path.read_text(encoding="utf-8"))["stems"]
                for name, facts in sorted(told.items()):
                    sound = next(iter(sorted((path.parent / "stems").glob(f"{name}.*"))), None)
                    notes = path.parent / "MIDI" / f"{name}.mid"
                    if not facts["is_drum"] and sound is not None and notes.is_file():
                        stems.append((sound, notes, str(facts["inst_class"])))
            except (OSError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
                raise SonopaintError(f"{path} is no description of a Slakh track ({error}).") from error
        if not stems:
            raise SonopaintError(
                f"{folder} holds no track of Slakh; a track has metadata.yaml, stems/ and MIDI/ in it."
            )
        self.pieces = _spread([_pieces(*stem, seconds) for stem in stems], limit)

    def __len__(self) -> int:
        return len(self.pieces)

    def sound(self, number: int) -> Sound:
        path, midi, kind, start = self.pieces[number]
        clip = read_clip(path, start_s=start, duration_s=self.seconds).mono()
        return Sound(clip, "slakh", kind, tuple(_within(_read_notes(midi), start, self.seconds)))


Piece = tuple[Path, Path, str, float]


def _pieces(sound: Path, midi: Path, kind: str, seconds: float) -> list[Piece]:
    """Where something is played, one after the other."""
    header = sound_header(sound)
    ends = header.frames / header.sample_rate
    starts = [seconds * n for n in range(max(0, math.floor(ends / seconds)))]
    notes = _read_notes(midi)
    return [(sound, midi, kind, s) for s in starts if _within(notes, s, seconds)]


def _spread(groups: Sequence[list[Piece]], limit: int) -> list[Piece]:
    """In turn of each stem, so that a few pieces are of many instruments."""
    longest = max(map(len, groups))
    return [group[n] for n in range(longest) for group in groups if n < len(group)][:limit]


@lru_cache(maxsize=8)
def _read_notes(path: Path) -> list[Note]:
    return read_midi(path)


def _within(notes: Sequence[Note], start: float, seconds: float) -> list[Note]:
    return [
        Note(max(n.start_s - start, 0), min(n.end_s - start, seconds), n.number, n.velocity)
        for n in notes
        if n.start_s < start + seconds and n.end_s > start
    ]


def _notes(pitch: np.ndarray, velocity: np.ndarray, rate: float) -> list[Note]:
    """Of a curve in Hz (0: none)."""
    return [
        Note(a / rate, b / rate, round(69 + 12 * math.log2(pitch[a] / 440)), float(velocity[a]))
        for a, b in stretches(pitch)
    ]


def _any_space(folder: str | Path) -> str:
    path = Path(folder) / "dataset.json"
    return str(read_json(path)["spaces"][0]) if path.is_file() else ""
