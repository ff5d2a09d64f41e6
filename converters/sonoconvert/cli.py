"""`sonoconvert to-picture | to-sound | info`: files, folders and globs."""

from __future__ import annotations

import argparse
import glob
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from sonoconvert.errors import SonopaintError
from sonoconvert.files import refuse_existing
from sonoconvert.format import CHANNELS, PRESETS, SpectrogramFormat

_SOUNDS = {".wav", ".flac", ".ogg", ".oga", ".mp3", ".aiff", ".aif", ".au", ".opus", ".w64", ".caf"}
_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


@dataclass(frozen=True)
class Job:
    """One file to convert; what a worker process gets."""

    source: Path
    target: Path
    options: argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, 1 (some files failed) or 2 (bad input)."""
    options = _parser().parse_args(argv)
    _set_up_worker(1 if options.command == "info" else options.workers)
    try:
        if options.command == "info":
            return _info(options)
        jobs = list(_jobs(options))
        return _run(jobs, options.workers)
    except SonopaintError as error:
        print(f"sonoconvert: {error}", file=sys.stderr)
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

    command = commands.add_parser(
        "to-picture", parents=[inputs, output], help="draw sounds as spectrogram PNGs"
    )
    command.add_argument(
        "--format", default="sonopaint-mini", choices=PRESETS, help="default: sonopaint-mini"
    )
    command.add_argument(
        "--channels", choices=CHANNELS, help="what red, green and blue hold (default: the format's own)"
    )
    command.add_argument("--depth", type=int, default=8, choices=[8, 16], help="bits of the PNG (default 8)")
    command.add_argument("--start", type=float, default=0.0, metavar="S", help="begin at this second")
    command.add_argument("--duration", type=float, metavar="S", help="draw at most this many seconds")
    command.add_argument(
        "--split", type=float, metavar="S", help="draw one picture for each S seconds (name-0001.png …)"
    )

    command = commands.add_parser(
        "to-sound", parents=[inputs, output], help="turn spectrogram pictures into sound"
    )
    command.add_argument("--format", choices=PRESETS, help="for pictures that don't say theirs")
    command.add_argument("--channels", choices=CHANNELS, help="what red, green and blue hold there")
    command.add_argument("--type", default="wav", choices=["wav", "flac", "ogg"], help="default: wav")
    command.add_argument(
        "--subtype", metavar="NAME", help="samples as PCM_16 (default), PCM_24 or FLOAT; VORBIS for ogg"
    )
    command.add_argument(
        "--iterations", type=_at_least_one, default=32, metavar="N", help="of Griffin–Lim (default 32)"
    )
    command.add_argument("--seed", type=int, default=0, help="of the starting phase (default 0)")
    command.add_argument("--loop", action="store_true", help="the end leads into the beginning")

    command = commands.add_parser("info", parents=[inputs], help="say what files are")
    command.add_argument("--format", choices=PRESETS, help="for pictures that don't say theirs")
    return parser


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def _inputs(names: Sequence[str], suffixes: set[str]) -> Iterator[tuple[Path, Path]]:
    """(file, its path relative to the named input) of everything that was named."""
    for name in names:
        path = Path(name)
        if path.exists():
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
            inside = sorted(p for p in item.rglob("*") if p.is_file() and p.suffix.lower() in suffixes)
            if not inside:
                raise SonopaintError(f"The folder {item} has no {'/'.join(sorted(suffixes))} files.")
            for file in inside:
                yield file, file.relative_to(item)


def _jobs(options: argparse.Namespace) -> Iterator[Job]:
    """Inputs with their targets; two inputs for one target are refused before anything is done."""
    to_picture = options.command == "to-picture"
    suffix = ".png" if to_picture else f".{options.type}"
    pairs = list(_inputs(options.inputs, _SOUNDS if to_picture else _PICTURES))
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
            target = folder / f"{source.stem}{suffix}"
        if target in taken:
            raise SonopaintError(
                f"{taken[target]} and {source} would both become {target}; give them different folders."
            )
        taken[target] = source
        yield Job(source, target, options)


def _run(jobs: list[Job], workers: int) -> int:
    failures: list[str] = []
    progress = _Progress(len(jobs))
    if workers == 1 or len(jobs) == 1:
        for job in jobs:
            failures += _failure(_convert, job)
            progress.step(job.source.name)
    else:
        # Fresh processes: forking a process with torch's threads can hang.
        with ProcessPoolExecutor(
            min(workers, len(jobs)), get_context("spawn"), _set_up_worker, (workers,)
        ) as pool:
            names: dict[Future[None], Job] = {pool.submit(_convert, job): job for job in jobs}
            try:
                for future in as_completed(names):
                    failures += _failure(future.result)
                    progress.step(names[future].source.name)
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    progress.close()
    for sentence in failures:
        print(f"sonoconvert: {sentence}", file=sys.stderr)
    if len(jobs) > 1:
        print(f"{len(jobs) - len(failures)} of {len(jobs)} files converted.", file=sys.stderr)
    if not failures:
        return 0
    return 2 if len(failures) == len(jobs) else 1


def _failure(function: Callable[..., object], *arguments: object) -> list[str]:
    """Call and return what went wrong, as sentences; anything but bad input is a bug and raises."""
    try:
        function(*arguments)
    except SonopaintError as error:
        return [str(error)]
    except MemoryError:
        return ["There is not enough memory; convert a shorter part (--start and --duration, or --split)."]
    except OSError as error:
        return [f"{error.strerror or error}: {error.filename or 'writing'}; check the disk and the folder."]
    return []


def _convert(job: Job) -> None:
    if job.options.command == "to-picture":
        _to_picture(job)
    else:
        _to_sound(job)


def _to_picture(job: Job) -> None:
    from sonoconvert.clip import iter_clips, read_clip, sound_header
    from sonoconvert.convert import encode, refuse_too_wide
    from sonoconvert.picture import save_picture

    options, fmt = job.options, _format(job.options)
    assert fmt is not None
    for name in ("start", "duration", "split"):
        if not math.isfinite(getattr(options, name) or 0):
            raise SonopaintError(f"--{name} {getattr(options, name)} is not a number of seconds.")
    if options.split is None:
        refuse_existing(job.target, force=options.force)
        header = sound_header(job.source)
        length = header.frames / header.sample_rate - options.start
        # Before hours of sound are read in vain.
        refuse_too_wide(min(length, options.duration or length), fmt)
        clip = read_clip(job.source, start_s=options.start, duration_s=options.duration)
        save_picture(encode(clip, fmt, depth=options.depth), job.target, force=options.force)
        return
    if options.split <= 0:
        raise SonopaintError(f"--split {options.split:g} is not a length; give more than 0 seconds.")
    for existing in job.target.parent.glob(f"{glob.escape(job.target.stem)}-[0-9][0-9][0-9][0-9].png"):
        refuse_existing(existing, force=options.force)
    parts = iter_clips(job.source, options.split, start_s=options.start, duration_s=options.duration)
    for number, clip in enumerate(parts, start=1):
        target = job.target.with_name(f"{job.target.stem}-{number:04d}{job.target.suffix}")
        save_picture(encode(clip, fmt, depth=options.depth), target, force=options.force)


def _to_sound(job: Job) -> None:
    from sonoconvert.clip import write_clip
    from sonoconvert.convert import decode
    from sonoconvert.picture import load_picture

    options = job.options
    refuse_existing(job.target, force=options.force)
    picture = load_picture(job.source, format=_format(options))
    clip = decode(picture, iterations=options.iterations, seed=options.seed, circular=options.loop)
    write_clip(clip, job.target, subtype=options.subtype, force=options.force)


def _format(options: argparse.Namespace) -> SpectrogramFormat | None:
    """The format that was asked for, in the channel layout that was asked for."""
    if options.format is None:
        if options.channels is not None:
            raise SonopaintError("--channels says how a picture of --format is laid out; give --format too.")
        return None
    fmt = PRESETS[options.format]
    return fmt if options.channels is None else fmt.with_channels(options.channels)


def _info(options: argparse.Namespace) -> int:
    from sonoconvert.info import describe

    failed = 0
    pairs = list(_inputs(options.inputs, _SOUNDS | _PICTURES | {".safetensors"}))
    for path, _ in pairs:
        try:
            print(describe(path, format=options.format))
        except SonopaintError as error:
            failed += 1
            print(f"sonoconvert: {error}", file=sys.stderr)
    return 0 if not failed else 2 if failed == len(pairs) else 1


def _set_up_worker(workers: int) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    if workers > 1:
        import torch

        torch.set_num_threads(1)


class _Progress:
    """One line on stderr with the time that is left; silent when nobody watches."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.began = total, 0, time.monotonic()
        self.shown = total > 1 and sys.stderr.isatty()

    def step(self, name: str) -> None:
        self.done += 1
        if self.shown:
            left = (time.monotonic() - self.began) / self.done * (self.total - self.done)
            line = f"{self.done}/{self.total}, {left // 60:.0f}:{left % 60:02.0f} left, {name}"
            print(f"\r\033[K{line[:100]}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr)
