"""The command lines of `sonotrain listen`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sonotrain.files.options import add_options, given


def fill_build(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain listen build`."""
    from sonotrain.evaluation.listening.build import ListenOptions, build_test

    def run(arguments: argparse.Namespace) -> bool:
        page, key = build_test(arguments.folder, ListenOptions(**given(arguments, ListenOptions)))
        print(f"{page} is the test: one file, for any browser. Keep {key} to yourself until it is scored.")
        return True

    parser.add_argument(
        "folder", help="a folder of `sonotrain bench variation`, or references/NAME.wav and "
        "made/METHOD/NAME/*.wav",
    )  # fmt: skip
    add_options(parser, ListenOptions)
    parser.set_defaults(run=run, resumable=False)


def fill_score(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain listen score`."""
    from sonotrain.evaluation.listening.score import as_markdown, score_files, write_scores

    def run(arguments: argparse.Namespace) -> bool:
        result = score_files(arguments.answers, arguments.key, arguments.everybody)
        write_scores(result, Path(arguments.out or Path(arguments.key).parent))
        if arguments.matrix:
            from sonotrain.evaluation.variation.requirements import fill_smos

            smos = {name: one["mean"] for name, one in result["methods"].items()}
            filled = fill_smos(Path(arguments.matrix), smos)
            result["said"].append(f"{arguments.matrix} has the S-MOS of {', '.join(filled)} now.")
        print(as_markdown(result))
        return True

    add = parser.add_argument
    add("answers", nargs="+", help="the listeners' CSV files")
    add("--key", default="runs/listening/key.json", help="the test's key (default: runs/listening/key.json)")
    add("--everybody", action="store_true", help="count listeners who failed the hidden checks, too")
    add("--matrix", default="", metavar="FILE", help="a bench's requirements.toml, which gets the S-MOS")
    add("--out", default="", help="folder for scores.json and scores.md (default: the key's)")
    parser.set_defaults(run=run, resumable=False)
