"""``sonopaint variations``: from the arguments to a folder."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from sonoconvert.errors import Cancelled, SonopaintError
from sonoconvert.files.clip import Clip, read_clip
from sonopaint.paths import outputs_folder
from sonopaint.tasks.progress import Progress
from sonopaint.tasks.settings import PaintSettings
from sonopaint.variations.backends import Choice, open_variator
from sonopaint.variations.deliver import LIST, REFERENCE, check_target, deliver, export_zip, safe_stem
from sonopaint.variations.judge import Judge
from sonopaint.variations.make import Maker
from sonopaint.variations.protocol import Ask, Keep
from sonopaint.variations.reference import LONGEST_S, checked, events, part

SURE = 0.5  # chance from which a guessed class is used


def run(
    args: argparse.Namespace,
    settings: PaintSettings,
    loras: tuple[tuple[str, float], ...],
    progress: Progress,
) -> None:
    """Make what the arguments say. Raises SonopaintError; on Ctrl-C what is finished is written first."""
    if args.again:
        _again(args, progress)
        return
    if not args.reference:
        raise SonopaintError('Give a sound, as in: sonopaint variations step.wav "footsteps" --count 20.')
    keep = Keep.of([word.strip() for word in args.keep.split(",") if word.strip()])
    seed = settings.seed
    ask = Ask(args.prompt, args.count, args.strength, seed, args.become, keep)
    reference = _reference(args)
    judge = Judge()
    if not ask.prompt and args.backend != "command":
        kind, chance = judge.guess(reference)
        if chance < SURE:
            raise SonopaintError(
                f"What the reference is can't be told (most likely {kind}, {chance:.0%}); say it, as in: "
                'sonopaint variations step.wav "footsteps".'
            )
        ask = dataclasses.replace(ask, kind=kind)
        _say(f"It sounds like {kind} ({chance:.0%}).")
    name = "command" if args.command else args.backend
    choice = Choice(name, args.model, loras, args.one_step, args.command, args.device, settings)
    folder = Path(args.output).expanduser() if args.output else outputs_folder() / safe_stem(ask.kind)
    check_target(folder, args.bits, force=args.force)
    progress(0, 1, "Loading the model")
    variator = open_variator(choice)
    pieces = events(reference) if args.split else [(0.0, reference.duration_s)]
    if not args.split and len(found := events(reference)) > 1:
        _say(f"The reference holds {len(found)} events; --split varies each by itself.")
    written: list[Path] = []
    for number, (start, end) in enumerate(pieces, 1):
        piece = part(reference, start, end - start) if args.split else reference
        own = folder / f"event_{number:02d}" if len(pieces) > 1 else folder
        maker = Maker(variator, piece, ask, choose=not args.no_choose, judge=judge)
        try:
            maker.make(progress)
        except (Cancelled, KeyboardInterrupt):
            if maker.choose_again():
                written += _written(maker, own, args, choice)
                _say(f"Stopped; {len(maker.chosen())} that were finished are in {own}.")
            raise
        written += _written(maker, own, args, choice)
        _tell(maker)
    if args.zip:
        print(export_zip(written, Path(args.zip).expanduser(), force=args.force))


def _again(args: argparse.Namespace, progress: Progress) -> None:
    """Replace some of a soundbank that was written before."""
    folder = Path(args.again).expanduser()
    try:
        seeds = [int(text) for text in args.reject.split(",") if text.strip()]
        facts: dict[str, Any] = json.loads((folder / LIST).read_text(encoding="utf-8"))
        ask = Ask(**{**facts["ask"], "keep": Keep(**facts["ask"]["keep"])})
        options = facts["options"]
        loras = tuple((str(name), float(weight)) for name, weight in options["choice"]["loras"])
        settings = PaintSettings.from_dict(options["choice"]["settings"])
        choice = Choice(**{**options["choice"], "loras": loras, "settings": settings})
        files = [(folder / str(one["file"]), int(one["seed"])) for one in facts["variations"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, SonopaintError):
            raise
        raise SonopaintError(
            f"{folder} is no soundbank of this program, or --reject has no seeds in it ({error})."
        ) from error
    missing = sorted(set(seeds) - {seed for _, seed in files})
    if not seeds or missing:
        raise SonopaintError(
            f"Say with --reject which seeds are to be replaced; {folder} has "
            f"{', '.join(str(seed) for _, seed in files)}."
        )
    progress(0, 1, "Loading the model")
    maker = Maker(open_variator(choice), read_clip(folder / REFERENCE), ask, choose=options["choose"])
    for path, seed in files:
        maker.adopt(read_clip(path), seed)
    for seed in seeds:
        maker.reject(seed, progress)
    args.bits, args.trim, args.loop = options["bits"], False, False
    args.name, args.force, args.no_choose = options["name"], True, not options["choose"]
    _written(maker, folder, args, choice)
    _tell(maker)


def _written(maker: Maker, folder: Path, args: argparse.Namespace, choice: Choice) -> list[Path]:
    options = {
        "choice": dataclasses.asdict(choice),
        "choose": not args.no_choose,
        "bits": args.bits,
        "name": args.name,
    }
    paths = deliver(
        maker, maker.chosen(), folder, name=args.name, bits=args.bits, trim=args.trim, loop=args.loop,
        options=options, force=args.force,
    )  # fmt: skip
    for path in paths:
        print(path)
    return paths


def _tell(maker: Maker) -> None:
    chosen = maker.chosen()
    told = maker.figures(chosen)
    _say(
        f"{told['count']} of {told['candidates']} candidates: diversity {told.get('diversity', 0):.3f}, "
        f"alignment {told.get('alignment', 0):.3f}; left out: "
        f"{', '.join(f'{n} {why}' for why, n in told['left_out'].items()) or 'none'}."
    )
    for note in maker.notes(chosen):
        _say(note)


def _reference(args: argparse.Namespace) -> Clip:
    seconds = args.seconds
    if seconds is None and args.start == 0:
        clip = read_clip(
            args.reference, duration_s=LONGEST_S + 1
        )  # of hours, no more than is needed to refuse
        if clip.duration_s > LONGEST_S:
            from sonoconvert.files.clip import sound_header

            header = sound_header(args.reference)
            raise SonopaintError(
                f"The reference lasts {header.frames / header.sample_rate:.0f} s; say with --start and "
                f"--seconds which part of it is to be varied, at most {LONGEST_S:g} s."
            )
        return checked(clip)
    return checked(read_clip(args.reference, start_s=args.start, duration_s=seconds))


def _say(text: str) -> None:
    print(f"sonopaint: {text}", file=sys.stderr)
