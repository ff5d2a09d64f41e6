"""``sonotrain match table`` and ``evaluate``."""

from __future__ import annotations

import argparse
from pathlib import Path

from sonotrain.files.options import add_options, add_threads, given, use_threads

_OPTIONS = ("grid", "width", "depth", "batch", "learning_rate", "workers", "threads", "metric", "q")


def fill_table(parser: argparse.ArgumentParser) -> None:
    """The arguments of `table`."""
    from sonotrain.trainers.match.train import MatchOptions

    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.evaluation.match.table import as_markdown, run_table

        chosen = given(arguments, MatchOptions)
        defaults = {"synths": (arguments.synth,), "grid": 8, "metric": "derivative", "q": 12}
        defaults |= {"width": 0.35, "depth": 0.34, "learning_rate": 2e-3}
        use_threads(chosen.get("threads", 0))
        table = run_table(arguments.out, defaults | chosen, arguments.steps, arguments.inits)
        print(as_markdown(table), end="")
        return True

    parser.add_argument("--out", default="runs/match-table", help="folder (default: runs/match-table)")
    parser.add_argument("--synth", default="arpeggio", help="which synthesiser (default: arpeggio)")
    parser.add_argument("--steps", type=int, default=600, help="of each training (default: 600)")
    parser.add_argument("--inits", type=int, default=3, help="initialisations of each loss (default: 3)")
    add_options(parser, MatchOptions, _OPTIONS)
    parser.set_defaults(run=run, resumable=False)


def fill_evaluate(parser: argparse.ArgumentParser) -> None:
    """The arguments of `evaluate`."""
    from sonopaint.match.draws import COUNT
    from sonopaint.match.matching import STEPS

    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.evaluation.match.table import held_out
        from sonotrain.files.json_files import write_json

        use_threads(arguments.threads)
        found = held_out(arguments.analyser, arguments.sounds, arguments.draws, arguments.refine)
        print("| synth | best of draws | analyser | matched | analyser, JND | matched, JND | s |")
        print("|---" * 7 + "|")
        for name, one in found.items():
            print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in one.values()) + " |")
        if arguments.out:
            write_json(Path(arguments.out), found)
        return True

    parser.add_argument("analyser", nargs="?", default="weights/match/corpus.safetensors", help="its file")
    parser.add_argument("--sounds", type=int, default=16, help="of each synthesiser (default: 16)")
    parser.add_argument(
        "--draws", type=int, default=COUNT, help=f"draws beside (default: {COUNT}, the kept ones)"
    )
    parser.add_argument("--refine", type=int, default=STEPS, help=f"steps of refinement (default: {STEPS})")
    add_threads(parser)
    parser.add_argument("--out", help="JSON with the figures")
    parser.set_defaults(run=run, resumable=False)
