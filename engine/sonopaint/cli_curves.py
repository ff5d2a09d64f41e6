"""Curves on the command line: which are asked for, and results brought to them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sonoconvert.errors import SonopaintError, setting

if TYPE_CHECKING:
    from sonoconvert.curves.curves import Curves
    from sonopaint.models.model import Model
    from sonopaint.painters.diffusers_painter import DiffusersPainter
    from sonopaint.tasks import Result

DRAWN = ("loudness", "pitch", "brightness", "onsets")


def fill(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("curves to follow")
    group.add_argument("--curves", metavar="FILE", help="of a sound (hum it), MIDI, CSV or video")
    group.add_argument(
        "--follow", metavar="NAMES", help="of them, such as loudness,pitch (all that there are)"
    )
    group.add_argument("--loudness", metavar="POINTS", help='second:decibel: "0:-60 0.3:-12 2:-20 3:free"')
    group.add_argument(
        "--pitch", metavar="POINTS", help='second:hertz, a note, off or free: "0:A3 1:440 2:off"'
    )
    group.add_argument("--brightness", metavar="POINTS", help='second:hertz of the centroid: "0:500 2:4000"')
    group.add_argument("--onsets", metavar="POINTS", help='second:1 for each: "0.5:1 1:1 1.5:1"')
    group.add_argument(
        "--shape", metavar="NAME", help="a loudness: hit, swell, fade-in, fade-out, steady, pulse"
    )
    group.add_argument(
        "--no-exact", action="store_true", help="leave the result as painted: no gain ridden, no pitch bent"
    )
    group.add_argument(
        "--keep-octave",
        action="store_true",
        help="ask for the pitch as it is, also where the kind of sound lies octaves away",
    )
    group.add_argument(
        "--adapter", metavar="FILE", help="that lets the model follow (curves.safetensors beside it)"
    )


def asked(args: argparse.Namespace, like: dict[str, Any], seconds: float | None) -> Curves | None:
    """What the options ask for; None where no curve is given.

    `like`: settings of a result that is made again. `seconds`: of the sound, where they are known.
    """
    from sonoconvert.curves.points import parse_points, preset
    from sonoconvert.curves.reading import curves_in, read_curves

    found = curves_in(like)
    if args.curves:
        found = read_curves(args.curves, args.follow.split(",") if args.follow else None)
    elif args.follow and found is None:
        raise SonopaintError(
            f"{setting('follow')} says which curves of a file count; name the file with {setting('curves')}."
        )
    drawn = [] if not args.shape else [preset(args.shape, seconds or 5.12)]
    for name in DRAWN:
        if (text := getattr(args, name)) is not None:
            whole = found.duration_s if args.curves and found is not None else seconds
            drawn.append(parse_points(name, text, whole))
    for one in drawn:
        found = one if found is None else found.joined(one)
    if found is None and args.adapter:
        raise SonopaintError(
            f"{setting('adapter')} lets a model follow curves; say which with {setting('curves')} or "
            f"{setting('loudness')}."
        )
    return found


def length(args: argparse.Namespace, curves: Curves | None, seconds: float | None) -> float | None:
    """The length of a sound that is as long as the recording, table or video that it follows, if not said."""
    if seconds is None and curves is not None and args.curves:
        return max(0.1, round(curves.duration_s, 3))
    return seconds


def painter_of(args: argparse.Namespace, model: Model, curves: Curves) -> tuple[DiffusersPainter, Curves]:
    """(a painter that follows the curves; the curves as they are followed)."""
    from sonopaint.painters.diffusers_painter import DiffusersPainter
    from sonopaint.painters.following import following, in_register

    follow = following(model, curves, args.adapter)
    painter = DiffusersPainter(model, follow)  # which knows the adapter's classes, too
    if not args.keep_octave:
        follow = replace(follow, curves=in_register(follow.curves, painter.knowledge, args.prompt))
    painter.following = follow
    return painter, follow.curves


def finished(args: argparse.Namespace, results: list[Result], curves: Curves) -> list[Result]:
    """Whole sounds brought to their curves; parts of recordings stay as they were painted."""
    if args.no_exact or results[0].settings["task"] not in ("generate", "vary"):
        return results
    from sonopaint.tasks.following import exactly

    return [exactly(result, curves) for result in results]
