"""`sonoconvert to-picture | to-sound | curves | info`: files, folders and globs."""

from __future__ import annotations

import argparse
import glob
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sonoconvert.checkpoints import cli as weights
from sonoconvert.conversion import INDEX_SUFFIX
from sonoconvert.conversion.jobs import Job
from sonoconvert.curves import cli as curves
from sonoconvert.defaults import FORMAT, ITERATIONS
from sonoconvert.errors import SonopaintError, flag, plain
from sonoconvert.files.suffixes import SOUNDS
from sonoconvert.pictures.format import CHANNELS, PRESETS
from sonoconvert.terminal import polite

if TYPE_CHECKING:
    from sonoconvert.conversion.manifest import Manifest

_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, 1 (some files failed) or 2 (bad input)."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        with polite():
            if options.command in weights.COMMANDS:
                return weights.run(options)
            if options.command == "info":
                return _info(options)
            if options.command == "curves":
                return curves.run(options)
            return _batch(options)
    except SonopaintError as error:
        print(f"sonoconvert: {error.told(flag)}", file=sys.stderr)
        return 2
    except OSError as error:
        where = error.filename or "The output"
        print(plain(f"sonoconvert: {where}: {error.strerror or error}; check the folder."), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sonoconvert: stopped.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sonoconvert", description="Sound to spectrogram picture and back, and what a file is."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    inputs = argparse.ArgumentParser(add_help=False)
    inputs.add_argument("inputs", nargs="+", help="files, folders (with their sub-folders) or globs")
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument(
        "-o", "--out", type=Path, help="a file (for one input) or a folder; default: beside the input"
    )
    output.add_argument("--force", action="store_true", help="replace existing files")
    output.add_argument("--workers", type=_at_least_one, default=1, metavar="N", help="processes (default 1)")
    many = output.add_argument_group("many files")
    many.add_argument(
        "--manifest", type=Path, metavar="FILE", help="write one line of JSON for each file here"
    )
    many.add_argument(
        "--resume",
        action="store_true",
        help="leave out what is done (keeps OUT/manifest.jsonl if none is named)",
    )
    many.add_argument(
        "--shard", type=_shard, metavar="I/N", help="only the I-th of N equal shares: one for each machine"
    )
    many.add_argument(
        "--cluster", metavar="ADDRESS", help="of a Dask scheduler whose machines do the work, or 'local'"
    )

    command = commands.add_parser(
        "to-picture", parents=[inputs, output], help="draw sounds as spectrogram PNGs"
    )
    command.add_argument("--format", default=FORMAT, choices=PRESETS, help=f"default: {FORMAT}")
    command.add_argument(
        "--channels", choices=CHANNELS, help="what red, green and blue hold (default: the format's own)"
    )
    command.add_argument("--depth", type=int, default=8, choices=[8, 16], help="bits of the PNG (default 8)")
    command.add_argument("--start", type=float, default=0.0, metavar="S", help="begin at this second")
    command.add_argument("--duration", type=float, metavar="S", help="draw at most this many seconds")
    command.add_argument(
        "--split", type=float, metavar="S", help="draw one picture for each S seconds (name-0001.png …)"
    )
    command.add_argument(
        "--parts",
        type=float,
        metavar="S",
        help="the same for sounds of any length: parts of one whole, which to-sound joins by their index",
    )

    command = commands.add_parser(
        "to-sound", parents=[inputs, output], help="turn pictures, or an index of parts, into sound"
    )
    command.add_argument("--format", choices=PRESETS, help="for pictures that don't say theirs")
    command.add_argument("--channels", choices=CHANNELS, help="what red, green and blue hold there")
    command.add_argument("--type", default="wav", choices=["wav", "flac", "ogg"], help="default: wav")
    command.add_argument(
        "--subtype", metavar="NAME", help="samples as PCM_16 (default), PCM_24 or FLOAT; VORBIS for ogg"
    )
    command.add_argument(
        "--iterations",
        type=_at_least_one,
        default=ITERATIONS,
        metavar="N",
        help="of the phase reconstruction: default %(default)s; 128 is the truest",
    )
    command.add_argument(
        "--no-learned", dest="learned", action="store_false", help="leave the learned decoder out"
    )
    command.add_argument("--seed", type=int, default=0, help="of the starting phase (default 0)")
    command.add_argument("--loop", action="store_true", help="the end leads into the beginning")

    weights.add_commands(commands)
    curves.add_command(commands)
    command = commands.add_parser("info", parents=[inputs], help="say what files are")
    command.add_argument("--format", choices=PRESETS, help="for pictures that don't say theirs")
    command.add_argument("--json", action="store_true", help="for programs")
    return parser


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with 1 ≤ I ≤ N, such as 2/4")
    return int(index), int(count)


def _inputs(names: Sequence[str], suffixes: Set[str]) -> Iterator[tuple[Path, Path]]:
    """(file, its path relative to the named input) of everything that was named."""
    for name in names:
        path = Path(name)
        if os.path.exists(path):  # False for names that are too long, too
            found = [path]
        else:
            # Shells that don't expand globs leave it to us.
            found = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
        if not found:
            raise SonopaintError(f"There is no file, folder or match for {name}.")
        for item in found:
            if not item.is_dir():
                yield item, Path(item.name)
                continue
            inside = sorted(p for p in item.rglob("*") if p.is_file() and _fits(p, suffixes))
            if not inside:
                raise SonopaintError(f"The folder {item} has no {'/'.join(sorted(suffixes))} files.")
            for file in inside:
                yield file, file.relative_to(item)


def _fits(path: Path, suffixes: Set[str]) -> bool:
    # What begins with a dot is being written by somebody.
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


def _without_parts(pairs: list[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """Parts whose index was found too are converted with it, not once more each for itself."""
    from sonoconvert.conversion.parts import read_index

    taken: set[Path] = set()
    kept = []
    for pair in pairs:
        if pair[0].suffix == ".json" and not pair[0].name.endswith(INDEX_SUFFIX):
            continue  # in a folder; somebody else's
        kept.append(pair)
        if pair[0].suffix == ".json":
            try:
                taken |= {pair[0].with_name(name) for name in read_index(pair[0]).files}
            except SonopaintError:
                continue  # said when it is converted
    return [pair for pair in kept if pair[0] not in taken]


def _jobs(options: argparse.Namespace) -> Iterator[Job]:
    """Inputs with their targets; two inputs for one target are refused before anything is done."""
    to_picture = options.command == "to-picture"
    suffix = ".png" if to_picture else f".{options.type}"
    pairs = list(_inputs(options.inputs, SOUNDS if to_picture else _PICTURES | {".json"}))
    if not to_picture and any(source.suffix == ".json" for source, _ in pairs):
        pairs = _without_parts(pairs)
        if not pairs:
            raise SonopaintError(f"There are no pictures in {', '.join(options.inputs)}.")
    to_file = options.out is not None and options.out.suffix != "" and not options.out.is_dir()
    if to_file and len(pairs) > 1:
        raise SonopaintError(
            f"{len(pairs)} inputs can't all be written to {options.out}; give a folder with --out."
        )
    taken: dict[Path, Path] = {}
    for source, relative in pairs:
        if to_file:
            target = options.out
        else:
            folder = source.parent if options.out is None else options.out / relative.parent
            target = folder / f"{source.name.removesuffix(INDEX_SUFFIX).removesuffix(source.suffix)}{suffix}"
        if target in taken:
            raise SonopaintError(
                f"{taken[target]} and {source} would both become {target}; give them different folders."
            )
        taken[target] = source
        if options.cluster is not None:  # its machines have other working folders
            source, target = source.absolute(), target.absolute()
        yield Job(source, target, options)


def _batch(options: argparse.Namespace) -> int:
    """Convert everything that was named, but for what was done before; the sentences go to stderr."""
    from sonoconvert.conversion import batch
    from sonoconvert.conversion.manifest import Manifest

    jobs = list(_jobs(options))
    named = len(jobs)
    if options.shard is not None:
        jobs = batch.shard(jobs, options.shard)
    manifest = None
    if options.manifest is not None or options.resume:
        manifest = Manifest(_manifest_path(options))
    skipped = 0
    if options.resume and manifest is not None:
        # Of other shards, too: their number may have changed.
        manifest.read(sorted(manifest.path.parent.glob("manifest*.jsonl")))
        left = [_again(job, manifest) for job in jobs if not _finished(job, manifest)]
        skipped, jobs = len(jobs) - len(left), left
    failures: list[str] = []
    done = 0
    progress = _Progress(len(jobs))
    try:
        for outcome in batch.run(jobs, options.workers, options.cluster, progress.share):
            if manifest is not None:
                manifest.add(outcome)
            if outcome.error is not None:
                failures.append(outcome.error)
            done += 1
            progress.step(outcome.job.source.name)
    except KeyboardInterrupt:
        progress.close()
        if named > 1:
            again = "go on with --resume" if manifest else "--resume goes on"
            print(f"sonoconvert: stopped after {done} of {len(jobs)} files; {again}.", file=sys.stderr)
            return 130
        raise
    progress.close()
    for sentence in failures:
        print(f"sonoconvert: {sentence}", file=sys.stderr)
    if named > 1:
        print(_summary(len(jobs), len(failures), skipped, options), file=sys.stderr)
    if not failures:
        return 0
    return 2 if len(failures) == len(jobs) + skipped else 1


def _summary(jobs: int, failed: int, skipped: int, options: argparse.Namespace) -> str:
    parts = [f"{jobs - failed} of {jobs} files converted"]
    if options.shard is not None:
        parts[0] += f" in shard {options.shard[0]} of {options.shard[1]}"
    if skipped:
        parts.append(f"{skipped} were done before")
    if failed:
        parts.append(f"{failed} failed")
    return ", ".join(parts) + "."


def _manifest_path(options: argparse.Namespace) -> Path:
    from sonoconvert.conversion.manifest import NAME

    if options.manifest is not None:
        return Path(options.manifest)
    if options.out is None or (options.out.suffix and not options.out.is_dir()):
        raise SonopaintError("--resume needs a folder (--out), or the name of its list (--manifest).")
    name = Path(NAME)
    if options.shard is not None:
        name = name.with_stem(f"{name.stem}-{options.shard[0]}-of-{options.shard[1]}")
    return Path(options.out) / name


def _finished(job: Job, manifest: Manifest) -> bool:
    """Recorded; or made by a run that was ended before it could record (files are never half written)."""
    result = job.target
    if getattr(job.options, "parts", None) is not None:
        result = result.with_name(result.stem + INDEX_SUFFIX)
    return manifest.finished(job) or (not manifest.made(job) and os.path.exists(result))


def _again(job: Job, manifest: Manifest) -> Job:
    """What this batch made itself may be replaced: the source or the options changed, or it was cut off."""
    several = any(getattr(job.options, name, None) is not None for name in ("split", "parts"))
    if manifest.made(job) or several:
        return replace(job, options=argparse.Namespace(**{**vars(job.options), "force": True}))
    return job


def _info(options: argparse.Namespace) -> int:
    from sonoconvert.checkpoints.explain import is_model_folder
    from sonoconvert.checkpoints.files import PICKLES
    from sonoconvert.files.info import describe, facts

    failed = 0
    paths = []
    for name in options.inputs:
        whole = is_model_folder(Path(name))  # one thing, not a folder of files
        suffixes = SOUNDS | _PICTURES | PICKLES | {".safetensors"}
        paths += [Path(name)] if whole else [path for path, _ in _inputs([name], suffixes)]
    found = []
    for path in paths:
        try:
            if options.json:
                found.append(facts(path, format=options.format))
            else:
                print(describe(path, format=options.format))
        except SonopaintError as error:
            failed += 1
            print(f"sonoconvert: {error}", file=sys.stderr)
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    return 0 if not failed else 2 if failed == len(paths) else 1


class _Progress:
    """One line on stderr with the time that is left; silent when nobody watches."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.began = total, 0, time.monotonic()
        self.shown = sys.stderr.isatty()

    def step(self, name: str) -> None:
        self.done += 1
        self.share(0.0, name)

    def share(self, share: float, name: str = "") -> None:
        """Of the file in work."""
        done = self.done + share
        if self.shown and done:
            left = round((time.monotonic() - self.began) / done * (self.total - done))
            what = f"{self.done}/{self.total}" if self.total > 1 else f"{100 * share:.0f} %"
            line = f"{what}, {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left {name}"
            print(f"\r\033[K{line[:100]}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr)
