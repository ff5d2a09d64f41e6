"""From a recording to clips of fixed length: where they begin, and how each one is made and checked."""

from __future__ import annotations

import base64
import hashlib
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sonoconvert.conversion.convert import encode, mix_to
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip, sound_header, write_clip
from sonoconvert.pictures.format import SpectrogramFormat, get_format
from sonoconvert.pictures.picture import save_picture
from sonotrain.data.checks import Levels, content_hash, decibels, fingerprint, measure
from sonotrain.data.options import DatasetOptions
from sonotrain.data.recordings import Recording, Skipped

# A rest of a recording that is shorter than this part of a clip gets no clip of its own.
_LEAST_REST = 0.25
_ALREADY_CUT_S = 0.5  # a file that ends so soon after the part's length holds that part alone
PART_CLIPS = 16  # clips that one job makes: what is lost at most when it is stopped


@dataclass(frozen=True)
class Job:
    """Some clips of one recording; plain values only, so that it can be sent to another process."""

    key: str
    source: str
    path: str
    stamp: tuple[int, int]  # size and time of the file, to see whether it changed
    folder: str  # of the split
    format: dict[str, Any]
    starts: tuple[tuple[int, float], ...]  # (number of the clip, second that it begins at)
    stop_s: float  # end of the recording's part
    silence_db: float
    max_clipping: float

    @property
    def name(self) -> str:
        return f"{self.key}-{self.starts[0][0]}"


@dataclass(frozen=True)
class Planned:
    """A recording that can be read: its split, its jobs, its length."""

    recording: Recording
    split: str
    jobs: list[Job]
    seconds: float


def clip_key(recording: Recording) -> str:
    """A short name for a recording, the same in every build."""
    said = f"{recording.source}|{recording.start_s:g}|{recording.duration_s}"
    return hashlib.sha256(said.encode()).hexdigest()[:10]


def window_starts(seconds: float, length_s: float, options: DatasetOptions) -> list[float]:
    """Where clips begin in a recording; the last one is moved back so that it ends with the recording."""
    step = length_s * (1 - options.overlap)
    if options.windows == "first" or seconds <= length_s:
        return [0.0]
    count = 1 + math.floor((seconds - length_s) / step + 1e-9)
    starts = [index * step for index in range(count)]
    if seconds - (starts[-1] + length_s) >= _LEAST_REST * length_s:
        starts.append(seconds - length_s)
    most = options.max_windows
    if most and len(starts) > most:
        spread = (len(starts) - 1) / max(most - 1, 1)
        starts = [starts[round(index * spread)] for index in range(most)]
    return starts


def plan(
    recording: Recording, fmt: SpectrogramFormat, options: DatasetOptions, folder: Path
) -> tuple[list[Job], float]:
    """(jobs, seconds) of a recording, from its header. SonopaintError where it can't be used at all."""
    header = sound_header(recording.path)
    total = header.frames / header.sample_rate
    start, stop = recording.start_s, total
    if recording.duration_s is not None:
        if recording.may_be_cut and total <= recording.duration_s + _ALREADY_CUT_S:
            start = 0.0
        stop = min(total, start + recording.duration_s)
    if start >= total:
        raise SonopaintError(f"it is {total:.2f} s long, its part begins at {start:g} s")
    seconds = stop - start
    if seconds < options.min_seconds:
        raise TooShort(f"it is {_short(seconds)} long, shorter than {options.min_seconds:g} s")
    length_s = fmt.seconds(fmt.width)
    starts = [start + at for at in window_starts(seconds, length_s, options)]
    numbered = list(enumerate(starts))
    status = recording.path.stat()
    jobs = [
        Job(
            key=clip_key(recording),
            source=recording.source,
            path=str(recording.path),
            stamp=(status.st_size, status.st_mtime_ns),
            folder=str(folder),
            format=fmt.to_dict(),
            starts=tuple(numbered[first : first + PART_CLIPS]),
            stop_s=stop,
            silence_db=options.silence_db,
            max_clipping=options.max_clipping,
        )
        for first in range(0, len(numbered), PART_CLIPS)
    ]
    return jobs, seconds


class TooShort(SonopaintError):
    """A recording below the least length: nothing is wrong with the file."""


def make_clips(job: Job) -> dict[str, Any]:
    """Make the clips of a job: pictures and sounds in its folder.

    Returns what the ledger keeps (JSON-able): "clips", each with its levels, hash and fingerprint, "skipped",
    and "notes" (files that are cut off …). One clip is in memory at a time, however long the recording is.

    Raises:
        SonopaintError: the clips can't be written (which is no fault of the recording).
    """
    fmt = get_format(job.format)
    clips: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    with _warnings() as notes:
        for number, start in job.starts:
            try:
                heard = _hear(job, fmt, start)
            except _Unfit as unfit:
                skipped.append({"kind": unfit.kind, "reason": str(unfit), "start_s": round(start, 3)})
            except SonopaintError as error:
                reason = str(error).replace(job.path, "it").rstrip(".")
                skipped.append({"kind": "unreadable", "reason": reason, "start_s": round(start, 3)})
            else:
                clips.append(_write(job, fmt, f"{job.key}-{number}", heard))
    said = [note.replace(job.path, job.source) for note in notes]
    return {
        "name": job.name,
        "stamp": list(job.stamp),
        "clips": clips,
        "skipped": skipped,
        "notes": list(dict.fromkeys(said)),
    }


class _Unfit(Exception):
    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class _Heard:
    """A clip that is fit: normalised, padded, and what is known of it."""

    clip: Clip
    samples: int  # without padding
    start_s: float
    peak: float
    levels: Levels


def _hear(job: Job, fmt: SpectrogramFormat, start: float) -> _Heard:
    """Read, check and normalise one clip."""
    wanted = fmt.width * fmt.hop_length
    seconds = min(wanted / fmt.sample_rate, job.stop_s - start)
    clip = read_clip(job.path, start_s=start, duration_s=seconds)
    heard = measure(clip.waveform)
    if heard.peak_db < job.silence_db:
        level = "is silent" if heard.peak_db <= -200 else f"is silent (its peak is {heard.peak_db:.0f} dBFS)"
        raise _Unfit("silent", level)
    if heard.clipped > job.max_clipping:
        raise _Unfit("clipped", f"is clipped in {100 * heard.clipped:.0f} % of its samples")
    mixed = mix_to(clip, fmt.num_channels).resampled(fmt.sample_rate)
    waveform = mixed.waveform[:, :wanted]
    samples, peak = waveform.shape[1], float(waveform.abs().max())
    if decibels(peak) < job.silence_db:
        # Left and right may cancel each other out.
        raise _Unfit("silent", "is silent as mono (its channels cancel each other out)")
    waveform = torch.nn.functional.pad(waveform / peak, (0, wanted - samples))
    settings = {"task": "dataset", "source": job.source, "start_s": round(start, 3)}
    return _Heard(Clip(waveform, fmt.sample_rate, settings), samples, round(start, 3), peak, heard)


def _write(job: Job, fmt: SpectrogramFormat, stem: str, heard: _Heard) -> dict[str, Any]:
    """Write a clip's picture and sound; returns its line for the ledger."""
    folder = Path(job.folder)
    picture = encode(heard.clip, fmt)
    try:
        save_picture(picture, folder / f"{stem}.png", force=True)
        write_clip(heard.clip, folder / f"{stem}.flac", subtype="PCM_16", force=True)
    except (OSError, SonopaintError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise SonopaintError(
            f"The clips can't be written to {folder} ({reason}); make room and start again: what is done is "
            "kept."
        ) from error
    columns = fmt.frames(heard.samples)
    print_ = fingerprint(
        picture.levels().mean(0)[:, :columns], math.ceil(fmt.win_length / 2 / fmt.hop_length)
    )
    return {
        "stem": stem,
        "start_s": heard.start_s,
        "columns": columns,
        "peak": round(heard.peak, 6),
        "peak_db": round(heard.levels.peak_db, 2),
        "rms_db": round(heard.levels.rms_db, 2),
        "clipped": round(heard.levels.clipped, 5),
        "hash": content_hash(heard.clip.waveform),
        "print": base64.b64encode(print_.tobytes()).decode(),
    }


def skipped_of(source: str, result: dict[str, Any]) -> list[Skipped]:
    """What a job left out."""
    return [Skipped(source, s["kind"], s["reason"], s["start_s"]) for s in result["skipped"]]


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collects what reading a file warns of, for the report."""
    notes: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.append(record.getMessage())

    collector, logger = Collector(logging.WARNING), logging.getLogger("sonoconvert.files")
    logger.addHandler(collector)
    propagate, logger.propagate = logger.propagate, False
    try:
        yield notes
    finally:
        logger.removeHandler(collector)
        logger.propagate = propagate


def _short(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.01 else f"{1000 * seconds:.2f} ms"
