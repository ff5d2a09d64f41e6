"""``sonotrain match metrics`` and ``export``."""

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


def fill_export(parser: argparse.ArgumentParser) -> None:
    """The arguments of `export`."""

    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.trainers.match.train import export_analyser

        path = export_analyser(arguments.run_folder, arguments.out, force=arguments.force)
        print(f"{path} is written ({path.stat().st_size / 1e6:.1f} MB)")
        return True

    parser.add_argument("--run", dest="run_folder", default="runs/match", help="a run folder")
    parser.add_argument("--out", default="weights/match", help="folder to write (default: weights/match)")
    parser.add_argument("--force", action="store_true", help="replace weights that are there")
    parser.set_defaults(run=run, resumable=False)
