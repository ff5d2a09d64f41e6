"""Sounds as somebody's humming asks for them: a kind's steady part, held, bent and swelling like a hum.

The corpus's own events end when they end, at the pitch they have; who hums a train horn holds it for as long
as a breath lasts, and glides. From these clips a model learns that a kind can do so.
"""

from __future__ import annotations

import math
import random

import numpy as np
import torch
from torch import Tensor

from sonoconvert.curves.measure import measure
from sonoconvert.files.clip import Clip
from sonotrain.data.foley.corpus import FoleyBatch, batch
from sonotrain.data.foley.draw import NUM_SAMPLES, SAMPLE_RATE, unit
from sonotrain.data.foley.phrases import phrasings
from sonotrain.data.humming import course

PITCHED = (
    "car_horn", "siren", "violin", "flute", "trumpet", "whistling", "cat_meow", "cow", "sheep",
    "owl", "baby_cry", "engine", "church_bell",
)  # fmt: skip
CHORD = "car_horn"  # of two notes, which only pyin tells apart
NOISY = (
    "train_horn",
    "rain", "wind", "ocean_waves", "stream", "applause", "cheering", "helicopter", "drill", "fire",
    "crickets", "spaceship", "jet",
)  # fmt: skip
OTHER_OCTAVE = 0.1  # share of the hums that ask for an octave beside the sound's own
_RATE = 62.5  # values a second of what is measured
_LEAST_S, _CROSSFADE_S = 0.2, 0.05  # of a part that is held
_WITHIN_DB, _STEP = 12.0, 2 ** (0.7 / 12)  # of a part that is steady: below its loudest; from value to value


def sung(n: int, seed: int) -> FoleyBatch:
    """`n` clips of single kinds, each as long, as loud and as high as a hum; without attributes."""
    rng, draws = random.Random(seed), np.random.default_rng(seed)
    kinds = [rng.choice(PITCHED if rng.random() < 0.7 else NOISY) for _ in range(n)]
    found: dict[int, tuple[Tensor, np.ndarray]] = {}
    for kind in dict.fromkeys(kinds):
        places = [place for place, name in enumerate(kinds) if name == kind]
        plain = batch(len(places), rng.randrange(2**31), [kind], relations=[("single", 1.0)])
        for place, wave in zip(places, plain.waveforms, strict=True):
            hum = course(draws, draws.uniform(100, 260), draws.uniform(300, 620), NUM_SAMPLES, SAMPLE_RATE)
            found[place] = along(wave, kind, *hum, draws, OTHER_OCTAVE)
    waveforms = torch.stack([found[place][0] for place in range(n)])
    pitch = np.stack([found[place][1] for place in range(n)])
    said = [phrasings((kind,), "single", (), rng, 4) for kind in kinds]
    kinds_of: list[tuple[str, ...]] = [(kind,) for kind in kinds]
    return FoleyBatch(
        0.97 * unit(waveforms), said, kinds_of, ["single"] * n, [()] * n, torch.from_numpy(pitch)
    )


def along(
    wave: Tensor,
    kind: str,
    asked: np.ndarray,
    loud: np.ndarray,
    rng: np.random.Generator,
    other_octave: float = 0.0,
) -> tuple[Tensor, np.ndarray]:
    """A kind's sound as a hum asks for it: its steady part held and bent, with the hum's loudness.

    Args:
        wave: [163840], of one of PITCHED or NOISY (which are not bent).
        asked, loud: pitch in Hz and loudness 0 to 1 of each sample (`humming.course`); the pitch is moved by
            octaves to where the sound is.
        rng: of the noise floor; and of an octave beside, with a chance of `other_octave`.

    Returns:
        The clip [163840], and for the CHORD its pitch at 62.5 values a second (else NaN).
    """
    names = ("loudness", "pitch") if kind in PITCHED else ("loudness",)
    curves = measure(Clip(wave[None], SAMPLE_RATE), names, _RATE, quick=True).values
    first, last = _steady(curves["loudness"], curves.get("pitch") if kind != CHORD else None)
    part = wave[round(first / _RATE * SAMPLE_RATE) : round(last / _RATE * SAMPLE_RATE)]
    own = np.zeros(1)
    if kind == CHORD:
        own = measure(Clip(part[None, : 2 * SAMPLE_RATE], SAMPLE_RATE), ("pitch",), _RATE).values["pitch"]
    elif kind in PITCHED:
        own = curves["pitch"][first:last]
    rate, pitch = np.ones(NUM_SAMPLES), np.full(round(NUM_SAMPLES / SAMPLE_RATE * _RATE), np.nan)
    if (own > 0).mean() > 0.5:
        middle = float(np.median(own[own > 0]))
        octave = round(math.log2(middle / float(np.exp(np.log(asked[loud > 0]).mean()))))
        if rng.random() < other_octave:
            octave += int(rng.choice([-1, 1]))
        asked = asked * 2.0**octave
        rate = asked / middle
        if kind == CHORD:
            step = np.arange(len(pitch)) * round(SAMPLE_RATE / _RATE)
            pitch = np.where(loud[step] > 0.01, asked[step], 0.0)
    at = np.cumsum(rate)
    held = _held(part.numpy(), math.ceil(at[-1]) + 2)
    low = at.astype(int)
    bent = held[low] + (at - low) * (held[low + 1] - held[low])
    floor = 10 ** (-rng.uniform(55, 75) / 20) * rng.standard_normal(NUM_SAMPLES)
    return torch.from_numpy(bent / max(np.abs(bent).max(), 1e-6) * loud + floor).float(), pitch


def _steady(loudness: np.ndarray, pitch: np.ndarray | None) -> tuple[int, int]:
    """First and last (exclusive) value of the longest part that is loud and, of a pitch, glides little."""
    good = loudness > loudness.max() - _WITHIN_DB
    broken = np.zeros(len(good), bool)
    if pitch is not None and (good & (pitch > 0)).sum() > _LEAST_S * _RATE:
        good &= pitch > 0
        step = np.abs(np.diff(np.log(np.maximum(pitch, 1e-3)), prepend=math.log(max(pitch[0], 1e-3))))
        broken = step > math.log(_STEP)
    parts = np.cumsum(broken | ~good)  # numbers of what lies between breaks
    longest = np.flatnonzero(good & (parts == np.bincount(parts[good]).argmax()))
    least = math.ceil(_LEAST_S * _RATE)
    first = min(int(longest[0]), len(good) - least)
    return first, max(int(longest[-1]) + 1, first + least)


def _held(part: np.ndarray, samples: int) -> np.ndarray:
    """A part repeated, each time faded into the next."""
    fade = min(round(_CROSSFADE_S * SAMPLE_RATE), len(part) // 3)
    rise = np.linspace(0, 1, fade)
    looped = part[fade:].copy()  # ends as its beginning begins
    looped[-fade:] = looped[-fade:] * (1 - rise) + part[:fade] * rise
    return np.resize(looped, samples)
