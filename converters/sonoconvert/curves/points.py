"""Curves from text: "0:-60 0.3:-12 2:-20 3:free", and presets such as a hit or a swell."""

from __future__ import annotations

import math
import re

import numpy as np

from sonoconvert.curves.curves import RATE_HZ, Curves, kind_of
from sonoconvert.errors import SonopaintError

# Loudness in dB below its loudest, over the share of the sound's length.
PRESETS = {
    "hit": "0:-6 0.01:0 0.2:-24 0.6:-60",
    "swell": "0:-60 0.5:0 1:-60",
    "fade-in": "0:-60 1:0",
    "fade-out": "0:0 1:-60",
    "steady": "0:0 1:0",
    "pulse": "0:0 0.12:-40 0.249:-60 0.25:0 0.37:-40 0.499:-60 0.5:0 0.62:-40 0.749:-60 0.75:0 1:-60",
}
_NOTE = re.compile(r"([A-Ga-g])([#b]?)(-?\d)")
_STEPS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_LONG_S = 20.0


def parse_points(name: str, text: str, seconds: float | None = None, rate: float = RATE_HZ) -> Curves:
    """A curve from points "second:value …", straight between them (in the logarithm, for hertz).

    A value may be "free" (what follows is the model's choice, until the next point), "off" (no pitch from
    here on) or, for pitches, a note such as A4. Before the first point the curve is free; the last one holds
    until `seconds` (default 20). Raises SonopaintError for anything that is not such points, in order.
    """
    kind = kind_of(name)
    points: list[tuple[float, float]] = []
    for word in text.split():
        at, colon, value = word.partition(":")
        if not colon:
            raise SonopaintError(
                f"{word!r} is no point of a curve; write seconds:value, as in 0:-60 0.3:-12 3:free."
            )
        time = _number(at, word)
        if time < 0 or (points and time < points[-1][0]):
            raise SonopaintError(
                f"The point {word!r} is not later than the one before it; sort them by time."
            )
        points.append((time, _value(name, value, word)))
    if not points:
        raise SonopaintError(f"The curve {name} has no points; write seconds:value, as in 0:-60 0.3:-12.")
    end = max(points[-1][0], seconds or _LONG_S)
    return Curves(
        rate, {name: _drawn(points, np.arange(max(1, round(end * rate))) / rate, kind.blend, kind.off)}
    )


def _drawn(points: list[tuple[float, float]], times: np.ndarray, blend: str, off: float | None) -> np.ndarray:
    """Points as values at `times`; a point that is free or off holds until the next one."""
    at = np.array([point[0] for point in points])
    values = np.array([point[1] for point in points])
    if blend == "peak":  # each point is a moment
        result = np.zeros(len(times), np.float32)
        step = times[1] - times[0] if len(times) > 1 else 1.0
        for time, value in points:
            place = round(time / step)
            if place < len(result):
                result[place] = value
        return result
    index = np.searchsorted(at, times + 1e-9, side="right") - 1
    here, after = values[index.clip(0)], values[(index + 1).clip(0, len(values) - 1)]
    span = at[(index + 1).clip(0, len(at) - 1)] - at[index.clip(0)]
    share = np.divide(times - at[index.clip(0)], span, out=np.zeros_like(times), where=span > 0)
    mixes = ~np.isnan(here) & ~np.isnan(after)
    if off is not None:
        mixes &= (here != off) & (after != off)
    result = here.copy()
    if blend == "linear":
        result[mixes] = (here + (after - here) * share)[mixes]
    elif blend == "log":
        result[mixes] = np.exp(np.log(here[mixes]) * (1 - share[mixes]) + np.log(after[mixes]) * share[mixes])
    return np.where(index < 0, np.nan, result).astype(np.float32)


def preset(name: str, seconds: float, loudest_db: float = -12.0, rate: float = RATE_HZ) -> Curves:
    """A loudness curve of PRESETS over so many seconds. SonopaintError where there is no such preset."""
    if name not in PRESETS:
        raise SonopaintError(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    points = [tuple(map(float, word.split(":"))) for word in PRESETS[name].split()]
    text = " ".join(f"{share * seconds:.6g}:{loudest_db + level:g}" for share, level in points)
    return parse_points("loudness", text, seconds, rate)


def adsr(
    attack_s: float,
    decay_s: float,
    sustain_db: float,
    release_s: float,
    seconds: float,
    loudest_db: float = -12.0,
) -> Curves:
    """A synthesiser's loudness: up to `loudest_db`, down by `sustain_db`, and out to the end of `seconds`."""
    times = (attack_s, decay_s, release_s)
    if not all(math.isfinite(t) and t >= 0 for t in times) or sum(times) > seconds or not sustain_db <= 0:
        raise SonopaintError(
            f"Attack, decay and release ({attack_s:g}, {decay_s:g} and {release_s:g} s) must fit into "
            f"{seconds:g} s, and the sustained level is below the loudest by {sustain_db:g} dB, not above it."
        )
    held = loudest_db + sustain_db
    after = attack_s + decay_s
    levels = [(0, -60), (attack_s, loudest_db), (after, held), (seconds - release_s, held), (seconds, -60)]
    text = " ".join(f"{time:g}:{level:g}" for time, level in levels)
    return parse_points("loudness", text, seconds)


def note_hertz(text: str) -> float | None:
    """The pitch of a note's name such as A4 or C#3; None where it is none."""
    found = _NOTE.fullmatch(text)
    if found is None:
        return None
    step = _STEPS[found[1].lower()] + {"#": 1, "b": -1, "": 0}[found[2]]
    return float(440.0 * 2 ** ((step + 12 * (int(found[3]) + 1) - 69) / 12))


def _value(name: str, text: str, word: str) -> float:
    kind = kind_of(name)
    if text.lower() in ("free", ""):
        return math.nan
    if text.lower() == "off":
        if kind.off is None:
            raise SonopaintError(f"{word!r}: the curve {name} can't be off; give a value or free.")
        return kind.off
    if name == "pitch" and (hertz := note_hertz(text)) is not None:
        return hertz
    value = _number(text, word)
    if not kind.low <= value <= kind.high and value != kind.off:
        raise SonopaintError(
            f"The point {word!r} of the curve {name} is out of range; it can be from {kind.low:g} to "
            f"{kind.high:g} {kind.unit}".rstrip()
            + "."
        )
    return value


def _number(text: str, word: str) -> float:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SonopaintError(f"{word!r} is no point of a curve; write seconds:value with numbers, or free.")
    return value
