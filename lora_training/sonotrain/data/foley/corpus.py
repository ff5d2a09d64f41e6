"""The foley corpus: captioned clips, synthesised in batches from a seed.

``batch(n, seed)`` gives single events with attributes (near or far, in a room, high or low, fast or
slow …) and mixtures of two, at once or one after the other.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .draw import NUM_SAMPLES, SAMPLE_RATE, Draw, bins, unit
from .kinds import BASE_KINDS, KINDS
from .phrases import phrasings

# how often: single events, two at once, two in sequence
RELATIONS = (("single", 0.72), ("parallel", 0.12), ("sequence", 0.16))
PLACES = ("", "distant", "close", "hall", "room")


@dataclass(frozen=True)
class FoleyBatch:
    """``n`` captioned clips.

    ``waveforms``: float32 ``[n, 163840]`` at 32 kHz, peak 0.97. ``phrasings[i]`` are several captions
    of clip ``i``; ``captions[i]`` is the first. ``kinds[i]`` holds one name, or two for mixtures;
    ``relation[i]`` is "single", "parallel" or "sequence"; ``attributes[i]`` e.g. ("distant", "pitch-low").
    ``pitch``: float64 ``[n, 320]`` in Hz at 62.5 a second, 0 where there is none, NaN where it isn't known.
    """

    waveforms: Tensor
    phrasings: list[list[str]]
    kinds: list[tuple[str, ...]]
    relation: list[str]
    attributes: list[tuple[str, ...]]
    pitch: Tensor | None = None

    @property
    def captions(self) -> list[str]:
        return [p[0] for p in self.phrasings]

    def and_then(self, other: FoleyBatch) -> FoleyBatch:
        """The clips of both."""
        unknown = torch.full((len(other.phrasings), 320), torch.nan, dtype=torch.float64)
        return FoleyBatch(
            torch.cat([self.waveforms, other.waveforms.cpu()]),
            self.phrasings + other.phrasings,
            self.kinds + other.kinds,
            self.relation + other.relation,
            self.attributes + other.attributes,
            None if self.pitch is None else torch.cat([self.pitch, unknown]),
        )


def synthesise(
    kind: str, n: int, generator: torch.Generator, device: str | torch.device = "cpu"
) -> tuple[Tensor, list[list[str]]]:
    """``n`` dry clips of one kind ``[n, 163840]`` at peak 1, and the attributes that stand out."""
    draw = Draw(n, generator, device)
    with torch.device(draw.device):  # time axes of grains are made without asking for one
        waveforms = unit(torch.nan_to_num(KINDS[kind].make(draw)))
    named: list[list[str]] = [[] for _ in range(n)]
    for trait in KINDS[kind].traits:
        for words, end in zip(named, trait_ends(draw.traits[trait]), strict=True):
            if end:
                words.append(f"{trait}-{end}")
    return waveforms, named


def trait_ends(values: Tensor) -> list[str]:
    """ "low" or "high" for each trait ``[n]`` in 0 … 1 that stands out, "" for the others."""
    return ["low" if u < 0.25 else "high" if u > 0.75 else "" for u in values.tolist()]


def _put_in_place(waveforms: Tensor, places: Sequence[str], generator: torch.Generator) -> Tensor:
    """Distance and room: air absorbs the highs, walls add a decaying noise tail (Moorer 1979)."""
    chosen = [i for i, p in enumerate(places) if p in ("distant", "hall", "room")]
    if not chosen:
        return waveforms
    device = waveforms.device
    wet = {"distant": (1.1, 0.8), "hall": (2.2, 0.55), "room": (0.35, 0.5)}
    rt = torch.tensor([wet[places[i]][0] for i in chosen], device=device)[:, None]
    mix = torch.tensor([wet[places[i]][1] for i in chosen], device=device)[:, None]
    vary = 0.8 + 0.4 * torch.rand(len(chosen), 1, generator=generator, device=device)
    cutoff = (
        torch.tensor([1400.0 if places[i] == "distant" else 9000.0 for i in chosen], device=device)[:, None]
        * vary
    )
    tail = int(1.6 * SAMPLE_RATE)
    t = torch.arange(tail, device=device)[None] / SAMPLE_RATE
    impulse = torch.randn(len(chosen), tail, generator=generator, device=device) * torch.exp(
        -6.9 * t / (rt * vary)
    )
    impulse = impulse / impulse.square().sum(1, keepdim=True).sqrt()
    size = NUM_SAMPLES + 32768
    x = torch.fft.rfft(waveforms[chosen], size)
    room = (1 - mix) + mix * torch.fft.rfft(impulse, size)
    absorb = (1 + (bins(size, device) / cutoff) ** 2) ** -1
    placed = waveforms.clone()
    placed[chosen] = unit(torch.fft.irfft(x * room * absorb, size)[:, :NUM_SAMPLES])
    return placed


def _fade(length: int, device: torch.device) -> Tensor:
    return torch.linspace(0, 1, length, device=device)


def _mix(first: Tensor, second: Tensor, relation: str, rng: random.Random) -> Tensor:
    """Two clips ``[samples]`` at once, or the first until a point in the middle and then the second."""
    if relation == "parallel":
        return first + second * 10 ** (rng.uniform(-7, 0) / 20)
    split, fade = int(rng.uniform(0.42, 0.58) * NUM_SAMPLES), int(0.08 * SAMPLE_RATE)
    out = torch.zeros_like(first)
    out[:split] = unit(first[:split])
    out[split - fade : split] *= 1 - _fade(fade, out.device)
    out[split:] += unit(second[: NUM_SAMPLES - split]) * 10 ** (rng.uniform(-4, 2) / 20)
    return out


def batch(
    n: int,
    seed: int,
    kinds: Sequence[str] | None = None,
    *,
    relations: Sequence[tuple[str, float]] = RELATIONS,
    device: str | torch.device = "cpu",
    captions: int = 4,
) -> FoleyBatch:
    """``n`` clips from a seed, each of a random kind out of ``kinds`` (``BASE_KINDS``
    by default).

    Clips of one kind are synthesised together; order and content depend on the arguments alone
    (on one device). Raises ValueError for an unknown kind.
    """
    names = list(BASE_KINDS if kinds is None else kinds)
    for name in names:
        if name not in KINDS:
            raise ValueError(f"'{name}' is not a kind of the foley corpus; known: {', '.join(KINDS)}.")
    rng = random.Random(seed)
    generator = torch.Generator(device).manual_seed(seed)
    relation = rng.choices([r for r, _ in relations], [w for _, w in relations], k=n)
    # an even number of every kind, in random order
    chosen = [names[i % len(names)] for i in range(n)]
    rng.shuffle(chosen)
    picked: list[tuple[str, ...]] = [
        (a,) if r == "single" else (a, rng.choice([k for k in names if k != a] or [a]))
        for a, r in zip(chosen, relation, strict=True)
    ]
    wanted: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for i, pair in enumerate(picked):
        for j, name in enumerate(pair):
            wanted[name].append((i, j))
    dry: dict[tuple[int, int], Tensor] = {}
    named: dict[tuple[int, int], list[str]] = {}
    for name, slots in wanted.items():
        waveforms, attributes = synthesise(name, len(slots), generator, device)
        for slot, waveform, attribute in zip(slots, waveforms, attributes, strict=True):
            dry[slot], named[slot] = waveform, attribute
    clips, attributes_of, places = [], [], []
    for i, r in enumerate(relation):
        if r == "single":
            place = rng.choices(PLACES, (0.62, 0.12, 0.06, 0.12, 0.08))[0]
            clips.append(dry[i, 0])
            attributes_of.append(tuple(([place] if place else []) + named[i, 0]))
        else:
            place = ""
            clips.append(unit(_mix(dry[i, 0], dry[i, 1], r, rng)))
            attributes_of.append(())
        places.append(place)
    waveforms = _put_in_place(torch.stack(clips), places, generator)
    # a recording's noise floor in every fourth clip
    floor = 10 ** (-(50 + 25 * torch.rand(n, 1, generator=generator, device=device)) / 20)
    floor = floor * (torch.rand(n, 1, generator=generator, device=device) < 0.25)
    waveforms = waveforms + floor * torch.randn(waveforms.shape, generator=generator, device=device)
    said = [phrasings(picked[i], relation[i], attributes_of[i], rng, captions) for i in range(n)]
    return FoleyBatch(0.97 * unit(waveforms), said, picked, relation, attributes_of)
