"""What of a recording is matched: its loudest event, mono, at the synthesiser's rate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonopaint.match.synths import Synth

SILENT = 1e-4  # peak
_FRAME_S = 0.01
_LEAD_S = 0.02  # before the onset, as synthesisers have it
MOST_S = 10.0  # of a matched sound


@dataclass(frozen=True)
class Event:
    """A piece [samples] of a sound, where it begins and ends there in seconds, and what is to be said of it.

    lead_s: of silence put before it, where the piece would begin before the sound does.
    """

    wave: Tensor
    start_s: float
    end_s: float
    notes: tuple[str, ...] = ()
    lead_s: float = 0.0


def event_of(clip: Clip, synth: Synth) -> Event:
    """The loudest piece of a clip, as long as the synthesiser's. SonopaintError for silence.

    Where the synthesiser strikes at its beginning the piece does, too; where it swells around its middle the
    loudest is in the middle. A shorter clip is filled up with silence.
    """
    whole = clip.mono()
    sound = whole.resampled(synth.rate).waveform[0].float()
    sound = sound - sound.mean()  # nobody hears it
    if sound.abs().max() < SILENT:
        raise SonopaintError("The sound is silent; give one that can be heard.")
    frame, samples = round(_FRAME_S * synth.rate), synth.samples
    padded = torch.nn.functional.pad(sound, (0, max(0, samples - len(sound)) + frame))
    power = padded[: len(padded) // frame * frame].reshape(-1, frame).square().mean(1)
    wide = samples // frame
    total = torch.cumsum(torch.nn.functional.pad(power, (1, 0)).double(), 0)
    first = int((total[wide:] - total[:-wide]).argmax()) if len(total) > wide else 0
    piece = power[first : first + wide]
    if synth.start < 0:
        weights = torch.arange(len(piece)) * piece
        middle = (first + float(weights.sum() / piece.sum())) * frame
        start = round(middle - samples / 2)
    else:
        # The first frame that is within 20 dB of the loudest: what came before is the tail of something else.
        onset = first + int(torch.nonzero(piece > 0.01 * piece.max())[0])
        start = onset * frame - round(_LEAD_S * synth.rate)
    wave = torch.zeros(samples)
    inside = sound[max(start, 0) : max(start + samples, 0)]
    wave[max(-start, 0) : max(-start, 0) + len(inside)] = inside
    begins = max(start, 0) / synth.rate
    ends = min(clip.duration_s, begins + MOST_S)
    notes = []
    if clip.num_channels > 1:
        notes.append(f"The mean of {clip.num_channels} channels is matched.")
    if clip.duration_s > synth.seconds * 1.5:
        stop = min(begins + synth.seconds, clip.duration_s)
        notes.append(
            f"Of {clip.duration_s:.1f} s, the loudest event is matched: {begins:.2f} to {stop:.2f} s."
        )
    if clip.sample_rate < 0.9 * synth.rate:
        notes.append(f"Above {clip.sample_rate / 2:.0f} Hz the sound holds nothing that could be matched.")
    if sound.square().mean() < 0.5 * whole.waveform.square().mean():
        notes.append(f"Most of it lies above {synth.rate / 2:.0f} Hz or below hearing, and isn't matched.")
    return Event(wave, begins, ends, tuple(notes), max(-start, 0) / synth.rate)
