"""``sonotrain match metrics`` and ``draws``."""

from __future__ import annotations

import argparse
from pathlib import Path

from sonotrain.files.options import add_options, add_threads, given, use_threads


def fill_metrics(parser: argparse.ArgumentParser) -> None:
    """The arguments of `metrics`."""
    from sonotrain.trainers.match.train import MatchOptions

    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.trainers.match.metrics import known
        from sonotrain.trainers.match.train import plans

        options = MatchOptions(**given(arguments, MatchOptions))
        use_threads(options.threads)
        for plan in plans(options):
            found = known(plan, options.cache, options.workers)
            print(f"{plan.key()}: {len(found.heard)} sounds, {len(found.metric)} metrics")
        return True

    names = ("synths", "grid", "draws", "plain", "metric", "q", "cache", "data_seed", "workers", "threads")
    add_options(parser, MatchOptions, names)
    parser.set_defaults(run=run, resumable=True)


def fill_draws(parser: argparse.ArgumentParser) -> None:
    """The arguments of `draws`."""
    from sonopaint.match.draws import COUNT

    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.trainers.match.kept_draws import keep_draws

        use_threads(arguments.threads)
        keep_draws(Path(arguments.out), Path(arguments.cache), arguments.count)
        return True

    parser.add_argument("--out", default="weights/match/draws.safetensors", help="the file")
    parser.add_argument("--cache", default="runs/match-draws", help="descriptors that are there already")
    parser.add_argument(
        "--count", type=int, default=COUNT, help=f"draws of each synthesiser (default: {COUNT})"
    )
    add_threads(parser)
    parser.set_defaults(run=run, resumable=False)
