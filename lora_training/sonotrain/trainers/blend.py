"""Trains auto-encoders that blend: the pyramid in three stages, HDAE and a plain DAE in one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonopaint.models.blend.file import BlendModel, read_blend, write_blend
from sonopaint.models.blend.network import VARIANTS, WHOLE, BlendNetwork
from sonopaint.models.blend.pyramid import LEVELS
from sonopaint.models.jingles.formalisms import Edm
from sonopaint.models.jingles.spaces import Scaling
from sonopaint.samplers.edm import P_MEAN, SIGMA_DATA
from sonotrain.data.scales.kept import Wanted, make
from sonotrain.files.options import option, to_publish
from sonotrain.trainers.jingles.objectives import edm_loss
from sonotrain.training import common
from sonotrain.training.compute import autocast, descend, step_generator
from sonotrain.training.ema import Ema
from sonotrain.training.loop import cosine, warmed_up
from sonotrain.training.muon import muon_and_adam
from sonotrain.training.run import Run, Trainer
from sonotrain.training.weights import our_header

SPACES = ("latents", "encodec")  # continuous, over time
VALIDATED = 64  # held-out sounds of a preview


@dataclass(frozen=True)
class BlendOptions:
    variant: str = option(
        "laplacian",
        "laplacian (in stages; a level hears what it adds), pyramid (it hears all), hdae, dae (one code)",
        VARIANTS,
    )
    corpus: str = option("runs/corpus", "corpus of single events (sonotrain base corpus --content singles)")
    clips: int = option(1500, "of these at most so many")
    notes: int = option(200, "single notes of the corpus's instruments")
    melodies: str = option("", "folder of melodies (sonotrain jingles dataset)")
    melody_clips: int = option(300, "of these at most so many")
    nsynth: str = option("", "folder of NSynth: examples.json and audio/")
    nsynth_clips: int = option(2000, "of these at most so many")
    slakh: str = option("", "folder of Slakh's tracks")
    slakh_clips: int = option(2000, "of their pieces at most so many")
    seconds: float = option(5.12, "length of a sound")
    space: str = option("latents", "what the denoiser makes", SPACES)
    codec: str = option("", "folder of EnCodec's weights, for the space encodec")
    cache: str = option("runs/blend-data", "folder in which latents and mels are kept", free=True)
    frames: int = option(32, "frames of latents in a crop, a multiple of 8")
    width: int = option(64, "channels of the denoiser, times multipliers")
    multipliers: tuple[int, ...] = option(
        (2, 2, 3, 3), "of its four resolutions, highest first", of=int, metavar="N"
    )
    code: int = option(32, "channels of a code")
    bottleneck: int = option(16, "numbers a frame that a code is squeezed through")
    encoder: int = option(8, "first channels of the encoders")
    shares: tuple[float, ...] = option(
        (0.3, 0.3, 0.4), "of the budget, for coarse, mid and fine", of=float, metavar="X"
    )
    dropout: float = option(0.14, "chance of each level not to be told")
    dropout_all: float = option(0.05, "part of it: chance that nothing is told")
    noise: float = option(
        P_MEAN, "mean of ln σ in training (the document: -1.2); higher: codes are learnt sooner"
    )
    start: str = option("", "model of the same sizes to go on from; of another variant its denoiser")
    batch: int = common.batch(16, "crops")
    learning_rate: float = option(0.02, "peak learning rate of the convolutions (Muon)")
    bias_rate: float = option(2e-3, "peak learning rate of the rest (Adam)")
    warmup: int = common.warmup(50)
    ema: float = common.ema(0.998)
    seed: int = common.seed("weights, order and notes")
    name: str = option("", "of the file that comes out (default: the folder's)", free=True)
    threads: int = common.threads()
    checkpoint_minutes: float = common.checkpoint_minutes()
    preview_minutes: float = common.preview_minutes("losses of held-out sounds")


class BlendTrainer(Trainer):
    """blend.json holds the losses of held-out sounds; NAME.safetensors is the model."""

    command = "blend"
    Options = BlendOptions
    options: BlendOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        options = self.options
        if len(options.shares) != len(LEVELS) or min(options.shares) <= 0:
            raise SonopaintError(f"{setting('shares')} must be three numbers above 0.")
        if not 0 <= options.dropout_all <= options.dropout < 1:
            raise SonopaintError(
                f"{setting('dropout')} is a chance below 1, and {setting('dropout_all')} at most as large."
            )
        if options.frames % WHOLE or options.frames < WHOLE:
            raise SonopaintError(f"{setting('frames')} must be a multiple of {WHOLE}, not {options.frames}.")
        if len(options.multipliers) != 4:
            raise SonopaintError(f"{setting('multipliers')} must be four numbers.")
        sizes = [options.width, options.code, options.bottleneck, options.encoder, options.batch]
        if min(*sizes, *options.multipliers) < 1:
            raise SonopaintError("All sizes of the network, and the crops a step, must be 1 or more.")

    def prepare(self) -> None:
        options = self.options
        self.run.preparing("sounds as latents and mels")
        names = {item.name for item in fields(Wanted)}
        self.wanted = Wanted(**{k: v for k, v in vars(options).items() if k in names})
        self.data = make(options.cache, self.wanted)
        self.facts |= {"data": self.data.settings | {"sounds": len(self.data.labels)}}
        if self.data.frames < options.frames:
            raise SonopaintError(
                f"{setting('frames')} is {options.frames}, but the sounds have {self.data.frames}."
            )
        torch.manual_seed(options.seed)
        self.network = BlendNetwork(
            options.variant, self.data.latents.shape[1], options.width, options.multipliers, options.code,
            options.bottleneck, options.encoder,
        ).to(self.device)  # fmt: skip
        if options.start:
            before = read_blend(options.start).network
            if before.config | {"variant": options.variant} != self.network.config:
                raise SonopaintError(f"{options.start} has other sizes ({before.config}); give the same.")
            same = before.variant == options.variant  # or its encoders hear something else
            (self.network if same else self.network.denoiser).load_state_dict(
                (before if same else before.denoiser).state_dict()
            )
        self.scaling = Scaling.of(self.data.latents[self.data.learnt], 1)
        self.mels = self.data.mel.shape[-1] / self.data.frames  # a frame of latents
        self.ema = Ema([self.network], options.ema)
        self.optimiser, self.others = muon_and_adam(
            self.network.parameters(), options.learning_rate, options.bias_rate
        )

    def parts(self) -> dict[str, Any]:
        return {
            "network": self.network, "ema": self.ema, "optimiser": self.optimiser, "others": self.others
        }  # fmt: skip

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser, self.others]

    @property
    def starts(self) -> list[float]:
        """Where in the budget each stage begins."""
        total = sum(self.options.shares)
        return [sum(self.options.shares[:k]) / total for k in range(len(LEVELS))]

    def learning(self) -> tuple[str, ...]:
        """The levels that are told now, of which the last one's encoder learns; a baseline's all at once."""
        if not self.network.hears_mels:
            return self.network.levels
        return LEVELS[: max(1, sum(self.run.used >= start for start in self.starts))]

    def schedule(self, used: float, step: int) -> float:
        """The whole rate until the last stage, in which it falls."""
        last = self.starts[-1]
        fallen = max(0.0, (used - last) / (1 - last))
        return warmed_up(lambda _: cosine(fallen), used, step, self.options.warmup, self.run.schedule)

    def batch(
        self, sounds: Sequence[int], generator: torch.Generator, *, cropped: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Scaled latents [B, C, frames] and mels [B, 128, …] of crops of sounds, each at its own place."""
        frames, span = self.options.frames, int(self.options.frames * self.mels)
        room = self.data.frames - frames + 1 if cropped else 1
        firsts = torch.randint(room, (len(sounds),), generator=generator).tolist()
        latents, mels = [], []
        for number, first in zip(sounds, firsts, strict=True):
            latents.append(self.data.latents[number, :, first : first + frames])
            place = round(first * self.mels)
            mels.append(self.data.mel[number, :, place : place + span])
        data = self.scaling.scaled(torch.stack(latents), SIGMA_DATA)
        return data.to(self.device), torch.stack(mels).to(self.device)

    def told(self, count: int, generator: torch.Generator) -> Tensor:
        """bool [count, 3]: which levels are told. Each is left out with a chance of `dropout`.

        In `dropout_all` of the cases all are left out together, so that a model without any can guide.
        """
        options = self.options
        alone = (options.dropout - options.dropout_all) / (1 - options.dropout_all)
        kept = torch.rand(count, len(LEVELS), generator=generator) >= alone
        return kept & (torch.rand(count, 1, generator=generator) >= options.dropout_all)

    def losses(
        self, data: Tensor, mel: Tensor, told: Tensor, levels: Sequence[str], generator: torch.Generator
    ) -> Tensor:
        """[B], of levels `told` [B, 3]; the encoders of all but the last of `levels` don't learn."""
        network, frames = self.network, data.shape[-1]
        codes: dict[str, Tensor] = {}
        if network.hears_mels:
            with torch.no_grad():
                codes |= network.codes(mel, None, frames, levels[:-1]) if levels[:-1] else {}
            codes |= network.codes(mel, None, frames, levels[-1:])
        else:
            codes |= network.codes(None, data, frames)
        for place, level in enumerate(codes):
            codes[level] = codes[level] * told[:, place, None, None].to(data)
        conditions = network.conditions(codes)

        def of_network(x: Tensor, time: Tensor, curves: Tensor | None, facts: Tensor | None) -> Tensor:
            return network(x, time, conditions)

        return edm_loss(Edm(), of_network, data, generator, mean=self.options.noise)

    def step(self, number: int) -> dict[str, Tensor]:
        options = self.options
        generator = step_generator(options.seed, number)
        places = torch.randint(len(self.data.learnt), (options.batch,), generator=generator)
        data, mel = self.batch([self.data.learnt[i] for i in places.tolist()], generator)
        told = self.told(len(data), generator).to(self.device)
        levels = self.learning()
        with autocast(self.device):
            losses = self.losses(data, mel, told, levels, generator)
        loss = losses.mean()
        norm = descend(loss, self.network.parameters(), *self.optimisers())
        self.ema.update()
        return {"loss": loss, "norm": norm, "levels": torch.tensor(float(len(levels)))}

    @torch.no_grad()
    def preview(self, number: int) -> dict[str, float]:
        """The loss of held-out sounds: told everything, without each level, and told nothing."""
        sounds, levels = self.data.held[:: max(1, len(self.data.held) // VALIDATED)], self.learning()
        ways = {"held": torch.ones(len(LEVELS))}
        if len(self.network.levels) > 1:
            ways |= {f"without_{k}": 1 - torch.eye(len(LEVELS))[i] for i, k in enumerate(levels)}
        ways["blind"] = torch.zeros(len(LEVELS))
        found: dict[str, float] = {}
        with self.ema.applied():
            for name, told in ways.items():
                sums = []
                for turn in range(2):
                    generator = torch.Generator().manual_seed(turn)
                    data, mel = self.batch(sounds, generator, cropped=False)
                    every = told.expand(len(data), -1).to(self.device)
                    sums.append(float(self.losses(data, mel, every, levels, generator).mean()))
                found[name] = sum(sums) / len(sums)
        return found

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        return self.preview(0) | {"parameters": sum(p.numel() for p in self.network.parameters())}

    def save(self, path: Path, steps: int) -> dict[str, Any]:
        """The averaged network."""
        counts = dict(Counter(one.group for one in self.data.labels))
        facts = {"options": to_publish(self.options), "steps": steps, "sounds": counts}
        metadata = our_header("Takes sounds apart by scale and puts them together across files.", facts)
        with self.ema.applied():
            model = BlendModel(self.network, self.options.space, self.options.frames, self.scaling)
            write_blend(path, model, metadata, force=True)
        return {}
