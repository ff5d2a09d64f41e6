"""The command lines of `sonotrain bench`."""

from __future__ import annotations

import argparse


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
