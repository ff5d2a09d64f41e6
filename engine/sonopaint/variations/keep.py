"""What every variation keeps of its reference: length, loudness, onset, envelope, pitch."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch.nn.functional import interpolate, pad

from sonoconvert.edits.envelope import rms_envelope
from sonoconvert.edits.loudness import lufs
from sonoconvert.edits.seam import limited, ramp
from sonoconvert.files.clip import Clip
from sonopaint.variations.measures import ENVELOPE_HZ, heard, is_silent, onset, pitch
from sonopaint.variations.protocol import Keep

FADE_S = 0.005  # where something was cut off
ENOUGH_LU = 0.05  # of the loudness
MOST_DB = 30.0  # that a moment is turned up or down to follow the envelope
FLOOR = 1e-3  # of an envelope's loudest moment: what is fainter is not turned up
MOST_OCTAVES = 1.0  # that a pitch is corrected by
ROUNDS = 6  # until loudness and onset agree with each other


def like(clip: Clip, reference: Clip) -> Clip:
    """The clip at the reference's rate and with its number of channels."""
    clip = clip.resampled(reference.sample_rate)
    wave, wanted = clip.waveform, reference.num_channels
    if wave.shape[0] != wanted:
        wave = heard(clip)[None] if wanted == 1 else clip.mono().waveform.repeat(wanted, 1)
    return Clip(wave, reference.sample_rate, clip.settings, reference.subtype)


def fitted(clip: Clip, reference: Clip, keep: Keep) -> Clip:
    """The clip with everything that `keep` names as the reference has it (see ``measures.kept``).

    It comes back at the reference's rate and channels; silence comes back as it is.
    """
    clip = like(clip, reference)
    wave, rate = clip.waveform, clip.sample_rate
    if is_silent(wave):
        return clip
    if keep.pitch:
        wave = _pitched(wave, reference)
    if keep.length:
        wave = _as_long(wave, reference.num_samples, rate)
    if keep.envelope:
        wave = _shaped(wave, reference)
    loud = lufs(reference.waveform, rate)
    start = onset(reference.waveform)
    for _ in range(ROUNDS):
        if keep.onset:
            wave = _begun(wave, start, rate)
        if not keep.loudness or not math.isfinite(loud):
            break
        apart = loud - lufs(wave, rate)
        if not math.isfinite(apart) or abs(apart) < ENOUGH_LU:
            break
        wave = wave * 10 ** (apart / 20)
        wave = limited(wave, torch.zeros_like(wave), rate)
    return replace(clip, waveform=wave.contiguous())


def _as_long(wave: torch.Tensor, count: int, rate: int) -> torch.Tensor:
    if wave.shape[1] <= count:
        return pad(wave, (0, count - wave.shape[1]))
    return faded(wave[:, :count], 0, round(FADE_S * rate))


def faded(wave: torch.Tensor, before: int, after: int) -> torch.Tensor:
    """Faded in over the first and out over the last samples."""
    wave = wave.clone()
    before, after = min(before, wave.shape[1]), min(after, wave.shape[1])
    if before:
        wave[:, :before] *= torch.from_numpy(ramp(before)).float()
    if after:
        wave[:, -after:] *= torch.from_numpy(ramp(after)).float().flip(0)
    return wave


def _begun(wave: torch.Tensor, start: int, rate: int) -> torch.Tensor:
    """Moved by whole samples so that its onset lies at `start`; its length stays."""
    shift = start - onset(wave)
    if shift > 0:
        return pad(wave, (shift, 0))[:, : wave.shape[1]]
    if shift < 0:
        kept = wave[:, -shift:]
        return pad(faded(kept, min(start, round(FADE_S * rate)), 0), (0, -shift))
    return wave


def _shaped(wave: torch.Tensor, reference: Clip) -> torch.Tensor:
    """Turned up and down over time so that its envelope is the reference's."""
    rate = reference.sample_rate
    count = max(wave.shape[1], reference.num_samples)
    curves = [
        rms_envelope(pad(one, (0, count - one.shape[1])), rate, ENVELOPE_HZ)
        for one in (reference.waveform, wave)
    ]
    wanted, own = (curve / curve.max().clamp_min(1e-12) for curve in curves)
    most = 10 ** (MOST_DB / 20)
    gain = (wanted.clamp_min(1e-5) / own.clamp_min(FLOOR)).clamp(1 / most**2, most)
    smooth = interpolate(gain.log()[None, None], size=count, mode="linear", align_corners=True)[0, 0].exp()
    return wave * smooth[: wave.shape[1]]


def _pitched(wave: torch.Tensor, reference: Clip) -> torch.Tensor:
    """Played faster or slower so that its fundamental is the reference's, where both have one."""
    rate = reference.sample_rate
    own, wanted = pitch(heard(Clip(wave, rate)), rate), pitch(heard(reference), rate)
    if own is None or wanted is None or abs(math.log2(wanted / own)) > MOST_OCTAVES:
        return wave
    other = Clip(wave, round(rate * 1000 * wanted / own))
    return other.resampled(rate * 1000).waveform
