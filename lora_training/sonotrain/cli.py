"""`sonotrain …`: datasets, LoRAs, evaluation, and the commands that make Sonopaint Mini (`base`)."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from sonoconvert.errors import SonopaintError, flag, named, plain, setting
from sonoconvert.terminal import show_all_names
from sonotrain.commands import COMMANDS, GROUPS, Export
from sonotrain.files.options import WATCHED, add_device, add_options, given

if TYPE_CHECKING:
    from sonotrain.training.run import Trainer

STOPPED = 130  # as a shell reports an interrupted command


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. 0 = done, 2 = bad input (one sentence on stderr), 130 = stopped, state saved."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Named("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in ("httpx", "filelock", "urllib3", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")  # it warns of every change of precision
    words = list(sys.argv[1:] if arguments is None else arguments)
    show_all_names()
    parser = build_parser(words)
    options = parser.parse_args(words)
    try:
        if options.run(options):
            return 0
    except SonopaintError as error:
        called = setting if os.environ.get(WATCHED) else _called
        print(f"sonotrain: {error.told(called)}", file=sys.stderr)
        return 2
    except OSError as error:
        where = error.filename or "The output"
        print(plain(f"sonotrain: {where}: {error.strerror or error}; check the folder."), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    resume = words + ([] if "--resume" in words or not options.resumable else ["--resume"])
    print(f"Stopped. Go on with: sonotrain {shlex.join(resume)}", file=sys.stderr)
    return STOPPED


class _Named(logging.Formatter):
    """What is logged, with settings as this command line calls them."""

    def format(self, record: logging.LogRecord) -> str:
        return named(super().format(record), _called)


def _called(name: str) -> str:
    """What this command line calls a setting."""
    return {"noun": "--class"}.get(name, flag(name))


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The command line. Heavy modules load only for the command that `words` name."""
    parser = argparse.ArgumentParser(prog="sonotrain", description="Trains models for Sonopaint.")
    parts = parser.add_subparsers(title="what to do", required=True, metavar="COMMAND")
    for name, (help_line, description, place) in COMMANDS.items():
        command = parts.add_parser(name, help=help_line, description=description)
        if list(words[:1]) == [name]:
            _fill(command, place, f"runs/{name}")
    for group, (help_line, steps) in GROUPS.items():
        part = parts.add_parser(group, help=help_line)
        commands = part.add_subparsers(title="steps, in their order", required=True, metavar="STEP")
        for name, (help_line, what) in steps.items():
            command = commands.add_parser(
                name, help=help_line, description=help_line[0].upper() + help_line[1:] + "."
            )
            if list(words[:1]) == [group] and name in words:
                _fill(command, what, f"runs/{name if group == 'base' else group}")
    return parser


def _fill(parser: argparse.ArgumentParser, what: str | Export, run_folder: str) -> None:
    """The arguments of a command: what its own function adds, or those of a trainer, or of an export."""
    if isinstance(what, Export):
        _exporting(parser, what, run_folder)
        return
    module, _, name = what.partition(":")
    found = getattr(import_module(module), name)
    if isinstance(found, type):
        _training(parser, found, run_folder)
    else:
        found(parser)


def _training(parser: argparse.ArgumentParser, kind: type[Trainer], out: str) -> None:
    """The arguments of a trainer, and how long it is to train."""

    def run(arguments: argparse.Namespace) -> bool:
        budget = None
        if told and (not arguments.resume or arguments.steps or arguments.minutes):
            budget = Budget(arguments.steps, arguments.minutes)
        options = given(arguments, kind.Options)
        return train(kind, arguments.out, options, budget, device=arguments.device, resume=arguments.resume)

    from sonotrain.training.loop import Budget
    from sonotrain.training.run import Trainer, train

    told = kind.budget is Trainer.budget  # else its options say how long
    parser.add_argument("--out", default=out, help=f"run folder (default: {out})")
    if told:
        parser.add_argument("--steps", type=int, help="train for so many steps")
        parser.add_argument("--minutes", type=float, help="or for so many minutes")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, with its options")
    add_options(parser, kind.Options)
    add_device(parser)
    parser.set_defaults(run=run, resumable=True)


def _exporting(parser: argparse.ArgumentParser, what: Export, run_folder: str) -> None:
    """The arguments of what writes a run's weights where they are found."""

    def run(arguments: argparse.Namespace) -> bool:
        module, _, name = what.function.partition(":")
        path = getattr(import_module(module), name)(
            arguments.run_folder, arguments.out, force=arguments.force
        )
        print(f"{path} is written; {what.then.format(path=path)}")
        return True

    parser.add_argument("--run", dest="run_folder", default=run_folder, help="a run folder")
    parser.add_argument("--out", default=what.out, help=f"folder to write (default: {what.out})")
    parser.add_argument("--force", action="store_true", help="replace weights that are there")
    parser.set_defaults(run=run, resumable=False)
