"""What is measured of a sound, and of a variation beside its reference."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn.functional import pad

from sonoconvert.edits.envelope import rms_envelope
from sonoconvert.edits.loudness import lufs
from sonoconvert.files.clip import Clip

SILENT = 10 ** (-60 / 20)  # a peak below −60 dBFS is silence
ONSET_DB = 24.0  # the first sample that is no further below the peak is the onset
ENVELOPE_HZ = 100.0
FRAME_S, STEP_S = 0.064, 0.016  # of the pitch
LOWEST_HZ, HIGHEST_HZ = 60.0, 2000.0
CLEAR = 0.7  # of a frame's autocorrelation, for it to have a pitch
VOICED = 0.25  # share of the heard frames that have one, for the sound to have one


def is_silent(waveform: torch.Tensor) -> bool:
    """Whether nothing is heard: a peak below −60 dBFS, or values that are no numbers."""
    return not bool(torch.isfinite(waveform).all()) or float(waveform.abs().max()) < SILENT


def heard(clip: Clip) -> torch.Tensor:
    """One channel [samples] that is heard: the mean of all, or the loudest where they cancel each other."""
    wave = clip.waveform
    mean = wave.mean(dim=0)
    loudest = wave[int(wave.square().mean(dim=1).argmax())]
    return mean if float(mean.square().mean()) > 0.1 * float(loudest.square().mean()) else loudest


def onset(waveform: torch.Tensor) -> int:
    """The sample at which [channels, samples] begins to sound; 0 for silence."""
    level = waveform.abs().amax(dim=0)
    peak = float(level.max())
    return int((level >= peak * 10 ** (-ONSET_DB / 20)).to(torch.uint8).argmax()) if peak > 0 else 0


def pitch(wave: torch.Tensor, sample_rate: int) -> float | None:
    """The median fundamental in Hz of [samples], None where there is none.

    Autocorrelation of frames of 64 ms over their window's own (Boersma 1993), between 60 Hz and 2 kHz.
    """
    frame, step = round(FRAME_S * sample_rate), round(STEP_S * sample_rate)
    frames = pad(wave.double(), (0, max(frame - len(wave), 0))).unfold(0, frame, step)
    power = frames.square().mean(dim=1)
    frames = frames[power > power.max() * 1e-3]  # within 30 dB of the loudest
    if not len(frames) or float(power.max()) == 0:
        return None
    window = torch.hann_window(frame, dtype=torch.float64)
    frames = (frames - frames.mean(dim=1, keepdim=True)) * window
    spectrum = torch.fft.rfft(frames, 2 * frame).abs().square()
    own = torch.fft.irfft(torch.fft.rfft(window, 2 * frame).abs().square())[:frame]
    low, high = math.ceil(sample_rate / HIGHEST_HZ), min(round(sample_rate / LOWEST_HZ), frame // 2)
    auto = torch.fft.irfft(spectrum)[:, :frame]
    auto = (auto / auto[:, :1].clamp_min(1e-20)) / (own / own[0]).clamp_min(1e-6)
    lags = auto[:, low : high + 1]
    rising = (lags[:, 1:-1] > lags[:, :-2]) & (lags[:, 1:-1] >= lags[:, 2:])
    peaks = torch.where(rising, lags[:, 1:-1], -torch.ones(()).double())
    clear = peaks.max(dim=1).values
    # The first peak that is nearly as high as the highest: its multiples are as high, and an octave too low.
    first = (peaks >= (clear * 0.95)[:, None]).to(torch.uint8).argmax(dim=1) + 1
    voiced = clear > CLEAR
    if float(voiced.double().mean()) < VOICED:
        return None
    rows = torch.arange(len(lags))
    before, at, after = (lags[rows, first + d] for d in (-1, 0, 1))
    shift = 0.5 * (before - after) / (before - 2 * at + after).clamp(max=-1e-9)
    found = sample_rate / (low + first + shift.clamp(-0.5, 0.5))
    return float(found[voiced].median())


def cents(one: float | None, other: float | None) -> float | None:
    """By how much `one` is higher than `other`, in cents; None where either has no pitch."""
    return None if one is None or other is None else 1200 * math.log2(one / other)


def envelope_correlation(one: Clip, other: Clip) -> float:
    """Pearson's correlation of the two energy envelopes in decibels (60 dB deep, 100 a second)."""
    curves = [envelope_db(clip) for clip in (one, other)]
    count = min(map(len, curves))
    a, b = (curve[:count] - curve[:count].mean() for curve in curves)
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 1e-9 else 1.0  # both steady


def envelope_db(clip: Clip) -> np.ndarray:
    """How loud it is over time, in dB below its own loudest moment, at least −60: [frames]."""
    curve = rms_envelope(clip.waveform, clip.sample_rate, ENVELOPE_HZ).double().numpy()
    level = 20 * np.log10(np.maximum(curve, 1e-9))
    return np.maximum(level - level.max(), -60.0)


def kept(clip: Clip, reference: Clip) -> dict[str, float | None]:
    """How far a variation is from its reference in what can be kept (see Keep).

    length_s, loudness_lu, onset_ms, envelope (correlation), pitch_cents (None without a pitch).
    """
    rate = reference.sample_rate
    apart = lufs(clip.waveform, rate) - lufs(reference.waveform, rate)
    return {
        "length_s": round(clip.duration_s - reference.duration_s, 6),
        "loudness_lu": round(apart, 3) if math.isfinite(apart) else None,
        "onset_ms": round((onset(clip.waveform) - onset(reference.waveform)) / rate * 1000, 3),
        "envelope": round(envelope_correlation(clip, reference), 4),
        "pitch_cents": _rounded(cents(pitch(heard(clip), rate), pitch(heard(reference), rate))),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
