"""Held-out melodies of a dataset, played by a model: clips, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sonoconvert.files.clip import Clip, write_clip
from sonopaint.jingles.make import sample_data
from sonopaint.models.jingles.file import Jingle
from sonopaint.samplers.edm import EdmSettings
from sonotrain.data.pvt.build import PvtDataset

AT_ONCE = 8


@dataclass(frozen=True)
class Played:
    """seconds, decoding: processor seconds of sampling and of turning into sound, for all clips."""

    clips: list[Clip]
    seconds: float
    decoding: float


def play(
    jingle: Jingle,
    dataset: PvtDataset,
    numbers: Sequence[int],
    seed: int = 0,
    settings: EdmSettings | None = None,
) -> Played:
    """The melodies of the dataset's clips `numbers`, eight at once, as long as they are there."""
    space = jingle.representation(dataset.settings["codec"])
    samples = round(dataset.seconds * space.sample_rate)
    shape = space.shape(samples)
    clips: list[Clip] = []
    seconds = decoding = 0.0
    for first in range(0, len(numbers), AT_ONCE):
        part = list(numbers[first : first + AT_ONCE])
        arrays = dataset.curves(part, shape[-1] * jingle.controls.fold, jingle.controls.rate)
        facts = arrays[2][..., 0] if jingle.network.config["global_size"] else None  # type: ignore[index]
        start = time.process_time()
        data = sample_data(
            jingle, shape, jingle.controls.tensor(*arrays), [seed + n for n in part], facts, settings
        )
        seconds += time.process_time() - start
        start = time.process_time()
        clips += [space.decode(one, samples) for one in data]
        decoding += time.process_time() - start
    return Played(clips, seconds, decoding)


def real_clips(dataset: PvtDataset, numbers: Sequence[int]) -> list[Clip]:
    """The dataset's own sounds."""
    return [Clip(sound[None], 32_000) for sound in dataset.audio(numbers)]


def write_all(clips: Sequence[Clip], folder: str | Path, name: str) -> list[Path]:
    """folder/NAME-01.wav …"""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}-{number:02d}.wav" for number in range(1, len(clips) + 1)]
    for clip, path in zip(clips, paths, strict=True):
        write_clip(clip, path, force=True)
    return paths
