"""pYIN (Mauch & Dixon 2014): the pitch of a voice or an instrument, tracked over time.

The steps and constants of librosa's `pyin`, which hosts don't have; a test compares the two.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

_STEPS = 5  # states of a semitone
_SEMITONES_A_SECOND = 35.92 * 12  # the fastest glide
_SWITCH = 0.01  # probability that a tone begins or ends at a frame
_THRESHOLDS = np.linspace(0, 1, 101)  # of YIN, whose prior is Beta(2, 18)
_NO_TROUGH = 0.01  # what counts of thresholds below which no trough is
_SMALLER_PERIODS = np.exp(-2.0)  # how much less each further trough counts
_NEVER = np.finfo(np.float64).tiny  # probability


def pyin(wave: np.ndarray, rate: int, low: float, high: float, size: int, hop: int) -> np.ndarray:
    """Fundamentals in Hz between `low` and `high` of frames of `size` samples around each hop; 0 without one.

    wave: float32 [samples] at `rate` Hz → float64 [1 + samples // hop].
    """
    padded = np.pad(wave.astype(np.float64), size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    shortest, longest = int(rate / high), int(np.ceil(rate / low))
    bins = int(12 * _STEPS * np.log2(high / low)) + 1
    tones = np.zeros((len(frames), bins))
    for tone, frame in zip(tones, frames, strict=True):
        periods, chances = _periods(_differences(frame, longest)[shortest:])
        at = np.rint(12 * _STEPS * np.log2(rate / (shortest + periods) / low)).clip(0, bins).astype(int)
        used = (at < bins) & (chances > 0)
        tone[at[used]] = chances[used]
    toneless = np.repeat(1 - tones.sum(1, keepdims=True).clip(0, 1), bins, 1) / bins
    states = _most_likely(np.hstack([tones, toneless]), _transitions(bins, rate / hop))
    return np.where(states < bins, low * 2 ** (states % bins / (12 * _STEPS)), 0.0)


def _differences(frame: np.ndarray, longest: int) -> np.ndarray:
    """YIN's cumulative mean normalised differences of a frame [size] at lags 0 … longest."""
    size = len(frame)
    auto = np.fft.irfft(np.abs(np.fft.rfft(frame, 2 * size)) ** 2)[: longest + 1]
    energy = np.cumsum(frame[:longest] ** 2)
    differences = 2 * (auto[0] - auto[1:]) - energy
    means = np.cumsum(differences) / np.arange(1, longest + 1)
    return np.concatenate([[1.0], differences / (means + np.finfo(np.float32).tiny)])


def _periods(yin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the troughs of `yin` are, between its samples, and how likely each is the period."""
    sides = np.pad(yin, 1, constant_values=np.inf)
    low = (yin < sides[:-2]) & (yin <= sides[2:])
    low[0] = yin[0] < yin[1]  # nowhere in silence
    [troughs] = np.nonzero(low)
    if not len(troughs):
        return np.zeros(0), np.zeros(0)
    heights = yin[troughs]
    below = heights[:, None] < _THRESHOLDS[1:]
    order, count = np.cumsum(below, 0) - 1, below.sum(0)
    weights = np.where(below, _SMALLER_PERIODS**order, 0.0) * (1 - _SMALLER_PERIODS)
    weights /= np.where(count, 1 - _SMALLER_PERIODS**count, 1.0)
    chances = weights @ _prior()
    chances[heights.argmin()] += _NO_TROUGH * _prior()[count == 0].sum()
    inner = troughs.clip(1, len(yin) - 2)
    slope, bend = (yin[inner + 1] - yin[inner - 1]) / 2, yin[inner + 1] + yin[inner - 1] - 2 * yin[inner]
    moved = (inner == troughs) & (np.abs(slope) < np.abs(bend))
    return troughs - np.where(moved, slope / np.where(moved, bend, 1.0), 0.0), chances


@lru_cache(maxsize=1)
def _prior() -> np.ndarray:
    from scipy.special import betainc

    return np.diff(betainc(2, 18, _THRESHOLDS))


@lru_cache(maxsize=2)
def _transitions(bins: int, frame_rate: float) -> np.ndarray:
    """Logarithms [to, from] of the probabilities between tones of all bins, then none of all bins."""
    width = round(_SEMITONES_A_SECOND / frame_rate) * _STEPS + 1
    away = np.arange(bins) - np.arange(bins)[:, None] + width // 2  # [from, to]
    near = 1 - np.abs(away - (width - 1) / 2) / ((width + width % 2) / 2)
    near = np.where((away >= 0) & (away < width), near, 0.0)
    near /= near.sum(1, keepdims=True)
    both = np.kron([[1 - _SWITCH, _SWITCH], [_SWITCH, 1 - _SWITCH]], near)
    return np.ascontiguousarray(np.log(both + _NEVER).T)


def _most_likely(observed: np.ndarray, transitions: np.ndarray) -> np.ndarray:
    """Viterbi's path through states: probabilities [frames, states] → int [frames]."""
    scores = np.log(observed + _NEVER)
    came = np.zeros(observed.shape, np.uint16)
    every, best = np.arange(observed.shape[1]), scores[0]
    for frame in range(1, len(observed)):
        reached = best + transitions
        came[frame] = reached.argmax(1)
        best = reached[every, came[frame]] + scores[frame]
    states = np.empty(len(observed), int)
    states[-1] = best.argmax()
    for frame in range(len(observed) - 1, 0, -1):
        states[frame - 1] = came[frame, states[frame]]
    return states
