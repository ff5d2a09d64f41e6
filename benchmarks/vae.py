"""What Mini's VAE keeps of a sound, beside what the conversion alone keeps, in one run.

    python benchmarks/vae.py [--per-kind 2] [--kinds A,B] [--folder RECORDINGS] [--beside MODEL] [--out FILE]

Each sound becomes an 8-bit `sonopaint-mini` picture. "conversion": it becomes sound again (fast phase).
"VAE": picture → latent → picture → sound; "VAE with grain" as Mini paints it (sonopaint.models.grain).
Sounds are corpus clips of every kind, from a seed that no training saw, and recordings in --folder.
Measures (benchmarks/conversion.py): spectral convergence and log-spectral distance in dB below 10 kHz.
Picture: mean difference of the picture's cells in dB. Grain: mean step between neighbouring columns in dB,
where the picture is loud; noise is rough, blur is smooth. Top-1: the shipped classifier's, for corpus clips,
by kind too. Seconds are processor time of this process for one clip.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sounds import RATE, measures, recordings

from sonoconvert.files.clip import Clip
from sonoconvert.phase.search import PhaseSearch, reconstruct
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import from_levels, mel_magnitude, to_levels
from sonopaint.models.grain import with_grain
from sonopaint.models.loading import load_model
from sonotrain.data import foley
from sonotrain.data.corpus import FORMAT, quantise
from sonotrain.evaluation.base.pictures import grain
from sonotrain.trainers.mini.sound_classifier import load_classifier
from sonotrain.training.painting import through_vae

FMT = get_format(FORMAT)
SAMPLES = FMT.width * FMT.hop_length  # 5.12 s


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument(
        "--beside", default="", help="another model, whose VAE is measured on the same pictures"
    )
    parser.add_argument("--per-kind", type=int, default=2, help="corpus clips of each kind (0: none)")
    parser.add_argument("--kinds", default="", help="only these kinds, with commas between")
    parser.add_argument("--folder", type=Path, help="recordings to measure as well")
    parser.add_argument("--seed", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, help="write the tables there, as Markdown")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    models = {"VAE": load_model(options.model, device="cpu", dtype=torch.float32)}
    if options.beside:
        models["VAE beside"] = load_model(options.beside, device="cpu", dtype=torch.float32)
    lines, kinds = [], []
    sets: list[tuple[str, list[str], list[torch.Tensor]]] = []
    if options.per_kind:
        chosen = [kind for kind in options.kinds.split(",") if kind] or foley.BASE_KINDS
        names, sounds = corpus(chosen, options.per_kind, options.seed)
        sets.append((f"corpus, {len(sounds)} clips", names, sounds))
    if options.folder:
        found = {name: torch.from_numpy(sound) for name, sound in recordings(options.folder).items()}
        sounds = [Clip(sound[None], RATE).resampled(FMT.sample_rate).waveform[0] for sound in found.values()]
        sets.append((f"recordings, {len(sounds)} clips", list(found), sounds))
    head = [
        "sounds",
        "way",
        "spectral convergence",
        "log-spectral distance",
        "picture",
        "grain",
        "top-1",
        "seconds",
    ]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for title, names, sounds in sets:
        rows = [measure(models, sound) for sound in sounds]
        ways = list(rows[0])
        right = judge(names, rows, ways) if title.startswith("corpus") else None
        for way in ways:
            lines.append(f"| {title} | {way} | " + " | ".join(summary(rows, way, right)) + " |")
        if right is not None:
            kinds += by_kind(names, rows, right)
    text = "\n".join([*lines, "", *kinds]) + "\n"
    sys.stdout.write(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


def corpus(kinds: Sequence[str], per_kind: int, seed: int) -> tuple[list[str], list[torch.Tensor]]:
    """(kinds, waveforms [SAMPLES] at 32 kHz), a batch for each kind."""
    names: list[str] = []
    sounds: list[torch.Tensor] = []
    for place, kind in enumerate(kinds):
        clips = foley.batch(per_kind, seed + place, [kind], relations=[("single", 1.0)])
        names += [kind] * per_kind
        sounds += list(clips.waveforms)
    return names, sounds


def measure(models: dict[str, Any], sound: torch.Tensor) -> dict[str, dict[str, Any]]:
    """For each way: the sound [T], its picture, and the measures against the original."""
    sound = sound[:SAMPLES]
    true = torch.nn.functional.pad(sound, (0, SAMPLES - len(sound)))
    picture, peak = to_levels(mel_magnitude(true[None], FMT)[..., : FMT.width], FMT)
    pictures = [("conversion", quantise(picture) / 255.0, 0.0)]
    for way, model in models.items():
        begin = time.process_time()
        drawn = through_vae(model, picture)
        pictures.append((way, drawn, time.process_time() - begin))
        if model.grain is not None:
            drawn = with_grain(model.grain, drawn)
            pictures.append((f"{way} with grain", drawn, time.process_time() - begin))
    found: dict[str, dict[str, Any]] = {"original": {"sound": true, "picture": picture}}
    for way, drawn, seconds in pictures:
        begin = time.process_time()
        made = reconstruct(from_levels(drawn, FMT, peak), FMT, PhaseSearch(learned=False), length=SAMPLES)[0]
        convergence, distance = measures(*(at_44k(wave[: len(sound)]) for wave in (true, made)))
        found[way] = {
            "sound": made,
            "picture": drawn,
            "convergence": convergence,
            "distance": distance,
            "off": -FMT.floor_db * float((drawn - picture).abs().mean()),
            "seconds": seconds + time.process_time() - begin,
        }
    return found


def at_44k(sound: torch.Tensor) -> torch.Tensor:
    return Clip(sound[None], FMT.sample_rate).resampled(RATE).waveform[0]


def judge(
    names: list[str], rows: list[dict[str, dict[str, Any]]], ways: Sequence[str]
) -> dict[str, list[bool]]:
    """For each way whether the classifier names each clip."""
    classifier, _ = load_classifier()
    right = {}
    for way in ways:
        logits, _ = classifier.judge(torch.stack([row[way]["sound"] for row in rows]))
        guesses = [classifier.kinds[index] for index in logits.argmax(1).tolist()]
        right[way] = [guess == name for guess, name in zip(guesses, names, strict=True)]
    return right


def summary(
    rows: list[dict[str, dict[str, Any]]], way: str, right: dict[str, list[bool]] | None
) -> list[str]:
    def mean(name: str, form: str) -> str:
        values = [row[way][name] for row in rows if name in row[way]]
        return form.format(np.mean(values)) if values else ""

    rough = np.mean([grain(row[way]["picture"]) for row in rows])
    return [
        mean("convergence", "{:.3f}"),
        mean("distance", "{:.2f} dB"),
        mean("off", "{:.2f} dB"),
        f"{rough:.2f} dB",
        f"{np.mean(right[way]):.1%}" if right else "",
        mean("seconds", "{:.2f}"),
    ]


def by_kind(
    names: list[str], rows: list[dict[str, dict[str, Any]]], right: dict[str, list[bool]]
) -> list[str]:
    """Top-1, picture and grain of each kind, the most blurred first."""
    lines = [
        "| kind | top-1: conversion | VAE | picture off | grain | grain after the VAE |",
        "|---|---|---|---|---|---|",
    ]
    found = []
    for kind in dict.fromkeys(names):
        mine = [index for index, name in enumerate(names) if name == kind]
        rough = [
            np.mean([grain(rows[index][way]["picture"]) for index in mine]) for way in ("original", "VAE")
        ]
        share = [np.mean([right[way][index] for index in mine]) for way in ("conversion", "VAE")]
        off = np.mean([rows[index]["VAE"]["off"] for index in mine])
        found.append((rough[1] / max(rough[0], 1e-6), kind, share, off, rough))
    for _, kind, share, off, rough in sorted(found):
        lines.append(
            f"| {kind.replace('_', ' ')} | {share[0]:.0%} | {share[1]:.0%} | {off:.1f} dB | "
            f"{rough[0]:.1f} dB | {rough[1]:.1f} dB |"
        )
    return lines


if __name__ == "__main__":
    main()
