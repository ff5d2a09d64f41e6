"""Repainting as a user hears it: is there a sound in the mark, the right one, at a fitting level, no clicks?

    python benchmarks/repaint.py [--kinds N|A,B] [--boxes N] [--seeds N] [--contexts A,B] [--one-step]
    [--judge FILE]

Each kind of the foley corpus is painted in its plainest words into each context (a tune, speech by espeak-ng
or a synthesised voice, noise, near silence; 6 s each) and each box; beds of sound (rain, sea, engine …) also
into a recording of their own kind. Judged inside the box alone, by what the judge of parts hears (of
weights/classifier) when the box's content stands at the start of silence:

silent: the loudest 50 ms are 25 dB below the recording's own loudest 50 ms (or below −50 dBFS). top-1, top-3:
the kind is the judge's first, among its first three. level: RMS in the box over that of the second on either
side, in dB (median). bed: the same for beds in their own kind, without sign. click: how far 2 ms at a border
stand out (edit.py) more than they did in the source, mean and worst of the cases; a click is above 0 dB.
full: results with samples at full scale. outside: samples that differ outside the box and its feather. again:
how many were painted twice. s: seconds of processor time. "real": corpus clips cut to the same boxes, the
best that could be painted; "in noise": and laid over that context, 11 dB above it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from edit import click_db
from scipy.signal import butter, sosfiltfilt
from sounds import RATE, synthesised

from sonoconvert.edits.region import Box, Region
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonopaint.models.loading import load_model
from sonopaint.models.students import with_student
from sonopaint.tasks import PaintSettings, extend, inpaint
from sonotrain.data import foley
from sonotrain.data.foley.kinds import KINDS
from sonotrain.trainers.mini.sound_classifier import (
    PARTS,
    SoundClassifier,
    load_classifier,
    shipped_classifier,
)

SECONDS = 6.0
FEATHER_S = 0.05
HEARD_S = 5.12  # what the judge hears
SILENT_DB, SILENT_DBFS = 25.0, -50.0
FIRST = ["dog_bark", "glass_break", "ocean_waves", "car_horn", "rain", "cat_meow", "piano", "engine"]
BEDS = ["rain", "wind", "ocean_waves", "stream", "forest_ambience", "engine", "crickets", "helicopter"]
OVER_DB = 11.0  # the middle of what an event stands out of a bed
CONTEXTS = ["tune", "speech", "noise", "silence"]
TEXT = "One recording of a voice that reads a rather long sentence, of which a part is painted over again."


class Place(NamedTuple):
    """What is painted: a box of a recording, or seconds added to it on a side."""

    name: str
    box: Box
    side: str = ""


PLACES = [
    Place("middle, 1 s", Box(2.5, 3.5)),
    Place("band, 2 s", Box(1.0, 3.0, 200, 6000)),
    Place("right, 2 s", Box(SECONDS, SECONDS + 2), "right"),
    Place("late, 1.5 s", Box(4.2, 5.7)),
    Place("left, 2 s", Box(0.0, 2.0), "left"),
    Place("early, 1 s", Box(0.2, 1.2)),
    Place("short, 0.3 s", Box(3.0, 3.3)),
    Place("long, 4 s", Box(1.0, 5.0)),
]


def context(name: str) -> np.ndarray:
    """float32 [SECONDS · RATE], as loud as recordings are."""
    count, noise = round(SECONDS * RATE), np.random.default_rng(5)
    t = np.arange(count) / RATE
    if name == "tune":
        notes = 220 * 2 ** (noise.permutation(np.repeat([0, 3, 5, 7, 10, 12], 3))[: int(SECONDS / 0.35)] / 12)
        sound = sum(
            np.sin(2 * np.pi * pitch * k * (t - s)) * np.exp(-(t - s).clip(0) * (2 + k)) * (t >= s) / k
            for pitch, s in zip(notes, np.arange(len(notes)) * 0.35, strict=True)
            for k in range(1, 8)
        )
    elif name == "speech":
        sound = voice(count)
    elif name == "noise":  # pink
        spectrum = np.fft.rfft(noise.standard_normal(count)) / np.sqrt(np.fft.rfftfreq(count).clip(1e-4))
        return dbfs(np.fft.irfft(spectrum, count), -30)
    elif name == "silence":
        return dbfs(noise.standard_normal(count), -65)
    else:  # a bed of this kind
        sound, _ = foley.synthesise(name, 2, torch.Generator().manual_seed(77))
        joined = torch.cat([sound[0][:-8000], sound[1]])[None]  # longer than one clip
        sound = Clip(joined, foley.SAMPLE_RATE).resampled(RATE).waveform[0, :count].numpy()
        return dbfs(sound, -26)
    return (0.5 * sound / np.abs(sound).max() + dbfs(noise.standard_normal(count), -70)).astype(np.float32)


def voice(count: int) -> np.ndarray:
    program = shutil.which("espeak-ng")
    if program is None:
        return np.resize(synthesised()["voice"], count)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "voice.wav"
        subprocess.run([program, "-w", str(path), TEXT], check=True)
        return np.resize(read_clip(path).resampled(RATE).waveform[0].numpy(), count)


def dbfs(sound: np.ndarray, level: float) -> np.ndarray:
    return (sound * 10 ** (level / 20) / np.sqrt(np.mean(sound**2))).astype(np.float32)


def db(power: float) -> float:
    return 10 * float(np.log10(power + 1e-12))


def loudest_db(sound: np.ndarray) -> float:
    """The loudest 50 ms."""
    size = round(0.05 * RATE)
    power = np.convolve(sound.astype(float) ** 2, np.ones(size) / size, "valid")
    return db(float(power.max()))


def in_band(sound: np.ndarray, box: Box) -> np.ndarray:
    if box.low_hz is None or box.high_hz is None:
        return sound
    return sosfiltfilt(butter(4, (box.low_hz, box.high_hz), "bandpass", fs=RATE, output="sos"), sound)


class Heard(NamedTuple):
    """What was heard in one box (see the module); bed: painted into its own kind."""

    silent: float
    top1: float
    top3: float
    level: float
    bed: bool
    click: float
    full: float
    outside: float
    again: float
    seconds: float


def rank(judge: SoundClassifier, inside: np.ndarray, kind: str) -> int:
    whole = np.zeros(round(HEARD_S * RATE), dtype=np.float32)
    whole[: len(inside)] = inside[: len(whole)]
    return [name for name, _ in judge.classify(Clip(torch.from_numpy(whole)[None], RATE))].index(kind)


def hear(judge: SoundClassifier, source: np.ndarray, made: Any, place: Place, kind: str, bed: bool) -> Heard:
    box, sound = place.box, made.clip.waveform[0].numpy()
    start, stop = round(box.start_s * RATE), round((box.end_s or 0) * RATE)
    filtered = in_band(sound, box)
    inside = filtered[start:stop]
    around = np.concatenate([filtered[max(start - RATE, 0) : start], filtered[stop : stop + RATE]])
    silent = loudest_db(inside) < max(loudest_db(in_band(source, box)) - SILENT_DB, SILENT_DBFS)
    place_in_list = len(judge.kinds) if silent else rank(judge, inside, kind)
    edges = [at for at in (start, stop) if 0 < at < len(sound)]
    # A note that begins at a border stands out there by itself.
    struck = [0.0 if place.side else max(click_db(source.astype(float), at), 0.0) for at in edges]
    if place.side:
        kept = sound[: len(source)] if place.side == "right" else sound[-len(source) :]
        outside, loud = int((kept != source).sum()), np.abs(sound).max() >= 0.999
    else:
        mark = slice(max(start - round(FEATHER_S * RATE), 0), stop + round(FEATHER_S * RATE))
        outside = int((sound != source)[: mark.start].sum() + (sound != source)[mark.stop :].sum())
        loud = np.abs(sound[mark]).max() >= 0.999
    return Heard(
        silent,
        place_in_list == 0,
        place_in_list < 3,
        db(float(np.mean(inside**2))) - db(float(np.mean(around**2))),
        bed,
        max(click_db(sound.astype(float), at) - own for at, own in zip(edges, struck, strict=True)),
        loud,
        outside,
        bool(made.settings.get("notes")),
        0.0,
    )


def paint(model: Any, source: np.ndarray, place: Place, settings: PaintSettings) -> Any:
    clip = Clip(torch.from_numpy(source)[None], RATE)
    if place.side:
        sides = (2.0, 0.0) if place.side == "left" else (0.0, 2.0)
        return extend(model, clip, *sides, settings)[0]
    return inpaint(model, clip, Region((place.box,), feather_s=FEATHER_S), settings)[0]


def real(
    judge: SoundClassifier, kinds: Sequence[str], places: Sequence[Place], seeds: int, *, noisy: bool = False
) -> tuple[float, float]:
    """(top-1, top-3) of corpus clips cut to the boxes; `noisy`: over noise, as an event stands out of it."""
    ranks, noise = [], context("noise")
    for kind in kinds:
        sounds, _ = foley.synthesise(kind, seeds, torch.Generator().manual_seed(4321))
        for sound in Clip(sounds, foley.SAMPLE_RATE).resampled(RATE).waveform.numpy():
            for place in places:
                length = round(((place.box.end_s or 0) - place.box.start_s) * RATE)
                part = in_band(sound, place.box)[:length]
                if noisy:
                    behind = in_band(noise, place.box)[: len(part)]
                    part = part * 10 ** ((loudest_db(behind) + OVER_DB - loudest_db(part)) / 20) + behind
                ranks.append(rank(judge, part, kind))
    return float(np.mean([r == 0 for r in ranks])), float(np.mean([r < 3 for r in ranks]))


def row(name: str, cases: Sequence[Heard]) -> str:
    table = np.array(cases, dtype=float)
    share = 100 * table.mean(axis=0)
    beds = np.abs(table[table[:, 4] > 0, 3])
    return (
        f"{name:16s}{len(cases):6d}{share[0]:8.1f}%{share[1]:8.1f}%{share[2]:8.1f}%"
        f"{np.median(table[:, 3]):+8.1f}{np.median(beds) if len(beds) else np.nan:7.1f}"
        f"{np.mean(np.maximum(table[:, 5], 0)):8.1f}"
        f"{table[:, 5].max():7.1f}{int(table[:, 6].sum()):6d}{int(table[:, 7].sum()):8d}"
        f"{int(table[:, 8].sum()):7d}{table[:, 9].mean():7.2f}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", default="52", help="how many, or their names with commas between")
    parser.add_argument("--boxes", type=int, default=4, help=f"how many of {len(PLACES)}")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--contexts", default=",".join(CONTEXTS))
    parser.add_argument("--model", default="mini")
    parser.add_argument(
        "--judge", type=Path, default=shipped_classifier().with_name(PARTS), help="who says what is heard"
    )
    parser.add_argument("--one-step", action="store_true")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="write the sounds into this folder")
    options = parser.parse_args()
    kinds = [*FIRST, *(kind for kind in foley.BASE_KINDS if kind not in FIRST)]
    kinds = kinds[: int(options.kinds)] if options.kinds.isdigit() else options.kinds.split(",")
    torch.set_num_threads(options.threads)
    places, contexts = PLACES[: options.boxes], options.contexts.split(",")
    judge, _ = load_classifier(options.judge)
    name, loras = with_student(options.model) if options.one_step else (options.model, [])
    model = load_model(name, loras=loras)
    cases: dict[str, list[Heard]] = defaultdict(list)
    for kind in kinds:
        for where in [*contexts, *([kind] if kind in BEDS else [])]:
            source = context(where)
            for place in places:
                for seed in range(options.seeds):
                    settings = PaintSettings(KINDS[kind].doing[0], seed=seed, steps=options.steps)
                    began = time.process_time()
                    made = paint(model, source, place, settings)
                    spent = time.process_time() - began
                    heard = hear(judge, source, made, place, kind, where == kind)._replace(seconds=spent)
                    for group in (
                        "all",
                        f"in {where if where in contexts else 'its own kind'}",
                        place.name,
                        kind,
                    ):
                        cases[group].append(heard)
                    if options.keep:
                        label = f"{kind}-{where}-{place.name.split(',')[0]}-{seed}.wav"
                        write_clip(made.clip, options.keep / label, force=True)
    head = [
        "cases",
        "silent",
        "top-1",
        "top-3",
        "level",
        "bed",
        "click",
        "worst",
        "full",
        "outside",
        "again",
        "s",
    ]
    widths = [6, 9, 9, 9, 8, 7, 8, 7, 6, 8, 7, 7]
    sys.stdout.write(" " * 16 + "".join(f"{h:>{w}s}" for h, w in zip(head, widths, strict=True)) + "\n")
    groups = ["all", *(g for g in cases if g.startswith("in ")), *(p.name for p in places), *sorted(kinds)]
    for group in groups:
        sys.stdout.write(row(group, cases[group]))
    for name, noisy in (("real", False), ("real in noise", True)):
        top1, top3 = real(judge, kinds, places, 4, noisy=noisy)
        sys.stdout.write(f"{name:16s}{'':6s}{'':9s}{100 * top1:8.1f}%{100 * top3:8.1f}%\n")


if __name__ == "__main__":
    main()
