"""The command lines of `sonotrain bench`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

EPILOG = """\
examples:
  sonotrain bench subject-clips --out runs/subjects
  sonotrain bench subject runs/subjects --methods "one-step=runs/one-step/{subject}" --base
  sonotrain bench subject dreambooth/dataset --methods "db=runs/db/{subject}" --model v1-5.safetensors

{subject} stands for the subject's name. docs/subject_bench.md says what each figure means.
"""


def fill_bench(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain bench subject`."""
    from sonotrain.evaluation.subject.painting import Sampling
    from sonotrain.evaluation.subject.run import Request, run

    plan, how = Request(""), Sampling()

    def command(arguments: argparse.Namespace) -> bool:
        if arguments.threads:
            import torch

            torch.set_num_threads(arguments.threads)
        plain = (
            "subjects noun token model base seeds embedding weights clap dino clip alexnet lpips out cache"
        )
        names = [*plain.split(), "device", "smoke"]
        request = Request(
            **{name: getattr(arguments, name) for name in names},
            methods=tuple(arguments.methods),
            only=tuple(filter(None, arguments.only.split(","))),
            prompts=tuple(arguments.prompts),
            sampling=Sampling(arguments.steps, arguments.guidance, arguments.sampler, arguments.size),
        )
        run(request)
        print((Path(arguments.out) / "results.md").read_text(encoding="utf-8"), file=sys.stdout)
        return True

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("subjects", help="folder of one subject, or of a folder for each")
    add("--methods", nargs="+", default=[], metavar="NAME=PATH", help="run folders, LoRAs or models")
    add("--base", action="store_true", help="also the model itself, asked for the class without the token")
    add("--class", dest="noun", default="", help="class noun, where no subject.json says it")
    add("--only", default="", help="only these subjects, with commas between")
    add("--token", default=plan.token, help=f"the rare token (default: {plan.token})")
    add("--model", default=plan.model, help="what LoRAs go on (default: mini)")
    add("--prompts", nargs="+", type=int, default=[], metavar="N", help="numbers from 1 to 25 (default: all)")
    add("--seeds", type=int, default=plan.seeds, help="seeds of each prompt, from 0 (default: 4)")
    add("--smoke", action="store_true", help="two prompts, two seeds, four steps: does everything run?")
    add("--out", default=plan.out, help=f"folder for the report (default: {plan.out})")
    add("--cache", default=plan.cache, help=f"folder for what was heard (default: {plan.cache})")
    many = parser.add_argument_group("models of many steps").add_argument
    many("--steps", type=int, default=how.steps, help="sampling steps (default: 50)")
    many("--guidance", type=float, default=how.guidance, help="guidance scale (default: the model's)")
    many("--sampler", default=how.sampler, help="sampler (default: ddim)")
    many("--size", type=int, default=how.size, help="side of pictures in pixels (default: 512)")
    who = parser.add_argument_group("who judges").add_argument
    who(
        "--embedding", default=plan.embedding, help="panns, vggish, clap or classifier (default: as evaluate)"
    )
    who("--weights", default="", help="the embedding's file (default: looked for in models/evaluation)")
    who("--clap", default="", help="a CLAP folder, for the agreement of sound and words")
    who("--dino", default="", help="pictures: a DINO folder")
    who("--clip", default="", help="pictures: a CLIP folder")
    who("--alexnet", default="", help="pictures: AlexNet's weights, for LPIPS")
    who("--lpips", default="", help="pictures: LPIPS's linear layers")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … (default: auto)")
    parser.add_argument("--threads", type=int, default=0, help="processor threads (0: torch's choice)")
    parser.set_defaults(run=command, resumable=False)


def fill_clips(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain bench subject-clips`."""

    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.evaluation.subject.clips import write_subjects

        folders = write_subjects(
            arguments.out,
            clips=arguments.clips,
            held_out=arguments.held_out,
            seed=arguments.seed,
            force=arguments.force,
        )
        print(f"{', '.join(folder.name for folder in folders)} are in {arguments.out}")
        return True

    add = parser.add_argument
    add("--out", default="runs/subjects", help="folder of all subjects (default: runs/subjects)")
    add("--clips", type=int, default=5, help="clips to learn each subject from (default: 5)")
    add("--held-out", type=int, default=20, help="further clips to compare with (default: 20)")
    add("--seed", type=int, default=0, help="seed of all sounds (default: 0)")
    add("--force", action="store_true", help="replace sounds that are there")
    parser.set_defaults(run=run, resumable=False)
