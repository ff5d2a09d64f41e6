"""The cache: what an analyser hears of each sound, and the metric there, computed once for all runs.

Chunks of 64 sounds, each one file; whoever lacks some computes them. The folder is called by what they hang
on: synthesiser (its source, too), descriptor, draws.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from sonoconvert.checkpoints.files import write_tensors
from sonoconvert.descriptors import scattering
from sonoconvert.descriptors.scattering import Scattering
from sonoconvert.errors import SonopaintError, setting
from sonopaint.match.analyser import heard
from sonopaint.match.metric import described, jacobian, metric_of, secants, steps
from sonopaint.match.synths import blocks, get_synth, protocol
from sonotrain.files.processes import several
from sonotrain.trainers.match.draws import Draws, drawn

logger = logging.getLogger(__name__)
CHUNK = 64
KINDS = ("derivative", "secant")


@dataclass(frozen=True)
class Plan:
    """What is computed: a synthesiser's draws, and the descriptor and kind of their metrics."""

    synth: str
    grid: int
    count: int
    plain: int
    seed: int
    kind: str
    transform: Scattering

    def draws(self) -> Draws:
        return drawn(len(get_synth(self.synth).parameters), self.grid, self.count, self.plain, self.seed)

    def key(self) -> str:
        """The name of the cache's folder."""
        sources = [inspect.getsource(get_synth(self.synth).make)]
        sources += [inspect.getsource(part) for part in (blocks, protocol, scattering)]
        said = json.dumps([asdict(self), sources], sort_keys=True)
        return f"{self.synth}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Known:
    """Draws with what is known of them: scalograms fp16 [N, bands, 128], metrics [measured, D, D]."""

    draws: Draws
    heard: Tensor
    metric: Tensor


def known(plan: Plan, folder: str | Path, workers: int = 1) -> Known:
    """All of a plan, from the cache `folder`; what is missing is computed by `workers` processes."""
    if plan.kind not in KINDS:
        raise SonopaintError(f"{setting('metric')} must be one of {', '.join(KINDS)}, not {plan.kind}.")
    draws, place = plan.draws(), Path(folder) / plan.key()
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"{number:05d}.safetensors" for number in range(-(-len(draws.places) // CHUNK))]
    missing = [number for number, path in enumerate(paths) if not path.is_file()]
    if missing:
        logger.info("%s: %d of %d chunks are to be computed", plan.synth, len(missing), len(paths))
    with several(min(workers, len(missing))) as run:
        list(run(partial(_compute, plan, place), missing))
    parts = []
    for path in paths:
        with safe_open(str(path), framework="pt") as file:
            parts.append((file.get_tensor("heard"), file.get_tensor("metric")))
    return Known(draws, torch.cat([part for part, _ in parts]), torch.cat([part for _, part in parts]))


def _compute(plan: Plan, place: Path, number: int) -> None:
    """One chunk; its number is the seed of its noise."""
    draws, synth = plan.draws(), get_synth(plan.synth)
    span = slice(number * CHUNK, (number + 1) * CHUNK)
    places = draws.places[span]
    with torch.no_grad():
        sounds = torch.cat([synth.render(synth.theta(part), seed=number) for part in places.split(8)])
        scalograms = torch.cat([heard(part) for part in sounds.split(8)]).half()
    descriptor = described(synth, plan.transform, number)
    found = [torch.zeros(0, places.shape[1], places.shape[1])]
    measured = draws.places[: draws.measured][span]
    for part in measured.split(8) if len(measured) else ():
        if plan.kind == "derivative":
            found.append(metric_of(jacobian(descriptor, part)))
        else:
            with torch.no_grad():
                found.append(metric_of(secants(descriptor, part, steps(synth))))
    tensors = {"heard": scalograms, "metric": torch.cat(found)}
    write_tensors(place / f"{number:05d}.safetensors", tensors, {"format": "pt"}, force=True)
