"""Curves measured from sound: loudness, pitch (pyin), brightness, onsets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sonoconvert.curves.curves import RATE_HZ, Curves, chroma_and_octave, kind_of
from sonoconvert.curves.onsets import onsets
from sonoconvert.curves.pyin import pyin
from sonoconvert.edits.envelope import rms_envelope
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip

MEASURED = ("loudness", "pitch", "brightness", "onsets")
QUIETEST_DB = -100.0
LOWEST_HZ, HIGHEST_HZ = 65.0, 2093.0  # C2 to C7: what pyin looks for
_PITCH_RATE, _FRAME, _HOP = 16_000, 1024, 256  # of pyin: 62.5 frames a second
_CLEAR = 0.8  # of a frame's autocorrelation, for it to have a pitch
_HEARD_DB = 50.0  # what is further below the loudest moment has neither pitch nor brightness
LONGEST_S = 600.0


def measure(
    clip: Clip, names: Sequence[str] = MEASURED, rate: float = RATE_HZ, *, quick: bool = False
) -> Curves:
    """Curves of a clip, its channels mixed.

    loudness: RMS over two steps, in dB. pitch: pyin (Mauch & Dixon 2014), 0 where there is none.
    brightness: the spectrum's centroid, free where it is silent. onsets: 1 in the step of each. chroma and
    octave are the pitch's. `quick`: the pitch by autocorrelation frame by frame, thirty times as fast, for
    thousands of clips. Raises SonopaintError for other names and for sounds of over ten minutes.
    """
    if clip.duration_s > LONGEST_S:
        raise SonopaintError(
            f"The sound lasts {clip.duration_s:.0f} s; curves are measured of at most {LONGEST_S:g} s."
        )
    mono = clip.mono()
    frames = max(1, math.ceil(mono.duration_s * rate - 1e-6))
    levels = _loudness(mono, rate, frames)
    heard = levels > levels.max() - _HEARD_DB if levels.max() > QUIETEST_DB else np.zeros(frames, bool)
    found: dict[str, np.ndarray] = {}
    notes: list[str] = []
    pitch = None
    for name in names:
        if name == "loudness":
            found[name] = levels
        elif name == "brightness":
            found[name] = np.where(heard, _brightness(mono, rate, frames), np.nan)
        elif name == "onsets":
            found[name] = np.zeros(frames, np.float32)
            found[name][np.rint(onsets(mono) * rate).astype(int).clip(0, frames - 1)] = 1.0
        elif name in ("pitch", "chroma", "octave"):
            if pitch is None:
                pitch = np.where(heard, _pitch(mono, rate, frames, quick), 0.0).astype(np.float32)
                if not (pitch > 0).any():
                    notes.append("No pitch was heard in this sound.")
            found[name] = pitch if name == "pitch" else chroma_and_octave(pitch)[name]
        else:
            kind_of(name)
            raise SonopaintError(f"The curve {name} can't be measured; of sounds: {', '.join(MEASURED)}.")
    return Curves(rate, found, tuple(notes))


def _loudness(clip: Clip, rate: float, frames: int) -> np.ndarray:
    envelope = rms_envelope(clip.waveform, clip.sample_rate, rate).numpy()[:frames]
    return _fit(20 * np.log10(np.maximum(envelope, 10 ** (QUIETEST_DB / 20))).clip(max=12.0), frames)


def _brightness(clip: Clip, rate: float, frames: int) -> np.ndarray:
    import torch

    from sonoconvert.pictures.spectrogram import absolute, stft

    size = 1 << max(8, round(math.log2(clip.sample_rate * 0.064)))
    hop = max(1, size // 4)
    spectrum = absolute(stft(clip.waveform[0].float(), size, size, hop))
    hertz = torch.linspace(0, clip.sample_rate / 2, size // 2 + 1)[:, None]
    centroid = (spectrum * hertz).sum(0) / spectrum.sum(0).clamp_min(1e-9)
    low, high = kind_of("brightness").low, kind_of("brightness").high
    own = Curves(clip.sample_rate / hop, {"brightness": centroid.clamp(low, high).numpy()})
    return own.at(rate, frames).values["brightness"]


def _pitch(clip: Clip, rate: float, frames: int, quick: bool) -> np.ndarray:
    wave = clip.resampled(_PITCH_RATE).waveform[0].numpy()
    if len(wave) < _FRAME:
        wave = np.pad(wave, (0, _FRAME - len(wave)))
    hertz = _autocorrelated(wave) if quick else pyin(wave, _PITCH_RATE, LOWEST_HZ, HIGHEST_HZ, _FRAME, _HOP)
    return Curves(_PITCH_RATE / _HOP, {"pitch": hertz.astype(np.float32)}).at(rate, frames).values["pitch"]


def _autocorrelated(wave: np.ndarray) -> np.ndarray:
    """Fundamentals in Hz of frames of 64 ms, 0 where the autocorrelation over the window's own is low.

    Boersma 1993; the first peak nearly as high as the highest, whose multiples are as high.
    """
    padded = np.pad(wave, _FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP]
    window = np.hanning(_FRAME)
    windowed = (frames - frames.mean(1, keepdims=True)) * window
    auto = np.fft.irfft(np.abs(np.fft.rfft(windowed, 2 * _FRAME)) ** 2)[:, :_FRAME]
    own = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * _FRAME)) ** 2)[:_FRAME]
    low, high = math.floor(_PITCH_RATE / HIGHEST_HZ), math.ceil(_PITCH_RATE / LOWEST_HZ)
    auto = auto / np.maximum(auto[:, :1], 1e-12) / (own / own[0])
    lags = auto[:, low : high + 2]
    rising = (lags[:, 1:-1] > lags[:, :-2]) & (lags[:, 1:-1] >= lags[:, 2:])
    peaks = np.where(rising, lags[:, 1:-1], -1.0)
    best = peaks.max(1)
    first = (peaks >= 0.93 * best[:, None]).argmax(1) + 1
    rows = np.arange(len(lags))
    before, at, after = (lags[rows, first + d] for d in (-1, 0, 1))
    shift = (0.5 * (before - after) / np.minimum(before - 2 * at + after, -1e-9)).clip(-0.5, 0.5)
    hertz = (_PITCH_RATE / (low + first + shift)).clip(LOWEST_HZ, HIGHEST_HZ)
    return np.where(best > _CLEAR, hertz, 0.0)


def _fit(values: np.ndarray, frames: int) -> np.ndarray:
    return np.pad(values, (0, frames - len(values)), mode="edge").astype(np.float32)
