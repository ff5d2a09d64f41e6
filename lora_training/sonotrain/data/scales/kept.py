"""Labelled sounds as latents and mels, made once and kept: shards in a folder, and labels beside them.

data.json says of what; shard-00000.safetensors … hold `latents` fp16 [N, C, T], `mel` uint8 [N, 128, M] of
the same time (`models.blend.pyramid.to_bytes`), `roll` uint8 [N, 128, T] of the notes (255: unknown), and of
the sounds that are not learnt from `audio` int16 at 32 kHz; shard-00000.jsonl groups, kinds and pitches.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import write_text
from sonoconvert.files.clip import Clip
from sonopaint.blend.blending import LOUDEST
from sonopaint.models.blend.pyramid import fine_mel, to_bytes
from sonopaint.models.jingles.spaces import open_space
from sonotrain.data.scales.readers import (
    CorpusReader,
    MelodyReader,
    NoteReader,
    NSynthReader,
    Reader,
    SlakhReader,
    Sound,
    TuneReader,
)
from sonotrain.files.json_files import read_json, write_json
from sonotrain.files.pace import Pace
from sonotrain.files.tensors import keep

logger = logging.getLogger(__name__)

SHARD = 100  # sounds
HELD = 10  # of so many sounds the last one is not learnt from
RATE = 32_000  # of the kept audio
UNKNOWN = 255


@dataclass(frozen=True)
class Wanted:
    """What a folder holds. `…_clips`: at most so many; empty folders: none of these."""

    corpus: str = "runs/corpus"
    clips: int = 1500
    notes: int = 200
    tunes: int = 0
    melodies: str = ""
    melody_clips: int = 300
    nsynth: str = ""
    nsynth_clips: int = 2000
    slakh: str = ""
    slakh_clips: int = 2000
    seconds: float = 5.12
    space: str = "latents"
    codec: str = ""
    seed: int = 0

    def readers(self) -> list[Reader]:
        found: list[Reader] = []
        if self.corpus and self.clips:
            found.append(CorpusReader(self.corpus, self.clips))
        if self.notes:
            found.append(NoteReader(self.notes, self.seconds, self.seed))
        if self.tunes:
            found.append(TuneReader(self.tunes, self.seconds, self.seed))
        if self.melodies and self.melody_clips:
            found.append(MelodyReader(self.melodies, self.melody_clips))
        if self.nsynth and self.nsynth_clips:
            found.append(NSynthReader(self.nsynth, self.nsynth_clips))
        if self.slakh and self.slakh_clips:
            found.append(SlakhReader(self.slakh, self.slakh_clips, self.seconds))
        if sum(map(len, found)) < 2 * HELD:
            raise SonopaintError(
                f"{2 * HELD} sounds or more are needed; give a corpus, notes, melodies, NSynth or Slakh."
            )
        return found


@dataclass(frozen=True)
class Labels:
    """Of a sound. pitch: MIDI number of a single note, −1 where it is none.

    notes: seconds of beginning and end, and MIDI number.
    """

    group: str
    kind: str
    pitch: int
    notes: Sequence[tuple[float, float, int]] = ()


class Kept:
    """What a folder keeps, in memory; `make` fills it.

    learnt, held: numbers of the sounds to learn from, and of the others.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "data.json").is_file():
            raise SonopaintError(f'{folder} holds no sounds; "sonotrain blend train" makes such a folder.')
        self.settings: dict[str, Any] = read_json(self.folder / "data.json")
        paths = sorted(self.folder.glob("shard-*.safetensors"))
        try:
            shards = [load_file(path) for path in paths]
            lines = [path.with_suffix(".jsonl").read_text(encoding="utf-8") for path in paths]
            self.labels = [Labels(**json.loads(line)) for text in lines for line in text.splitlines()]
            self.latents, self.mel, self.roll = (
                torch.cat([shard[name] for shard in shards]) for name in ("latents", "mel", "roll")
            )
            self._audio = torch.cat([shard["audio"] for shard in shards])
        except (OSError, SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise SonopaintError(
                f"{folder} is damaged ({error}); delete it, and train again to make it anew."
            ) from error
        count = len(self.labels)
        self.learnt = [i for i in range(count) if i % HELD != HELD - 1]
        self.held = [i for i in range(count) if i % HELD == HELD - 1]

    @property
    def frames(self) -> int:
        return self.latents.shape[-1]

    def audio(self, number: int) -> Clip:
        """Of a held-out sound."""
        return Clip(self._audio[number // HELD][None].float() / 32767, RATE)


def make(folder: str | Path, wanted: Wanted) -> Kept:
    """The folder's sounds; those that are missing are made. SonopaintError where it holds others."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path, told = folder / "data.json", asdict(wanted)
    found = asdict(Wanted()) | read_json(path) if path.is_file() else told
    if found != told:
        name = next(name for name in told if found[name] != told[name])
        raise SonopaintError(
            f"{folder} was made with {name} {found[name]!r}, not {told[name]!r}; choose another "
            f"{setting('cache')}, or the same options."
        )
    write_json(path, told)
    readers, pace, made = wanted.readers(), Pace(), 0
    places = [(reader, number) for reader in readers for number in range(len(reader))]
    for shard, first in enumerate(range(0, len(places), SHARD)):
        path = folder / f"shard-{shard:05d}.safetensors"
        if path.is_file():
            continue
        part = places[first : first + SHARD]
        tensors, labels = _made([reader.sound(number) for reader, number in part], first, wanted)
        lines = "".join(json.dumps(asdict(one)) + "\n" for one in labels)
        write_text(path.with_suffix(".jsonl"), lines, force=True)
        keep(path, tensors)
        made += len(part)
        done = first + len(part)
        logger.info("%d of %d sounds, %s left", done, len(places), pace.left(made, len(places) - done))
    return Kept(folder)


def _made(found: Sequence[Sound], first: int, wanted: Wanted) -> tuple[dict[str, Tensor], list[Labels]]:
    space = open_space(wanted.space, codec=wanted.codec)
    samples = round(wanted.seconds * space.sample_rate)
    frames = space.shape(samples)[-1]
    columns: dict[str, list[Tensor]] = {"latents": [], "mel": [], "roll": [], "audio": []}
    labels = []
    for number, sound in enumerate(found, first):
        clip = even(sound.clip, wanted.seconds)
        columns["latents"].append(space.encode(clip).half())
        columns["mel"].append(to_bytes(fine_mel(clip, frames / space.frame_rate)))
        columns["roll"].append(_roll(sound, frames, space.frame_rate))
        if number % HELD == HELD - 1:
            columns["audio"].append((clip.resampled(RATE).waveform[0] * 32767).round().short())
        single = sound.notes[0].number if len(sound.notes) == 1 else -1
        notes = [(round(n.start_s, 4), round(n.end_s, 4), n.number) for n in sound.notes]
        labels.append(Labels(sound.group, sound.kind, single, notes))
    length = round(wanted.seconds * RATE)
    columns["audio"] = [F.pad(a, (0, length - len(a)))[:length] for a in columns["audio"]]
    tensors = {name: torch.stack(rows) for name, rows in columns.items() if rows}
    tensors.setdefault("audio", torch.zeros(0, length, dtype=torch.int16))
    return tensors, labels


def even(clip: Clip, seconds: float) -> Clip:
    """Of the length, mono, with the peak that sounds are brought to before they are blended."""
    wave = clip.mono().waveform
    wave = wave[:, : round(seconds * clip.sample_rate)]
    wave = F.pad(wave, (0, round(seconds * clip.sample_rate) - wave.shape[1]))
    return Clip(wave * (LOUDEST / float(wave.abs().max().clamp_min(1e-4))), clip.sample_rate)


def _roll(sound: Sound, frames: int, rate: float) -> Tensor:
    """1 where a note sounds in half of a frame or more; UNKNOWN all over where notes aren't known."""
    if not sound.notes:
        return torch.full((128, frames), UNKNOWN, dtype=torch.uint8)
    roll = torch.zeros(128, frames, dtype=torch.uint8)
    edges = torch.arange(frames + 1) / rate
    for note in sound.notes:
        inside = (edges[1:].clamp_max(note.end_s) - edges[:-1].clamp_min(note.start_s)) * rate
        roll[note.number] |= (inside >= 0.5).to(torch.uint8)
    return roll
