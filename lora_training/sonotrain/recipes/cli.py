"""The command lines of recipes: many runs in one command."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection

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

    _fill_all(parser, run_all, PRESETS, "runs/all", 180.0)


def fill_vocoders(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain vocoder all`."""
    from sonotrain.recipes.vocoders import PRESETS, run_vocoders

    _fill_all(parser, run_vocoders, PRESETS, "runs/vocoders", 240.0)


def _fill_all(
    parser: argparse.ArgumentParser,
    recipe: Callable[..., bool],
    presets: Collection[str],
    out: str,
    minutes: float,
) -> None:
    def run(given: argparse.Namespace) -> bool:
        return recipe(given.out, given.preset, given.minutes, device=given.device, workers=given.workers)

    parser.add_argument("--out", default=out, help=f"folder of all runs (default: {out})")
    parser.add_argument("--preset", choices=tuple(presets), default="cpu", help="sizes (default: cpu)")
    told = f"time for everything (default: {minutes:g})"
    parser.add_argument("--minutes", type=float, default=minutes, help=told)
    parser.add_argument("--workers", type=int, default=2, help="processes that make sounds (default: 2)")
    add_device(parser)
    parser.set_defaults(run=run, resumable=False)
