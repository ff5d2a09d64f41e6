"""``sonopaint match`` and ``sonopaint play``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sonoconvert.progress import Progress


def fill_match(parser: argparse.ArgumentParser) -> None:
    """The arguments of `match`."""
    from sonopaint.match.matching import STEPS

    parser.description = (
        "Find the parameters of a synthesiser that make a sound: its knobs stand where the recording is. "
        "Turn them with “sonopaint play”."
    )
    parser.add_argument("input", nargs="?", help="a sound file; of a long one the loudest event is taken")
    parser.add_argument("--synth", default="auto", metavar="NAME", help="auto, or one of --list (auto)")
    parser.add_argument("--list", action="store_true", help="the synths and their parameters")
    parser.add_argument(
        "--steps", type=int, default=STEPS, metavar="N", help=f"of the refinement; 0: none ({STEPS})"
    )
    parser.add_argument("--colour", type=float, default=0.0, metavar="SHARE", help=_COLOUR)
    parser.add_argument("--parameters", metavar="JSON", help="write them here; -o NAME.json if not given")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of noise and random starts (0)")
    parser.add_argument("-o", "--output", metavar="FILE", help="outputs/NAME-match.wav if not given")
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    parser.add_argument("--quiet", action="store_true", help="no progress")


_COLOUR = "how much of the original's colour that the synth can't say, 0 to 1 (0)"


def fill_play(parser: argparse.ArgumentParser) -> None:
    """The arguments of `play`."""
    parser.description = "Play a match with its knobs turned, or a synthesiser by name."
    parser.add_argument("input", help="parameters of a match (JSON), or a synth's name")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="changes",
        metavar="NAME=CHANGE",
        nargs="+",
        help="pitch=+3st, decay=2x, rate=+10%%, brightness=+3dB, or a value: pitch=440; repeatable",
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="how long (as the match is)")
    parser.add_argument("--colour", type=float, default=0.0, metavar="SHARE", help=_COLOUR)
    parser.add_argument("--like", type=int, default=0, metavar="N", help="N others like it")
    parser.add_argument("--seed", type=int, metavar="N", help="of the noise (as the match has it)")
    parser.add_argument("--parameters", metavar="JSON", help="write the turned knobs here")
    parser.add_argument("-o", "--output", metavar="FILE", help="outputs/NAME-played.wav if not given")
    parser.add_argument("--force", action="store_true", help="replace files that are there")


def run_match(args: argparse.Namespace, progress: Progress) -> None:
    """Do it. Raises SonopaintError for bad input."""
    from sonoconvert.errors import SonopaintError
    from sonoconvert.files.atomic import refuse_existing
    from sonoconvert.files.clip import read_clip, write_clip
    from sonopaint.match.matching import match
    from sonopaint.paths import output_paths

    if args.list:
        _list()
        return
    if not args.input:
        raise SonopaintError("Give the sound that is to be matched, as in: sonopaint match bell.wav.")
    source = Path(args.input)
    path = output_paths(args.output, f"{source.stem}-match.wav", 1, force=args.force)[0]
    sheet_path = Path(args.parameters) if args.parameters else path.with_suffix(".json")
    refuse_existing(sheet_path, force=args.force)
    found = match(
        read_clip(source), args.synth, count=args.steps, seed=args.seed, source=source.name, progress=progress
    )
    write_clip(found.sheet.play(args.colour), path, force=args.force)
    found.sheet.write(sheet_path, force=args.force)
    for note in found.notes:
        print(f"sonopaint: {note}", file=sys.stderr)
    _show(found.sheet)
    others = ", ".join(f"{name} {relative:.0%}" for name, relative in found.tried[1:])
    print(f"{found.sheet.relative:.0%} away: {found.words}" + (f" (others: {others})" if others else ""))
    print(path)
    print(sheet_path)


def run_play(args: argparse.Namespace) -> None:
    """Do it. Raises SonopaintError for bad input."""
    from dataclasses import replace

    from sonoconvert.errors import SonopaintError
    from sonoconvert.files.clip import write_clip
    from sonopaint.match.matching import siblings
    from sonopaint.match.metric import described, metric_of, secants, steps
    from sonopaint.match.sheet import LONGEST_S, Sheet, read_sheet
    from sonopaint.match.synths import SYNTHS
    from sonopaint.paths import output_paths

    if args.input in SYNTHS:
        synth = SYNTHS[args.input]
        sheet = Sheet(synth, synth.values(synth.defaults()), synth.seconds, 1.0)
    else:
        sheet = read_sheet(args.input)
    sheet = sheet.changed(change for group in args.changes for change in group)
    if args.seconds is not None:
        if not 0 < args.seconds <= LONGEST_S:
            raise SonopaintError(
                f"--seconds must be above 0 and at most {LONGEST_S:g}, not {args.seconds:g}."
            )
        sheet = replace(sheet, seconds=args.seconds)
    if args.seed is not None:
        sheet = replace(sheet, seed=args.seed)
    sheets = [sheet]
    if args.like:
        place = sheet.synth.place(sheet.theta)[None]
        found = metric_of(secants(described(sheet.synth, seed=sheet.seed), place, steps(sheet.synth)))[0]
        sheets = siblings(sheet, found, args.like, seed=sheet.seed)
    paths = output_paths(args.output, f"{Path(args.input).stem}-played.wav", len(sheets), force=args.force)
    for one, path in zip(sheets, paths, strict=True):
        write_clip(one.play(args.colour), path, force=args.force)
        print(path)
    if args.parameters:
        sheet.write(args.parameters, force=args.force)


def _show(sheet: object) -> None:
    from sonopaint.match.sheet import Sheet

    assert isinstance(sheet, Sheet)
    print(f"{sheet.synth.title} ({sheet.synth.name})")
    for parameter in sheet.synth.parameters:
        print(f"  {parameter.name:12} {sheet.values[parameter.name]:10.4g} {parameter.unit}")


def _list() -> None:
    from sonopaint.match.synths import SYNTHS

    for name, synth in SYNTHS.items():
        print(f"{name}: {synth.title}" + (f" ({synth.fixed})" if synth.fixed else ""))
        for p in synth.parameters:
            print(f"  {p.name:12} {p.low:g} to {p.high:g} {p.unit:7} {p.says}")
