"""`sonoconvert curves`: the curves of a sound, a MIDI file, a table or a video, as CSV and as a drawing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_command(commands: Any) -> None:
    """Add `curves` to the command line's commands."""
    command = commands.add_parser(
        "curves", help="measure how loud, how high and how bright a sound is over time, as CSV"
    )
    command.add_argument("input", help="a sound, MIDI, CSV or video")
    command.add_argument("-o", "--out", type=Path, metavar="FILE", help="a .csv (default: INPUT.curves.csv)")
    command.add_argument("--follow", metavar="NAMES", help="such as loudness,pitch (default: all)")
    command.add_argument("--rate", type=float, metavar="HZ", help="rows a second (default: 62.5)")
    command.add_argument("--plot", type=Path, metavar="FILE", help="also draw them, as PNG")
    command.add_argument("--under", type=Path, metavar="SOUND", help="of a video: put this sound under it …")
    command.add_argument("--video", type=Path, metavar="FILE", help="… as this .mp4, and measure nothing")
    command.add_argument("--force", action="store_true", help="replace existing files")


def run(options: argparse.Namespace) -> int:
    """Do it; 0."""
    from sonoconvert.curves.plot import plot_curves
    from sonoconvert.curves.reading import read_curves
    from sonoconvert.curves.tables import write_csv
    from sonoconvert.errors import SonopaintError

    if options.under is not None or options.video is not None:
        from sonoconvert.curves.video import put_under
        from sonoconvert.files.clip import read_clip

        if options.under is None or options.video is None:
            raise SonopaintError("--under and --video go together: the sound, and the video to write.")
        put_under(options.input, read_clip(options.under), options.video, force=options.force)
        print(options.video)
        return 0
    names = options.follow.split(",") if options.follow else None
    curves = read_curves(options.input, names)
    if options.rate:
        curves = curves.at(options.rate, max(1, round(curves.duration_s * options.rate)))
    source = Path(options.input)
    target = options.out or source.with_name(f"{source.stem}.curves.csv")
    write_csv(curves, target, force=options.force)
    print(target)
    if options.plot is not None:
        plot_curves(curves, path=options.plot, force=options.force)
        print(options.plot)
    for note in curves.notes:
        print(f"sonoconvert: {note}", file=sys.stderr)
    return 0
