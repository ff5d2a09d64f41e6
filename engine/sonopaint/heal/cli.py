"""``sonopaint heal``: repairs without words."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sonoconvert.errors import SonopaintError

if TYPE_CHECKING:
    from sonoconvert.files.clip import Clip
    from sonoconvert.progress import Progress
    from sonopaint.heal.heal import Healed, HealSettings
    from sonopaint.heal.marks import Mark


def fill(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.description = (
        "Repair a sound without words: marked parts, clicks and dropouts, clipped peaks, a missing band. "
        "Everything else keeps its samples."
    )
    parser.add_argument("input", help="a sound file, of any length")
    parser.add_argument(
        "--region",
        action="append",
        default=[],
        metavar="START:END[,LOW:HIGH]",
        help="heal this: seconds, then hertz: 1.2:1.5,200:4000; repeatable",
    )
    parser.add_argument("--mask", metavar="PNG", help="heal what is white; stretched over the whole sound")
    parser.add_argument("--auto", action="store_true", help="find clicks and dropouts and heal them")
    parser.add_argument("--list", action="store_true", help="only say what --auto finds")
    parser.add_argument("--declip", action="store_true", help="round clipped peaks again")
    parser.add_argument("--bandwidth", type=float, metavar="HZ", help="make new sound above this frequency")
    parser.add_argument(
        "--channel",
        type=int,
        action="append",
        metavar="N",
        help="heal the regions in this channel only (1 …)",
    )
    parser.add_argument(
        "--method",
        default="auto",
        metavar="NAME",
        help="auto, bridge, interpolate, predict, continue, copy or silence (auto)",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="of the bridge (1)")
    parser.add_argument("--seed", type=int, metavar="N", help="same seed, same samples (random)")
    parser.add_argument("--takes", type=int, default=1, metavar="N", help="so many, from as many seeds (1)")
    parser.add_argument("-o", "--output", metavar="FILE", help="outputs/NAME-healed-SEED.wav if not given")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace, progress: Progress) -> None:
    """Do it. Raises SonopaintError for bad input."""
    from sonoconvert.files.clip import read_clip
    from sonopaint.heal.heal import HealSettings
    from sonopaint.models.bridge import STEPS
    from sonopaint.paths import output_paths

    regions = bool(args.region or args.mask)
    if not (regions or args.auto or args.list or args.declip or args.bandwidth is not None):
        raise SonopaintError(
            "Say what to heal: --region 1.2:1.5, --mask mask.png, --auto, --declip or --bandwidth 8000."
        )
    if args.auto and regions:
        raise SonopaintError("Give either --auto or regions; heal one after the other for both.")
    if args.takes < 1:
        raise SonopaintError(f"--takes must be 1 or more, not {args.takes}.")
    source = Path(args.input)
    if args.list:
        _list(source)
        return
    seed = secrets.randbelow(2**32) if args.seed is None else args.seed
    name = f"{source.stem}-healed-{seed}.wav"
    paths = output_paths(args.output, name, args.takes, force=args.force)
    for number, path in enumerate(paths):
        settings = HealSettings(args.method, seed + number, STEPS if args.steps is None else args.steps)
        if args.declip or args.bandwidth is not None:
            _whole(args, read_clip(source), path, settings, progress)
        else:
            _parts(args, source, path, settings, progress)
        print(path)


def _marks(args: argparse.Namespace, clip: Clip) -> list[Mark]:
    """The marks that were given for a clip, or found in it."""
    from dataclasses import replace

    from sonoconvert.edits.region import Region, load_brush, parse_region
    from sonopaint.heal.detect import find
    from sonopaint.heal.marks import marks_of

    if args.auto:
        return find(clip)
    boxes = tuple(parse_region(text) for text in args.region)
    marks = marks_of(Region(boxes, load_brush(args.mask) if args.mask else None), clip)
    if args.channel:
        if not all(1 <= channel <= clip.num_channels for channel in args.channel):
            raise SonopaintError(f"--channel must be 1 to {clip.num_channels} for this sound.")
        marks = [replace(mark, channels=tuple(c - 1 for c in args.channel)) for mark in marks]
    return marks


def _whole(
    args: argparse.Namespace, clip: Clip, path: Path, settings: HealSettings, progress: Progress
) -> None:
    from dataclasses import replace

    from sonoconvert.files.clip import write_clip
    from sonopaint.heal.heal import heal
    from sonopaint.heal.whole import declip, extend_band, fitted

    results: list[Healed] = []
    if args.declip:
        results.append(declip(clip, progress=progress))
        clip = results[-1].clip
    if (args.auto or args.region or args.mask) and (marks := _marks(args, clip)):
        results.append(heal(clip, marks, settings, progress=progress))
        clip = results[-1].clip
    if args.bandwidth is not None:
        results.append(extend_band(clip, args.bandwidth, settings, progress=progress))
        clip = results[-1].clip
    clip, said = fitted(clip, path.suffix)
    write_clip(replace(clip, settings=_told(args, settings)), path, force=args.force)
    _say([pair for result in results for pair in result.done], clip.sample_rate)
    for note in [*(note for result in results for note in result.notes), *said]:
        print(f"sonopaint: {note}", file=sys.stderr)


def _parts(
    args: argparse.Namespace, source: Path, path: Path, settings: HealSettings, progress: Progress
) -> None:
    from sonoconvert.files.clip import read_clip, sound_header
    from sonopaint.heal.files import heal_file

    rate = sound_header(source).sample_rate
    marks = None if args.auto else _marks(args, read_clip(source))
    done, notes = heal_file(
        source, path, marks, settings, force=args.force, told=_told(args, settings), progress=progress
    )
    _say(done, rate)
    if not done:
        print("sonopaint: no click and no dropout was found; the sound is a copy.", file=sys.stderr)
    for note in notes:
        print(f"sonopaint: {note}", file=sys.stderr)


def _list(source: Path) -> None:
    """One line for each click and dropout."""
    from sonoconvert.files.clip import iter_clips
    from sonopaint.heal.detect import find
    from sonopaint.heal.files import PART_S

    offset = 0
    for clip in iter_clips(source, PART_S):
        for mark in find(clip):
            channels = "all" if mark.channels is None else ",".join(str(c + 1) for c in mark.channels)
            print(f"{mark.moved(offset).box(clip.sample_rate)}  {mark.why}  channel {channels}")
        offset += clip.num_samples


def _say(done: list[tuple[Mark, str]], rate: int) -> None:
    """How many marks were healed by what, and each of the first."""
    for mark, method in done[:8]:
        print(f"sonopaint: {mark.box(rate)} by {method}", file=sys.stderr)
    if len(done) > 8:
        print(f"sonopaint: and {len(done) - 8} more", file=sys.stderr)


def _told(args: argparse.Namespace, settings: HealSettings) -> dict[str, object]:
    """What the file's tag says of how it was made."""
    told: dict[str, object] = {"task": "heal", "method": settings.method, "seed": settings.seed}
    told |= {"steps": settings.steps, "auto": args.auto, "declip": args.declip}
    return told | {"region": args.region, "bandwidth": args.bandwidth}
