"""Trains what knows how rough noise should be where a VAE has blurred it (``sonopaint.models.grain``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.pictures.format import get_format
from sonopaint.models.grain import GRAIN_FILE, LEAST, GrainNetwork, roughness, save_grain, with_grain
from sonotrain.data.corpus import FORMAT, Corpus, to_levels, to_pixels
from sonotrain.files.options import option, to_publish
from sonotrain.files.pace import Pace
from sonotrain.files.tensors import keep, kept
from sonotrain.trainers.mini.vae import load_vae
from sonotrain.training import common
from sonotrain.training.compute import descend, step_generator
from sonotrain.training.ema import Ema
from sonotrain.training.previews import save_sheet
from sonotrain.training.run import Run, Trainer
from sonotrain.training.weights import facts_of, our_header

HELD_OUT = 32  # the first clips: never trained on
TOLD_S = 15.0  # between words about how far the VAE is


@dataclass(frozen=True)
class GrainOptions:
    model: str = option("weights/mini", "folder of the model, or run folder of the VAE, that blurs")
    corpus: str = option("runs/corpus", "folder of the corpus")
    clips: int = option(600, "clips of it to learn from (0: all)")
    channels: int = option(16, "channels of the network")
    batch: int = common.batch(4, "crops")
    crop: int = option(64, "columns of a training crop")
    latent_noise: float = option(
        0.05, "noise on the latents, in standard deviations: what is painted is not exact"
    )
    learning_rate: float = option(3e-3, "peak learning rate")
    warmup: int = common.warmup(50)
    ema: float = common.ema(0.98)
    seed: int = common.seed()
    threads: int = common.threads()
    checkpoint_minutes: float = common.checkpoint_minutes(3.0)
    preview_minutes: float = common.preview_minutes()


class GrainTrainer(Trainer):
    """grain.json holds the loss on held-out clips, and their roughness as share of the original's."""

    command = "grain"
    Options = GrainOptions
    options: GrainOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        options = self.options
        if options.crop < 16 or options.channels < 4:
            raise SonopaintError(
                f"{setting('crop')} must be at least 16, and {setting('channels')} at least 4."
            )
        corpus = Corpus(options.corpus, options.clips + HELD_OUT if options.clips else None)
        if len(corpus) <= HELD_OUT:
            raise SonopaintError(
                f"{options.corpus} has {len(corpus)} clips; more than {HELD_OUT} are needed."
            )
        self.levels = corpus.levels

    def prepare(self) -> None:
        options = self.options
        self.true = self.levels.float() / 255
        self.blurred = self._through_vae(self.run.path / "blurred.safetensors").float()
        self.due = (roughness(self.true) + LEAST).log()
        torch.manual_seed(options.seed)
        self.network = GrainNetwork(get_format(FORMAT), options.channels).to(self.device)
        self.ema = Ema([self.network], options.ema)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), options.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )

    @torch.no_grad()
    def _through_vae(self, path: Path) -> Tensor:
        """Levels [N, 128, 320] of all clips as the VAE gives them back, kept in the run's folder."""
        if found := kept(path):
            return found["levels"]
        vae, factor = load_vae(self.options.model, self.device)
        generator, pace = step_generator(self.options.seed, -1), Pace(TOLD_S)
        rows: list[Tensor] = []
        for first in range(0, len(self.levels), 8):
            pixels = to_pixels(self.levels[first : first + 8]).to(self.device)
            latent = vae.encode(pixels).latent_dist.mode()
            noise = torch.randn(latent.shape, generator=generator).to(latent)
            latent = latent + self.options.latent_noise / factor * noise
            rows.append(to_levels(vae.decode(latent).sample).cpu().half())
            if pace.due():
                left = pace.left(first + 8, len(self.levels) - first - 8)
                self.run.preparing(f"through the VAE: {first + 8} of {len(self.levels)} clips, {left} left")
        keep(path, {"levels": torch.cat(rows)})
        return torch.cat(rows)

    def parts(self) -> dict[str, Any]:
        return {"network": self.network, "ema": self.ema, "optimiser": self.optimiser}

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser]

    def loss(self, blurred: Tensor, due: Tensor) -> Tensor:
        """Mean distance in the logarithm, of what is loud above all: the usual is learnt, not an onset."""
        blurred, due = blurred.to(self.device), due.to(self.device)
        weight = blurred.square() + 0.02
        return ((self.network(blurred) - due).abs() * weight).sum() / weight.sum().clamp_min(1e-6)

    def step(self, number: int) -> dict[str, Tensor]:
        options, generator = self.options, step_generator(self.options.seed, number)
        clips = HELD_OUT + torch.randint(len(self.true) - HELD_OUT, (options.batch,), generator=generator)
        start = int(torch.randint(self.true.shape[-1] - options.crop + 1, (1,), generator=generator))
        crop = slice(start, start + options.crop)
        loss = self.loss(self.blurred[clips, :, crop], self.due[clips, :, crop])
        norm = descend(loss, self.network.parameters(), self.optimiser)
        self.ema.update()
        return {"loss": loss, "norm": norm}

    @torch.no_grad()
    def preview(self, number: int) -> dict[str, float]:
        """Originals, what the VAE makes of them, and that with its grain, of three held-out clips."""
        with self.ema.applied():
            rows = [self.true[:3], self.blurred[:3], self._grained(3)]
            save_sheet(rows, self.run.preview_folder(number) / "sheet.png")
            return {"validation": self.loss(self.blurred[:HELD_OUT], self.due[:HELD_OUT]).item()}

    @torch.no_grad()
    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        with self.ema.applied():
            shown = (self.true[:HELD_OUT], self.blurred[:HELD_OUT], self._grained(HELD_OUT))
            true, blurred, grained = (float(roughness(levels).mean()) for levels in shown)
            validation = self.loss(self.blurred[:HELD_OUT], self.due[:HELD_OUT]).item()
        return {
            "validation": validation,
            "roughness_blurred": blurred / true,
            "roughness": grained / true,
        }

    def _grained(self, count: int) -> Tensor:
        return with_grain(self.network, self.blurred[:count].to(self.device)).cpu()

    def save(self, path: Path, steps: int) -> dict[str, Any]:
        """The averaged network, fp16."""
        data = "synthesised sounds (foley corpus), no recordings"
        facts = facts_of(self.run.path, self.command, data, to_publish(self.options)) | {"steps": steps}
        header = our_header("How rough noise is where a model's VAE blurs it.", facts)
        with self.ema.applied():
            save_grain(self.network, path, header, force=True)
        return {"goes_to": str(Path(self.options.model) / GRAIN_FILE)}
