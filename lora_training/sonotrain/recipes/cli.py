"""The command lines of recipes: many runs in one command."""

from __future__ import annotations

import argparse

from sonotrain.files.options import add_device, add_options, given


def fill_sweep(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain sweep`."""
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
    add_device(parser)
    add_options(parser, LoraOptions)
    parser.set_defaults(run=run, resumable=False)


def fill_mini(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain base all`."""
    from sonotrain.recipes.mini import PRESETS, run_all

    def run(arguments: argparse.Namespace) -> bool:
        return run_all(
            arguments.out,
            arguments.preset,
            arguments.minutes,
            device=arguments.device,
            workers=arguments.workers,
        )

    parser.add_argument("--out", default="runs/all", help="folder of the whole run (default: runs/all)")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="cpu", help="sizes (default: cpu)")
    parser.add_argument("--minutes", type=float, default=180.0, help="time for everything (default: 180)")
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that synthesise sounds (default: 2)"
    )
    add_device(parser)
    parser.set_defaults(run=run, resumable=False)


def fill_vocoders(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain vocoder all`."""
    from sonotrain.recipes.vocoders import PRESETS, run_vocoders

    def run(arguments: argparse.Namespace) -> bool:
        return run_vocoders(
            arguments.out,
            arguments.preset,
            arguments.minutes,
            device=arguments.device,
            workers=arguments.workers,
        )

    parser.add_argument("--out", default="runs/vocoders", help="folder of all runs (default: runs/vocoders)")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="cpu", help="sizes (default: cpu)")
    parser.add_argument("--minutes", type=float, default=240.0, help="time for everything (default: 240)")
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that synthesise sounds (default: 2)"
    )
    add_device(parser)
    parser.set_defaults(run=run, resumable=False)
