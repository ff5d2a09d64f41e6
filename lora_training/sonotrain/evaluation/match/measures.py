"""Distances of re-synthesised sounds, errors in just noticeable differences, and what a loss's step costs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from sonoconvert.descriptors.scattering import Scattering
from sonoconvert.descriptors.spectra import multiscale_distance
from sonopaint.match.analyser import levelled
from sonopaint.match.draws import COUNT, nearest, places
from sonopaint.match.metric import described, steps
from sonopaint.match.refine import refine
from sonopaint.match.synths import Synth
from sonotrain.training.loop import Budget
from sonotrain.training.run import Alone, Run
from sonotrain.training.run_folder import RunFolder


@torch.no_grad()
def distances(synth: Synth, guess: Tensor, true: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(JTFS [N], MSS [N]) of the sounds of places [N, D] from those of the true ones."""
    transform = Scattering(synth.samples)
    jtfs, mss = [], []
    for one, other in zip(guess.split(8), true.split(8), strict=True):
        a, b = (levelled(synth.render(synth.theta(place), seed=seed)) for place in (one, other))
        jtfs.append((transform(a) - transform(b)).norm(dim=1))
        mss.append(multiscale_distance(a, b))
    return torch.cat(jtfs), torch.cat(mss)


def noticeable(synth: Synth, guess: Tensor, true: Tensor) -> Tensor:
    """Just noticeable differences [N, D] between places."""
    one, other = synth.theta(guess), synth.theta(true)
    return torch.stack([p.noticeable(one[:, k], other[:, k]) for k, p in enumerate(synth.parameters)], 1)


@torch.no_grad()
def refined(synth: Synth, guess: Tensor, true: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """Places [N, D] refined towards the sounds of the true ones, which a user would give as recordings."""
    descriptor = described(synth, seed=seed)
    found = [
        refine(descriptor, descriptor(b), a, steps(synth, 3.0), count)[0]
        for a, b in zip(guess.split(8), true.split(8), strict=True)
    ]
    return torch.cat(found)


@torch.no_grad()
def best_of_draws(synth: Synth, true: Tensor, count: int) -> Tensor:
    """Places [N, D]: the nearest of so many spread-out draws to each sound."""
    descriptor, found = described(synth), []
    wanted = torch.cat([descriptor(part) for part in true.split(8)])
    kept = count == COUNT and len(nearest(synth, wanted[0], 1)) > 0
    everything = places(synth, count)
    known = None if kept else torch.cat([descriptor(part) for part in everything.split(8)])
    for one in wanted:
        tried = everything if known is not None else nearest(synth, one, 8)
        away = ((descriptor(tried) if known is None else known) - one).norm(dim=1)
        found.append(tried[away.argmin()])
    return torch.stack(found)


def step_seconds(
    options: Mapping[str, Mapping[str, Any]], rounds: int = 6, warm: int = 2
) -> dict[str, float]:
    """Processor seconds of a step with each of several options, measured in turns in this process."""
    from sonotrain.trainers.match.train import MatchTrainer

    with TemporaryDirectory() as place:
        trainers = {}
        for name, given in options.items():
            folder = RunFolder(Path(place) / name)
            folder.path.mkdir(parents=True, exist_ok=True)
            run = Run(folder, Alone("cpu"), budget=Budget(steps=rounds))
            trainers[name] = run.prepare(MatchTrainer, given)
        spent: dict[str, list[float]] = {name: [] for name in trainers}
        for number in range(rounds + warm):
            for name, trainer in trainers.items():
                begun = time.process_time()
                trainer.step(number)
                spent[name].append(time.process_time() - begun)
    return {name: sorted(times[warm:])[rounds // 2] for name, times in spent.items()}


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and standard deviation over initialisations."""
    known = torch.tensor(list(values), dtype=torch.float64)
    return float(known.mean()), float(known.std(unbiased=False))
