"""The command line of `sonotrain evaluate`."""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys

from sonotrain.evaluation.compare import Measures
from sonotrain.evaluation.generation import Plan
from sonotrain.evaluation.run import Request, run
from sonotrain.evaluation.tables import as_markdown, as_text

EPILOG = """\
examples:
  sonotrain evaluate made/ --reference real/
  sonotrain evaluate made/ --reference real/ --embedding panns,vggish --clap models/evaluation/clap
  sonotrain evaluate --model mini --lora bark.safetensors --captions test.jsonl --reference DATASET

docs/evaluation.md says what each figure means, which files it needs, and what not to compare.
"""


def fill(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments; `parser` runs the evaluation."""
    plan, measures, request = Plan(), Measures(), Request()
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("generated", nargs="?", default="", help="folder of generated sounds (leave away with --model)")
    add("--reference", default="", help="folder of real sounds, or a dataset")
    add("--captions", default="", help=".jsonl, .json or .csv with names and captions, or a dataset")
    add(
        "--embedding",
        default="auto",
        help="panns, vggish, clap, classifier, or several with commas (default: panns where its weights are, "
        "else the corpus classifier)",
    )
    add("--weights", default="", help="the embedding's file (default: looked for in models/evaluation)")
    add("--clap", default="", help="a CLAP folder, for the CLAP score beside another embedding")
    add("--split", default="", help="train, validation, test or all of a dataset (default: test)")
    add("--seconds", type=float, default=request.seconds, help="heard of each clip (default: 10)")
    add("--resamples", type=int, default=measures.resamples, help="bootstraps for ± (default: 100; 0: no ±)")
    add("--splits", type=int, default=measures.splits, help="parts of the inception score (default: 10)")
    add("--fadtk", action="store_true", help="draw for FAD∞ with replacement, as fadtk does")
    add("--out", default=request.out, help=f"folder for the report (default: {request.out})")
    add("--cache", default=request.cache, help=f"folder for what was heard (default: {request.cache})")
    add("--print", choices=("table", "markdown", "json"), default="table", help="what to print")
    painting = parser.add_argument_group("painting first")
    add = painting.add_argument
    add("--model", default="", help="paint one clip per caption with this model (name, file or folder)")
    add("--lora", action="append", default=[], help="FILE or FILE:WEIGHT; may be given several times")
    add("--limit", type=int, default=0, help="paint so many captions, chosen at random (default: all)")
    add("--seed", type=int, default=0, help="of captions, noise and bootstraps (default: 0)")
    add("--steps", type=int, default=plan.steps, help="sampling steps (default: the model's)")
    add("--guidance", type=float, default=plan.guidance_scale, help="guidance scale (default: the model's)")
    add("--sampler", default=plan.sampler, help="sampler (default: the model's)")
    add("--negative", default=plan.negative_prompt, help="negative prompt")
    add("--length", type=float, default=plan.seconds, help="seconds to paint (default: the model's)")
    add("--prefix", default=plan.prefix, help='put before each caption, such as "a spectrogram of "')
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … (default: auto)")
    parser.add_argument("--threads", type=int, default=0, help="processor threads (0: torch's choice)")
    parser.set_defaults(run=run_command, resumable=False)


def run_command(arguments: argparse.Namespace) -> bool:
    """Evaluates and prints the report."""
    if arguments.threads:
        import torch

        torch.set_num_threads(arguments.threads)
    plan = None
    if arguments.model:
        plan = Plan(
            model=arguments.model,
            loras=tuple(arguments.lora),
            seed=arguments.seed,
            steps=arguments.steps,
            guidance_scale=arguments.guidance,
            sampler=arguments.sampler,
            negative_prompt=arguments.negative,
            seconds=arguments.length,
            prefix=arguments.prefix,
        )
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal of another encoding may lack ↓ and ∞
    report = run(
        Request(
            generated=arguments.generated,
            reference=arguments.reference,
            captions=arguments.captions,
            embeddings=tuple(dict.fromkeys(filter(None, arguments.embedding.split(",")))) or ("auto",),
            weights=arguments.weights,
            clap=arguments.clap,
            split=arguments.split,
            seconds=arguments.seconds,
            limit=arguments.limit,
            out=arguments.out,
            cache=arguments.cache,
            device=arguments.device,
            measures=Measures(arguments.resamples, arguments.splits, arguments.seed, arguments.fadtk),
            plan=plan,
        )
    )
    if arguments.print == "json":
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        width = max(80, min(160, shutil.get_terminal_size((110, 0)).columns))
        print(as_markdown(report) if arguments.print == "markdown" else as_text(report, width))
        print(f"\nWritten: {arguments.out}/evaluation.json and evaluation.md")
    return True
