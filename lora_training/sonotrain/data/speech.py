"""Something like speech: syllables of a formant synthesiser. No recording and no language."""

from __future__ import annotations

import numpy as np

# First four formants in hertz of vowels and vowel-like sounds (after Peterson & Barney 1952).
VOWELS = (
    (270, 2290, 3010, 3600), (390, 1990, 2550, 3500), (530, 1840, 2480, 3500), (660, 1720, 2410, 3500),
    (730, 1090, 2440, 3400), (570, 840, 2410, 3300), (440, 1020, 2240, 3300), (300, 870, 2240, 3300),
    (640, 1190, 2390, 3400), (490, 1350, 1690, 3200),
)  # fmt: skip
NASALS = ((250, 1000, 2200, 3000), (250, 1400, 2400, 3200), (350, 1100, 2600, 3300), (300, 1500, 2600, 3400))
# Centre and width in hertz, and loudness, of the noise of consonants: s, sh, f, h.
HISSES = ((6500, 2000, 0.5), (3200, 1200, 0.6), (7000, 5000, 0.15), (1500, 1500, 0.15))
_BLOCK_S = 0.008
_FORMANTS = 6


def speech(length: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Sound [length] of one speaker: a wandering pitch, vowels that glide, nasals, hisses, stops, pauses."""
    block = max(round(_BLOCK_S * rate), 16)
    frames = length // block + 3
    tracks = _tracks(frames, rng)
    pitch, voiced, hiss, formants, noise = tracks
    times = np.arange(length + 2 * block) / block
    index = np.arange(frames)
    turns = np.cumsum(np.interp(times, index, pitch)) / rate
    phase = turns % 1
    opening = rng.uniform(0.35, 0.65)
    # Rosenberg's pulse (1971), differentiated: the lips radiate.
    pulse = np.where(phase < opening, 0.5 - 0.5 * np.cos(np.pi * phase / opening), 0)
    pulse = np.where((phase >= opening) & (phase < opening * 1.4),
                     np.cos(np.pi / 2 * (phase - opening) / (0.4 * opening)), pulse)  # fmt: skip
    pulse = np.diff(pulse, prepend=pulse[0]) * rate / 4000
    breath = rng.standard_normal(length + 2 * block)
    loud = np.interp(times, index, voiced)
    source = (pulse + rng.uniform(0.005, 0.05) * breath) * loud
    sound = _filtered(source, block, rate, formants, None, frames)
    sound = sound / max(np.abs(sound).max(), 1e-9)
    rough = breath * np.interp(times, index, hiss)
    made = _filtered(rough, block, rate, None, noise, frames)
    made = made / max(np.abs(made).max(), 1e-9) * rng.uniform(0.2, 0.6)
    return (sound + made)[:length]


def _tracks(frames: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """(pitch, voiced, hiss [frames], formants, noise centre and width [frames, …]) of one utterance."""
    scale, base = rng.uniform(0.88, 1.25), np.exp(rng.uniform(np.log(75), np.log(320)))
    speed = rng.uniform(0.7, 1.4)
    pitch, voiced, hiss = np.zeros(frames), np.zeros(frames), np.zeros(frames)
    formants, noise = np.zeros((frames, _FORMANTS)), np.zeros((frames, 2))
    at, phrase, kind = 0, 0, "vowel"
    while at < frames:
        kind = str(rng.choice(["vowel", "nasal", "hiss", "stop", "pause"], p=_after(kind)))
        seconds = {"vowel": 0.13, "nasal": 0.07, "hiss": 0.1, "stop": 0.07, "pause": 0.35}[kind]
        count = max(round(seconds * speed * rng.uniform(0.6, 1.7) / _BLOCK_S), 2)
        part = slice(at, min(at + count, frames))
        size = part.stop - at
        place = (NASALS if kind == "nasal" else VOWELS)[int(rng.integers(4 if kind == "nasal" else 10))]
        formants[part] = np.array([*place, 4500, 5500]) * scale * rng.uniform(0.95, 1.05)
        phrase = 0 if kind == "pause" else phrase + size
        pitch[part] = base * 2 ** (rng.normal(0, 0.12) - 0.0015 * phrase)
        if kind in ("vowel", "nasal"):
            voiced[part] = rng.uniform(0.6, 1) * (1 if kind == "vowel" else 0.35)
        elif kind != "pause":
            centre, width, loudness = HISSES[int(rng.integers(len(HISSES)))]
            noise[part] = centre * scale * rng.uniform(0.9, 1.1), width
            if kind == "hiss":
                hiss[part] = loudness
                voiced[part] = 0.3 * (rng.random() < 0.3)
            else:  # closed, then a burst
                burst = at + max(size - max(round(0.02 / _BLOCK_S), 1), 0)
                hiss[burst : part.stop] = loudness * rng.uniform(0.5, 1.5)
        at += count
    for track, width in ((pitch, 15), (voiced, 4), (hiss, 2)):
        track[:] = _smoothed(track, width)
    for column in formants.T:
        column[:] = _smoothed(column, 7)
    noise[noise[:, 0] == 0] = 4000, 3000
    return pitch, voiced, hiss, formants, noise


def _after(kind: str) -> list[float]:
    """Chances of vowel, nasal, hiss, stop, pause after a sound."""
    if kind in ("hiss", "stop", "nasal", "pause"):
        return [0.8, 0.06, 0.05, 0.05, 0.04]
    return [0.12, 0.26, 0.24, 0.26, 0.12]


def _smoothed(track: np.ndarray, width: int) -> np.ndarray:
    window = np.hanning(width + 2)[1:-1]
    padded = np.pad(track, width, mode="edge")
    return np.convolve(padded, window / window.sum(), "same")[width : width + len(track)]


def _filtered(
    source: np.ndarray,
    block: int,
    rate: int,
    formants: np.ndarray | None,
    noise: np.ndarray | None,
    frames: int,
) -> np.ndarray:
    """The source through each block's own resonances (or band of noise), overlapped by half."""
    window = np.hanning(2 * block + 1)[:-1]
    count = min(frames, len(source) // block - 1)
    pieces = np.lib.stride_tricks.sliding_window_view(source, 2 * block)[::block][:count] * window
    hertz = np.fft.rfftfreq(4 * block, 1 / rate)[None]
    if formants is not None:
        shape = np.zeros((count, hertz.shape[1]))
        for number in range(_FORMANTS):
            peak, breadth = formants[:count, number, None], 60.0 + 40.0 * number
            shape += (0.9**number) * breadth / np.abs(breadth + 1j * (hertz - peak))
        shape *= 1 / (1 + hertz / 2500)
    else:
        assert noise is not None
        centre, width = noise[:count, :1], noise[:count, 1:]
        shape = np.exp(-(((hertz - centre) / width) ** 2)) + 0.02
    made = np.fft.irfft(np.fft.rfft(pieces, 4 * block) * shape, 4 * block)
    total = np.zeros((count + 4) * block)
    for part in range(4):  # four blocks long, a block apart
        total[part * block : (part + count) * block] += made[:, part * block : (part + 1) * block].ravel()
    return np.pad(total, (0, max(len(source) - len(total), 0)))[: len(source)]
