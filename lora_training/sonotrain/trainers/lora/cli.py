"""`sonotrain lora [config.toml]`: trains a LoRA."""

from __future__ import annotations

import argparse


def fill(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    from sonotrain.files.options import add_device, add_options, given
    from sonotrain.trainers.lora.options import LoraOptions, read_config

    def run(arguments: argparse.Namespace) -> bool:
        options = read_config(arguments.config) if arguments.config else {}
        options |= given(arguments, LoraOptions)
        if arguments.dry_run:
            from sonotrain.trainers.lora.estimate import dry_run

            print(dry_run(options, device=arguments.device))
            return True
        from sonotrain.trainers.lora.trainer import LoraTrainer
        from sonotrain.training.run import train

        return train(LoraTrainer, arguments.out, options, device=arguments.device, resume=arguments.resume)

    parser.add_argument("config", nargs="?", help="a TOML file with options; flags go over it")
    parser.add_argument("--out", default="runs/lora", help="run folder (default: runs/lora)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, with its options")
    parser.add_argument("--dry-run", action="store_true", help="measure a few steps; say memory and time")
    add_device(parser)
    add_options(parser, LoraOptions)
    parser.set_defaults(run=run, resumable=True)
