"""The command lines of `sonotrain bench variation` and `sonotrain bench requirements`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sonotrain.files.options import add_options, add_threads, given, use_threads

EPILOG = """\
examples:
  sonotrain bench variation --classes 4 --references 2 --variations 5 --unchosen
  sonotrain bench variation ESC-50 --methods vary lora=vary+esc50.safetensors --sweep 0.3,0.9
  sonotrain bench requirements --need R6,R7

Without sounds, things of the corpus's held-out kinds are varied. docs/variation_bench.md says what each
figure means.
"""


def fill_variation(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain bench variation`."""
    from sonotrain.evaluation.variation.references import Protocol
    from sonotrain.evaluation.variation.run import VariationBenchOptions, run

    def command(arguments: argparse.Namespace) -> bool:
        use_threads(arguments.threads)
        told = {"protocol": Protocol(**given(arguments, Protocol))}
        request = VariationBenchOptions(**given(arguments, VariationBenchOptions) | told)
        run(request)
        print((Path(request.out) / "results.md").read_text(encoding="utf-8"))
        return True

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("sounds", nargs="?", default="", help="ESC-50's folder, or a folder of classes")
    add_options(parser, VariationBenchOptions)
    add_options(parser.add_argument_group("protocol"), Protocol)
    add_threads(parser)
    parser.set_defaults(run=command, resumable=False)


def fill_requirements(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain bench requirements`."""
    from sonotrain.evaluation.variation.methods import METHODS
    from sonotrain.evaluation.variation.requirements import as_markdown, rank, read_matrix

    def command(arguments: argparse.Namespace) -> bool:
        matrix = read_matrix(arguments.matrix)
        needs = [need.strip().upper() for need in arguments.need.split(",") if need.strip()]
        here = [*matrix["measured"], *METHODS]
        ranked = rank(matrix, needs, () if arguments.all else here)
        print(as_markdown(matrix, ranked, needs))
        return True

    parser.add_argument(
        "matrix", nargs="?", default="", help="requirements.toml of a bench (default: the shipped one)"
    )
    parser.add_argument("--need", default="", help="requirements with commas between, such as R6,R7")
    parser.add_argument("--all", action="store_true", help="also back-ends that this machine does not have")
    parser.set_defaults(run=command, resumable=False)
