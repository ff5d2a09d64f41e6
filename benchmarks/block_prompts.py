"""Do other prompts for blocks of the U-Net do something? Mini, pairs of kinds, B's words for blocks of A.

    python benchmarks/block_prompts.py [--pairs N] [--seeds N] [--steps N] [--model NAME]

A is painted with B's prompt in some blocks, from the same noise as A alone and B alone, beside the simple
opponents: one prompt that names both, and the embeddings on the way from A to B. One line for each way, means
over pairs and seeds:

A, B: chance that the shipped classifier gives to either kind. one of them: their sum. Then how far the way
from A to B has been gone, 0 = A alone, 1 = B alone: class (B's chance of both), spectrum (mean over time of
the levels, cosine), centroid (in octaves), envelope (mean level over time, cosine), onsets (rate). apart:
spectrum less the course (mean of envelope and onsets), with the standard error over pairs: what takes both
kinds apart is far from 0, what only lies between them is not.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch.nn.functional import cosine_similarity

from sonoconvert.pictures.format import SpectrogramFormat
from sonopaint.models.loading import load_model
from sonopaint.models.sound_classifier import load_classifier
from sonopaint.painters.diffusers_painter import Conditioning, DiffusersPainter
from sonopaint.tasks import PaintSettings
from sonopaint.tasks.generation import blank_canvas

PAIRS = [
    ("dog_bark", "a dog barking", "hammer", "a hammer hitting a nail"),
    ("footsteps", "footsteps", "glass_break", "glass breaking"),
    ("violin", "a violin playing", "train_horn", "a train horn blowing"),
    ("rain", "rain", "engine", "an engine running"),
    ("clock_ticking", "a clock ticking", "gunshot", "a gun firing"),
    ("cat_meow", "a cat meowing", "siren", "a siren wailing"),
    ("church_bell", "a church bell ringing", "laser", "a laser zapping"),
    ("snare_drum", "a snare drum playing", "door_knock", "someone knocking on a door"),
    ("ocean_waves", "ocean waves", "applause", "applause"),
    ("helicopter", "a helicopter flying", "crickets", "crickets chirping"),
    ("piano", "a piano playing", "bird_song", "a bird singing"),
    ("laughter", "a person laughing", "crow", "a crow cawing"),
]
DOWN, MIDDLE, UP = "down_blocks", "mid_block", "up_blocks"
# Where B is read: the halves, the middle, and (of Mini) the coarse and the fine resolution of both halves.
WAYS = {
    "B in down": (DOWN,),
    "B in middle": (MIDDLE,),
    "B in up": (UP,),
    "B where it is coarse": (f"{DOWN}.2", MIDDLE, f"{UP}.0"),
    "B where it is fine": (f"{DOWN}.1", f"{UP}.1"),
}
COLUMNS = ("A", "B", "one of them", "class", "spectrum", "centroid", "envelope", "onsets")


def features(levels: torch.Tensor, fmt: SpectrogramFormat) -> dict[str, torch.Tensor]:
    """What is compared of levels [B, rows, columns] in 0 … 1."""
    power = 10 ** (levels * 4)  # of a picture of decibels; the ratio matters only
    octaves = torch.linspace(0, np.log2(fmt.f_max / 20), levels.shape[1])[:, None]
    envelope = levels.mean(1)
    rises = (envelope[:, 4:] - envelope[:, :-4]).clamp_min(0)
    peaks = (rises[:, 1:-1] > rises[:, :-2]) & (rises[:, 1:-1] >= rises[:, 2:]) & (rises[:, 1:-1] > 0.08)
    return {
        "spectrum": levels.mean(2),
        "centroid": (power * octaves).sum((1, 2))[:, None] / power.sum((1, 2))[:, None],
        "envelope": envelope,
        "onsets": peaks.sum(1, keepdim=True).float(),
    }


def distance(name: str, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """[B] of what `features` gives."""
    if one.shape[1] == 1:
        return (one - other).abs()[:, 0]
    centred = [x - x.mean(1, keepdim=True) for x in (one, other)]
    return 1 - cosine_similarity(*centred, dim=1)


def gone(name: str, made: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """How far from A to B, 0 … 1 [B]; no number where both are alike."""
    to_a, to_b = distance(name, made, a), distance(name, made, b)
    return torch.where(distance(name, a, b) > 1e-3, to_a / (to_a + to_b).clamp_min(1e-9), torch.nan)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=len(PAIRS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--model", default="mini")
    args = parser.parse_args()
    begun = time.process_time()
    model = load_model(args.model, device="cpu")
    painter, fmt = DiffusersPainter(model), model.format
    judge, _ = load_classifier()
    canvas = blank_canvas(fmt, fmt.width, fmt.width * fmt.hop_length)
    rows: dict[str, list[np.ndarray]] = {}
    for kind_a, a, kind_b, b in PAIRS[: args.pairs]:
        a_kind, b_kind = judge.kinds.index(kind_a), judge.kinds.index(kind_b)
        settings = PaintSettings(a, steps=args.steps)
        words = painter.condition(
            settings, PaintSettings(b, steps=args.steps), PaintSettings(f"{a} and {b}", steps=args.steps)
        )
        ways = {"A": words[0], "B": words[1], "A and B": words[2]}
        ways |= {f"{share:.0%} of the way": words[0].lerp(words[1], share) for share in (0.25, 0.5)}
        for name, blocks in WAYS.items():
            ways[name] = Conditioning(words[0].text, words[0].negative, dict.fromkeys(blocks, words[1].text))
        painted = {name: paint(painter, canvas, settings, way, args.seeds) for name, way in ways.items()}
        known = {name: features(levels, fmt) for name, levels in painted.items()}
        for name, levels in painted.items():
            with torch.no_grad():
                chances = judge(levels).softmax(1)[:, [a_kind, b_kind]]
            both = chances.sum(1)
            parts = [
                gone(what, known[name][what], known["A"][what], known["B"][what]) for what in known[name]
            ]
            columns = [chances[:, 0], chances[:, 1], both, chances[:, 1] / both.clamp_min(1e-9), *parts]
            rows.setdefault(name, []).append(torch.stack(columns, 1).numpy())
    print(f"{args.pairs} pairs, {args.seeds} seeds, {args.steps} steps, {model.name}")
    print("| way | " + " | ".join(COLUMNS) + " | apart |\n|" + "---|" * (len(COLUMNS) + 2))
    for name, parts in rows.items():
        table = np.stack(parts)  # [pairs, seeds, columns]
        apart = np.nanmean(table[..., 4] - (table[..., 6] + table[..., 7]) / 2, 1)
        means = " | ".join(f"{value:.2f}" for value in np.nanmean(table, (0, 1)))
        print(f"| {name} | {means} | {np.nanmean(apart):+.2f} ± {np.nanstd(apart) / len(apart) ** 0.5:.2f} |")
    print(f"{time.process_time() - begun:.0f} s of processor time")


def paint(
    painter: DiffusersPainter, canvas: object, settings: PaintSettings, way: Conditioning, seeds: int
) -> torch.Tensor:
    """Levels [seeds, rows, columns] in 0 … 1, the lowest row first."""
    from sonopaint.painters.latents import seeded_noise

    noises = {seed: seeded_noise(seed) for seed in range(1, seeds + 1)}
    with torch.no_grad():
        pictures = painter._paint(canvas, settings.prompt, settings, noises, lambda *_: None, way)
    pixels = np.stack([picture.pixels[::-1].mean(-1) for picture in pictures])
    return torch.from_numpy(np.ascontiguousarray(pixels)).float() / 255


if __name__ == "__main__":
    main()
