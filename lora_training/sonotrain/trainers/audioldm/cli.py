"""The command line of `sonotrain audioldm`."""

from __future__ import annotations

import argparse

from sonotrain.files.options import add_device, add_options, given


def fill(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    from sonotrain.trainers.audioldm.trainer import AudioldmOptions, AudioldmTrainer

    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.training.run import train

        told = given(arguments, AudioldmOptions)
        return train(AudioldmTrainer, arguments.out, told, device=arguments.device, resume=arguments.resume)

    parser.add_argument("--out", default="runs/audioldm", help="run folder (default: runs/audioldm)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, with its options")
    add_device(parser)
    add_options(parser, AudioldmOptions)
    parser.set_defaults(run=run, resumable=True)
