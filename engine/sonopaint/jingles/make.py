"""Curves → clips, with any jingle model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoconvert.curves.curves import Curves
from sonoconvert.curves.reading import KEY
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.progress import Progress
from sonopaint.models.jingles.controls import KIND
from sonopaint.models.jingles.file import Jingle
from sonopaint.painters.windows import over_windows
from sonopaint.samplers.edm import EdmSettings

AT_ONCE = 8  # clips in one call of the network
LONGEST_S = 130.0
LOUDEST = 0.97  # of a clip's peaks


@torch.no_grad()
def make_jingles(
    jingle: Jingle,
    curves: Curves,
    seeds: Sequence[int],
    *,
    settings: EdmSettings | None = None,
    codec: str | Path = "",
    progress: Progress | None = None,
) -> list[Clip]:
    """One clip for each seed, as long as the curves; mono, at the representation's rate.

    Curves may lack features or have free places. Velocity is loudness, so nothing is normalised; only what
    would go beyond full scale is turned down.
    `settings`: of EDM's sampler. `progress(share)` may raise Cancelled. SonopaintError for instruments that
    the model does not have, and where EnCodec's weights are needed and not named.
    """
    if not seeds:
        return []
    if curves.duration_s > LONGEST_S:
        raise SonopaintError(f"Jingles last at most {LONGEST_S:g} s, not {curves.duration_s:.0f}.")
    space = jingle.representation(codec)
    samples = max(1, round(curves.duration_s * space.sample_rate))
    shape = space.shape(samples)
    told = jingle.controls.of(curves, shape[-1])
    facts = _facts(jingle, curves)
    made: list[Clip] = []
    for first in range(0, len(seeds), AT_ONCE):
        part = list(seeds[first : first + AT_ONCE])
        data = sample_data(jingle, shape, told.expand(len(part), -1, -1), part, facts, settings,
                           _within(progress, first / len(seeds), len(part) / len(seeds)))  # fmt: skip
        for one, seed in zip(data, part, strict=True):
            clip = space.decode(one, samples)
            wave = clip.waveform * min(1.0, LOUDEST / max(float(clip.waveform.abs().max()), LOUDEST))
            made.append(Clip(wave, clip.sample_rate, settings_of(jingle, curves, seed, settings)))
    return made


def sample_data(
    jingle: Jingle,
    shape: tuple[int, ...],
    curves: Tensor,
    seeds: Sequence[int],
    facts: Tensor | None = None,
    settings: EdmSettings | None = None,
    callback: Callable[[int, int, Tensor], None] | None = None,
) -> Tensor:
    """What the representation decodes, [B, …]; curves [B, size, frames]. An item hangs on its own seed."""
    network = jingle.network
    if jingle.network.config["dims"] == 1 and jingle.scaling is not None:  # type: ignore[index]
        network = _Windowed(network, jingle.frames)
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    if facts is not None:
        facts = facts.expand(len(seeds), -1)
    made = jingle.formalism.sample(
        network, (len(seeds), *shape), curves, facts, settings=settings, generator=generators,
        callback=callback,
    )  # fmt: skip
    return jingle.data(made)


def settings_of(jingle: Jingle, curves: Curves, seed: int, settings: EdmSettings | None) -> dict[str, Any]:
    """What stands in the file's tags."""
    told: dict[str, Any] = {"task": "jingle", "model": jingle.name, "seed": int(seed), KEY: curves.to_dict()}
    if jingle.formalism.name == "edm":
        sampler = asdict(settings or EdmSettings())
        told["sampler"] = {k: v for k, v in sampler.items() if math.isfinite(v)}
    return told


class _Windowed(torch.nn.Module):
    """The network on long sounds: windows of the length that it learnt on, averaged where they overlap."""

    def __init__(self, network: torch.nn.Module, frames: int) -> None:
        super().__init__()
        self.network, self.frames = network, frames

    def forward(self, x: Tensor, time: Tensor, curves: Tensor, facts: Tensor | None = None) -> Tensor:
        channels = x.shape[1]

        def part(both: Tensor) -> Tensor:
            return self.network(both[:, :channels], time, both[:, channels:], facts)

        return over_windows(part, torch.cat([x, curves], 1), self.frames, overlap=0.5)


def _facts(jingle: Jingle, curves: Curves) -> Tensor | None:
    """Which instruments play, for networks that are told facts of the whole."""
    if not jingle.network.config["global_size"]:  # type: ignore[index]
        return None
    means = [
        float(torch.from_numpy(curves.values[KIND + name].copy()).nanmean().nan_to_num())
        if KIND + name in curves.values
        else 0.0
        for name in jingle.controls.instruments
    ]
    return torch.tensor([means])


def _within(
    progress: Progress | None, start: float, share: float
) -> Callable[[int, int, Tensor], None] | None:
    if progress is None:
        return None
    return lambda step, total, _: progress(start + share * step / total)
