"""The ``sonopaint`` command line. Everything heavy is imported when the work starts, not for ``--help``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonoconvert.errors import Cancelled, SonopaintError, flag, plain
from sonoconvert.progress import shares
from sonoconvert.terminal import show_all_names
from sonopaint.cli_options import parser_of

if TYPE_CHECKING:
    from sonoconvert.curves.curves import Curves
    from sonoconvert.files.clip import Clip
    from sonopaint.models.model import Model
    from sonopaint.tasks import Edit, PaintSettings, Result

OVERVIEW = """\
usage: sonopaint COMMAND [options]

Make and edit sounds with words.

  generate     a sound from a prompt
  vary         another version of a sound
  inpaint      repaint a part of a sound, in time and frequency
  extend       lengthen a sound at its start or end
  loop         a loop from a prompt, or a sound closed into a loop
  variations   many variations of a sound, judged and chosen: a soundbank
  interpolate  from one prompt to another over several sounds
  blend        the coarse of one sound, the mid of another, the fine of a third
  heal         repair a sound without words: gaps, clicks, clipping, a missing band
  jingle       notes, MIDI or curves, played by piano, violin or trumpet
  match        find the knobs of a synthesiser that make a sound
  play         turn a match's knobs and hear it again
  models       what --model and --lora can name
  studio       Sonopaint Studio in the browser

"sonopaint COMMAND --help" tells all options of a command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit codes: 0 done, 1 out of memory, 2 bad input, 130 stopped with Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(OVERVIEW, file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    logging.basicConfig(level=logging.WARNING, format="sonopaint: %(message)s")
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    show_all_names()
    try:
        return _run(arguments[0], arguments[1:])
    except SonopaintError as error:
        print(f"sonopaint: {error.told(_called)}", file=sys.stderr)
        return 2
    except OSError as error:
        where = error.filename or "The output"
        print(plain(f"sonopaint: {where}: {error.strerror or error}; check the folder."), file=sys.stderr)
        return 2
    except MemoryError:
        print("sonopaint: There is not enough memory; make a shorter sound.", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Cancelled):
        print("sonopaint: Stopped.", file=sys.stderr)
        return 130


def _called(name: str) -> str:
    """What this command line calls a setting."""
    return {"prompt": "PROMPT", "negative_prompt": "--negative", "guidance_scale": "--cfg"}.get(
        name, flag(name)
    )


def _run(command: str, arguments: list[str]) -> int:
    if command == "--version":
        from importlib.metadata import version

        print(f"sonopaint {version('sonopaint')}")
        return 0
    if command == "studio":
        from sonopaint_studio.app import main as studio

        return int(studio(arguments) or 0)
    if command not in COMMANDS:
        known = ", ".join([*COMMANDS, "studio"])
        raise SonopaintError(f"There is no command {command!r}; use one of {known}.")
    COMMANDS[command](parser_of(command).parse_intermixed_args(arguments))
    return 0


def _run_generate(args: argparse.Namespace) -> None:
    like = _read_settings(args.like) if args.like else {}
    if args.prompt is None and "prompt" not in like:
        raise SonopaintError('Give a prompt, as in: sonopaint generate "a dog barking".')
    settings = _settings(args, like)
    args.prompt = settings.prompt  # of --like, where none is given: the curves' register hangs on it
    paths = _paths(args, "generate", settings, args.batch)
    from sonopaint import cli_curves
    from sonopaint.tasks import generate

    seconds = like.get("seconds") if args.seconds is None else args.seconds
    curves = cli_curves.asked(args, like, seconds)
    seconds = cli_curves.length(args, curves, seconds)
    work = partial(generate, settings=settings, seconds=seconds, batch=args.batch)
    _paint(args, paths, work, curves)


def _run_vary(args: argparse.Namespace) -> None:
    from sonopaint.tasks import Edit

    _run_edit(args, Edit("vary"))


def _run_inpaint(args: argparse.Namespace) -> None:
    if not args.region and not args.mask:
        raise SonopaintError(
            "Say what to repaint with --region 1.0:2.5,200:4000 (seconds, hertz) or --mask mask.png."
        )
    from sonoconvert.edits.region import Region, load_brush, parse_region
    from sonopaint.tasks import Edit

    boxes = tuple(parse_region(text) for text in args.region)
    brush = load_brush(args.mask) if args.mask else None
    _run_edit(args, Edit("inpaint", Region(boxes, brush, args.feather, args.invert)))


def _run_extend(args: argparse.Namespace) -> None:
    from sonopaint.tasks import Edit
    from sonopaint.tasks.settings import EXTEND_S

    if args.left is None and args.right is None:
        args.right = EXTEND_S
    sides = {"left_prompt": args.left_prompt, "right_prompt": args.right_prompt}
    _run_edit(args, Edit("extend", left_s=args.left or 0.0, right_s=args.right or 0.0, **sides))


def _run_edit(args: argparse.Namespace, edit: Edit) -> None:
    settings = _settings(args)
    paths = _paths(args, edit.action, settings, args.batch)
    clip = _read(args.input)
    curves = None
    if edit.action in ("vary", "inpaint"):
        from sonopaint.cli_curves import asked

        curves = asked(args, {}, clip.duration_s)
    _paint(args, paths, partial(edit.paint, clip=clip, settings=settings, batch=args.batch), curves)


def _run_loop(args: argparse.Namespace) -> None:
    settings = _settings(args)
    paths = _paths(args, "loop", settings, args.batch)
    from sonopaint.tasks import loop

    clip = _read(args.clip) if args.clip else None
    lengths = {"seconds": args.seconds, "seam_s": args.seam}
    _paint(args, paths, partial(loop, clip=clip, settings=settings, batch=args.batch, **lengths))


def _run_interpolate(args: argparse.Namespace) -> None:
    settings = _settings(args)
    to_seed = settings.seed + 1 if args.to_seed is None else args.to_seed
    to = replace(settings, prompt=args.to, seed=to_seed)
    paths = _paths(args, "interpolate", settings, args.clips) + _paths(args, "interpolate", settings, 1)
    from sonopaint.tasks import interpolate

    work = partial(interpolate, settings_a=settings, settings_b=to, n=args.clips, seconds=args.seconds)
    _paint(args, paths, work)


def _run_heal(args: argparse.Namespace) -> None:
    from sonopaint.heal.cli import run

    _with_line(args, run, "Healing")


def _run_blend(args: argparse.Namespace) -> None:
    from sonopaint.blend.cli import run

    _with_line(args, run, "Blending")


def _run_jingle(args: argparse.Namespace) -> None:
    from sonopaint.jingles.cli import run

    _with_line(args, run, "Playing")


def _with_line(args: argparse.Namespace, run: Callable[..., None], doing: str) -> None:
    line = _ProgressLine(quiet=args.quiet)
    try:
        run(args, shares(line, doing))
    finally:
        line.end()


def _run_match(args: argparse.Namespace) -> None:
    from sonopaint.match.cli import run_match

    _with_line(args, run_match, "Matching")


def _run_play(args: argparse.Namespace) -> None:
    from sonopaint.match.cli import run_play

    run_play(args)


def _run_models(args: argparse.Namespace) -> None:
    from sonopaint.models.folders import user_folder
    from sonopaint.models.info import list_models
    from sonopaint.models.students import paints_in_one_step

    if args.kinds:
        _show_kinds(args.kinds)
        return
    found = list_models()
    for model in found:
        fmt = model.format.name if model.format else "-"
        steps = "one step" if paints_in_one_step(model) else ""
        print(f"{model.name:32} {model.kind:10} {fmt:20} {steps:8} {model.size / 1e6:8.1f} MB  {model.path}")
    if not found:
        print(f"No models yet; put .safetensors files into {user_folder()}.")


def _show_kinds(name: str) -> None:
    from sonopaint.knowledge import knowledge_of
    from sonopaint.models.info import find_model

    known = knowledge_of(find_model(name))
    if known is None:
        raise SonopaintError(f"The model {name} does not say which kinds of sound it knows; try it.")
    for kind, phrases in known.kinds.items():
        print(f"{kind:18} {'; '.join(phrases)}")


def _run_variations(args: argparse.Namespace) -> None:
    from sonopaint.variations.cli import run

    progress = _ProgressLine(quiet=args.quiet)
    try:
        run(args, _settings(args), tuple(_lora(text) for text in args.lora), progress)
    finally:
        progress.end()


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "generate": _run_generate,
    "vary": _run_vary,
    "inpaint": _run_inpaint,
    "extend": _run_extend,
    "loop": _run_loop,
    "interpolate": _run_interpolate,
    "blend": _run_blend,
    "heal": _run_heal,
    "jingle": _run_jingle,
    "match": _run_match,
    "play": _run_play,
    "variations": _run_variations,
    "models": _run_models,
}


def _settings(args: argparse.Namespace, like: dict[str, Any] | None = None) -> PaintSettings:
    """What was said on the command line, on top of ``like``'s settings."""
    from sonopaint.tasks.settings import ONE_STEP, PaintSettings

    given = {
        "prompt": args.prompt,
        "negative_prompt": args.negative,
        "steps": args.steps,
        "guidance_scale": args.cfg,
        "sampler": args.sampler,
        "seed": args.seed,
        "strength": getattr(args, "strength", None),
        "iterations": args.iterations,
        "surroundings": getattr(args, "surroundings", None),
        "down_prompt": getattr(args, "down_prompt", None),
        "up_prompt": getattr(args, "up_prompt", None),
    }
    values = {"seed": secrets.randbelow(2**32), **(like or {})}
    if args.sampler is None and (args.one_step or args.timestep is not None):
        given["sampler"] = ONE_STEP
        if values.get("sampler") != ONE_STEP:  # what a many-step model was told does not suit a student
            values |= {"steps": None, "guidance_scale": None}
    settings = PaintSettings.from_dict({**values, **{name: v for name, v in given.items() if v is not None}})
    args.one_step = args.one_step or settings.sampler == ONE_STEP  # as a result says that is made again
    return settings


def _paths(args: argparse.Namespace, task: str, settings: PaintSettings, count: int) -> list[Path]:
    from sonopaint.paths import default_name, output_paths

    name = default_name(settings.prompt, task, settings.seed)
    return output_paths(args.output, name, count, picture=args.picture, force=args.force)


def _read(path: str) -> Clip:
    from sonoconvert.files.clip import read_clip

    return read_clip(path)


def _read_settings(path: str) -> dict[str, Any]:
    """The settings that a sound or picture carries."""
    if Path(path).suffix.lower() == ".png":
        from sonoconvert.pictures.picture import load_picture

        settings = load_picture(path).settings
    else:
        settings = _read(path).settings
    if not settings:
        raise SonopaintError(f"{path} carries no settings of Sonopaint; give a prompt instead.")
    return settings


def _load(args: argparse.Namespace) -> Model:
    import torch

    from sonopaint.models.folders import shipped_folder
    from sonopaint.models.loading import load_model

    if args.model == "mini" and not (shipped_folder() / "mini").is_dir():
        raise SonopaintError(
            f"The shipped model is missing in {shipped_folder() / 'mini'}; "
            "clone the repository again, or name another model with --model."
        )
    try:
        device = torch.device(args.device) if args.device else None
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SonopaintError(f"The device {args.device!r} can't be used here; try --device cpu.") from error
    name: str | Path = args.model
    loras: list[tuple[str | Path, float]] = [_lora(text) for text in args.lora]
    if args.one_step and args.timestep is None:
        from sonopaint.models.students import with_student

        name, loras = with_student(name, loras)
    return load_model(name, device=device, loras=loras, format=args.format, one_step=args.timestep)


def _lora(text: str) -> tuple[str, float]:
    """FILE or FILE:WEIGHT; a colon that no number follows belongs to the name."""
    name, colon, weight = text.rpartition(":")
    try:
        return (name, float(weight)) if colon and name else (text, 1.0)
    except ValueError:
        return text, 1.0


def _paint(
    args: argparse.Namespace,
    paths: list[Path],
    work: Callable[..., list[Result]],
    curves: Curves | None = None,
) -> None:
    """Load the model, do the work (a task that lacks its model), write the results and name them.

    `curves`: what they are to follow.
    """
    from sonoconvert.files.clip import write_clip
    from sonoconvert.pictures.picture import save_picture
    from sonopaint.paths import picture_paths

    progress = _ProgressLine(quiet=args.quiet)
    progress(0, 1, "Loading the model")
    model = _load(args)
    progress.restart()
    try:
        if curves is None:
            results = work(model, progress=progress)
        else:
            from sonopaint.cli_curves import finished, painter_of

            painter, curves = painter_of(args, model, curves)
            results = work(painter, progress=progress)
            results = finished(args, results, curves)
    finally:
        progress.end()
    for result, path, png in zip(results, paths, picture_paths(paths), strict=True):
        write_clip(result.clip, path, force=args.force)
        print(path)
        if args.picture:
            save_picture(result.picture, png, force=args.force)
            print(png)
    for said in dict.fromkeys(filter(None, (result.settings.get("unknown") for result in results))):
        print(f"sonopaint: {said}", file=sys.stderr)
    for note in dict.fromkeys(note for result in results for note in result.settings.get("notes", [])):
        print(f"sonopaint: {note}", file=sys.stderr)
    if not args.quiet:
        shown = {name: results[0].settings[name] for name in ("seed", "steps", "guidance_scale", "sampler")}
        print(f"sonopaint: made with {json.dumps(shown)}", file=sys.stderr)


class _ProgressLine:
    """Progress with the time that is left, on stderr: one line on a terminal, four lines in a log."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.terminal = sys.stderr.isatty()
        self.shown: tuple[int, str] | None = None
        self.restart()

    def restart(self) -> None:
        self.begin = self.last = time.monotonic()

    def __call__(self, step: int, total: int, message: str) -> None:
        if self.quiet:
            return
        now = time.monotonic()
        share = step / total if total else 0.0
        left = f", {(now - self.begin) * (1 - share) / share:.0f} s left" if 0 < share < 1 else ""
        text = f"{message}: {share:4.0%}{left}"
        if self.terminal:
            if now - self.last > 0.1 or share in (0.0, 1.0):
                print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
                self.last = now
        elif (quarter := (int(share * 4), message)) != self.shown:
            print(text, file=sys.stderr, flush=True)
            self.shown = quarter

    def end(self) -> None:
        if self.terminal and not self.quiet:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
