"""Making a dataset: look, cut, check, caption, split, write; stopped at any moment, it goes on from there."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.pictures.format import SpectrogramFormat, get_format
from sonotrain.data.clips import Job, Planned, TooShort, make_clips, plan, skipped_of
from sonotrain.data.dataset import ABOUT, SPLITS, SoundDataset, is_dataset, load_dataset
from sonotrain.data.ledger import Ledger
from sonotrain.data.options import DatasetOptions
from sonotrain.data.recordings import Found, Recording, Skipped
from sonotrain.data.sources import find_recordings
from sonotrain.data.split import assign
from sonotrain.files.processes import several

if TYPE_CHECKING:
    from sonotrain.data.tags import Tagger

logger = logging.getLogger(__name__)
Progress = Callable[[int, int, str], None]

_JOBS_A_WORKER = 16  # fewer are not worth the seconds that a process takes to start


def build_dataset(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: DatasetOptions | None = None,
    progress: Progress | None = None,
    *,
    workers: int = 0,
    force: bool = False,
) -> SoundDataset:
    """Make a dataset from a folder or table of sounds (see `sonotrain.data.dataset` for what comes out).

    Called again with the same source and folder it makes only what is new or changed; captions that were
    edited in the dataset stay.

    Args:
        progress: told (done, total, what) of each step; raises Cancelled to stop. What is done is kept.
        workers: processes; 0 is one for each core, 1 is this process.
        force: make a dataset that was made with other options anew.

    Raises:
        SonopaintError: nothing to make it of, too much that can't be read, options that contradict the
            dataset that is there, or a folder that holds something else.
        Cancelled: by `progress`.
    """
    from sonotrain.data.finish import finish

    chosen = options or DatasetOptions()
    root, target = Path(source).expanduser(), Path(out).expanduser()
    fmt = choose_format(chosen)
    tell = progress or (lambda done, total, what: None)
    tell(0, 0, "Looking for sounds")
    found = find_recordings(root, chosen, exclude=target)
    _refuse_foreign(target, force)
    settings = {"format": fmt.to_dict(), **chosen.fixed()}
    tagger = _tagger(chosen)
    with Ledger(target, settings, checks=f"{chosen.duplicates} {chosen.similarity}") as ledger:
        planned = _plan(found, fmt, chosen, target, ledger, tell)
        _check_unreadable(root, found, chosen)
        _run([job for item in planned for job in item.jobs], ledger, tell, workers)
        for item in planned:
            for job in item.jobs:
                result = ledger.results[job.name]
                found.skipped += skipped_of(item.recording.source, result)
                found.notes += result["notes"]
        _check_unreadable(root, found, chosen)
        finish(target, root, fmt, chosen, found, planned, ledger, tell, tagger)
    return load_dataset(target)


def _tagger(options: DatasetOptions) -> Tagger | None:
    """The tagger, loaded before hours of work, so that a wrong folder is said at once."""
    if not options.tagger:
        return None
    from sonotrain.data.tags import Tagger, read_words

    return Tagger(options.tagger, read_words(options.tag_words))


def choose_format(options: DatasetOptions) -> SpectrogramFormat:
    """The format that was asked for, else the model's, else the shipped model's."""
    if options.format:
        return get_format(options.format)
    if options.model:
        from sonopaint.models.info import describe, find_model

        return describe(find_model(options.model)).format or get_format("sonopaint-mini")
    return get_format("sonopaint-mini")


def _refuse_foreign(target: Path, force: bool) -> None:
    """Only an empty folder or one of our own is written into; `force` empties our own."""
    if target.exists() and not target.is_dir():
        raise SonopaintError(f"{target} is a file; give {setting('out')} a folder for the dataset.")
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not is_dataset(target) and not Ledger.is_at(target):
        raise SonopaintError(
            f"{target} is not empty and holds no dataset; give {setting('out')} a new folder."
        )
    if force:
        for split in SPLITS:
            shutil.rmtree(target / split, ignore_errors=True)
        shutil.rmtree(Ledger.folder_of(target), ignore_errors=True)
        (target / ABOUT).unlink(missing_ok=True)


def _plan(
    found: Found,
    fmt: SpectrogramFormat,
    options: DatasetOptions,
    target: Path,
    ledger: Ledger,
    tell: Progress,
) -> list[Planned]:
    """Headers, splits and jobs of all recordings; what can't be read goes to `found.skipped`."""
    readable: list[tuple[Recording, list[Job], float]] = []
    for number, recording in enumerate(found.recordings):
        if number % 50 == 0:
            tell(0, 0, f"Looking at {number} of {len(found.recordings)} sounds")
        try:
            jobs, seconds = plan(recording, fmt, options, target)
            readable.append((recording, jobs, seconds))
        except TooShort as error:
            found.skipped.append(Skipped(recording.source, "short", str(error)))
        except (SonopaintError, OSError) as error:
            reason = str(error).replace(str(recording.path), "it").rstrip(".")
            found.skipped.append(Skipped(recording.source, "unreadable", reason))
    settled = ledger.groups | {
        recording.group: recording.split for recording, _, _ in readable if recording.split is not None
    }
    groups = {recording.group for recording, _, _ in readable}
    wanted = (0.0, 0.0) if set(settled) >= groups else (options.validation, options.test)
    splits = assign(groups, *wanted, options.seed, {g: s for g, s in settled.items() if g in groups})
    ledger.keep_groups(splits)
    planned = []
    for recording, jobs, seconds in readable:
        split = splits[recording.group]
        placed = [Job(**(vars(job) | {"folder": str(target / split)})) for job in jobs]
        planned.append(Planned(recording, split, placed, seconds))
    return planned


def _check_unreadable(root: Path, found: Found, options: DatasetOptions) -> None:
    """Stop where too many files can't be read: then something is wrong with the folder, not with a file."""
    bad = {s.source: s for s in found.skipped if s.kind in ("unreadable", "refused")}
    total = len({r.source for r in found.recordings} | set(bad))
    if total and len(bad) / total > options.max_unreadable:
        first = next(iter(bad.values()))
        raise SonopaintError(
            f"{len(bad)} of {total} sounds of {root} can't be read, the first is {first.source} "
            f"({first.reason}); repair or remove them, or allow it with {setting('max_unreadable')} 1."
        )


def _run(jobs: Sequence[Job], ledger: Ledger, tell: Progress, workers: int) -> None:
    """Do the jobs that the ledger does not have, in this process or several."""
    waiting = [job for job in jobs if not ledger.has(job)]
    done = sum(len(job.starts) for job in jobs) - sum(len(job.starts) for job in waiting)
    total = sum(len(job.starts) for job in jobs)
    if done:
        logger.info("%d of %d clips are there already.", done, total)
    for split in {Path(job.folder) for job in jobs}:
        split.mkdir(parents=True, exist_ok=True)
    count = min(workers or os.cpu_count() or 1, len(waiting) // _JOBS_A_WORKER)
    tell(done, total, "Making clips")
    with several(count) as run:
        for job, result in zip(waiting, run(make_clips, waiting), strict=True):
            ledger.add(result)
            done += len(job.starts)
            tell(done, total, job.source)
