"""Heal marks of a clip, each by what suits it: the classics beside the learned bridge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import Clip
from sonoconvert.progress import Progress, Steps, portion, silent
from sonopaint.heal.bridging import LONGEST_S, bridged, within_band
from sonopaint.heal.channels import from_others
from sonopaint.heal.choosing import SHORT_S, chosen, sides
from sonopaint.heal.copying import copied
from sonopaint.heal.linear import ORDER, interpolated, joined, predicted, sampled
from sonopaint.heal.marks import Mark, broken_samples, merged
from sonopaint.models.bridge import STEPS, Bridge, load

# What a mark may be healed by. "auto" chooses.
METHODS = ("auto", "bridge", "interpolate", "predict", "continue", "copy", "silence")
AROUND_S = 6.0  # of the sound that healing looks at, on either side of a mark
SILENT = 10 ** (-75 / 20)
MOST_STEPS = 64


@dataclass(frozen=True)
class HealSettings:
    """How to heal: one of METHODS, the bridge's steps, and the seed of what is left to chance."""

    method: str = "auto"
    seed: int = 0
    steps: int = STEPS

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SonopaintError(
                f"{setting('method')} must be one of {', '.join(METHODS)}, not {self.method}."
            )
        if not 1 <= self.steps <= MOST_STEPS:
            raise SonopaintError(f"{setting('steps')} must be 1 to {MOST_STEPS}, not {self.steps}.")


@dataclass(frozen=True)
class Healed:
    """A healed clip; `done`: each mark with the method that healed it; notes: what people should know."""

    clip: Clip
    done: tuple[tuple[Mark, str], ...]
    notes: tuple[str, ...]

    @property
    def said(self) -> list[str]:
        """By what it was healed, in a sentence, and the notes."""
        used = sorted({method for _, method in self.done})
        return [f"Healed by {', '.join(used)}.", *self.notes]


def heal(
    clip: Clip,
    marks: Sequence[Mark],
    settings: HealSettings | None = None,
    *,
    spare: Sequence[Mark] = (),
    progress: Progress | None = None,
) -> Healed:
    """The clip with new sound in the marks; outside them not one sample changes.

    spare: other marks, that stay as they are and that nothing is learnt from.
    progress: told the share that is done; may raise Cancelled. Raises SonopaintError where nothing is marked,
    or where everything is, so that nothing is left to heal from.
    """
    settings, tell = settings or HealSettings(), progress or silent
    if not marks:
        raise SonopaintError("Nothing is marked: mark what is to be healed.")
    marks, total = merged(marks, clip.sample_rate), clip.num_samples
    marks = [replace(mark, start=max(mark.start, 0), stop=min(mark.stop, total)) for mark in marks]
    everything = [c for c in range(clip.num_channels) if broken_samples(marks, c, total).all()]
    if len(everything) == clip.num_channels:
        raise SonopaintError(
            "The whole clip is marked, and nothing is left to heal it from; mark a part of it."
        )
    bridge = load() if settings.method in ("auto", "bridge") else None
    if settings.method == "bridge" and bridge is None:
        raise SonopaintError(
            f"The healing bridge's weights are missing; choose another {setting('method')}, or auto."
        )
    sound = clip.waveform.numpy().astype(np.float64)
    done, notes = [], []
    for number, mark in enumerate(marks):
        part = portion(tell, number / len(marks), (number + 1) / len(marks))
        # What is still to be healed is not to be learnt from.
        method, said = _heal_one(
            sound, mark, [*marks[number + 1 :], *spare], clip.sample_rate, settings, bridge, part
        )
        done.append((mark, method))
        notes += [said] if said else []
    tell(1.0)
    waveform = torch.from_numpy(sound.astype(np.float32))
    waveform = torch.where(_changed(marks, clip), waveform, clip.waveform)
    return Healed(replace(clip, waveform=waveform), tuple(done), tuple(dict.fromkeys(notes)))


def _heal_one(
    sound: np.ndarray,
    mark: Mark,
    later: Sequence[Mark],
    rate: int,
    settings: HealSettings,
    bridge: Bridge | None,
    tell: Progress,
) -> tuple[str, str]:
    """Heals a mark in `sound` [channels, samples], in place: (method, what to say)."""
    around = round(AROUND_S * rate)
    low, high = max(mark.start - around, 0), min(mark.stop + around, sound.shape[1])
    near, here = sound[:, low:high], mark.moved(-low)
    broken = np.stack(
        [broken_samples((m.moved(-low) for m in later), c, high - low) for c in range(len(sound))]
    )
    channels = list(range(len(sound))) if mark.channels is None else list(mark.channels)
    taken = from_others(near, here, broken, rate) if settings.method == "auto" else {}
    method, said = "", ""
    for number, channel in enumerate(channels):
        part = portion(tell, number / len(channels), (number + 1) / len(channels))
        part(0.0)
        if channel in taken:
            made, method = taken[channel], method or "other channel"
        else:
            made, method, said = _fill(near[channel], here, broken[channel], rate, settings, bridge, part)
        if here.low_hz is not None or here.high_hz is not None:
            band = (here.low_hz or 0.0, here.high_hz or rate / 2)
            margin = min(here.start, 4096)
            change = np.zeros(here.stop - here.start + 2 * margin)
            change[margin : margin + len(made)] = made - near[channel][here.start : here.stop]
            change = within_band(change, band, rate)[margin : margin + len(made)]
            made = near[channel][here.start : here.stop] + change
            made = joined(near[channel][: here.start], near[channel][here.stop :], made, rate)
        sound[channel, mark.start : mark.stop] = np.clip(made, *_limits(near[channel], here))
    return method, said


def _fill(
    near: np.ndarray,
    mark: Mark,
    broken: np.ndarray,
    rate: int,
    settings: HealSettings,
    bridge: Bridge | None,
    tell: Progress,
) -> tuple[np.ndarray, str, str]:
    """(new samples, method, what to say) of one channel's mark in what is near it [samples]."""
    count, said = mark.stop - mark.start, ""
    left, right = sides(near, mark.start, mark.stop, broken)
    if max(float(np.abs(side[-rate // 5 :]).max(initial=0)) for side in (left, right[::-1])) < SILENT:
        return np.zeros(count), "silence", "There is silence around a mark, and so it holds silence now."
    method, donor, fit = settings.method, None, 0.0
    if method == "auto":
        trying = portion(tell, 0.0, 0.6)
        method = chosen(near, mark.start, mark.stop, broken, rate, bridge is not None, trying)
    tell(0.6)
    if method == "copy" or (method == "bridge" and count > LONGEST_S * rate):
        donor, fit = copied(near, mark.start, mark.stop, rate, broken=broken)
    if method == "bridge" and count > LONGEST_S * rate:
        method = "copy" if donor is not None and fit > 0.5 else "continue"
        said = (
            f"A mark of {count / rate:.2f} s is longer than the bridge reaches ({LONGEST_S:g} s); its sides "
            f"were {'copied' if method == 'copy' else 'continued'} into it, so listen to it."
        )
    if method == "copy" and donor is None:
        method, said = "continue", "Nothing near a mark could be copied into it, so its sides were continued."
    seed = settings.seed
    if method == "bridge":
        assert bridge is not None
        known = np.concatenate([left, np.zeros(count), right])
        band = None
        if mark.low_hz is not None or mark.high_hz is not None:
            band = (mark.low_hz or 0.0, mark.high_hz or rate / 2)
            known[len(left) : len(left) + count] = near[mark.start : mark.stop]
        start = len(left)
        tick = Steps(portion(tell, 0.6, 1.0), settings.steps + 1)
        made = bridged(
            bridge, known, start, start + count, rate, band=band, seed=seed, steps=settings.steps, tick=tick
        )
    elif method == "interpolate":
        # A click needs no long model, and hours have thousands of them.
        order = ORDER if count <= SHORT_S * rate else 4 * ORDER
        made = interpolated(left, right, count, order=order)
    elif method == "predict":
        made = predicted(left, right, count)
    elif method == "copy":
        assert donor is not None
        made = joined(left, right, donor, rate)
    elif method == "silence":
        made = np.zeros(count)
    else:
        made = sampled(left, right, count, rate, np.random.default_rng(seed))
    return made, method, said


def _limits(near: np.ndarray, mark: Mark) -> tuple[float, float]:
    """What is made is not louder than twice the loudest sample near it, nor than full scale where that is."""
    reach = mark.stop - mark.start + 20_000
    outside = np.concatenate([near[max(mark.start - reach, 0) : mark.start], near[mark.stop :][:reach]])
    peak = float(np.abs(outside).max(initial=0.0))
    most = max(min(2 * peak, 1.0), peak)
    return -most, most


def _changed(marks: Sequence[Mark], clip: Clip) -> torch.Tensor:
    """Bool [channels, samples]: what marks hold."""
    return torch.from_numpy(
        np.stack([broken_samples(marks, c, clip.num_samples) for c in range(clip.num_channels)])
    )
