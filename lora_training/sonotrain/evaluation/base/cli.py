"""The command lines of `sonotrain base evaluate`, `look`, `sweep` and `realism`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from sonotrain.evaluation.base.examine import Evaluation, evaluate_and_report
from sonotrain.files.options import add_device, add_options, add_threads, given, use_threads

Run = Callable[[argparse.Namespace], bool]


def fill_evaluate(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain base evaluate`."""

    def run(arguments: argparse.Namespace) -> bool:
        use_threads(arguments.threads)
        plan = Evaluation(**given(arguments, Evaluation))
        print(evaluate_and_report(plan, arguments.out, arguments.device, card=arguments.card))
        return True

    _finish(parser, Evaluation, "runs/evaluation", run)
    parser.add_argument("--card", action="store_true", help="put the table into the model's README.md")


def fill_look(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain base look`."""
    from sonotrain.evaluation.base.look import Look, look

    def run(arguments: argparse.Namespace) -> bool:
        use_threads(arguments.threads)
        plan = Evaluation(**{"mixtures": 20} | given(arguments, Evaluation))
        print(look(Look(plan, **given(arguments, Look)), arguments.out, arguments.device))
        return True

    _finish(parser, Evaluation, "runs/look", run)
    add_options(parser, Look)
    parser.epilog = "--per-kind 0 leaves the evaluation out; --mixtures is 20 here."


def fill_sweep(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain base sweep`."""
    from sonotrain.evaluation.base.sweep import Sweep, as_markdown, sweep

    def run(arguments: argparse.Namespace) -> bool:
        use_threads(arguments.threads)
        plan = Sweep(**given(arguments, Sweep))
        print(as_markdown(sweep(plan, arguments.out, arguments.device)))
        return True

    _finish(parser, Sweep, "runs/sweep", run)


def fill_realism(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain base realism`."""
    from sonotrain.evaluation.base.realism import Realism, as_markdown, realism

    def run(arguments: argparse.Namespace) -> bool:
        use_threads(arguments.threads)
        plan = Realism(**given(arguments, Realism))
        print(as_markdown(realism(plan, arguments.out, arguments.device)))
        return True

    _finish(parser, Realism, "runs/realism", run)


def _finish(parser: argparse.ArgumentParser, kind: type, out: str, run: Run) -> None:
    parser.add_argument("--out", default=out, help=f"folder for tables and pictures (default: {out})")
    add_options(parser, kind)
    add_threads(parser)
    add_device(parser)
    parser.set_defaults(run=run, resumable=False)
