"""The command line of `sonotrain evaluate`."""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from sonoconvert.errors import flag, named
from sonotrain.evaluation.compare import Measures
from sonotrain.evaluation.generation import Plan
from sonotrain.evaluation.run import EvaluateOptions, run
from sonotrain.evaluation.tables import as_json, as_markdown, as_text
from sonotrain.files.options import add_options, add_threads, given, use_threads

EPILOG = """\
examples:
  sonotrain evaluate made/ --reference real/
  sonotrain evaluate made/ --reference real/ --embedding panns,vggish --clap models/evaluation/clap
  sonotrain evaluate --model mini --lora bark.safetensors --captions test.jsonl --reference DATASET

docs/evaluation.md says what each figure means, which files it needs, and what not to compare.
"""


def fill(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments; `parser` runs the evaluation."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("generated", nargs="?", default="", help="folder of generated sounds (leave away with --model)")
    add_options(parser, EvaluateOptions)
    add_options(parser, Measures)
    add("--print", choices=("table", "markdown", "json"), default="table", help="what to print")
    add_threads(parser)
    painting = parser.add_argument_group("painting first")
    add = painting.add_argument
    add("--model", default="", help="paint one clip per caption with this model (name, file or folder)")
    add(
        "--lora", action="append", dest="loras", default=[],
        help="FILE or FILE:WEIGHT; may be given several times",
    )  # fmt: skip
    add("--length", type=float, default=0.0, help="seconds to paint (default: the model's)")
    add_options(painting, Plan)
    parser.set_defaults(run=run_command, resumable=False)


def run_command(arguments: argparse.Namespace) -> bool:
    """Evaluates and prints the report."""
    use_threads(arguments.threads)
    plan = Plan(**given(arguments, Plan) | {"seconds": arguments.length}) if arguments.model else None
    told = {"measures": Measures(**given(arguments, Measures)), "plan": plan}
    request = EvaluateOptions(**given(arguments, EvaluateOptions) | told)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal of another encoding may lack ↓ and ∞
    report = run(request)
    width = max(80, min(160, shutil.get_terminal_size((110, 0)).columns))
    table = partial(as_text, width=width)
    forms: dict[str, Callable[[dict[str, Any]], str]] = {
        "json": as_json, "markdown": as_markdown, "table": table,
    }  # fmt: skip
    print(named(forms[arguments.print](report), flag))
    if arguments.print != "json":
        print(f"\nWritten: {request.out}/evaluation.json and evaluation.md")
    return True
