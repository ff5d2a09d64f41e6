"""The command lines of `sonotrain evaluate`, and of `sonotrain base evaluate`, `look` and `sweep`."""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
from collections.abc import Callable
from typing import Any

from sonotrain.evaluation.base.examine import Evaluation
from sonotrain.evaluation.compare import Measures
from sonotrain.evaluation.generation import Plan
from sonotrain.evaluation.run import Request, run
from sonotrain.evaluation.tables import as_markdown, as_text

Run = Callable[[argparse.Namespace], bool]
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
    _use_threads(arguments.threads)
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


def fill_evaluate(parser: argparse.ArgumentParser) -> Run:
    """Adds the arguments; the function that evaluates."""

    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.evaluation.base.examine import evaluate_and_report

        plan = _evaluation(arguments)
        print(evaluate_and_report(plan, arguments.out, arguments.device, card=arguments.card))
        return True

    _add_evaluation(parser, "runs/evaluation")
    parser.add_argument("--card", action="store_true", help="put the table into the model's README.md")
    return run


def fill_look(parser: argparse.ArgumentParser) -> Run:
    """Adds the arguments; the function that looks."""
    from sonotrain.evaluation.base.look import Look, look

    plan = Look(Evaluation())

    def run(arguments: argparse.Namespace) -> bool:
        chosen = Look(_evaluation(arguments), arguments.seeds, arguments.pairs)
        print(look(chosen, arguments.out, arguments.device))
        return True

    _add_evaluation(parser, "runs/look", "; 0: no evaluation")
    add = parser.add_argument
    add("--seeds", type=int, default=plan.seeds, help=f"clips of one caption (default: {plan.seeds})")
    add("--pairs", type=int, default=plan.pairs, help=f"of opposite captions (default: {plan.pairs})")
    parser.set_defaults(mixtures=20)
    return run


def fill_sweep(parser: argparse.ArgumentParser) -> Run:
    """Adds the arguments; the function that sweeps."""
    from sonotrain.evaluation.base.sweep import Sweep, as_markdown, sweep

    plan = Sweep()

    def run(arguments: argparse.Namespace) -> bool:
        _use_threads(arguments.threads)
        chosen = Sweep(
            model=arguments.model,
            samplers=_names(arguments.samplers),
            steps=_numbers(parser, arguments.steps, int),
            guidances=_numbers(parser, arguments.guidances, float),
            kinds=_names(arguments.kinds),
            per_kind=arguments.per_kind,
            seed=arguments.seed,
        )
        print(as_markdown(sweep(chosen, arguments.out, arguments.device)))
        return True

    add = parser.add_argument
    add("--model", default=plan.model, help="model folder, file or name")
    add(
        "--out", default="runs/sweep", help="folder for tables, plot and what was heard (default: runs/sweep)"
    )
    add("--samplers", default=",".join(plan.samplers), help="with commas between (default: %(default)s)")
    add("--steps", default=_listed(plan.steps), help="of each sampler (default: %(default)s)")
    add("--guidances", default=_listed(plan.guidances), help="of the model's sampler (default: %(default)s)")
    add("--kinds", default="", help="only these kinds, with commas between")
    add("--per-kind", type=int, default=plan.per_kind, help="clips of each kind; raise it later (default: 2)")
    add("--seed", type=int, default=plan.seed, help="seed of captions and noise (default: %(default)s)")
    add("--threads", type=int, default=0, help="processor threads (0: torch's choice)")
    return run


def _add_evaluation(parser: argparse.ArgumentParser, out: str, none: str = "") -> None:
    plan, add = Evaluation(), parser.add_argument
    add("--model", default="weights/mini", help="model folder, file or name")
    add("--lora", default="", help="a LoRA on it, a one-step student's for example")
    add("--out", default=out, help=f"folder for JSON, Markdown and PNG (default: {out})")
    add("--classifier", default="", help="classifier file (default: the shipped one)")
    add("--per-kind", type=int, default=plan.per_kind, help=f"clips of each kind (default: 10{none})")
    add("--sequences", type=int, default=plan.sequences, help="clips of two events (default: 40)")
    add(
        "--mixtures",
        type=int,
        default=plan.mixtures,
        help="captions of two events at once (default: %(default)s)",
    )
    add("--reference", type=int, default=plan.reference, help="real clips of each kind to compare with")
    add("--kinds", default="", help="only these kinds, with commas between")
    add("--seed", type=int, default=plan.seed, help="seed of captions and noise (default: 5000)")
    add("--steps", type=int, default=0, help="sampling steps (default: the model's)")
    add("--guidance", type=float, default=0.0, help="guidance scale (default: the model's)")
    add("--sampler", default="", help="sampler (default: the model's)")
    add("--threads", type=int, default=0, help="processor threads (0: torch's choice)")


def _evaluation(arguments: argparse.Namespace) -> Evaluation:
    _use_threads(arguments.threads)
    return Evaluation(
        model=arguments.model,
        lora=arguments.lora,
        classifier=arguments.classifier,
        per_kind=arguments.per_kind,
        sequences=arguments.sequences,
        mixtures=arguments.mixtures,
        reference=arguments.reference,
        kinds=_names(arguments.kinds),
        seed=arguments.seed,
        steps=arguments.steps,
        guidance_scale=arguments.guidance,
        sampler=arguments.sampler,
    )


def _use_threads(threads: int) -> None:
    if threads:
        import torch

        torch.set_num_threads(threads)


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _listed(values: tuple[Any, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _numbers(parser: argparse.ArgumentParser, text: str, kind: type) -> tuple[Any, ...]:
    try:
        found = tuple(kind(part) for part in _names(text))
    except ValueError:
        parser.error(f"{text!r} is no list of numbers with commas between.")
    if any(value <= 0 for value in found):
        parser.error(f"{text!r}: steps and guidance must be above 0.")
    return found
