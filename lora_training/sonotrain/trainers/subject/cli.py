"""`sonotrain subject CLIPS --class NOUN`: learns one subject from a few clips."""

from __future__ import annotations

import argparse


def fill(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    from sonotrain.files.options import add_device, add_options, given
    from sonotrain.trainers.subject.options import SubjectOptions

    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.trainers.subject.trainer import SubjectTrainer
        from sonotrain.training.run import train

        options = given(arguments, SubjectOptions)
        return train(SubjectTrainer, arguments.out, options, device=arguments.device, resume=arguments.resume)

    parser.add_argument("clips", nargs="?", default=argparse.SUPPRESS, help="the same as --clips")
    parser.add_argument("--out", default="runs/subject", help="run folder (default: runs/subject)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, with its options")
    add_device(parser)
    add_options(parser, SubjectOptions)
    parser.set_defaults(run=run, resumable=True)
