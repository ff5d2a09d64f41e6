"""What is measured of a clip: is it dull, slow, in a hall, followed by a siren?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonotrain.data.corpus import FORMAT
from sonotrain.trainers.mini.sound_classifier import SoundClassifier

STEP_S = 0.01  # of envelopes
HEARD_DB = 40.0  # what lies further below the clip's peak is silence
RISE_DB, RISE_STEPS = 6.0, 3  # an event begins where the level rises by so much within 30 ms
APART_STEPS = 8  # two beginnings within 80 ms are one
# By how much a clip has to differ from the plain one before it counts as changed.
OCTAVES, SHARE, RATIO, LOGIT = 0.1, 0.03, 1.1, 0.5


@dataclass(frozen=True)
class Traits:
    """What is measured of one clip.

    brightness: power-weighted mean of log2 frequency, octaves above 1 Hz; fullness: share of the time that
    lies within 40 dB of the peak, which a room's reverberation fills; events: how often a sound begins; rate:
    events a second between the first and the last (0 with fewer than two); whole, early, late: the corpus
    classifier's logits [kinds] of the clip and of its first and last 40 %.
    """

    brightness: float
    fullness: float
    events: int
    rate: float
    whole: Tensor
    early: Tensor
    late: Tensor


def envelope_db(waveform: Tensor, sample_rate: int) -> Tensor:
    """Level of a mono waveform [T] in dB below its peak, every 10 ms, at least −HEARD_DB."""
    step = round(STEP_S * sample_rate)
    frames = F.pad(waveform, (0, -len(waveform) % step)).view(-1, step)
    level = 20 * torch.log10(frames.double().square().mean(1).sqrt().clamp_min(1e-12))
    return (level - level.max()).clamp_min(-HEARD_DB)


def onsets(envelope: Tensor) -> list[int]:
    """The steps at which a sound begins in an envelope of dB."""
    before = F.pad(envelope, (RISE_STEPS, 0), value=-HEARD_DB)[: len(envelope)]
    rise = envelope - before
    found: list[int] = []
    for index in (rise > RISE_DB).nonzero()[:, 0].tolist():
        if not found or index - found[-1] > APART_STEPS:
            found.append(index)
        elif rise[index] > rise[found[-1]]:
            found[-1] = index
    return found


def brightness(waveform: Tensor, sample_rate: int) -> float:
    """Power-weighted mean of log2 frequency from 40 Hz upwards, in octaves above 1 Hz."""
    power = torch.fft.rfft(waveform.double()).abs().square()
    frequency = torch.fft.rfftfreq(len(waveform), 1 / sample_rate)
    heard = frequency >= 40
    total = power[heard].sum()
    return float((power[heard] * frequency[heard].log2()).sum() / total) if total > 0 else math.nan


@torch.no_grad()
def listen(waveforms: Tensor, classifier: SoundClassifier) -> list[Traits]:
    """The traits of mono clips [N, T] at 32 kHz."""
    fmt = get_format(FORMAT)
    found = []
    for waveform in waveforms:
        picture = levels(waveform[None], fmt)
        early, late = classifier.judge_halves(picture)
        envelope = envelope_db(waveform, fmt.sample_rate)
        begun = onsets(envelope)
        lasting = (begun[-1] - begun[0]) * STEP_S if len(begun) > 1 else 0.0
        found.append(
            Traits(
                brightness(waveform, fmt.sample_rate),
                (envelope > -HEARD_DB).double().mean().item(),
                len(begun),
                (len(begun) - 1) / lasting if lasting else 0.0,
                classifier(picture)[0],
                early[0],
                late[0],
            )
        )
    return found
