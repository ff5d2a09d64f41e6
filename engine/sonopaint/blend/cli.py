"""``sonopaint blend``: the coarse of one sound, the mid of another, the fine of a third."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sonoconvert.errors import SonopaintError
from sonoconvert.progress import Progress

if TYPE_CHECKING:
    from sonoconvert.files.clip import Clip
    from sonopaint.blend.blending import Source


def fill(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    from sonopaint.blend.blending import STEPS

    parser.description = (
        "Blend sounds by scale: the coarse of one, the mid of another, the fine of a third. A level without "
        "a sound of its own is the first one's; with one sound alone it is made anew."
    )
    parser.add_argument("coarse", metavar="SOUND", help="the sound whose coarse is taken")
    parser.add_argument("--mid", metavar="SOUND", help="whose mid is taken (the first one's)")
    parser.add_argument("--fine", metavar="SOUND", help="whose fine is taken (the first one's)")
    parser.add_argument(
        "--weight", nargs="+", action="extend", default=[], metavar="LEVEL=W",
        help="0: leave the level out, 1: as it is, up to 1.5: exaggerate it, as in fine=1.3",
    )  # fmt: skip
    parser.add_argument(
        "--mix", nargs="+", action="extend", default=[], metavar="LEVEL=SOUND:SHARE",
        help="crossfade a level to another sound, as in fine=gravel.wav:0.4",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, metavar="S", help="length (as the first sound)")
    parser.add_argument("--seed", type=int, metavar="N", help="same seed, same samples (random)")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="so many, from as many seeds (1)")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help=f"of the sampler ({STEPS})")
    parser.add_argument(
        "--guidance", type=float, default=1.0, metavar="X", help="above 1: codes count more (1)"
    )
    parser.add_argument(
        "--invert", nargs="?", const="", metavar="SOUND",
        help="take this sound's own noise (the first one's) in place of the seed's: edits stay nearer to it",
    )  # fmt: skip
    parser.add_argument("--model", metavar="FILE", help="a model of sonotrain blend train (the shipped one)")
    parser.add_argument("--codec", default="", metavar="FOLDER", help="EnCodec's weights, for models on it")
    parser.add_argument("-o", "--output", metavar="FILE", help="outputs/NAME-blend-SEED.wav if not given")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace, progress: Progress) -> None:
    """Do it. Raises SonopaintError for bad input."""
    from sonoconvert.files.clip import write_clip
    from sonopaint.blend.blending import Blender
    from sonopaint.paths import output_paths

    seed = secrets.randbelow(2**31) if args.seed is None else args.seed
    name = f"{Path(args.coarse).stem}-blend-{seed}.wav"
    paths = output_paths(args.output, name, max(1, min(args.count, 64)), force=args.force)
    sources, first = _sources(args)
    invert = None if args.invert is None else _read(args.invert) if args.invert else first
    made = Blender.load(args.model, codec=args.codec).blend(
        sources, seconds=args.seconds, seed=seed, count=args.count, steps=args.steps, guidance=args.guidance,
        invert=invert, progress=progress,
    )  # fmt: skip
    for note in made[0].notes:
        print(f"sonopaint: {note}", file=sys.stderr)
    for one, path in zip(made, paths, strict=True):
        write_clip(one.clip, path, force=args.force)
        print(path)


def _sources(args: argparse.Namespace) -> tuple[dict[str, Source], Clip]:
    """Of the levels that are spoken of, and the first sound."""
    from sonopaint.blend.blending import LEVELS, Source

    weights, mixes = _pairs(args.weight, "--weight", LEVELS), _pairs(args.mix, "--mix", LEVELS)
    first = _read(args.coarse)
    sources: dict[str, Source] = {}
    for level in LEVELS:
        given = args.coarse if level == "coarse" else getattr(args, level)
        if given is None and level not in {*weights, *mixes}:
            continue
        clip = first if given in (None, args.coarse) else _read(given)
        other, share = None, 0.0
        if level in mixes:
            path, _, told = mixes[level].rpartition(":")
            if not path:
                raise SonopaintError(
                    f"--mix takes LEVEL=SOUND:SHARE, as in fine=gravel.wav:0.4, not {mixes[level]!r}."
                )
            other, share = _read(path), _number(told, "--mix")
        weight = _number(weights[level], "--weight") if level in weights else 1.0
        sources[level] = Source(clip, weight, other, share)
    return sources, first


def _pairs(given: Sequence[str], flag: str, levels: Sequence[str]) -> dict[str, str]:
    found = dict(one.partition("=")[::2] for one in given)
    if wrong := [name for name in found if name not in levels]:
        raise SonopaintError(f"{flag} begins with {', '.join(levels)} and =, not with {wrong[0]!r}.")
    return found


def _number(text: str, flag: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SonopaintError(f"{flag} needs a number, not {text!r}.") from None


def _read(path: str) -> Clip:
    """As much as can be blended; what is longer is said."""
    from sonoconvert.files.clip import read_clip, sound_header
    from sonopaint.blend.blending import LONGEST_S

    header = sound_header(path)
    seconds = header.frames / header.sample_rate
    if seconds > LONGEST_S:
        print(
            f"sonopaint: {path} lasts {seconds / 60:.0f} minutes; its first {LONGEST_S / 60:.0f} are taken.",
            file=sys.stderr,
        )
    return read_clip(path, duration_s=min(seconds, LONGEST_S))
