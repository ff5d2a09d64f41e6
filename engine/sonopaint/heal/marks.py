"""Marks: which samples, of which channels and between which frequencies, are to be healed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from sonoconvert.edits.region import Box, Region
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import SpectrogramFormat, get_format

APART_S = 0.002  # marks that are nearer to each other are one
GRID = "perkins-10s"  # the picture on which brushes are read where nobody says another


@dataclass(frozen=True)
class Mark:
    """Samples start … stop; low_hz and high_hz where only a band is bad; channels: None is all.

    why: "click" or "dropout" where it was found, "" where somebody marked it.
    """

    start: int
    stop: int
    low_hz: float | None = None
    high_hz: float | None = None
    channels: tuple[int, ...] | None = None
    why: str = ""

    def __post_init__(self) -> None:
        if self.stop <= self.start:
            raise SonopaintError(f"A mark must hold at least one sample, not {self.start} to {self.stop}.")

    def moved(self, samples: int) -> Mark:
        return replace(self, start=self.start + samples, stop=self.stop + samples)

    def box(self, rate: int) -> Box:
        """The mark as people give it."""
        return Box(self.start / rate, self.stop / rate, self.low_hz, self.high_hz)


def marks_of(region: Region, clip: Clip, format: SpectrogramFormat | str = GRID) -> list[Mark]:
    """A region's boxes, and each patch of its brush as the box around it; `format` is that of the picture.

    Raises SonopaintError for an empty region and for one outside the clip.
    """
    rate = clip.sample_rate
    if region.inverted or region.brush is not None:
        fmt = get_format(format)
        region.check(clip.duration_s, fmt)
        return _patches(region, clip, fmt)
    if not region.boxes:
        raise SonopaintError("Nothing is marked: give at least one box or a brush mask.")
    marks = []
    for box in region.boxes:
        stop = clip.num_samples if box.end_s is None else min(round(box.end_s * rate), clip.num_samples)
        start = round(box.start_s * rate)
        if start >= clip.num_samples or (box.low_hz or 0) >= rate / 2:
            raise SonopaintError(
                f"The region {box} lies outside the clip, which lasts {clip.duration_s:.3f} s and reaches "
                f"{rate / 2:.0f} Hz; mark a part of it."
            )
        high = None if box.high_hz is None or box.high_hz >= rate / 2 else box.high_hz
        marks.append(Mark(start, max(stop, start + 1), box.low_hz or None, high))
    return sorted(marks, key=lambda mark: mark.start)


def _patches(region: Region, clip: Clip, fmt: SpectrogramFormat) -> list[Mark]:
    from scipy.ndimage import find_objects, label

    rate = clip.sample_rate
    columns = fmt.columns(clip.duration_s)
    painted = region.mask(fmt, columns) >= 0.5
    marks = []
    for rows, times in find_objects(label(painted)[0]):
        start = round(times.start / columns * clip.num_samples)
        stop = round(times.stop / columns * clip.num_samples)
        low = None if rows.start <= 1 else float(fmt.hz(rows.start))
        high = None if rows.stop >= fmt.n_mels - 1 else float(fmt.hz(rows.stop))
        if high is not None and high >= rate / 2:
            high = None
        marks.append(Mark(start, max(min(stop, clip.num_samples), start + 1), low, high))
    if not marks:
        raise SonopaintError("Nothing is marked: paint on the picture, or give a box.")
    return sorted(marks, key=lambda mark: mark.start)


def merged(marks: Iterable[Mark], rate: int) -> list[Mark]:
    """In their order, those that overlap or nearly touch made one if they mark the same band and channels."""
    result: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (mark.start, mark.stop)):
        last = result[-1] if result else None
        alike = last and (last.low_hz, last.high_hz, last.channels) == (
            mark.low_hz,
            mark.high_hz,
            mark.channels,
        )
        if last and alike and mark.start - last.stop <= APART_S * rate:
            result[-1] = replace(last, stop=max(last.stop, mark.stop))
        else:
            result.append(mark)
    return result


def broken_samples(marks: Iterable[Mark], channel: int, length: int) -> np.ndarray:
    """Bool [length]: what marks of a channel hold."""
    bad = np.zeros(length, bool)
    for mark in marks:
        if mark.channels is None or channel in mark.channels:
            bad[max(mark.start, 0) : max(mark.stop, 0)] = True
    return bad
