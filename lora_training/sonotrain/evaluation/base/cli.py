"""The command lines of `sonotrain base evaluate`, `look`, `sweep` and `realism`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from sonotrain.evaluation.base.examine import Evaluation, evaluate_and_report
from sonotrain.files.options import add_device, add_options, add_threads, given, use_threads


def fill_evaluate(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain base evaluate`."""

    def work(arguments: argparse.Namespace) -> str:
        plan = Evaluation(**given(arguments, Evaluation))
        return evaluate_and_report(plan, arguments.out, arguments.device, card=arguments.card)

    _fill(parser, Evaluation, "runs/evaluation", work)
    parser.add_argument("--card", action="store_true", help="put the table into the model's README.md")


def fill_look(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain base look`."""
    from sonotrain.evaluation.base.look import Look, look

    def work(arguments: argparse.Namespace) -> str:
        plan = Evaluation(**{"mixtures": 20} | given(arguments, Evaluation))
        return look(Look(plan, **given(arguments, Look)), arguments.out, arguments.device)

    _fill(parser, Evaluation, "runs/look", work)
    add_options(parser, Look)
    parser.epilog = "--per-kind 0 leaves the evaluation out; --mixtures is 20 here."


def fill_sweep(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain base sweep`."""
    from sonotrain.evaluation.base.sweep import Sweep, as_markdown, sweep

    def work(arguments: argparse.Namespace) -> str:
        return as_markdown(sweep(Sweep(**given(arguments, Sweep)), arguments.out, arguments.device))

    _fill(parser, Sweep, "runs/sweep", work)


def fill_realism(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain base realism`."""
    from sonotrain.evaluation.base.realism import Realism, as_markdown, realism

    def work(arguments: argparse.Namespace) -> str:
        return as_markdown(realism(Realism(**given(arguments, Realism)), arguments.out, arguments.device))

    _fill(parser, Realism, "runs/realism", work)


def _fill(
    parser: argparse.ArgumentParser, kind: type, out: str, work: Callable[[argparse.Namespace], str]
) -> None:
    """What all have; `work` says what is printed at the end."""

    def run(arguments: argparse.Namespace) -> bool:
        use_threads(arguments.threads)
        print(work(arguments))
        return True

    parser.add_argument("--out", default=out, help=f"folder for tables and pictures (default: {out})")
    add_options(parser, kind)
    add_threads(parser)
    add_device(parser)
    parser.set_defaults(run=run, resumable=False)
