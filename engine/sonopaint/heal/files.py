"""Healing a file of any length in parts, so that memory does not grow with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sonoconvert.files.clip import Clip, iter_clips, sound_header
from sonoconvert.files.writing import sound_writer
from sonoconvert.progress import Progress, silent
from sonopaint.heal.detect import find
from sonopaint.heal.heal import AROUND_S, HealSettings, heal
from sonopaint.heal.marks import Mark

PART_S = 20.0

Found = Callable[[Clip], list[Mark]]


def heal_file(
    source: Path,
    target: Path,
    marks: Sequence[Mark] | None = None,
    settings: HealSettings | None = None,
    *,
    force: bool = False,
    told: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> tuple[list[tuple[Mark, str]], tuple[str, ...]]:
    """Heals `marks` of a sound file, or the clicks and dropouts that are found in it: (done, notes).

    Samples outside the marks go into the new file as they are, whatever their type. told: what the file's
    tag says of it. Raises SonopaintError as `heal` and writing do; progress may raise Cancelled, and then
    there is no new file.
    """
    settings, tell = settings or HealSettings(), progress or silent
    header = sound_header(source)
    done: list[tuple[Mark, str]] = []
    notes: list[str] = []
    with sound_writer(
        target,
        header.sample_rate,
        header.channels,
        header.frames,
        own=header.subtype,
        settings=told,
        force=force,
    ) as write:
        for part in healed_parts(iter_clips(source, PART_S), marks, settings, header.frames, tell):
            write(part[0].waveform, part[0].exact)
            done += part[1]
            notes += part[2]
    tell(1.0)
    return done, tuple(dict.fromkeys(notes))


def healed_parts(
    pieces: Iterator[Clip],
    marks: Sequence[Mark] | None,
    settings: HealSettings,
    total: int,
    tell: Progress = silent,
) -> Iterator[tuple[Clip, list[tuple[Mark, str]], tuple[str, ...]]]:
    """(clip, done, notes) of each part of consecutive pieces; their marks are those of the whole."""
    held: Clip | None = None
    past: Clip | None = None  # what is healed already, as context
    offset, over = 0, False
    while not over or held is not None:
        while not over and (
            held is None or held.duration_s < PART_S + AROUND_S or _covers(marks, offset, held)
        ):
            piece = next(pieces, None)
            over = piece is None
            if piece is not None:
                held = piece if held is None else _joined(held, piece)
        if held is None:
            return
        rate = held.sample_rate
        before = 0 if past is None else past.num_samples
        whole = held if past is None else _joined(past, held)
        here = _marks_here(marks, whole, offset - before)
        count = _cut(held.num_samples, round(PART_S * rate), [m.moved(-before) for m in here], over)
        mine = [mark for mark in here if mark.start >= before and mark.stop <= before + count]
        tell(min(offset / max(total, 1), 1.0))
        healed, done = whole, list[tuple[Mark, str]]()
        notes: tuple[str, ...] = ()
        if mine:
            later = tuple(mark for mark in here if mark not in mine and mark.start >= before)
            result = heal(whole, mine, settings, spare=later)
            healed, notes = result.clip, result.notes
            done = [(mark.moved(offset - before), method) for mark, method in result.done]
        yield _part(healed, before, before + count), done, notes
        past = _part(healed, max(before + count - round(AROUND_S * rate), 0), before + count)
        held = _part(held, count, held.num_samples) if count < held.num_samples else None
        offset += count


def _marks_here(marks: Sequence[Mark] | None, whole: Clip, first: int) -> list[Mark]:
    """The marks that lie in `whole`, which begins at sample `first`, in its own samples."""
    if marks is None:
        return find(whole)
    last = first + whole.num_samples
    return [mark.moved(-first) for mark in marks if mark.start < last and mark.stop > first]


def _covers(marks: Sequence[Mark] | None, offset: int, held: Clip) -> bool:
    """Whether a mark reaches beyond what is held."""
    end = offset + held.num_samples
    return any(mark.start < end <= mark.stop for mark in marks or ())


def _cut(length: int, wanted: int, marks: Sequence[Mark], over: bool) -> int:
    """After how many samples to cut, so that no mark is cut through."""
    if over and length <= wanted:
        return length
    cut = min(wanted, length)
    for mark in sorted(marks, key=lambda mark: mark.start):
        if mark.start < cut < mark.stop:
            cut = mark.start if mark.start > 0 else min(mark.stop, length)
    return max(cut, 1)


def _joined(first: Clip, second: Clip) -> Clip:
    exact = None
    if first.exact is not None and second.exact is not None and first.exact.dtype == second.exact.dtype:
        exact = np.concatenate([first.exact, second.exact], axis=1)
    return replace(first, waveform=torch.cat([first.waveform, second.waveform], dim=1), exact=exact)


def _part(clip: Clip, start: int, stop: int) -> Clip:
    exact = None if clip.exact is None else clip.exact[:, start:stop]
    return replace(clip, waveform=clip.waveform[:, start:stop], exact=exact)
