"""Trains the healing bridge (`sonopaint.models.bridge`) on synthesised sounds, or on a folder of others."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonopaint.models.bridge import BINS, HOP, SPREAD, Bridge, channels, place_of, reference_of, write
from sonopaint.models.bridge_network import BridgeNetwork
from sonopaint.samplers.bridge import estimate, marginal
from sonotrain.data.waveforms import waveforms
from sonotrain.files.options import option
from sonotrain.trainers.bridge.damage import Damaged, damaged
from sonotrain.trainers.bridge.sounds import own_sounds, spoken
from sonotrain.training import common
from sonotrain.training.compute import autocast, compiled, descend, step_generator
from sonotrain.training.ema import Ema, take_average
from sonotrain.training.muon import muon_and_adam
from sonotrain.training.run import Run, Trainer
from sonotrain.training.run_folder import load_final
from sonotrain.training.weights import facts_of, our_header

logger = logging.getLogger(__name__)

RATE = 44_100  # of the kept sounds; crops are also had at lower rates
RATES = (44_100, 44_100, 32_000, 32_000, 22_050, 16_000)
HELD_OUT = 16  # the first sounds: never trained on
FULL = 0.25  # share of the crops that are shown at t = 1, where every way begins


@dataclass(frozen=True)
class BridgeOptions:
    clips: int = option(600, "synthesised sounds to learn from (a third is like speech)")
    data: str = option("", "folder of one's own sounds to learn from instead")
    batch: int = common.batch(4, "crops")
    frames: int = option(96, "frames of a crop, a multiple of 8")
    widths: tuple[int, ...] = option(
        (48, 96, 160), "channels of the network's three levels", of=int, metavar="N"
    )
    blocks: int = option(2, "blocks on each side of the middle level, and in the lowest")
    experts: int = option(1, "networks: 1, or 2 that share the bridge's time at ½", (1, 2))
    learning_rate: float = option(0.02, "peak learning rate of the convolutions (Muon)")
    bias_rate: float = option(2e-3, "peak learning rate of the rest (Adam)")
    warmup: int = common.warmup(50)
    ema: float = common.ema(0.995)
    seed: int = common.seed()
    workers: int = option(1, "processes that synthesise the sounds", free=True)
    threads: int = common.threads()
    checkpoint_minutes: float = common.checkpoint_minutes(2.0)
    preview_minutes: float = common.preview_minutes("measurements on held-out sounds")


def wanted(x: Tensor, damaged: Tensor, whole: Tensor, t: Tensor) -> Tensor:
    """What the network should say of x_t: by how many deviations x_0 differs from what is expected of it."""
    mean, deviation = estimate(x, damaged, t, SPREAD)
    return (whole - mean) / deviation


def bridge_loss(said: Tensor, true: Tensor, whole: Tensor, unknown: Tensor) -> Tensor:
    """Squared error of what the network says, over the unknown cells of each item: [B].

    said, true (`wanted`), whole (`models.bridge.channels`) [B, 3, frames, bins]; unknown bool
    [B, frames, bins]. The phase counts as much as its cell's magnitude, because that of a cell that is
    hardly there is noise.
    """
    weight = unknown[:, None] * torch.ones_like(whole)
    weight[:, 1:] = weight[:, 1:] * whole[:, :1].clamp(0.05, 1)
    return ((said - true).square() * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp_min(1)


class BridgeTrainer(Trainer):
    """bridge.json holds the measures on held-out sounds."""

    command = "bridge"
    Options = BridgeOptions
    options: BridgeOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        options = self.options
        if options.frames < 16 or options.frames % 8:
            raise SonopaintError(
                f"{setting('frames')} must be a multiple of 8 and at least 16, not {options.frames}."
            )
        if len(options.widths) != 3 or min(options.widths) < 1:
            raise SonopaintError(f"{setting('widths')} must be three numbers, not {options.widths}.")
        if not options.data and options.clips <= HELD_OUT:
            raise SonopaintError(f"{setting('clips')} must be above {HELD_OUT}, not {options.clips}.")
        self.measured: dict[str, float] = {}

    def prepare(self) -> None:
        options = self.options
        torch.manual_seed(options.seed)
        self.networks = [
            BridgeNetwork(tuple(options.widths), options.blocks)
            .to(self.device)
            .to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            for _ in range(options.experts)
        ]
        self.fast = [compiled(network, self.device) for network in self.networks]
        self.ema = Ema(self.networks, options.ema)
        weights = [p for network in self.networks for p in network.parameters()]
        self.optimiser, self.others = muon_and_adam(weights, options.learning_rate, options.bias_rate)
        if options.data:
            self.sounds = own_sounds(options.data, RATE)
        else:
            self.run.preparing(f"synthesising {options.clips} sounds")
            voices = options.clips // 3
            others = waveforms(options.clips - voices, RATE, options.seed + 1, options.workers)
            self.sounds = [*(s.numpy() for s in others), *spoken(voices, RATE, options.seed + 2)]
            order = np.random.default_rng(options.seed).permutation(len(self.sounds))
            self.sounds = [self.sounds[index] for index in order]

    def parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"ema": self.ema, "optimiser": self.optimiser, "others": self.others}
        return parts | {f"network{number}": network for number, network in enumerate(self.networks)}

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser, self.others]

    def crop(self, rng: np.random.Generator, low: int, high: int) -> tuple[Damaged, int]:
        """A damaged crop of one of the sounds low … high, and its rate."""
        rate = int(rng.choice(RATES))
        samples = (self.options.frames - 1) * HOP
        while True:
            sound = self.sounds[int(rng.integers(low, high))]
            longer = min(int(samples * RATE / rate) + 64, len(sound))
            start = int(rng.integers(0, len(sound) - longer + 1))
            piece = sound[start : start + longer].astype(np.float64) / 32768
            if rate != RATE:
                piece = soxr.resample(piece, RATE, rate, quality="MQ")
            piece = np.pad(piece, (0, max(samples - len(piece), 0)))[:samples]
            peak = np.abs(piece).max()
            if peak > 1e-3:  # nothing is learnt of silence
                break
        piece = piece + 1e-5 * peak * rng.standard_normal(samples)
        return damaged(piece / peak, rate, rng), rate

    def step(self, number: int) -> dict[str, Tensor]:
        options, device = self.options, self.device
        generator = step_generator(options.seed, number)
        rng = np.random.default_rng((options.seed, number))
        first = min(HELD_OUT, len(self.sounds) // 4)
        crops = [self.crop(rng, first, len(self.sounds)) for _ in range(options.batch)]
        whole, guess, unknown = (
            torch.stack([getattr(item, name) for item, _ in crops]).to(device)
            for name in ("whole", "guess", "unknown")
        )
        known = ~unknown[..., :BINS]
        reference = reference_of(whole, known)
        x0, x1 = channels(whole, reference), channels(guess, reference)
        place = torch.cat([place_of(rate, 1, device) for _, rate in crops])
        # Experts take turns: a step's times all lie in one of the halves.
        expert = number % options.experts
        t = torch.rand(options.batch, generator=generator) * 0.97 + 0.03
        t[torch.rand(options.batch, generator=generator) < FULL] = 1.0
        if options.experts == 2:
            t = t / 2 + 0.5 * expert
        t = t.to(device)
        mean, deviation = marginal(x0, x1, t)
        noise = torch.randn(x0.shape, generator=generator).to(device)
        x = torch.where(known[:, None], x0, mean + deviation * noise)
        with autocast(device):
            said = self.fast[expert](x, x1, (~known)[:, None].float(), place, t)
        losses = bridge_loss(said, wanted(x, x1, x0, t), x0, ~known)
        loss = losses.mean()
        weights = [p for network in self.networks for p in network.parameters()]
        norm = descend(loss, weights, *self.optimisers())
        self.ema.update()
        late = t > 0.9
        return {"loss": loss, "norm": norm} | ({"late": losses[late].mean()} if late.any() else {})

    @torch.no_grad()
    def preview(self, number: int) -> dict[str, float]:
        """Mean |difference| in dB of the unknown cells of held-out sounds, floored 60 dB below the loudest.

        guess: of what the bridge begins with; one, four: of the bridge in so many steps.
        """
        found: dict[str, list[float]] = {"guess": [], "one": [], "four": []}
        with self.ema.applied():
            bridge = Bridge([_copied(network) for network in self.networks])
        rng = np.random.default_rng(77)
        for item in range(24):
            one, rate = self.crop(rng, 0, max(min(HELD_OUT, len(self.sounds)), 1))
            unknown = one.unknown[None].to(self.device)
            guess = one.guess[None].to(self.device)
            floor = one.whole.abs().max() * 1e-3
            generator = torch.Generator().manual_seed(item)

            def decibels(spectrum: Tensor, floor: Tensor = floor) -> Tensor:
                return 20 * torch.log10(spectrum.abs().clamp_min(floor))

            true = decibels(one.whole)[one.unknown]
            made = {"guess": guess} | {
                name: bridge.restore(guess, unknown, rate, steps=steps, generator=generator)
                for name, steps in (("one", 1), ("four", 4))
            }
            for name, spectrum in made.items():
                found[name].append((decibels(spectrum[0].cpu())[one.unknown] - true).abs().mean().item())
        self.measured = {f"db_{name}": float(np.mean(values)) for name, values in found.items()}
        return self.measured

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        return self.measured


def _copied(network: BridgeNetwork) -> BridgeNetwork:
    """The network as it is now, by itself."""
    copy = BridgeNetwork(**network.config).to(next(network.parameters()).device)
    copy.load_state_dict(network.state_dict())
    return copy


def export_bridge(run: str | Path, out: str | Path, *, force: bool = False) -> Path:
    """Writes a run's averaged networks as `out`/bridge.safetensors (fp16), its training in the header."""
    run = Path(run)
    parts, config = load_final(run)
    options = config["options"]
    networks = [BridgeNetwork(tuple(options["widths"]), options["blocks"]) for _ in range(options["experts"])]
    for number, network in enumerate(networks):
        network.load_state_dict(parts[f"network{number}"])
    take_average(networks, parts["ema"])
    synthesised = (
        f"{options['clips']} synthesised sounds (foley corpus, synthetic signals and speech), no recordings"
    )
    data = "a folder of sounds" if options["data"] else synthesised
    facts = facts_of(run, "bridge", data, options | {"data": ""})
    path = Path(out) / "bridge.safetensors"
    write(path, networks, our_header("Heals gaps and missing bands of sounds.", facts), force=force)
    return path
