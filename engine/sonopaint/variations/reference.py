"""The sound that is varied: whether it can be, which events it holds, and channels that cancel each other."""

from __future__ import annotations

from dataclasses import replace

import torch

from sonoconvert.edits.envelope import rms_envelope
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import Clip
from sonopaint.variations.measures import is_silent

SHORTEST_S, LONGEST_S = 0.05, 30.0
FRAMES_HZ = 200.0
RISE_DB, RISE_S = 9.0, 0.03  # an event begins where the level rises by so much in this time …
FAINT_DB = 30.0  # … to less than this below the loudest moment
APART_S = 0.12  # two beginnings nearer than this are one
BEFORE_S = 0.01  # of an event's beginning, kept with it


def checked(reference: Clip) -> Clip:
    """The reference, or a SonopaintError that says why it can't be varied and what to do."""
    if is_silent(reference.waveform):
        raise SonopaintError("The reference is silent: there is nothing to vary; choose another sound.")
    length = reference.duration_s
    if length < SHORTEST_S:
        raise SonopaintError(
            f"The reference lasts {length:.3g} s; at least {SHORTEST_S:g} s are needed to tell what it is."
        )
    if length > LONGEST_S:
        raise SonopaintError(
            f"The reference lasts {length:.0f} s; say which part is to be varied, at most {LONGEST_S:g} s, "
            f"with {setting('start')} and {setting('seconds')}."
        )
    return reference


def part(clip: Clip, start_s: float = 0.0, seconds: float | None = None) -> Clip:
    """A part of a sound. Raises SonopaintError where it lies outside."""
    first = round(start_s * clip.sample_rate)
    count = clip.num_samples - first if seconds is None else round(seconds * clip.sample_rate)
    if not 0 <= first < clip.num_samples or count < 1:
        raise SonopaintError(
            f"The sound lasts {clip.duration_s:.3f} s; there is no part of it from {start_s:g} s on."
        )
    return replace(clip, waveform=clip.waveform[:, first : first + count].contiguous(), exact=None)


def events(clip: Clip) -> list[tuple[float, float]]:
    """The events of a sound as (start_s, end_s): each from its onset to the next one's; at least one."""
    curve = rms_envelope(clip.waveform, clip.sample_rate, FRAMES_HZ).clamp_min(1e-9)
    level = 20 * torch.log10(curve)
    level = level.clamp_min(float(level.max()) - 60)
    reach = round(RISE_S * FRAMES_HZ)
    before = torch.nn.functional.pad(level, (reach, 0), value=float(level.max()) - 60)[: len(level)]
    rise = level - before
    begins = (rise > RISE_DB) & (level > level.max() - FAINT_DB)
    starts: list[int] = []
    last = -round(APART_S * FRAMES_HZ) - 1
    for frame in begins.nonzero()[:, 0].tolist():
        if frame - last > APART_S * FRAMES_HZ:
            starts.append(frame)
        last = frame
    times = [max(frame / FRAMES_HZ - BEFORE_S, 0.0) for frame in starts] or [0.0]
    times[0] = 0.0
    return list(zip(times, [*times[1:], clip.duration_s], strict=True))


def in_phase(clip: Clip) -> tuple[Clip, torch.Tensor]:
    """The clip with channels turned over that would cancel the loudest one in a mix, and signs [channels, 1].

    Spectrograms are of mixes; what comes out is multiplied with the signs again.
    """
    wave = clip.waveform
    loudest = wave[int(wave.square().mean(dim=1).argmax())]
    signs = torch.where((wave * loudest).sum(dim=1, keepdim=True) < 0, -1.0, 1.0)
    return replace(clip, waveform=wave * signs, exact=None), signs
