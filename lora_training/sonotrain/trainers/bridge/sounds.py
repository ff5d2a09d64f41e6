"""What the bridge listens to beside the vocoder's sounds: something like speech, or a folder of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import iter_clips
from sonoconvert.files.suffixes import SOUNDS
from sonotrain.data.speech import speech
from sonotrain.data.waveforms import SECONDS

MOST = 4000  # pieces of a folder that are kept, 440 kB each


def spoken(count: int, rate: int, seed: int) -> list[np.ndarray]:
    """`count` sounds, int16 [5 s · rate]."""
    rng = np.random.default_rng(seed)
    return [_kept(speech(int(SECONDS * rate), rate, rng)) for _ in range(count)]


def own_sounds(folder: str | Path, rate: int) -> list[np.ndarray]:
    """The sounds of a folder in pieces of 5 s, mono int16, those of under a second left out."""
    pieces: list[np.ndarray] = []
    for path in sorted(Path(folder).rglob("*")):
        if path.suffix.lower() not in SOUNDS:
            continue
        for clip in iter_clips(path, SECONDS):
            if clip.duration_s >= 1 and len(pieces) < MOST:
                pieces.append(_kept(clip.mono().resampled(rate).waveform[0].numpy()))
    if not pieces:
        raise SonopaintError(f"{folder} holds no sound of a second or more; choose another folder.")
    return pieces


def _kept(sound: np.ndarray) -> np.ndarray:
    return (sound * (32000 / max(float(np.abs(sound).max()), 1e-9))).round().astype(np.int16)
