"""``sonotrain match metrics``."""

from __future__ import annotations

import argparse

from sonotrain.files.options import add_options, given, use_threads


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
