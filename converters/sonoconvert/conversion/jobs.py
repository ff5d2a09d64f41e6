"""One file's conversion: what the command line, a worker process and a machine of a cluster do alike."""

from __future__ import annotations

import argparse
import glob
import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

from sonoconvert.conversion import INDEX_SUFFIX
from sonoconvert.errors import SonopaintError, flag, setting
from sonoconvert.files.atomic import refuse_existing
from sonoconvert.pictures.format import PRESETS, SpectrogramFormat
from sonoconvert.progress import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One file to convert; what a worker process gets."""

    source: Path
    target: Path
    options: argparse.Namespace


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the files it wrote, or the sentence that says why there are none."""

    job: Job
    outputs: list[str] = field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0


def attempt(job: Job, share: Progress | None = None) -> Outcome:
    """Convert and tell what went wrong; a file that can't be converted is no reason to stop a batch."""
    began = time.monotonic()
    error = None
    outputs: list[Path] = []
    try:
        outputs = convert(job, share)
    except SonopaintError as bad:
        error = bad.told(flag)
    except MemoryError:
        error = f"There is not enough memory for {job.source}; convert it in parts (--parts or --split)."
    except OSError as bad:
        error = f"{bad.strerror or bad}: {bad.filename or 'writing'}; check the disk and the folder."
    except (RuntimeError, ValueError, ArithmeticError, LookupError, TypeError) as bad:
        # A bug; the other files are converted all the same.
        logger.exception("%s", job.source)
        error = f"{job.source} could not be converted because of an error in Sonopaint ({bad}); report it."
    return Outcome(job, [str(path) for path in outputs], error, time.monotonic() - began)


def convert(job: Job, share: Progress | None = None) -> list[Path]:
    """Do it; returns the files that were written.

    Raises:
        SonopaintError: bad input, or an existing file without `force`.
    """
    return (_to_picture if job.options.command == "to-picture" else _to_sound)(job, share)


def format_of(options: argparse.Namespace) -> SpectrogramFormat | None:
    """The format that was asked for, in the channel layout that was asked for."""
    if options.format is None:
        if options.channels is not None:
            raise SonopaintError(
                f"{setting('channels')} says how a picture of {setting('format')} is laid out; give "
                f"{setting('format')} too."
            )
        return None
    fmt = PRESETS[options.format]
    return fmt if options.channels is None else fmt.with_channels(options.channels)


def _to_picture(job: Job, share: Progress | None) -> list[Path]:
    from sonoconvert.conversion.convert import encode, refuse_too_wide
    from sonoconvert.files.clip import iter_clips, read_clip, sound_header
    from sonoconvert.pictures.picture import save_picture

    options, fmt = job.options, format_of(job.options)
    assert fmt is not None
    for name in ("start", "duration", "split", "parts"):
        value = getattr(options, name)
        if value is not None and not math.isfinite(value):
            raise SonopaintError(f"{setting(name)} {value} is not a number of seconds.")
        if value is not None and value <= 0 and name in ("split", "parts"):
            raise SonopaintError(f"{setting(name)} {value:g} is not a length; give more than 0 seconds.")
    if options.parts is not None:
        from sonoconvert.conversion.parts import encode_parts

        return encode_parts(
            job.source,
            job.target,
            fmt,
            options.parts,
            start_s=options.start,
            duration_s=options.duration,
            depth=options.depth,
            force=options.force,
            progress=share,
        )
    if options.split is None:
        refuse_existing(job.target, force=options.force)
        header = sound_header(job.source)
        length = header.frames / header.sample_rate - options.start
        # Before hours of sound are read in vain.
        refuse_too_wide(min(length, options.duration or length), fmt)
        clip = read_clip(job.source, start_s=options.start, duration_s=options.duration)
        save_picture(encode(clip, fmt, depth=options.depth), job.target, force=options.force)
        return [job.target]
    for existing in job.target.parent.glob(f"{glob.escape(job.target.stem)}-[0-9][0-9][0-9][0-9].png"):
        refuse_existing(existing, force=options.force)
    parts = iter_clips(job.source, options.split, start_s=options.start, duration_s=options.duration)
    written = []
    for number, clip in enumerate(parts, start=1):
        target = job.target.with_name(f"{job.target.stem}-{number:04d}{job.target.suffix}")
        save_picture(encode(clip, fmt, depth=options.depth), target, force=options.force)
        written.append(target)
    return written


def _to_sound(job: Job, share: Progress | None) -> list[Path]:
    from sonoconvert.conversion.convert import decode
    from sonoconvert.files.clip import write_clip
    from sonoconvert.phase.search import PhaseSearch
    from sonoconvert.pictures.picture import load_picture

    options = job.options
    search = PhaseSearch(options.iterations, options.seed, options.learned)
    refuse_existing(job.target, force=options.force)
    if job.source.name.endswith(INDEX_SUFFIX):
        from sonoconvert.conversion.parts import decode_parts

        decode_parts(
            job.source,
            job.target,
            search,
            subtype=options.subtype,
            force=options.force,
            progress=share,
        )
        return [job.target]
    picture = load_picture(job.source, format=format_of(options))
    clip = decode(picture, search, circular=options.loop, progress=share)
    write_clip(clip, job.target, subtype=options.subtype, force=options.force)
    return [job.target]
