"""The steps of `sonotrain jingles` that make a model."""

from __future__ import annotations

import argparse

from sonotrain.files.options import add_options, given


def fill_dataset(parser: argparse.ArgumentParser) -> None:
    from sonotrain.data.pvt.build import PvtOptions

    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.data.pvt.build import build

        made = build(arguments.out, PvtOptions(**given(arguments, PvtOptions)))
        print(f"{arguments.out} is whole; {made} clips were made now")
        return True

    parser.add_argument("--out", default="runs/pvt", help="folder of the dataset (default: runs/pvt)")
    add_options(parser, PvtOptions)
    parser.set_defaults(run=run, resumable=False)
