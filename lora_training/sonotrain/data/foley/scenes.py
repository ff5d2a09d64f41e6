"""Scenes: a recording before and after one place in it was repainted, for learning to inpaint.

An event of the corpus is put anywhere into a clip of the corpus (late, cut off, over a bed that goes on,
into near silence), or a piece of the clip itself is what is to be painted. What lies outside the box is the
same before and after.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .corpus import FoleyBatch, batch
from .draw import NUM_SAMPLES, SAMPLE_RATE

CELL = 4096  # samples under one column of latents: 8 picture columns of 512
COLUMNS, ROWS = NUM_SAMPLES // CELL, 16
FRAME = 1600  # 50 ms

CONTEXT = (("single", 0.5), ("parallel", 0.2), ("sequence", 0.3))
EVENT = (("single", 0.8), ("parallel", 0.2))
BED_DB = -12.0  # a clip whose quiet tenth lies no lower below its loud tenth goes on all the time
HEARD_DB = -15.0  # a piece of a clip is worth painting from here on, relative to its loudest 50 ms


@dataclass(frozen=True)
class SceneBatch:
    """``n`` scenes: ``before`` and ``after``, float32 ``[n, 163840]``, and what is painted between them.

    ``spans[i]``: first and last column (exclusive) of the box in cells of 0.128 s. ``events``: the captions,
    kinds, relation and attributes of what is inside (its waveforms are the events alone).
    ``own[i]``: the box holds a piece of the clip itself, so that before and after are the same.
    """

    before: Tensor
    after: Tensor
    spans: list[tuple[int, int]]
    events: FoleyBatch
    own: list[bool]


def frame_levels(waveform: Tensor) -> Tensor:
    """RMS of each 50 ms in dB, ``[frames]``, of ``[samples]``."""
    frames = waveform[: len(waveform) // FRAME * FRAME].reshape(-1, FRAME)
    return 20 * frames.square().mean(1).sqrt().clamp(min=1e-6).log10()


def scenes(n: int, seed: int, kinds: Sequence[str] | None = None) -> SceneBatch:
    """``n`` scenes from a seed, with events of ``kinds`` (those of the base model by default)."""
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    contexts = batch(n, rng.getrandbits(32), kinds, relations=CONTEXT)
    events = batch(n, rng.getrandbits(32), kinds, relations=EVENT)
    made = []
    for i in range(n):
        context = _context(contexts.waveforms[i], rng, generator)
        span = _own_span(context, rng) if rng.random() < 0.35 else None
        if span is not None:
            made.append((context, context, span, True))
        else:
            made.append((*_with_event(context, events.waveforms[i], rng, generator), False))
    own = [m[3] for m in made]
    chosen = [contexts if mine else events for mine in own]
    told = FoleyBatch(
        events.waveforms,
        [c.phrasings[i] for i, c in enumerate(chosen)],
        [c.kinds[i] for i, c in enumerate(chosen)],
        [c.relation[i] for i, c in enumerate(chosen)],
        [c.attributes[i] for i, c in enumerate(chosen)],
    )
    before, after = torch.stack([m[0] for m in made]), torch.stack([m[1] for m in made])
    loudest = torch.maximum(before.abs().amax(1), after.abs().amax(1)).clamp(min=0.97)[:, None]
    return SceneBatch(0.97 * before / loudest, 0.97 * after / loudest, [m[2] for m in made], told, own)


def _context(clip: Tensor, rng: random.Random, generator: torch.Generator) -> Tensor:
    """The clip at another loudness, begun anywhere; every sixth is nearly silent."""
    floor = torch.randn(len(clip), generator=generator) * 10 ** (rng.uniform(-80, -45) / 20)
    if rng.random() < 1 / 6:
        return floor
    shift = rng.randrange(len(clip)) if rng.random() < 0.5 else 0
    fade = torch.linspace(0, 1, 320)
    clip = clip.clone()
    clip[:320] *= fade
    clip[-320:] *= fade.flip(0)
    return clip.roll(shift) * 10 ** (rng.uniform(-18, 0) / 20) + floor


def _own_span(context: Tensor, rng: random.Random) -> tuple[int, int] | None:
    """A span of the clip in which something is heard from its start on; None where five draws find none."""
    levels = frame_levels(context)
    if levels.max() < -40:
        return None
    for _ in range(5):
        first, last = _place(rng.uniform(0.3, 3.5), rng)
        inside = levels[first * CELL // FRAME : last * CELL // FRAME]
        heard = inside > levels.max() + HEARD_DB
        if heard.float().mean() > 0.3 and heard[: max(4, len(heard) // 3)].any():
            return first, last
    return None


def _place(seconds: float, rng: random.Random) -> tuple[int, int]:
    """Columns of a box of so many seconds: at the right end (extending), the left end, or anywhere."""
    wide = max(2, min(COLUMNS - 4, round(seconds * SAMPLE_RATE / CELL)))
    draw = rng.random()
    first = COLUMNS - wide if draw < 0.22 else 0 if draw < 0.36 else rng.randrange(COLUMNS - wide + 1)
    return first, first + wide


def _with_event(
    context: Tensor, event: Tensor, rng: random.Random, generator: torch.Generator
) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """The clip, the clip with the event in a box, and the box's columns."""
    levels = frame_levels(event)
    heard = (levels > levels.max() - 35).nonzero()[:, 0]
    begin, end = int(heard[0]) * FRAME, (int(heard[-1]) + 1) * FRAME
    if rng.random() < 0.25 and (levels[heard] > levels.max() - 15).float().mean() > 0.8:
        begin += rng.randrange(max(1, (end - begin) // 2))  # in the midst of what goes on
    length = (end - begin) / SAMPLE_RATE
    seconds = length * rng.uniform(0.95, 1.3) if rng.random() < 0.5 else 0.3 * (4.5 / 0.3) ** rng.random()
    first, last = _place(seconds, rng)
    start, stop = first * CELL, last * CELL
    lead = int(min(rng.uniform(0.0, 0.25), 0.2 * (stop - start) / SAMPLE_RATE) * SAMPLE_RATE)
    piece = torch.zeros(stop - start)
    part = event[begin : begin + stop - start - lead]
    piece[lead : lead + len(part)] = part
    fade = torch.linspace(0, 1, 640)
    if begin > 0:
        piece[lead : lead + 640] *= fade
    piece[-640:] *= fade.flip(0)

    around = frame_levels(context)
    loudest = float(around.max())
    if loudest < -40:
        gain = rng.uniform(-16, 0) - float(frame_levels(piece).max()) - 6
    else:
        near = around[max(0, start // FRAME - 20) : stop // FRAME + 20]
        gain = max(float(near.max()), loudest - 20) + rng.uniform(-4, 8) - float(frame_levels(piece).max())
    quiet, loud = (float(around.quantile(q)) for q in (0.1, 0.9))
    if quiet - loud > BED_DB and rng.random() < 0.75:
        rest = torch.ones(stop - start)  # a bed goes on beneath
    else:
        rest = torch.zeros(stop - start)
        rest[:320], rest[-320:] = torch.linspace(1, 0, 320), torch.linspace(0, 1, 320)
    floor = torch.randn(stop - start, generator=generator) * 10 ** (float(around.quantile(0.05)) / 20)
    after = context.clone()
    after[start:stop] = rest * context[start:stop] + (1 - rest) * floor + piece * 10 ** (gain / 20)
    return context, after, (first, last)


def band_of(levels: Tensor, rng: random.Random) -> tuple[int, int]:
    """Rows (of 16, lowest first) of a box around most of a picture, levels ``[128, columns]`` in 0 … 1."""
    energy = (levels * 80 / 10 * torch.log(torch.tensor(10.0))).exp().sum(1).reshape(ROWS, -1).sum(1)
    share = energy / energy.sum()
    rows = (share > 0.03).nonzero()[:, 0]
    low, high = int(rows[0]), int(rows[-1]) + 1
    return max(0, low - rng.randrange(3)), min(ROWS, high + rng.randrange(4))
