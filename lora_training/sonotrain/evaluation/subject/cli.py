"""The command lines of `sonotrain bench`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sonotrain.files.options import add_options, add_threads, given, use_threads

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
    from sonotrain.evaluation.subject.run import SubjectBenchOptions, run

    def command(arguments: argparse.Namespace) -> bool:
        use_threads(arguments.threads)
        told = {"sampling": Sampling(**given(arguments, Sampling))}
        request = SubjectBenchOptions(**given(arguments, SubjectBenchOptions) | told)
        run(request)
        print((Path(request.out) / "results.md").read_text(encoding="utf-8"), file=sys.stdout)
        return True

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("subjects", help="folder of one subject, or of a folder for each")
    add_options(parser, SubjectBenchOptions)
    add_options(parser.add_argument_group("models of many steps"), Sampling)
    add_threads(parser)
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
