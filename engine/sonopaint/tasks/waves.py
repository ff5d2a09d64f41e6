"""The tasks with a model that paints waveforms: the same arguments and answers as with spectrograms."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonoconvert.conversion.convert import encode
from sonoconvert.defaults import SEAM_S
from sonoconvert.edits.region import Box, Region
from sonoconvert.edits.waves import extended_wave, put_back_wave
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import SpectrogramFormat, get_format
from sonopaint.painters.waves import WaveJob, WavePainter
from sonopaint.tasks.progress import Part, Progress
from sonopaint.tasks.result import Result, items, normalised, record
from sonopaint.tasks.settings import PaintSettings

VIEW = "full-48k"  # what regions are drawn on, and what results are shown in
DEFAULT_S = 10.0
CONTEXT_S = 5.0  # of a long source on either side of what is painted


def generate(
    painter: WavePainter,
    settings: PaintSettings,
    *,
    seconds: float | None = None,
    batch: int = 1,
    progress: Progress | None = None,
) -> list[Result]:
    """See tasks.generate. Default length: 10 s, or the model's longest."""
    seconds = min(DEFAULT_S, painter.longest_s) if seconds is None else seconds
    samples = round(seconds * painter.sample_rate)

    def one(item: PaintSettings, tell: Progress) -> Clip:
        wave = painter.paint_wave(WaveJob(samples), item.prompt, item, tell)
        return normalised(Clip(wave, painter.sample_rate))

    return _each("generate", painter, settings, batch, progress, one, seconds=seconds)


def vary(
    painter: WavePainter,
    clip: Clip,
    settings: PaintSettings,
    *,
    batch: int = 1,
    progress: Progress | None = None,
) -> list[Result]:
    """See tasks.vary: the model begins from the clip; how far away is the family's own (docs/models.md)."""
    source = _for(painter, clip)

    def one(item: PaintSettings, tell: Progress) -> Clip:
        job = WaveJob(source.shape[1], source, strength=item.strength)
        return dataclasses.replace(clip, waveform=_back(painter, job, item, tell, clip), exact=None)

    return _each("vary", painter, settings, batch, progress, one)


def inpaint(
    painter: WavePainter,
    clip: Clip,
    region: Region,
    settings: PaintSettings,
    *,
    batch: int = 1,
    progress: Progress | None = None,
    **extra: Any,
) -> list[Result]:
    """See tasks.inpaint: outside the region and its feather the samples are the source's, bit for bit."""
    fmt = _view(clip)
    region.check(clip.duration_s, fmt)
    spans = region.spans(clip.duration_s)
    if not spans:
        raise SonopaintError("The region is empty: give at least one box or a brush mask.")
    first, stop = _window(clip, spans[0][0], spans[-1][1], painter)
    piece = dataclasses.replace(clip, waveform=clip.waveform[:, first:stop], exact=None)
    mask = torch.zeros(clip.num_samples)
    for start, end in region.time_support(clip.duration_s):
        mask[round(start * clip.sample_rate) : round(end * clip.sample_rate)] = 1.0
    own = _mask_for(painter, mask[first:stop], piece)
    source = _for(painter, piece)

    def one(item: PaintSettings, tell: Progress) -> Clip:
        job = WaveJob(source.shape[1], source, own, item.strength)
        painted = clip.waveform.clone()
        painted[:, first:stop] = _back(painter, job, item, tell, piece)
        return put_back_wave(clip, painted, region, fmt, surroundings=item.surroundings)

    if not extra:
        extra = {"regions": [str(box) for box in region.boxes], "feather": region.feather_s}
    return _each(extra.pop("task", "inpaint"), painter, settings, batch, progress, one, **extra)


def extend(
    painter: WavePainter,
    clip: Clip,
    left_s: float,
    right_s: float,
    settings: PaintSettings,
    *,
    batch: int = 1,
    progress: Progress | None = None,
) -> list[Result]:
    """See tasks.extend; both sides are painted to one prompt."""
    left, right = (round(seconds * clip.sample_rate) for seconds in (left_s, right_s))
    if left < 0 or right < 0 or left + right == 0:
        raise SonopaintError(
            f"Nothing would be added: give {setting('left')} or {setting('right')} above 0 seconds."
        )
    longer = dataclasses.replace(clip, waveform=pad(clip.waveform, (left, right)), exact=None)
    added = torch.ones(longer.num_samples, dtype=torch.bool)
    added[left : left + clip.num_samples] = False
    # Without room for all of it, the model sees what lies next to the new time: one side after the other.
    room = int(painter.longest_s * clip.sample_rate)
    if longer.num_samples > room:
        if left and right:
            raise SonopaintError(
                f"The longer sound would last {longer.duration_s:.1f} s; {_name(painter)} paints at most "
                f"{painter.longest_s:g} s at once. Extend one side after the other."
            )
        first = 0 if left else longer.num_samples - room
    else:
        first, room = 0, longer.num_samples
    piece = dataclasses.replace(longer, waveform=longer.waveform[:, first : first + room])
    source, own = _for(painter, piece), _mask_for(painter, added[first : first + room].float(), piece)
    if bool(own.all()):
        raise SonopaintError(
            f"{left_s + right_s:g} s are more than {_name(painter)} can add at once; add less than "
            f"{painter.longest_s:g} s."
        )

    def one(item: PaintSettings, tell: Progress) -> Clip:
        job = WaveJob(source.shape[1], source, own)
        painted = longer.waveform.clone()
        painted[:, first : first + room] = _back(painter, job, item, tell, piece)
        return extended_wave(longer, painted, added, surroundings=item.surroundings)

    return _each("extend", painter, settings, batch, progress, one, left=left_s, right=right_s)


def loop(
    painter: WavePainter,
    clip: Clip | None,
    settings: PaintSettings,
    *,
    seconds: float | None = None,
    seam_s: float | None = None,
    batch: int = 1,
    progress: Progress | None = None,
) -> list[Result]:
    """See tasks.loop: the seam between the end and the start is repainted; a new loop is made and closed."""
    if clip is None:
        made = generate(
            painter,
            dataclasses.replace(settings, strength=1.0),
            seconds=seconds,
            batch=batch,
            progress=progress,
        )
        closed = []
        for index, (result, item) in enumerate(zip(made, items(settings, batch), strict=True)):
            tell = Part(progress, index, batch)
            closed += loop(painter, result.clip, item, progress=tell)
        return closed
    seam_s = min(SEAM_S, clip.duration_s / 2) if seam_s is None else seam_s
    if not 0 < seam_s < clip.duration_s:
        raise SonopaintError(
            f"{setting('seam')} must be above 0 and below the sound's {clip.duration_s:.2f} s, "
            f"not {seam_s:g}."
        )
    roll = clip.num_samples // 2
    rolled = dataclasses.replace(clip, waveform=clip.waveform.roll(roll, -1), exact=None)
    middle = roll / clip.sample_rate
    region = Region((Box(middle - seam_s / 2, middle + seam_s / 2),), feather_s=min(0.05, seam_s / 4))
    more: dict[str, Any] = {"task": "loop", "seam": seam_s}
    results = inpaint(painter, rolled, region, settings, batch=batch, progress=progress, **more)
    return [
        Result.of(_rolled(one.clip, -roll), _picture(_rolled(one.clip, -roll)), one.settings)
        for one in results
    ]


# --- what they share ----------------------------------------------------------------------------------------


def _each(
    task: str,
    painter: WavePainter,
    settings: PaintSettings,
    batch: int,
    progress: Progress | None,
    one: Callable[[PaintSettings, Progress], Clip],
    **extra: Any,
) -> list[Result]:
    results = []
    for index, item in enumerate(items(settings, batch)):
        clip = one(item, Part(progress, index, batch))
        results.append(Result.of(clip, _picture(clip), record(task, painter, item, **extra)))
    if progress:
        progress(1, 1, "Done")
    return results


def _picture(clip: Clip) -> Any:
    return encode(clip, _view(clip))


def _view(clip: Clip) -> SpectrogramFormat:
    return get_format(VIEW)


def _rolled(clip: Clip, by: int) -> Clip:
    return dataclasses.replace(clip, waveform=clip.waveform.roll(by, -1))


def _name(painter: WavePainter) -> str:
    return str(painter.describe().get("model", "the model"))


def _for(painter: WavePainter, clip: Clip) -> Tensor:
    """The clip as the painter hears it: [its channels, samples at its rate]."""
    wave = clip.resampled(painter.sample_rate).waveform
    if len(wave) == painter.channels:
        return wave
    return wave.mean(dim=0, keepdim=True).repeat(painter.channels, 1)


def _back(painter: WavePainter, job: WaveJob, item: PaintSettings, tell: Progress, clip: Clip) -> Tensor:
    """What is painted, at the clip's rate, with its channels and exactly as long."""
    wave = painter.paint_wave(job, item.prompt, item, tell)
    wave = Clip(wave, painter.sample_rate).resampled(clip.sample_rate).waveform
    if len(wave) != clip.num_channels:
        wave = wave.mean(dim=0, keepdim=True).repeat(clip.num_channels, 1)
    return pad(wave, (0, max(clip.num_samples - wave.shape[1], 0)))[:, : clip.num_samples]


def _mask_for(painter: WavePainter, mask: Tensor, clip: Clip) -> Tensor:
    """A mask [samples] of a clip at the painter's rate: 1 wherever any of it is painted."""
    count = max(1, round(clip.num_samples * painter.sample_rate / clip.sample_rate))
    return torch.nn.functional.adaptive_max_pool1d(mask[None], count)[0]


def _window(clip: Clip, start_s: float, end_s: float, painter: WavePainter) -> tuple[int, int]:
    """Samples (first, stop) of the part that the painter sees: all of it, or the region with its context."""
    rate, longest = clip.sample_rate, painter.longest_s
    if clip.duration_s <= longest:
        return 0, clip.num_samples
    if end_s - start_s > longest:
        raise SonopaintError(
            f"The region spans {end_s - start_s:.1f} s; {_name(painter)} paints at most {longest:g} s "
            "at once."
        )
    context = min(CONTEXT_S, (longest - (end_s - start_s)) / 2)
    first = max(round((start_s - context) * rate), 0)
    return first, min(first + int(longest * rate), round((end_s + context) * rate), clip.num_samples)
