"""`sonotrain sweep`: one run for each value of an option."""

from __future__ import annotations

import argparse


def fill_sweep(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain sweep`."""
    from sonotrain.files.options import add_options, given
    from sonotrain.recipes.sweep import RECIPES
    from sonotrain.trainers.lora.options import LoraOptions

    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.recipes.sweep import run_sweep

        options = given(arguments, LoraOptions)
        out = arguments.out or f"runs/sweep-{arguments.recipe}"
        done = run_sweep(arguments.recipe, out, options, clips=arguments.clips, device=arguments.device)
        if done:
            print(f"{out}/sweep.md holds the table.")
        return done

    told = "; ".join(f"{name}: {recipe.about}" for name, recipe in RECIPES.items())
    parser.add_argument("recipe", choices=tuple(RECIPES), help=told)
    parser.add_argument("--out", default="", help="folder of all runs (default: runs/sweep-RECIPE)")
    parser.add_argument("--clips", type=int, default=20, help="clips of each kind, without --dataset")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … (default: auto)")
    add_options(parser, LoraOptions)
    parser.set_defaults(run=run, resumable=False)
