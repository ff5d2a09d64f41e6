"""``sonopaint jingle``: notes, MIDI or curves, played by a jingle model."""

from __future__ import annotations

import argparse
import secrets
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sonoconvert.errors import SonopaintError

if TYPE_CHECKING:
    from sonoconvert.curves.curves import Curves
    from sonoconvert.progress import Progress
    from sonopaint.models.jingles.file import Jingle


def fill(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    from sonopaint.samplers.edm import EdmSettings

    parser.description = (
        "Play notes with a jingle model: as text, out of MIDI, or along curves that were drawn or measured."
    )
    parser.add_argument(
        "notes", nargs="?", metavar="NOTES",
        help='"C4:0.5 E4 - G4:1:0.9" (seconds, velocity), or a MIDI, CSV or sound file to follow',
    )  # fmt: skip
    parser.add_argument("--instrument", metavar="NAME", help="the model's first one; free: any, as it likes")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of the whole")
    parser.add_argument("--free", default="", metavar="LIST", help="not to be followed: pitch,velocity")
    parser.add_argument("--model", metavar="FILE", help="a jingle model (the shipped one)")
    parser.add_argument("--codec", default="", metavar="FOLDER", help="EnCodec's weights, for models on it")
    parser.add_argument("--seed", type=int, metavar="N", help="same seed, same samples (random)")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="so many, from as many seeds (1)")
    sampler = parser.add_argument_group("sampler (EDM's own)")
    for item in fields(EdmSettings):
        sampler.add_argument(
            f"--{item.name.replace('_', '-')}", type=type(item.default), metavar="X",
            help=f"({item.default:g})",
        )  # fmt: skip
    parser.add_argument("-o", "--output", metavar="FILE", help="outputs/jingle-SEED.wav if not given")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace, progress: Progress) -> None:
    """Do it. Raises SonopaintError for bad input."""
    from sonoconvert.files.clip import write_clip
    from sonopaint.jingles.make import make_jingles
    from sonopaint.models.jingles.file import read_jingle, shipped_jingle
    from sonopaint.paths import output_paths
    from sonopaint.samplers.edm import EdmSettings

    if args.notes is None:
        raise SonopaintError('Say what to play: "C4:0.5 E4:0.5 - G4:1", or a MIDI, CSV or sound file.')
    if not 1 <= args.count <= 64:
        raise SonopaintError(f"--count must be from 1 to 64, not {args.count}.")
    seed = secrets.randbelow(2**32) if args.seed is None else args.seed
    paths = output_paths(args.output, f"jingle-{seed}.wav", args.count, force=args.force)
    jingle = read_jingle(args.model) if args.model else shipped_jingle()
    given = {item.name: getattr(args, item.name) for item in fields(EdmSettings)}
    settings = replace(EdmSettings(), **{k: v for k, v in given.items() if v is not None})
    curves = _curves(args, jingle)
    for note in curves.notes:
        print(f"sonopaint: {note}", file=sys.stderr)
    seeds = [seed + number for number in range(args.count)]
    clips = make_jingles(jingle, curves, seeds, settings=settings, codec=args.codec, progress=progress)
    for clip, path in zip(clips, paths, strict=True):
        write_clip(clip, path, force=args.force)
        print(path)


def _curves(args: argparse.Namespace, jingle: Jingle) -> Curves:
    import numpy as np

    from sonoconvert.curves.curves import Curves
    from sonoconvert.curves.midi import read_midi
    from sonoconvert.curves.reading import read_curves
    from sonopaint.jingles.notes import curves_of_notes, followed, parse_notes
    from sonopaint.models.jingles.controls import KIND

    instrument = args.instrument or jingle.controls.instruments[0]
    instrument = "" if instrument == "free" else instrument
    seconds = args.seconds or 0.0
    if args.seconds is not None and not 0.1 <= args.seconds <= 120:
        raise SonopaintError(f"--seconds must be from 0.1 to 120, not {args.seconds:g}.")
    path = Path(args.notes)
    if path.suffix.lower() in (".mid", ".midi") and path.is_file():
        curves = curves_of_notes(read_midi(path), instrument, seconds)
    elif path.is_file():
        curves = followed(read_curves(path))
        if seconds:
            curves = curves.part(0, seconds)
        if instrument and not any(name.startswith(KIND) for name in curves.names):
            ones = np.ones(curves.frames, np.float32)
            curves = Curves(curves.rate, {**curves.values, KIND + instrument: ones}, curves.notes)
    else:
        curves = curves_of_notes(parse_notes(args.notes), instrument, seconds)
    values = dict(curves.values)
    for name in filter(None, args.free.split(",")):
        if name not in ("pitch", "velocity"):
            raise SonopaintError(
                f"--free takes pitch and velocity, not {name!r} (--instrument free frees that)."
            )
        values.pop(name, None)
    if not values:  # Curves need one: this one says nothing
        values = {"velocity": np.full(curves.frames, np.nan, np.float32)}
    return Curves(curves.rate, values, curves.notes)
