"""`sonotrain blend table`."""

from __future__ import annotations

import argparse

from sonotrain.files.options import add_options, given


def fill_table(parser: argparse.ArgumentParser) -> None:
    from sonotrain.evaluation.blend.table import BlendTable

    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.evaluation.blend.table import make_table

        print(make_table(arguments.out, BlendTable(**given(arguments, BlendTable))), end="")
        return True

    parser.add_argument("--out", default="runs/blend-table", help="folder (default: runs/blend-table)")
    add_options(parser, BlendTable)
    parser.set_defaults(run=run, resumable=False)
