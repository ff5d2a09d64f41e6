"""`sonotrain …`: datasets, LoRAs, evaluation, and the commands that make Sonopaint Mini (`base`)."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sonoconvert.errors import SonopaintError, flag, plain, setting
from sonoconvert.terminal import show_all_names
from sonotrain.files.options import WATCHED, add_options, given

if TYPE_CHECKING:
    from sonotrain.training.run import Trainer

STOPPED = 130  # as a shell reports an interrupted command


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. 0 = done, 2 = bad input (one sentence on stderr), 130 = stopped, state saved."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for noisy in ("httpx", "filelock", "urllib3", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")  # it warns of every change of precision
    words = list(sys.argv[1:] if arguments is None else arguments)
    show_all_names()
    parser = build_parser(words)
    options = parser.parse_args(words)
    try:
        if options.run(options):
            return 0
    except SonopaintError as error:
        called = setting if os.environ.get(WATCHED) else _called
        print(f"sonotrain: {error.told(called)}", file=sys.stderr)
        return 2
    except OSError as error:
        where = error.filename or "The output"
        print(plain(f"sonotrain: {where}: {error.strerror or error}; check the folder."), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    resume = words + ([] if "--resume" in words or not options.resumable else ["--resume"])
    print(f"Stopped. Go on with: sonotrain {shlex.join(resume)}", file=sys.stderr)
    return STOPPED


def _called(name: str) -> str:
    """What this command line calls a setting."""
    return {"noun": "--class"}.get(name, flag(name))


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The command line. Heavy modules load only for the command that `words` name."""
    parser = argparse.ArgumentParser(prog="sonotrain", description="Trains models for Sonopaint.")
    parts = parser.add_subparsers(title="what to do", required=True, metavar="COMMAND")
    for name, (help_line, description, module) in TOP_COMMANDS.items():
        top = parts.add_parser(name, help=help_line, description=description)
        if list(words[:1]) == [name]:
            place, _, function = module.partition(":")
            getattr(import_module(place), function or "fill")(top)
    for group, (help_line, steps) in GROUPS.items():
        part = parts.add_parser(group, help=help_line)
        commands = part.add_subparsers(title="steps, in their order", required=True, metavar="STEP")
        for name, (help_line, fill) in steps.items():
            command = commands.add_parser(
                name, help=help_line, description=help_line[0].upper() + help_line[1:] + "."
            )
            if list(words[:1]) == [group] and name in words:
                fill(command)
    return parser


def _finish(parser: argparse.ArgumentParser, run: Callable[[Any], bool], *, resumable: bool = False) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … (default: auto)")
    parser.set_defaults(run=run, resumable=resumable)


def _training(parser: argparse.ArgumentParser, kind: type[Trainer], out: str) -> None:
    """The arguments of a trainer whose length is told in steps or minutes."""

    def run(arguments: argparse.Namespace) -> bool:
        budget = None
        if not arguments.resume or arguments.steps or arguments.minutes:
            budget = Budget(arguments.steps, arguments.minutes)
        given_options = given(arguments, kind.Options)
        return train(
            kind, arguments.out, given_options, budget, device=arguments.device, resume=arguments.resume
        )

    from sonotrain.training.loop import Budget
    from sonotrain.training.run import train

    parser.add_argument("--out", default=out, help=f"run folder (default: {out})")
    parser.add_argument("--steps", type=int, help="train for so many steps")
    parser.add_argument("--minutes", type=float, help="or for so many minutes")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, with its options")
    add_options(parser, kind.Options)
    _finish(parser, run, resumable=True)


def _corpus(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.data.corpus import build_corpus

        if arguments.clips < 1 or arguments.workers < 1:
            raise SonopaintError("--clips and --workers must be at least 1.")
        device = "cpu" if arguments.device == "auto" else arguments.device
        done = build_corpus(
            arguments.out, arguments.clips, arguments.seed, arguments.workers, arguments.content, device
        )
        print(f"{done['clips']} clips in {arguments.out} ({done['clips_per_minute']:.0f} a minute)")
        return True

    parser.add_argument("--out", default="runs/corpus", help="folder of the corpus (default: runs/corpus)")
    parser.add_argument("--clips", type=int, default=12000, help="number of clips (default: 12000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all sounds (default: 0)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument(
        "--content",
        choices=("base", "mixed", "singles", "pairs", "scenes"),
        default="base",
        help="base: what Mini learns; mixed: more captions of two sounds, far sounds quieter; "
        "singles and pairs: one event, or two, of all kinds, for the classifiers; "
        "scenes: clips before and after a box was painted",
    )
    _finish(parser, run)


def _vae(parser: argparse.ArgumentParser) -> None:
    from sonotrain.trainers.mini.vae import VaeTrainer

    _training(parser, VaeTrainer, "runs/vae")


def _text(parser: argparse.ArgumentParser) -> None:
    from sonotrain.trainers.mini.text import TextTrainer

    _training(parser, TextTrainer, "runs/text")


def _diffusion(parser: argparse.ArgumentParser) -> None:
    from sonotrain.trainers.mini.diffusion import DiffusionTrainer

    _training(parser, DiffusionTrainer, "runs/diffusion")


def _inpaint(parser: argparse.ArgumentParser) -> None:
    from sonotrain.trainers.mini.inpaint import InpaintTrainer

    _training(parser, InpaintTrainer, "runs/inpaint")


def _classifier(parser: argparse.ArgumentParser) -> None:
    from sonotrain.trainers.mini.classifier import ClassifierTrainer

    _training(parser, ClassifierTrainer, "runs/classifier")


def _export(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.trainers.mini.export import export

        export(arguments.run_folder, arguments.out, decoder=arguments.decoder, force=arguments.force)
        print(
            f"{arguments.out} holds the model; judge it with: sonotrain base evaluate --model {arguments.out}"
        )
        return True

    parser.add_argument("--run", dest="run_folder", default="runs/diffusion", help="a finished diffusion run")
    parser.add_argument("--decoder", metavar="RUN", help="a VAE run made with --decoder-of, for its decoder")
    parser.add_argument("--out", default="weights/mini", help="folder to write (default: weights/mini)")
    parser.add_argument("--force", action="store_true", help="replace a model that is there")
    _finish(parser, run)


def _evaluate(parser: argparse.ArgumentParser) -> None:
    from sonotrain.evaluation.base.cli import fill_evaluate

    _finish(parser, fill_evaluate(parser))


def _look(parser: argparse.ArgumentParser) -> None:
    from sonotrain.evaluation.base.cli import fill_look

    _finish(parser, fill_look(parser))


def _sweep(parser: argparse.ArgumentParser) -> None:
    from sonotrain.evaluation.base.cli import fill_sweep

    _finish(parser, fill_sweep(parser))


def _all(parser: argparse.ArgumentParser) -> None:
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
    _finish(parser, run)


def _vocoder_train(parser: argparse.ArgumentParser) -> None:
    from sonotrain.trainers.vocoder.train import VocoderTrainer

    _training(parser, VocoderTrainer, "runs/vocoder")


def _vocoder_export(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.trainers.vocoder.train import export_vocoder

        path = export_vocoder(arguments.run_folder, arguments.out, force=arguments.force)
        print(f"{path} is written; compare it with: python benchmarks/vocoder.py --weights {path}")
        return True

    parser.add_argument("--run", dest="run_folder", default="runs/vocoder", help="a run folder")
    parser.add_argument("--out", default="weights/vocoder", help="folder to write (default: weights/vocoder)")
    parser.add_argument("--force", action="store_true", help="replace weights that are there")
    parser.set_defaults(run=run, resumable=False)


def _vocoder_all(parser: argparse.ArgumentParser) -> None:
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
    _finish(parser, run)


def _distill(parser: argparse.ArgumentParser) -> None:
    from sonotrain.trainers.distill.trainer import Distillation

    _training(parser, Distillation, "runs/distill")


# Name: help, description, and the module whose `fill` adds the arguments.
TOP_COMMANDS = {
    "dataset": (
        "a dataset from a folder of sounds",
        "Makes a dataset to train on from a folder of sounds, or from a table that names them.",
        "sonotrain.data.cli",
    ),
    "lora": (
        "a LoRA from a folder of sounds",
        "Trains a LoRA on a dataset, or on a folder of sounds.",
        "sonotrain.trainers.lora.cli",
    ),
    "subject": (
        "one subject from a few clips, painted in one step",
        "Learns one subject from 4 to 6 clips; the result paints variations of it in one step.",
        "sonotrain.trainers.subject.cli",
    ),
    "audioldm": (
        "AudioLDM, lightly fine-tuned on classes of sounds",
        "Fine-tunes AudioLDM on ESC-50 or a folder of classes; the rest of the pipeline stays as it is.",
        "sonotrain.trainers.audioldm.cli",
    ),
    "sweep": (
        "LoRAs with one option varied, and a table",
        "Trains one LoRA for each value of an option, and writes a table and a plot.",
        "sonotrain.recipes.cli:fill_sweep",
    ),
    "distill": (
        "a model that paints in one step",
        "Distils a model to a student that paints in one step (DMD2).",
        "sonotrain.cli:_distill",
    ),
    "evaluate": (
        "FID, FAD, IS, KL, CLAP score of generated sounds",
        "Measures generated sounds beside real ones; paints them first with --model.",
        "sonotrain.evaluation.cli",
    ),
}
Steps = dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]]
COMMANDS: Steps = {
    "corpus": ("synthesises the foley corpus as pictures with captions", _corpus),
    "vae": ("trains the VAE: picture to latent and back", _vae),
    "text": ("learns the tokenizer and pre-trains the text encoder on captions", _text),
    "diffusion": ("trains U-Net and text encoder on the VAE's latents", _diffusion),
    "inpaint": ("trains the adapter with which a model paints parts, on scenes", _inpaint),
    "classifier": ("trains the sound classifier that judges the model", _classifier),
    "export": ("writes a finished run as the shipped model", _export),
    "evaluate": ("judges a model as sound: top-1, Fréchet distance, order of events", _evaluate),
    "look": ("sheets of every kind, what prompts change, how seeds differ, with the evaluation", _look),
    "sweep": ("compares samplers, steps and guidance on the same captions and noise", _sweep),
    "all": ("runs every step in one folder; called again, it goes on where it stopped", _all),
}
VOCODER_COMMANDS: Steps = {
    "train": ("trains the learned decoder of a spectrogram format", _vocoder_train),
    "export": ("writes a run's decoder where conversion finds it", _vocoder_export),
    "all": ("trains and exports decoders for three formats; called again, it goes on", _vocoder_all),
}


def _bench_subject(parser: argparse.ArgumentParser) -> None:
    from sonotrain.evaluation.subject.cli import fill_bench

    fill_bench(parser)


def _bench_clips(parser: argparse.ArgumentParser) -> None:
    from sonotrain.evaluation.subject.cli import fill_clips

    fill_clips(parser)


def _bench_alpha(parser: argparse.ArgumentParser) -> None:
    from sonotrain.recipes.alpha import fill

    fill(parser)


def _bench_variation(parser: argparse.ArgumentParser) -> None:
    from sonotrain.evaluation.variation.cli import fill_variation

    fill_variation(parser)


def _bench_requirements(parser: argparse.ArgumentParser) -> None:
    from sonotrain.evaluation.variation.cli import fill_requirements

    fill_requirements(parser)


def _listen_build(parser: argparse.ArgumentParser) -> None:
    from sonotrain.evaluation.listening.cli import fill_build

    fill_build(parser)


def _listen_score(parser: argparse.ArgumentParser) -> None:
    from sonotrain.evaluation.listening.cli import fill_score

    fill_score(parser)


LISTEN_COMMANDS: Steps = {
    "build": ("makes a blinded listening test: one offline page, and its key", _listen_build),
    "score": ("turns listeners' answers into S-MOS with confidence intervals", _listen_score),
}


def _heal_train(parser: argparse.ArgumentParser) -> None:
    from sonotrain.trainers.bridge.train import BridgeTrainer

    _training(parser, BridgeTrainer, "runs/heal")


def _heal_export(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.trainers.bridge.train import export_bridge

        path = export_bridge(arguments.run_folder, arguments.out, force=arguments.force)
        print(f"{path} is written; compare it with: python benchmarks/heal.py --weights {path}")
        return True

    parser.add_argument("--run", dest="run_folder", default="runs/heal", help="a run folder")
    parser.add_argument("--out", default="weights/heal", help="folder to write (default: weights/heal)")
    parser.add_argument("--force", action="store_true", help="replace weights that are there")
    parser.set_defaults(run=run, resumable=False)


def _curves_train(parser: argparse.ArgumentParser) -> None:
    from sonotrain.trainers.curves.train import CurvesTrainer

    _training(parser, CurvesTrainer, "runs/curves")


def _curves_export(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.trainers.curves.train import export_curves

        path = export_curves(arguments.run_folder, arguments.out, force=arguments.force)
        print(f"{path} is written; judge it with: python benchmarks/curves.py --weights {path}")
        return True

    parser.add_argument("--run", dest="run_folder", default="runs/curves", help="a run folder")
    parser.add_argument("--out", default="weights/mini", help="the model's folder (default: weights/mini)")
    parser.add_argument("--force", action="store_true", help="replace weights that are there")
    parser.set_defaults(run=run, resumable=False)


CURVES_COMMANDS: Steps = {
    "train": ("trains the adapter with which a model follows curves", _curves_train),
    "export": ("writes a run's adapter beside the model", _curves_export),
}


def _jingles_dataset(parser: argparse.ArgumentParser) -> None:
    from sonotrain.trainers.jingles.cli import fill_dataset

    fill_dataset(parser)


def _jingles_train(parser: argparse.ArgumentParser) -> None:
    from sonotrain.trainers.jingles.train import JingleTrainer

    _training(parser, JingleTrainer, "runs/jingle")


def _jingles_sample(parser: argparse.ArgumentParser) -> None:
    from sonotrain.evaluation.jingles.cli import fill_sample

    fill_sample(parser)


def _jingles_table(parser: argparse.ArgumentParser) -> None:
    from sonotrain.evaluation.jingles.cli import fill_table

    fill_table(parser)


JINGLES_COMMANDS: Steps = {
    "dataset": (
        "makes melodies of three instruments with their curves, in any representation",
        _jingles_dataset,
    ),
    "train": ("trains a model that plays along curves: EDM, DDPM or DiscDPM", _jingles_train),
    "sample": ("plays the held-out melodies of a dataset with a model, into a folder", _jingles_sample),
    "table": ("trains and compares formalisms and representations", _jingles_table),
}


def _match_train(parser: argparse.ArgumentParser) -> None:
    from sonotrain.trainers.match.train import MatchTrainer

    _training(parser, MatchTrainer, "runs/match")


def _match_metrics(parser: argparse.ArgumentParser) -> None:
    from sonotrain.trainers.match.cli import fill_metrics

    fill_metrics(parser)


def _match_export(parser: argparse.ArgumentParser) -> None:
    from sonotrain.trainers.match.cli import fill_export

    fill_export(parser)


def _match_table(parser: argparse.ArgumentParser) -> None:
    from sonotrain.evaluation.match.cli import fill_table

    fill_table(parser)


def _match_evaluate(parser: argparse.ArgumentParser) -> None:
    from sonotrain.evaluation.match.cli import fill_evaluate

    fill_evaluate(parser)


MATCH_COMMANDS: Steps = {
    "metrics": ("computes sounds and metrics that training reuses", _match_metrics),
    "train": ("trains an analyser: from a sound to a synthesiser's parameters", _match_train),
    "export": ("writes a run's analyser where matching finds it", _match_export),
    "evaluate": ("every synthesiser on held-out parameters, beside random draws", _match_evaluate),
    "table": ("compares the four losses on a grid, as the document's table does", _match_table),
}
HEAL_COMMANDS: Steps = {
    "train": ("trains the bridge that heals gaps and missing bands", _heal_train),
    "export": ("writes a run's bridge where healing finds it", _heal_export),
}
BENCH_COMMANDS: Steps = {
    "subject-clips": ("writes the corpus's three subjects: five clips to learn from, and more", _bench_clips),
    "subject": ("compares methods: identity, prompts, diversity, copies, cost", _bench_subject),
    "subject-alpha": ("trains and compares weights of the target teacher", _bench_alpha),
    "variation": (
        "compares variations of sounds by any back-end, one protocol, one report",
        _bench_variation,
    ),
    "requirements": ("which back-end serves a production requirement (R1 to R11) best", _bench_requirements),
}
GROUPS: dict[str, tuple[str, Steps]] = {
    "base": ("the shipped model, Sonopaint Mini, from nothing", COMMANDS),
    "vocoder": ("the learned decoder: pictures to sound", VOCODER_COMMANDS),
    "heal": ("the healing bridge: gaps and missing bands", HEAL_COMMANDS),
    "curves": ("sound that follows loudness, pitch, brightness and onsets", CURVES_COMMANDS),
    "jingles": (
        "melodies along curves: EDM, DDPM and DiscDPM on latents, constant-Q and codes",
        JINGLES_COMMANDS,
    ),
    "match": ("the analysers of match and edit", MATCH_COMMANDS),
    "bench": ("how well a subject was learnt, and how good variations are", BENCH_COMMANDS),
    "listen": ("listening tests: which variations are still the same thing?", LISTEN_COMMANDS),
}
