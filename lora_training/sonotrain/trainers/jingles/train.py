"""Trains jingle models: one formalism on one space of a dataset, following curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sonoconvert.errors import SonopaintError, setting
from sonopaint.models.jingles.controls import FEATURES, Controls
from sonopaint.models.jingles.file import Jingle, write_jingle
from sonopaint.models.jingles.formalisms import Ddpm, DiscDpm, Edm, Formalism
from sonopaint.models.jingles.network import CodeNetwork, JingleUNet
from sonopaint.models.jingles.spaces import SPACES, Scaling, dims_of, is_discrete, open_space
from sonopaint.samplers import ddpm, multinomial
from sonotrain.data.pvt.build import PvtDataset
from sonotrain.files.options import option, to_publish
from sonotrain.trainers.jingles.objectives import loss_of
from sonotrain.training import common
from sonotrain.training.compute import autocast, compiled, descend, step_generator
from sonotrain.training.ema import Ema
from sonotrain.training.muon import muon_and_adam
from sonotrain.training.run import Run, Trainer
from sonotrain.training.weights import our_header

FORMALISMS = ("edm", "ddpm", "discdpm")
MEASURED = 64  # clips whose scaling is measured, where all of them would be many gigabytes
VALIDATED = 32  # held-out clips of a preview


@dataclass(frozen=True)
class JingleOptions:
    data: str = option("runs/pvt", "dataset of melodies")
    space: str = option("latents", "representation that is learnt", SPACES)
    formalism: str = option("edm", "way from noise to data", FORMALISMS)
    features: tuple[str, ...] = option(
        ("velocity", "pitch", "instruments"), f"curves it follows: {', '.join(FEATURES)}", metavar="NAME"
    )
    frames: int = option(0, "frames of a crop (0: whole clips)")
    width: int = option(96, "channels of the U-Net's first level")
    multipliers: tuple[int, ...] = option((1, 2, 2), "times width, of each level", of=int, metavar="N")
    up_multipliers: tuple[int, ...] = option(
        (), "other ones on the way up (U-NetExpand)", of=int, metavar="N"
    )
    blocks: int = option(1, "blocks of a level, each way")
    patch: int = option(1, "neighbours (in time, and in frequency) that are one place")
    control_channels: int = option(64, "channels of the curves' branch at each level (the document: 128)")
    facts: bool = option(False, "tell the instrument as a fact of the whole clip, too (chained FiLM)")
    steps_of_noise: int = option(0, "T of ddpm and discdpm (0: 1000 and 100)")
    dropout: float = option(0.3, "chance of each feature not to be said")
    span_dropout: float = option(0.1, "chance of each feature not to be said for a while")
    batch: int = common.batch(32)
    learning_rate: float = option(0.02, "peak learning rate of the convolutions (Muon)")
    bias_rate: float = option(2e-3, "peak learning rate of the rest (Adam)")
    warmup: int = common.warmup(100)
    ema: float = common.ema(0.999)
    seed: int = common.seed("weights and order")
    codec: str = option("", "folder of EnCodec's weights, to hear previews of its spaces", free=True)
    name: str = option("", "of the file that comes out (default: the folder's)", free=True)
    threads: int = common.threads()
    checkpoint_minutes: float = common.checkpoint_minutes()
    preview_minutes: float = common.preview_minutes("losses of held-out clips")


class JingleTrainer(Trainer):
    """jingles.json holds the loss of held-out clips; NAME.safetensors is the model."""

    command = "jingles"
    Options = JingleOptions
    options: JingleOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        options = self.options
        if is_discrete(options.space) != (options.formalism == "discdpm"):
            raise SonopaintError(
                f"The formalism {options.formalism} does not go with {options.space}: codes are discdpm's, "
                "and everything else is edm's or ddpm's."
            )
        if not options.multipliers or len(options.up_multipliers) not in (0, len(options.multipliers)):
            raise SonopaintError(
                f"{setting('multipliers')} must be one number or more, {setting('up_multipliers')} as many."
            )
        sizes = [options.width, options.blocks, options.patch, options.batch, options.control_channels]
        if min(*sizes, *options.multipliers) < 1 or options.frames < 0:
            raise SonopaintError(
                "All sizes of the network, and the number of clips a step, must be 1 or more."
            )
        if not 0 <= options.dropout + options.span_dropout <= 1:
            raise SonopaintError(
                f"{setting('dropout')} and {setting('span_dropout')} are chances, together at most 1."
            )

    def prepare(self) -> None:
        options, device = self.options, self.device
        self.data = PvtDataset(options.data, options.space)
        self.facts |= {"data": {k: v for k, v in self.data.settings.items() if k != "clips"}}
        quantiser = self.data.quantiser() if options.space == "codes" else None
        sample = self.data.data(self.data.learnt[:1])
        space = open_space(options.space, codec=self.data.settings["codec"], quantiser=quantiser)
        self.frames = options.frames or sample.shape[-1]
        if self.frames > sample.shape[-1]:
            raise SonopaintError(
                f"{setting('frames')} is {self.frames}, but the clips of {options.data} have "
                f"{sample.shape[-1]}."
            )
        self.controls = Controls.at(tuple(options.features), self.data.instruments, space.frame_rate)
        shared: dict[str, Any] = {
            "width": options.width, "multipliers": tuple(options.multipliers),
            "up_multipliers": tuple(options.up_multipliers), "blocks": options.blocks, "patch": options.patch,
            "controls": self.controls.size, "control_channels": options.control_channels,
            "global_size": len(self.data.instruments) if options.facts else 0,
        }  # fmt: skip
        torch.manual_seed(options.seed)
        self.formalism: Formalism
        self.network: nn.Module
        self.scaling: Scaling | None = None
        if is_discrete(options.space):
            classes = int(space.classes)  # type: ignore[attr-defined]
            self.formalism = DiscDpm(classes, options.steps_of_noise or multinomial.STEPS)
            self.network = CodeNetwork(sample.shape[1], classes, **shared)
        else:
            self.formalism = (
                Edm() if options.formalism == "edm" else Ddpm(options.steps_of_noise or ddpm.STEPS)
            )
            self.network = JingleUNet(dims_of(options.space), sample.shape[1], **shared)
            few = self.data.learnt[:: max(1, len(self.data.learnt) // MEASURED)]
            self.scaling = Scaling.of(self.data.data(few), dims_of(options.space))
        self.quantiser = quantiser
        self.network.to(device)
        self.fast = compiled(self.network, device)
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

    def batch(
        self, clips: Sequence[int], generator: torch.Generator, *, dropping: bool = True
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Data, curves and facts of clips, cropped at random (all at one place), with features left out."""
        data = self.data.data(clips)
        first = int(torch.randint(data.shape[-1] - self.frames + 1, (1,), generator=generator))
        data = data[..., first : first + self.frames]
        if self.scaling is not None:
            data = self.scaling.scaled(data, self.formalism.scale)
        fold, count = self.controls.fold, first + self.frames
        arrays = self.data.curves(clips, count * fold, self.controls.rate)
        pitch, velocity, kinds = (a[..., first * fold :] for a in arrays)
        dropped = None
        if dropping:
            options = self.options
            chance = torch.rand(len(clips), len(self.controls.features), generator=generator)
            dropped = chance < options.dropout
            spans = (chance >= options.dropout) & (chance < options.dropout + options.span_dropout)
            ends = torch.rand(len(clips), 2, generator=generator).sort(1).values * pitch.shape[-1]
            place = torch.arange(pitch.shape[-1])
            inside = (place >= ends[:, :1]) & (place < ends[:, 1:])
            for number, name in enumerate(self.controls.features):
                free = inside & spans[:, number : number + 1]
                if name == "velocity":
                    velocity = velocity.masked_fill(free, torch.nan)
                elif name == "instruments":
                    kinds = kinds.masked_fill(free[:, None], torch.nan)
                else:
                    pitch = pitch.masked_fill(free, torch.nan)
        facts = None
        if self.options.facts:
            facts = self.data.curves(clips, 1, 1.0)[2][..., 0].to(self.device)
        curves = self.controls.tensor(pitch, velocity, kinds, dropped)
        return data.to(self.device), curves.to(self.device), facts

    def step(self, number: int) -> dict[str, Tensor]:
        options = self.options
        generator = step_generator(options.seed, number)
        places = torch.randint(len(self.data.learnt), (options.batch,), generator=generator)
        data, curves, facts = self.batch([self.data.learnt[i] for i in places.tolist()], generator)
        with autocast(self.device):
            losses = loss_of(self.formalism, self.fast, data, generator, curves, facts)
        loss = losses.mean()
        norm = descend(loss, self.network.parameters(), *self.optimisers())
        self.ema.update()
        return {"loss": loss, "norm": norm}

    @torch.no_grad()
    def preview(self, number: int) -> dict[str, float]:
        """The loss of held-out clips, with all curves and with none."""
        clips = self.data.held[:VALIDATED]
        found: dict[str, list[float]] = {"held": [], "blind": []}
        with self.ema.applied():
            for turn in range(4):
                for name, values in found.items():
                    generator = torch.Generator().manual_seed(turn)
                    data, curves, facts = self.batch(clips, generator, dropping=False)
                    curves = torch.full_like(curves, -1.0) if name == "blind" else curves
                    losses = loss_of(self.formalism, self.network, data, generator, curves, facts)
                    values.append(float(losses.mean()))
        return {name: sum(values) / len(values) for name, values in found.items()}

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        weights = sum(p.numel() for p in self.network.parameters())
        return self.preview(0) | {"parameters": weights}

    def save(self, path: Path, steps: int) -> dict[str, Any]:
        """The averaged network."""
        told = to_publish(self.options)
        melodies = "MIDI files" if self.data.settings["midi"] else "generated"
        made_of = self.data.settings | {"midi": "", "codec": "", "melodies": melodies}
        facts = {"options": told, "steps": steps, "data": made_of}
        metadata = our_header("Plays melodies along curves of velocity, pitch and instrument.", facts)
        with self.ema.applied():
            jingle = Jingle(
                self.network, self.formalism, self.controls, self.options.space, self.frames,
                self.scaling, self.quantiser,
            )  # fmt: skip
            write_jingle(path, jingle, metadata, force=True)
        return {}
