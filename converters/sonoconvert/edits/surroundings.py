"""What is painted fits what surrounds it: level, spectral tilt and background; and whether it is silent.

All is done on the canvas's picture, in decibels below its peak, for each stretch of painted time on its own,
and judged in the rows that are painted. A sound is a bed where its level and its spectrum hardly move (rain,
an engine, the sea), else an event, as are music and a siren. A bed beside a bed gets the level and the tilt
of what surrounds it; beside events it is no louder than they are on average; an event may stand out by some
dB.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from sonoconvert.defaults import ADD, FREE, MATCH, SURROUNDINGS
from sonoconvert.edits.canvas import Canvas, full_scale, full_scale_tone
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.pictures.format import SpectrogramFormat
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.spectrogram import from_levels, mel_basis

BESIDE_S = 1.0  # nearest to what is painted, a bed's level is taken from
REACH_S = 3.0  # of the source on either side of what is painted
APART_S = 0.25  # stretches that lie nearer are one
LOUD_S = 0.05  # the loudest moment is this long
BED_DB = 16.0  # between the 10th and the 90th percentile of a bed's level over time
# And of what each row has of it, over SHARE_S, on average over the rows down to LOUD_ROWS_DB below the
# loudest. Beds of the corpus are below 10.7 (but for crickets), music is above 11, most of it above 15.
BED_SHARES_DB, SHARE_S, LOUD_ROWS_DB = 11.0, 0.2, 30.0
MUSIC_SHARES_DB = 13.0  # a sound of even level that moves so much is surely music: nothing of it may stay
QUIET_S = 0.1  # the shortest quiet moment of a row
NOISE_ROWS = 15  # in a background of noise no row is louder than most of so many about it
FAINTEST_DB = -75.0  # below the canvas's peak there is nothing
# An event's loudest moment over that of what is around, from and to: on a bed, and among other events.
ON_A_BED_DB, AMONG_EVENTS_DB = (8.0, 14.0), (-6.0, 3.0)
BED_BELOW_DB = 12.0  # at most, among events; there it is as loud as they are on average, or fainter
NOTHING_DBFS, AUDIBLE_DBFS = -50.0, -26.0  # around there is only this: then an event is at least that loud
MOST_GAIN_DB = 30.0
MOST_TILT_DB = 6.0  # at the lowest and the highest row
SILENT_DB = 25.0  # below the recording's loudest moment nothing is heard
SHORTEST_S = 0.2  # a mark that is shorter may hold nothing but the end of something
UNCHANGED = 2.5 / 255  # levels that differ less are what was there


@dataclass(frozen=True)
class _Stretch:
    """A stretch of painted time: its columns, the rows that it paints, and the columns around it."""

    first: int
    stop: int
    rows: slice
    around: np.ndarray

    @property
    def columns(self) -> slice:
        return slice(self.first, self.stop)


def fitted(canvas: Canvas, painted: Picture, how: str = MATCH) -> torch.Tensor:
    """Levels float32 [n_mels, columns] of what is painted, relative to the canvas's peak; above 1 is louder.

    how: "match" the surroundings; "add" to what is there, which stays; "free": as it was painted. Cells that
    the canvas keeps are the canvas's own. Raises SonopaintError for anything else.
    """
    if how not in SURROUNDINGS:
        raise SonopaintError(
            f"{setting('surroundings')} must be one of {', '.join(SURROUNDINGS)}, not {how!r}."
        )
    before, after = canvas.picture.levels()[0].numpy(), painted.levels()[0].numpy()
    mask = canvas.mask >= 0.5
    after = np.where(mask, after, before)
    if how == FREE or canvas.kind in ("vary", "generate"):
        return torch.from_numpy(after)
    fmt = canvas.picture.format
    source, new = _magnitudes(before, fmt), _magnitudes(after, fmt)
    peak_dbfs = 20 * np.log10(max(float(np.max(canvas.picture.peak or 0)), 1e-9) / full_scale(fmt))
    result = new.copy()
    for stretch in _stretches(canvas, mask):
        inside = np.zeros_like(mask)
        inside[:, stretch.columns] = mask[:, stretch.columns]
        if np.mean(np.abs(after - before)[inside] < UNCHANGED) > 0.5 and canvas.kind != "extend":
            continue  # the painter left most of it as it was
        gains, background = _fit(stretch, fmt, source, new, mask, peak_dbfs)
        if how == ADD and canvas.kind != "extend":
            background = source[:, stretch.columns]
        louder = new[:, stretch.columns] * gains
        mixed = np.sqrt(louder**2 + background**2)
        result[:, stretch.columns] = np.where(mask[:, stretch.columns], mixed, new[:, stretch.columns])
    levels = _levels(result, fmt)
    return torch.from_numpy(np.where(mask, levels, before).astype(np.float32))


def loudness_db(canvas: Canvas, painted: Picture) -> float:
    """The loudest moment of the painted stretch that is quietest, over the recording's (in the same rows).

    Where the recording is silent itself: over the canvas's peak. A canvas with nothing painted: 0.
    """
    fmt, mask = canvas.picture.format, canvas.mask >= 0.5
    source = _magnitudes(canvas.picture.levels()[0].numpy(), fmt)
    new = np.where(mask, _magnitudes(painted.levels()[0].numpy(), fmt), 0)
    source, new = (magnitudes * _energy(fmt)[:, None] for magnitudes in (source, new))
    quietest = 0.0
    for stretch in _stretches(canvas, mask):
        if fmt.seconds(stretch.stop - stretch.first) < SHORTEST_S:
            continue
        known = ~mask[stretch.rows].any(axis=0)
        own = _loudest(_level(source[stretch.rows][:, known], fmt)) if known.any() else FAINTEST_DB
        reference = own if own > FAINTEST_DB else 0.0
        quietest = min(quietest, _loudest(_level(new[stretch.rows, stretch.columns], fmt)) - reference)
    return quietest


def _stretches(canvas: Canvas, mask: np.ndarray) -> list[_Stretch]:
    fmt, width = canvas.picture.format, mask.shape[1]
    painted = np.flatnonzero(mask.any(axis=0))
    if painted.size == 0:
        return []
    reach = fmt.columns(REACH_S)
    free = np.asarray(~mask.any(axis=0))
    found = []
    for group in np.split(painted, np.flatnonzero(np.diff(painted) > max(fmt.columns(APART_S), 1)) + 1):
        first, stop = int(group[0]), int(group[-1]) + 1
        used = np.flatnonzero(mask[:, first:stop].any(axis=1))
        near = np.arange(max(first - reach, 0), min(stop + reach, width))
        rows = slice(int(used[0]), int(used[-1]) + 1)
        found.append(_Stretch(first, stop, rows, near[free[near]]))
    return found


def _fit(
    stretch: _Stretch,
    fmt: SpectrogramFormat,
    source: np.ndarray,
    new: np.ndarray,
    mask: np.ndarray,
    peak_dbfs: float,
) -> tuple[np.ndarray, np.ndarray]:
    """(gains, background) of the stretch, both [n_mels, columns].

    peak_dbfs: what level 1 stands for.
    """
    rows, count = stretch.rows, stretch.stop - stretch.first
    background, gains = np.zeros((len(source), count)), np.ones((len(source), count))
    loud = _energy(fmt)[rows, None]
    around = source[:, stretch.around]
    inside = np.where(mask[rows, stretch.columns], new[rows, stretch.columns], 0) * loud
    painted = _level(inside, fmt)
    if len(stretch.around) == 0 or _loudest(painted) <= FAINTEST_DB:
        return gains, background
    beside = around[rows] * loud
    near = _level(beside, fmt)
    # What lies around may be silent where the rest of the recording is not.
    kept = source[rows][:, ~mask.any(axis=0)] * loud
    loudest = max(_loudest(near), _loudest(_level(kept, fmt)) - ON_A_BED_DB[1])
    nothing = loudest < NOTHING_DBFS - peak_dbfs
    if _loudest(painted) < (0 if nothing else loudest) - SILENT_DB:
        return gains, background  # silence was painted, and may have been asked for
    unrest = _unrest_db(beside, fmt)
    steady = unrest < BED_SHARES_DB
    bed = _unrest_db(inside, fmt) < BED_SHARES_DB and not nothing
    like = bed and steady
    if not steady:
        background = _floor(around, stretch, fmt)
        if MUSIC_SHARES_DB < unrest < np.inf:
            over = float(_mean(_level(background[rows] * loud, fmt)) - _mean(near)) + SILENT_DB
            background *= 10 ** (-max(over, 0) / 20)
    elif not like or rows != slice(0, len(source)):
        background = _goes_on(source, stretch)
    if like:
        wanted = _between(stretch, near, fmt) - float(_mean(painted))
        if background.any():  # both together are as loud as what is around
            wanted, background = wanted - 3, background * 10 ** (-3 / 20)
        tilt = _tilt(beside, inside, len(source), rows)
        gains = 10 ** ((tilt[:, None] + wanted) / 20)
    elif bed:
        mean = max(float(_mean(near)), float(_mean(_level(kept, fmt))))
        own = float(_mean(painted))
        gains *= 10 ** ((np.clip(own, mean - BED_BELOW_DB, mean) - own) / 20)
    else:
        low, high = (loudest + db for db in (ON_A_BED_DB if steady else AMONG_EVENTS_DB))
        own, most = _loudest(painted), MOST_GAIN_DB
        if nothing:
            low = high = AUDIBLE_DBFS - peak_dbfs
            most = max(most, -peak_dbfs)  # white is nothing there
        gains *= 10 ** (min(float(np.clip(own, low, high)) - own, most) / 20)
    return gains, background


def _between(stretch: _Stretch, near: np.ndarray, fmt: SpectrogramFormat) -> np.ndarray:
    """Decibels [columns of the stretch]: from the level just before it to that just after it."""
    reach = max(fmt.columns(BESIDE_S), 1)
    before, after = (
        near[stretch.around < stretch.first][-reach:],
        near[stretch.around >= stretch.stop][:reach],
    )
    levels = [float(_mean(part)) for part in (before, after) if len(part)]
    return np.linspace(levels[0], levels[-1], stretch.stop - stretch.first)


def _floor(around: np.ndarray, stretch: _Stretch, fmt: SpectrogramFormat) -> np.ndarray:
    """The background of events: of each row the cells of its quietest moments around, with their grain.

    Each row has its own: in music some note always sounds, but seldom the same. One that never ends stands
    out of the rows about it, and is lowered to them.
    """
    from scipy.ndimage import median_filter

    power = _smoothed(around**2, QUIET_S, fmt)
    quiet = np.argsort(power, axis=1, kind="stable")[:, : max(around.shape[1] // 20, 4)]
    count = stretch.stop - stretch.first
    drawn = np.random.default_rng(stretch.first).integers(quiet.shape[1], size=(len(around), count))
    cells = np.take_along_axis(around, np.take_along_axis(quiet, drawn, axis=1), axis=1)
    level = np.sqrt(np.mean(cells**2, axis=1, keepdims=True)).clip(1e-12)
    return cells * np.minimum(median_filter(level, (NOISE_ROWS, 1), mode="nearest") / level, 1.0)


def _goes_on(source: np.ndarray, stretch: _Stretch) -> np.ndarray:
    """A bed carried on through a stretch: its surroundings mirrored at the nearer border."""
    count = stretch.stop - stretch.first
    left, right = (
        stretch.around[stretch.around < stretch.first],
        stretch.around[stretch.around >= stretch.stop],
    )
    index = np.arange(count)
    # Mirrored again and again where the surroundings are shorter than what they carry on.
    from_left = left[::-1][_bounced(index, len(left))] if len(left) else None
    from_right = right[_bounced(index[::-1], len(right))] if len(right) else None
    if from_left is None or from_right is None:
        one = from_right if from_left is None else from_left
        return source[:, one]
    share = (index + 0.5) / count
    power = source[:, from_left] ** 2 * (1 - share) + source[:, from_right] ** 2 * share
    return np.sqrt(power)


def _bounced(index: np.ndarray, length: int) -> np.ndarray:
    period = index % (2 * length)
    return np.minimum(period, 2 * length - 1 - period)


def _tilt(around: np.ndarray, inside: np.ndarray, n_mels: int, rows: slice) -> np.ndarray:
    """Decibels [n_mels] on a straight line that makes low and high as they are around, at the same level."""
    place = np.linspace(-1.0, 1.0, n_mels)
    there, here = (_decibels(np.mean(part**2, axis=1)) for part in (around, inside))
    heard = (there > there.max() - 40) & (here > here.max() - 40)
    if heard.sum() < 8:
        return np.zeros(n_mels)
    x, y = place[rows][heard], (there - here)[heard]
    slope = np.polyfit(x, y, 1)[0]
    line = np.clip(slope * (place - x.mean()), -MOST_TILT_DB, MOST_TILT_DB)
    power = np.mean(inside**2, axis=1)
    change = 10 * np.log10((power * 10 ** (line[rows] / 10)).sum() / power.sum())
    return line - change


def _level(magnitudes: np.ndarray, fmt: SpectrogramFormat) -> np.ndarray:
    """Power [columns] of magnitudes [rows, columns], over LOUD_S."""
    return _smoothed(np.sum(magnitudes**2, axis=0), LOUD_S, fmt)


def _smoothed(power: np.ndarray, seconds: float, fmt: SpectrogramFormat) -> np.ndarray:
    """Power [..., columns] as its mean over so many seconds."""
    from scipy.ndimage import uniform_filter1d

    return uniform_filter1d(power, max(fmt.columns(seconds), 1), axis=-1, mode="nearest")


@lru_cache(maxsize=8)
def _energy(fmt: SpectrogramFormat) -> np.ndarray:
    """What the magnitudes of each row [n_mels] are multiplied with, so that their squares add up to energy.

    A row is a sum of magnitudes over its bins, more of them the higher it is. 0 dB: a sine whose loudest cell
    is 1.
    """
    basis = mel_basis(fmt)
    top = basis.max(axis=1).clip(1e-9)
    weight = 1 / (top**2 * (basis.sum(axis=1) / top).clip(1))
    tone = full_scale_tone(fmt).numpy() / full_scale(fmt)
    return np.sqrt(weight / np.sum(tone**2 * weight))


def _unrest_db(cells: np.ndarray, fmt: SpectrogramFormat) -> float:
    """How far a sound of these magnitudes [rows, columns] moves in spectrum; infinite where its level does.

    Decibels between a row's small and its large shares of the sound, on average over the loud rows.
    """
    low, high = np.percentile(_decibels(_level(cells, fmt)), (10, 90))
    if low <= FAINTEST_DB or high - low >= BED_DB:
        return np.inf
    power = _smoothed(cells**2, SHARE_S, fmt)
    rows = power.mean(axis=1)
    power = power[rows > rows.max() * 10 ** (-LOUD_ROWS_DB / 10)]
    shares = 10 * np.log10(np.maximum(power / power.sum(axis=0).clip(1e-12), 1e-6))
    low, high = np.percentile(shares, (10, 90), axis=1)
    return float(np.mean(high - low))


def _decibels(power: np.ndarray | float) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, 10 ** (FAINTEST_DB / 10)))


def _mean(power: np.ndarray) -> np.ndarray:
    return _decibels(np.mean(power))


def _loudest(power: np.ndarray) -> float:
    return float(_decibels(power.max()))


def _magnitudes(levels: np.ndarray, fmt: SpectrogramFormat) -> np.ndarray:
    return from_levels(torch.from_numpy(levels), fmt).double().numpy()


def _levels(magnitudes: np.ndarray, fmt: SpectrogramFormat) -> np.ndarray:
    """The inverse of `from_levels`, for magnitudes above 1 as well."""
    if fmt.curve == "power":
        return magnitudes**fmt.exponent
    return np.maximum(1 - 20 * np.log10(np.maximum(magnitudes, 1e-12)) / fmt.floor_db, 0)
