"""Trains Mini's VAE: picture ⇄ latent, from random time crops of the corpus."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonotrain.data.corpus import Corpus, to_levels, to_pixels
from sonotrain.files.json_files import read_json
from sonotrain.files.options import option
from sonotrain.training import common
from sonotrain.training.compute import autocast, compiled, descend, step_generator
from sonotrain.training.ema import Ema, take_average
from sonotrain.training.losses import (
    PatchDiscriminator,
    adaptive_weight,
    gradient_loss,
    hinge_discriminator_loss,
    kl_loss,
)
from sonotrain.training.previews import save_sheet
from sonotrain.training.run import Run, Trainer
from sonotrain.training.run_folder import load_final

logger = logging.getLogger(__name__)

VALIDATION_CLIPS = 64  # the first of the corpus: never trained on


@dataclass(frozen=True)
class VaeOptions:
    corpus: str = option("runs/corpus", "folder of the corpus")
    clips: int = option(0, "clips to use (0: all that are there)")
    batch: int = common.batch(16, "pictures")
    crop: int = option(64, "columns of a training crop, a multiple of 8")
    learning_rate: float = option(1e-3, "peak learning rate")
    warmup: int = common.warmup(100)
    ema: float = common.ema(0.995)
    mse_weight: float = option(0.5, "weight of the squared error beside L1")
    gradient_weight: float = option(1.0, "weight of the gradient loss")
    kl_weight: float = option(1e-6, "weight of the KL divergence")
    decoder_of: str = option("", "run folder or model of a trained VAE: keep its encoder, train its decoder")
    adversarial_from: float = option(0.0, "share of the run after which a discriminator joins (0: never)")
    adversarial_weight: float = option(0.25, "weight of the adversarial loss, times the adaptive weight")
    seed: int = common.seed()
    threads: int = common.threads()
    checkpoint_minutes: float = common.checkpoint_minutes()
    preview_minutes: float = common.preview_minutes(minutes=5.0)


class VaeTrainer(Trainer):
    """vae.json holds the scaling factor 1/σ of the latents and the validation error."""

    command = "vae"
    Options = VaeOptions
    options: VaeOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        options = self.options
        if options.crop % 8 or options.crop < 16:
            raise SonopaintError(
                f"{setting('crop')} must be a multiple of 8 and at least 16, not {options.crop}."
            )
        if not 0 <= options.adversarial_from < 1:
            raise SonopaintError(
                f"{setting('adversarial_from')} is a share of the run, from 0 up to 1, not "
                f"{options.adversarial_from:g}."
            )
        corpus = open_corpus(options.corpus, options.clips)
        self.options = replace(options, clips=len(corpus))
        self.levels = corpus.levels
        self.validation = to_pixels(corpus.levels[:VALIDATION_CLIPS])

    def prepare(self) -> None:
        from diffusers import AutoencoderKL

        from sonopaint.models.mini import mini_config

        options, device = self.options, self.device
        torch.manual_seed(options.seed)
        self.facts["architecture"] = mini_config()["vae"]
        # channels_last is for CUDA: on the CPU group norms are slow with it
        self.layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self.vae = AutoencoderKL(**self.facts["architecture"]).to(device, memory_format=self.layout).train()
        if options.decoder_of:  # latents, and what was trained on them, stay valid
            self.vae.load_state_dict(load_vae(options.decoder_of, device)[0].state_dict())
            self.vae.encoder.requires_grad_(False)
            self.vae.quant_conv.requires_grad_(False)
        self.discriminator = PatchDiscriminator().to(device)
        reconstruction = _Reconstruction(self.vae)
        # the adaptive weight goes backwards twice, which compiled graphs do not allow
        self.encode_decode = reconstruction if options.adversarial_from else compiled(reconstruction, device)
        self.ema = Ema([self.vae], options.ema, every=2)
        fused = device.type == "cuda"
        self.optimiser = torch.optim.AdamW(
            [p for p in self.vae.parameters() if p.requires_grad],
            options.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=1e-4,
            fused=fused,
        )
        self.critic = torch.optim.AdamW(
            self.discriminator.parameters(), options.learning_rate / 4, betas=(0.5, 0.9), weight_decay=0.0
        )
        if device.type == "cuda":
            self.levels = self.levels.to(device)

    def parts(self) -> dict[str, Any]:
        parts = {"vae": self.vae, "ema": self.ema, "optimiser": self.optimiser}
        if self.options.adversarial_from:
            parts |= {"discriminator": self.discriminator, "critic": self.critic}
        return parts

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser, self.critic] if self.options.adversarial_from else [self.optimiser]

    def crops(self, generator: torch.Generator) -> Tensor:
        """A batch of random time crops [B, 3, 128, crop]."""
        options = self.options
        count = len(self.levels) - VALIDATION_CLIPS
        index = torch.randint(count, (options.batch,), generator=generator) + VALIDATION_CLIPS
        start = torch.randint(
            self.levels.shape[-1] - options.crop + 1, (options.batch, 1), generator=generator
        )
        picked = _cut(self.levels[index.to(self.levels.device)], start, options.crop)
        return to_pixels(picked).to(self.device, memory_format=self.layout)

    def step(self, number: int) -> dict[str, Tensor]:
        options = self.options
        pixels = self.crops(step_generator(options.seed, number))
        latent_shape = (options.batch, 4, pixels.shape[2] // 8, pixels.shape[3] // 8)
        noise = torch.randn(
            latent_shape, generator=step_generator(options.seed + 1, number, self.device), device=self.device
        )
        values = {}
        with autocast(self.device):
            output, mean, log_variance = self.encode_decode(pixels, noise)
            values["kl"] = kl_loss(mean.float(), log_variance.float())
        output = output.float()
        values["l1"] = F.l1_loss(output, pixels)
        values["gradient"] = gradient_loss(output, pixels)
        reconstruction = values["l1"] + options.mse_weight * F.mse_loss(output, pixels)
        reconstruction = reconstruction + options.gradient_weight * values["gradient"]
        loss = reconstruction + options.kl_weight * values["kl"]
        adversarial = options.adversarial_from and self.run.used >= options.adversarial_from
        if adversarial:
            values["fooled"] = fooled = -self.discriminator(output).mean()
            balance = adaptive_weight(reconstruction, fooled, self.vae.decoder.conv_out.weight)
            loss = loss + options.adversarial_weight * balance * fooled
        values["norm"] = descend(loss, self.vae.parameters(), self.optimiser)
        self.ema.update()
        if adversarial:
            values["critic"] = self._train_critic(pixels, output.detach())
        return values

    def _train_critic(self, real: Tensor, fake: Tensor) -> Tensor:
        loss = hinge_discriminator_loss(self.discriminator(real), self.discriminator(fake))
        descend(loss, self.discriminator.parameters(), self.critic, most=math.inf)
        return loss

    @torch.no_grad()
    def preview(self, number: int) -> dict[str, float]:
        """Originals over reconstructions of six validation clips, and the validation error."""
        with self.ema.applied():
            shown = self.validation[:6].to(self.device)
            rebuilt = self.vae.decode(self.vae.encode(shown).latent_dist.mode()).sample
        rows = [to_levels(shown), to_levels(rebuilt)]
        sheet = [torch.cat([row[:3] for row in rows]), torch.cat([row[3:] for row in rows])]
        save_sheet(sheet, self.run.preview_folder(number) / "sheet.png")
        return {"validation_l1": (rows[0] - rows[1]).abs().mean().item()}

    @torch.no_grad()
    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        """Scaling factor 1/σ of the latents over the validation clips; L1 in levels over 24 of them."""
        latents: list[Tensor] = []
        errors: list[float] = []
        with self.ema.applied():
            for pixels in self.validation.split(8):
                pixels = pixels.to(self.device)
                latent = self.vae.encode(pixels).latent_dist.mode()
                latents.append(latent.float().cpu())
                if len(errors) < 3:
                    rebuilt = self.vae.decode(latent).sample
                    errors.append((to_levels(rebuilt) - to_levels(pixels)).abs().mean().item())
        stacked = torch.cat(latents)
        factor, l1 = 1.0 / stacked.std().item(), sum(errors) / len(errors)
        logger.info("latents: scaling factor %.4f, L1 %.4f", factor, l1)
        return {"scaling_factor": factor, "latent_mean": stacked.mean().item(), "l1": l1}


def _cut(rows: Tensor, start: Tensor, columns: int) -> Tensor:
    """`columns` of each of rows [B, …, W], from its own start [B, 1] on."""
    places = start.to(rows.device) + torch.arange(columns, device=rows.device)
    places = places.view(len(rows), *[1] * (rows.ndim - 2), columns)
    return rows.gather(-1, places.expand(*rows.shape[:-1], columns))


class _Reconstruction(torch.nn.Module):
    """pixels, noise → reconstruction from a sampled latent, the latent's mean and log variance."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pixels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        latent = self.vae.encode(pixels).latent_dist
        sample = latent.mean + latent.std * noise
        return self.vae.decode(sample).sample, latent.mean, latent.logvar


def open_corpus(folder: str, clips: int) -> Corpus:
    """The corpus to train on; SonopaintError where it has no clips beside those of the validation."""
    corpus = Corpus(folder, clips or None)
    if len(corpus) <= VALIDATION_CLIPS:
        raise SonopaintError(f"{folder} must hold more than {VALIDATION_CLIPS} clips.")
    return corpus


def load_vae(folder: str | Path, device: torch.device) -> tuple[Any, float]:
    """The averaged VAE of a run folder, or the one of an exported model's folder, and its scaling factor."""
    from diffusers import AutoencoderKL

    from sonopaint.models.mini import is_mini, load_mini

    if is_mini(folder):
        _, vae, _, _, model = load_mini(folder)
        return vae.to(device), model["vae"]["scaling_factor"]
    factor = float(read_json(Path(folder) / "vae.json")["scaling_factor"])
    parts, config = load_final(folder)
    vae = AutoencoderKL(**{**config["architecture"], "scaling_factor": factor})
    vae.load_state_dict(parts["vae"])
    take_average([vae], parts["ema"])
    return vae.to(device).eval(), factor
