"""Embeds sets of sounds and keeps what was heard on disk, so that a second run is quick."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip
from sonoconvert.files.hashes import sha256_of
from sonotrain.evaluation.embeddings.base import Embedded, Embedding
from sonotrain.evaluation.sets import Sound
from sonotrain.files.pace import Pace
from sonotrain.files.tensors import keep, kept

logger = logging.getLogger(__name__)

SILENT = 10 ** (-60 / 20)  # a clip whose peak is below −60 dBFS is counted as silent
BATCH = 8  # clips of one length that are embedded at once
TELL_S = 5.0  # seconds between two lines of progress

Progress = Callable[[int, int, str], None]


@dataclass
class Heard:
    """A set as an embedding hears it: vectors of clips [N, D] and of windows [W, D], logits [N, C] or None.

    sounds: the N clips that could be read; owners [W]: the clip of each window. skipped: (path, reason) of
    those that could not; rates: clips by their own sample rate; seconds: length of each clip as heard.
    """

    sounds: list[Sound]
    clips: Tensor
    windows: Tensor | None
    owners: list[int]
    logits: Tensor | None
    skipped: list[tuple[str, str]]
    rates: dict[int, int]
    seconds: list[float]
    silent: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sounds)


def heard_seconds(embedding: Embedding, seconds: float) -> float:
    """How much of a clip an embedding hears where `seconds` are asked for."""
    return min(seconds, embedding.longest_s or seconds)


class Store:
    """What was heard, on disk: one safetensors file per clip, found by its content and by the embedding.

    Damaged files are made anew. A folder of "" keeps nothing.
    """

    def __init__(self, folder: str | Path, embedding: Embedding, seconds: float) -> None:
        self.folder = Path(folder) if folder else None
        recipe = [embedding.name, embedding.version, embedding.hash, embedding.sample_rate, seconds]
        self.recipe = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]

    def path(self, sound: Path) -> Path | None:
        return self.folder / f"{sha256_of(sound)[:32]}-{self.recipe}.safetensors" if self.folder else None

    def read(self, path: Path | None) -> dict[str, Tensor] | None:
        found = kept(path) if path else None
        return found if found and {"clip", "facts"} <= found.keys() else None

    def write(self, path: Path | None, heard: dict[str, Tensor]) -> None:
        if path is not None:
            keep(path, heard)


def hear(
    sounds: Sequence[Sound],
    embedding: Embedding,
    *,
    cache: str | Path = "",
    seconds: float = 10.0,
    progress: Progress | None = None,
) -> Heard:
    """Embed the first `seconds` of each sound: mean of its channels, resampled by soxr (HQ).

    An embedding that hears less takes less. Unreadable files are passed over and listed. Raises
    SonopaintError where fewer than two are left.
    """
    seconds = heard_seconds(embedding, seconds)
    store = Store(cache, embedding, seconds)
    found: list[dict[str, Tensor] | None] = [None] * len(sounds)
    skipped: list[tuple[str, str]] = []
    waiting: list[tuple[int, Path | None, Tensor, Tensor]] = []
    pace = Pace(TELL_S)

    def embed_waiting() -> None:
        if not waiting:
            return
        result = embedding(torch.stack([waveform for *_, waveform, _ in waiting]))
        for row, (index, path, _, facts) in enumerate(waiting):
            heard = {"clip": result.clip[row], "facts": facts}
            if result.windows is not None:
                heard["windows"] = result.windows[row]
            if result.logits is not None:
                heard["logits"] = result.logits[row]
            store.write(path, heard)
            found[index] = heard
        waiting.clear()

    for index, sound in enumerate(sounds):
        try:
            path = store.path(sound.path)
            found[index] = store.read(path)
            read = None if found[index] is not None else _read(sound.path, embedding, seconds)
        except (SonopaintError, OSError) as error:
            skipped.append((str(sound.path), str(error)))
            logger.warning("passed over: %s", error)
            read = None
        if read is not None:
            waveform, facts = read
            if waiting and (len(waiting) == BATCH or waiting[0][2].shape != waveform.shape):
                embed_waiting()
            waiting.append((index, path, waveform, facts))
        done = index + 1
        if progress:
            progress(done, len(sounds), f"listening with {embedding.title}")
        if pace.due():
            left = pace.left(done, len(sounds) - done)
            logger.info("%s heard %d of %d clips, %s left", embedding.title, done, len(sounds), left)
    embed_waiting()
    return _gathered(sounds, found, skipped)


def hear_files(files: Sequence[Path], embedding: Embedding, cache: str | Path = "") -> Heard:
    """Embeds one file or more; SonopaintError for the first that can't be read."""
    sounds = [Sound(path, str(path)) for path in files]
    heard = hear(sounds * 2 if len(sounds) == 1 else sounds, embedding, cache=cache)  # a set of one is none
    if heard.skipped:
        raise SonopaintError(heard.skipped[0][1])
    return heard


def waves(clips: Iterable[Clip], rate: int, samples: int) -> Tensor:
    """Clips as mono waveforms [N, samples] at one rate, cut or filled up with silence."""
    rows = [clip.mono().resampled(rate).waveform[0, :samples] for clip in clips]
    return torch.stack([F.pad(row, (0, samples - len(row))) for row in rows])


def hear_waveforms(parts: Iterable[tuple[Tensor, Sequence[str]]], embedding: Embedding) -> Heard:
    """Embed sounds that are no files: parts of mono waveforms [N, T] at the embedding's rate, with labels.

    Whole clips only (no windows), of which one part at a time is held.
    """
    heard: list[Embedded] = []
    sounds: list[Sound] = []
    for waveforms, labels in parts:
        heard += [embedding(some) for some in waveforms.split(BATCH)]
        sounds += [Sound(Path(), "", label=label) for label in labels]
    logits = [part.logits for part in heard if part.logits is not None]
    clips = torch.cat([part.clip for part in heard])
    rates, seconds = {embedding.sample_rate: len(sounds)}, [0.0] * len(sounds)
    return Heard(sounds, clips, None, [], torch.cat(logits) if logits else None, [], rates, seconds)


def _read(path: Path, embedding: Embedding, seconds: float) -> tuple[Tensor, Tensor]:
    """(waveform [T] at the embedding's rate, [rate, seconds, peak])."""
    clip: Clip = read_clip(path, duration_s=seconds)
    facts = torch.tensor([clip.sample_rate, clip.duration_s, clip.waveform.abs().max().item()])
    waveform = clip.mono().resampled(embedding.sample_rate).waveform[0]
    return F.pad(waveform, (0, max(0, embedding.least_samples - len(waveform)))), facts


def _gathered(
    sounds: Sequence[Sound], found: Sequence[dict[str, Tensor] | None], skipped: list[tuple[str, str]]
) -> Heard:
    there = [(sound, heard) for sound, heard in zip(sounds, found, strict=True) if heard is not None]
    if len(there) < 2:
        reason = f" ({skipped[0][1]})" if skipped else ""
        raise SonopaintError(
            f"Only {len(there)} of {len(sounds)} sounds could be heard{reason}; at least two are needed."
        )
    parts = [heard["windows"] for _, heard in there if "windows" in heard]
    logits = [heard["logits"] for _, heard in there if "logits" in heard]
    facts = torch.stack([heard["facts"] for _, heard in there])
    return Heard(
        sounds=[sound for sound, _ in there],
        clips=torch.stack([heard["clip"] for _, heard in there]),
        windows=torch.cat(parts) if len(parts) == len(there) else None,
        owners=[index for index, part in enumerate(parts) for _ in range(len(part))],
        logits=torch.stack(logits) if len(logits) == len(there) else None,
        skipped=skipped,
        rates=dict(Counter(int(rate) for rate in facts[:, 0].tolist())),
        seconds=facts[:, 1].tolist(),
        silent=[index for index, peak in enumerate(facts[:, 2].tolist()) if peak < SILENT],
    )
