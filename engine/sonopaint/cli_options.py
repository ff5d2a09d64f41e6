"""The options of each command of ``sonopaint``."""

from __future__ import annotations

import argparse
from typing import NoReturn

from sonoconvert.defaults import FEATHER_S, ITERATIONS, SEAM_S, SURROUNDINGS
from sonoconvert.errors import SonopaintError
from sonopaint.tasks.settings import CLIPS, EXTEND_S, VARY_STRENGTH


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a command's own arguments; it raises SonopaintError for wrong ones."""
    parser = _Parser(prog=f"sonopaint {command}", allow_abbrev=False)
    _COMMANDS[command](parser)
    return parser


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong with the arguments in one sentence."""

    def error(self, message: str) -> NoReturn:
        raise SonopaintError(f"{message[:1].upper()}{message[1:]} (see {self.prog} --help).")


def _painting(parser: argparse.ArgumentParser, *, batch: bool = True) -> None:
    """Options of every command that paints."""
    paint = parser.add_argument_group("painting")
    paint.add_argument("--negative", metavar="TEXT", help="what must not be heard")
    paint.add_argument("--seed", type=int, metavar="N", help="same seed, same samples (random)")
    paint.add_argument("--steps", type=int, metavar="N", help="sampler steps (the model's own)")
    paint.add_argument("--cfg", type=float, metavar="X", help="guidance scale (the model's own)")
    paint.add_argument(
        "--sampler",
        metavar="NAME",
        help="ddim, euler, euler_ancestral, heun, dpmpp_2m, dpmpp_2m_sde, lcm, flow or one_step",
    )
    paint.add_argument(
        "--iterations", type=int, metavar="N", help=f"of the phase reconstruction ({ITERATIONS})"
    )
    if batch:
        paint.add_argument(
            "--batch", "--count", type=int, default=1, metavar="N", help="out-1.wav, out-2.wav …"
        )
    model = parser.add_argument_group("model")
    model.add_argument("--model", default="mini", metavar="NAME|FILE", help="see `sonopaint models`")
    model.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="FILE[:WEIGHT]",
        help="in kohya format; repeatable",
    )
    model.add_argument(
        "--one-step",
        action="store_true",
        help="with the distilled version of the model (variations take 4 steps)",
    )
    model.add_argument(
        "--timestep",
        type=int,
        metavar="N",
        help="of a distilled model whose file does not say (999 for most)",
    )
    model.add_argument("--format", metavar="NAME", help="spectrogram format (the LoRA's, else the model's)")
    model.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps (the best there is)")
    output = parser.add_argument_group("output")
    output.add_argument("-o", "--output", metavar="FILE", help="outputs/PROMPT-SEED.wav if not given")
    output.add_argument("--picture", action="store_true", help="also save the spectrogram as a PNG")
    output.add_argument("--force", action="store_true", help="replace existing files")
    output.add_argument("--quiet", action="store_true", help="no progress")


def _following(parser: argparse.ArgumentParser) -> None:
    from sonopaint.cli_curves import fill

    fill(parser)


def _fitting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--surroundings",
        choices=SURROUNDINGS,
        default=SURROUNDINGS[0],
        help="match: level, tilt and background as around it; add: to what is there; free: as it was painted "
        f"({SURROUNDINGS[0]})",
    )


def generate(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make a sound from a prompt."
    parser.add_argument("prompt", nargs="?", help="what to hear; (word:1.3) weighs a word")
    parser.add_argument("--seconds", type=float, metavar="S", help="length (the model's own: 5.12 for mini)")
    parser.add_argument("--like", metavar="FILE", help="reuse the settings that this result carries")
    parser.add_argument(
        "--down-prompt", metavar="TEXT", help="other words for the U-Net's down blocks: in Mini, the course"
    )
    parser.add_argument(
        "--up-prompt",
        metavar="TEXT",
        help="other words for its up blocks: in Mini, what it is, and its colour",
    )
    _following(parser)
    _painting(parser)


def vary(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make another version of a sound."
    parser.add_argument("input", help="a sound file")
    parser.add_argument("prompt", nargs="?", default="", help="what the new version is to be")
    parser.add_argument("--strength", type=float, default=VARY_STRENGTH, metavar="X",
        help=f"0 … 1, how far from the original ({VARY_STRENGTH:g})",
    )  # fmt: skip
    _following(parser)
    _painting(parser)


def inpaint(parser: argparse.ArgumentParser) -> None:
    parser.description = "Repaint a part of a sound; everything else keeps its samples."
    parser.add_argument("input", help="a sound file")
    parser.add_argument("prompt", nargs="?", default="", help="what to hear there")
    parser.add_argument(
        "--region",
        action="append",
        default=[],
        metavar="START:END[,LOW:HIGH]",
        help="seconds, then hertz: 1.0:2.5,200:4000; ends may be left open; repeatable",
    )
    parser.add_argument("--mask", metavar="PNG", help="white is repainted; stretched over the whole sound")
    parser.add_argument("--invert", action="store_true", help="repaint everything but the regions")
    parser.add_argument(
        "--feather", type=float, default=FEATHER_S, metavar="S", help=f"cross-fade ({FEATHER_S:g})"
    )
    parser.add_argument("--strength", type=float, metavar="X", help="below 1: start from what is there (1)")
    _following(parser)
    _fitting(parser)
    _painting(parser)


def extend(parser: argparse.ArgumentParser) -> None:
    parser.description = "Lengthen a sound; its own samples stay as they are."
    parser.add_argument("input", help="a sound file")
    parser.add_argument("prompt", nargs="?", default="", help="what to hear in the new time")
    parser.add_argument("--left", type=float, metavar="S", help="seconds to add before")
    parser.add_argument(
        "--right", type=float, metavar="S", help=f"seconds to add after ({EXTEND_S:g} where neither is given)"
    )
    parser.add_argument("--left-prompt", metavar="TEXT", help="other words for the left side")
    parser.add_argument("--right-prompt", metavar="TEXT", help="other words for the right side")
    _fitting(parser)
    _painting(parser)


def loop(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make a loop from a prompt, or close a sound into one (--clip)."
    parser.add_argument("prompt", nargs="?", default="", help="what to hear")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of a new loop")
    parser.add_argument("--clip", metavar="FILE", help="close this sound into a loop")
    parser.add_argument(
        "--seam", type=float, metavar="S", help=f"seconds to repaint around its ends ({SEAM_S:g})"
    )
    _fitting(parser)
    _painting(parser)


def interpolate(parser: argparse.ArgumentParser) -> None:
    parser.description = "Go from one prompt to another: out-1.wav …, and all joined in out.wav."
    parser.add_argument("prompt", help="the first sound")
    parser.add_argument("to", help="the last sound")
    parser.add_argument(
        "--clips", type=int, default=CLIPS, metavar="N", help=f"how many, both ends included ({CLIPS})"
    )
    parser.add_argument("--to-seed", type=int, metavar="N", help="seed of the last sound (seed + 1)")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of each clip")
    _painting(parser, batch=False)


def variations(parser: argparse.ArgumentParser) -> None:
    from sonopaint.variations.protocol import COUNT, KEEPS, KEPT, STRENGTH

    parser.description = (
        "Make many variations of a sound: judged, chosen, measured, in a folder of their own."
    )
    parser.add_argument("reference", nargs="?", help="a sound file")
    parser.add_argument("prompt", nargs="?", default="", help="what it is (guessed where it is left out)")
    parser.add_argument("--count", type=int, default=COUNT, metavar="N", help=f"how many ({COUNT})")
    parser.add_argument(
        "--strength", type=float, default=STRENGTH, metavar="X", help=f"0 … 1, how far away ({STRENGTH:g})"
    )
    parser.add_argument("--become", default="", metavar="TEXT", help="what they are to turn into instead")
    parser.add_argument(
        "--start", type=float, default=0.0, metavar="S", help="where the reference begins (0)"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="how long it is (all)")
    parser.add_argument("--split", action="store_true", help="cut at onsets; each event is varied by itself")
    parser.add_argument(
        "--keep", default=",".join(KEPT), metavar="LIST",
        help=f"of {', '.join(KEEPS)}; or nothing ({','.join(KEPT)})",
    )  # fmt: skip
    parser.add_argument("--no-choose", action="store_true", help="hand over the first ones, good or not")
    parser.add_argument(
        "--backend", default="vary", metavar="NAME", help="vary, masked, healed, one-step or command (vary)"
    )
    parser.add_argument(
        "--command", default="", metavar="LINE",
        help="another program, with {reference} {class} {strength} {seed} {out}",
    )  # fmt: skip
    files = parser.add_argument_group("files")
    files.add_argument("--name", default="", metavar="NAME", help="of the files: NAME_01.wav (the class)")
    files.add_argument("--bits", type=int, default=16, metavar="N", help="16 or 24 (16)")
    files.add_argument("--trim", action="store_true", help="cut silence off at the end, faded")
    files.add_argument("--loop", action="store_true", help="make each go round without a click")
    files.add_argument("--zip", metavar="FILE", help="also as a zip")
    files.add_argument("--again", metavar="FOLDER", help="replace some of a soundbank (see --reject)")
    files.add_argument("--reject", default="", metavar="SEEDS", help="seeds to replace, with commas between")
    _painting(parser, batch=False)


def models(parser: argparse.ArgumentParser) -> None:
    parser.description = "List the models and LoRAs: shipped, and in the models folder ($SONOPAINT_MODELS)."
    parser.add_argument(
        "--kinds",
        nargs="?",
        const="mini",
        metavar="NAME",
        help="the kinds of sound that a model knows (mini)",
    )


def match(parser: argparse.ArgumentParser) -> None:
    from sonopaint.match.cli import fill_match

    fill_match(parser)


def play(parser: argparse.ArgumentParser) -> None:
    from sonopaint.match.cli import fill_play

    fill_play(parser)


def heal(parser: argparse.ArgumentParser) -> None:
    from sonopaint.heal.cli import fill

    fill(parser)


def blend(parser: argparse.ArgumentParser) -> None:
    from sonopaint.blend.cli import fill

    fill(parser)


def jingle(parser: argparse.ArgumentParser) -> None:
    from sonopaint.jingles.cli import fill

    fill(parser)


_COMMANDS = {
    "generate": generate,
    "vary": vary,
    "inpaint": inpaint,
    "extend": extend,
    "loop": loop,
    "interpolate": interpolate,
    "variations": variations,
    "blend": blend,
    "heal": heal,
    "jingle": jingle,
    "match": match,
    "play": play,
    "models": models,
}
