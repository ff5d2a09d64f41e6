"""`sonotrain distill`: a base model becomes a student that paints in one step (DMD2, arXiv:2405.14867).

Lessons first: the student repeats what the teacher painted from the same noise in many steps (DMD's
regression). Then distribution matching with a fake teacher on a faster time scale, and a discriminator.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonotrain.data.corpus import to_levels
from sonotrain.files.options import to_publish
from sonotrain.trainers.distill.data import Texts, open_sounds
from sonotrain.trainers.distill.options import DistillOptions
from sonotrain.trainers.distill.pairs import load_pairs, make_pairs
from sonotrain.trainers.one_step import output
from sonotrain.trainers.one_step.discriminator import Heads
from sonotrain.trainers.one_step.networks import FullNetworks
from sonotrain.trainers.one_step.step import Batch, Hyperparameters, Iteration, Losses
from sonotrain.training.base_model import load_base, plain_attention
from sonotrain.training.compute import autocast, descend, step_generator
from sonotrain.training.ema import Ema
from sonotrain.training.loop import cosine
from sonotrain.training.previews import save_sheet
from sonotrain.training.run import Run, Trainer

logger = logging.getLogger(__name__)

PREVIEWS = 8
PREVIEW_SEED = 1


class Distillation(Trainer):
    """Leaves model (or model.safetensors) and lora.safetensors; distill.json says what the LoRA keeps."""

    command = "distill"
    Options = DistillOptions
    options: DistillOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        options = self.options
        if options.batch < 1 or options.ratio < 1 or options.rank < 1:
            raise SonopaintError(
                f"{setting('batch')}, {setting('ratio')} and {setting('rank')} must be at least 1."
            )
        if not 0.0 <= options.lessons <= 1.0:
            raise SonopaintError(f"{setting('lessons')} is a share from 0 to 1, not {options.lessons:g}.")
        if options.lessons and options.pairs < 1:
            raise SonopaintError(
                f"Lessons need {setting('pairs')} above 0; leave them out with {setting('lessons')} 0."
            )
        self.model, self.facts["base"] = load_base(options.model, self.device)
        if not 0 < options.timestep < len(self.model.alphas_cumprod):
            raise SonopaintError(f"{setting('timestep')} must be 1 to {len(self.model.alphas_cumprod) - 1}.")

    def prepare(self) -> None:
        options, device, model = self.options, self.device, self.model
        self.guidance = options.guidance_scale or float(model.defaults["guidance_scale"])
        self.alphas_cumprod = model.alphas_cumprod.float().to(device)
        fingerprint = self.facts["base"]["sha256"]
        self.sounds = open_sounds(
            model, fingerprint, options.corpus, options.dataset, self.run.path / "cache"
        )
        self.pairs = self._pairs() if options.lessons else None
        texts = self.sounds.texts + (self.pairs[2] if self.pairs else [])
        self.texts = Texts(model, texts)
        self.networks = self._networks()
        self.heads = Heads(self.networks.feature_channels()).to(device)
        hyper = Hyperparameters(
            target_weight=0.0, ratio=options.ratio, guidance_scale=self.guidance,
            student_adversarial=options.student_adversarial, critic_adversarial=options.critic_adversarial,
            adversary=cast(Any, options.adversary), normaliser=cast(Any, options.normaliser),
            timestep=options.timestep,
        )  # fmt: skip
        self.losses = Losses(self.networks, self.heads, self.alphas_cumprod, hyper)
        student, fake = self.networks.trained("student"), self.networks.trained("fake")
        adam: dict[str, Any] = {"betas": (0.9, 0.999), "weight_decay": 0.01, "fused": True}
        self.learners: dict[str, torch.optim.Optimizer] = {
            "lessons": torch.optim.AdamW(student, lr=options.lesson_rate, **adam),
            "student": torch.optim.AdamW(student, lr=options.learning_rate, **adam),
            "critic": torch.optim.AdamW([*fake, *self.heads.parameters()], lr=options.critic_rate, **adam),
        }
        self.iteration = Iteration(self.losses, self.learners, lambda: autocast(device))
        self.ema = Ema([self.networks.unets["student"]], options.ema)

    def _pairs(self) -> tuple[Tensor, Tensor, list[str]]:
        options = self.options
        folder = Path(options.pair_folder or self.run.path / "pairs").expanduser()
        shape = cast(tuple[int, int, int], tuple(self.sounds.latents.shape[1:]))
        make_pairs(
            self.model, self.sounds.texts[1:], folder, options.pairs, shape=shape,
            steps=options.pair_steps, guidance_scale=self.guidance, seed=options.seed,
        )  # fmt: skip
        return load_pairs(folder, options.pairs)

    def _networks(self) -> FullNetworks:
        base = self.model.unet
        student = copy.deepcopy(base)
        if self.options.student:
            from sonopaint.models.loading import load_model
            from sonopaint.models.students import student_of

            path, loras = student_of(self.options.model, self.options.student)
            started = load_model(path, device=self.device, dtype=torch.float32, loras=loras)
            student.load_state_dict(started.unet.state_dict())
        networks = FullNetworks(
            {"student": student, "fake": copy.deepcopy(base), "source": base},
            self.alphas_cumprod,
            self.model.prediction_type,
        )
        if not self.options.biases:
            for parameter in student.parameters():
                parameter.requires_grad_(parameter.ndim in (2, 4))
        if self.device.type == "cpu":
            plain_attention(*networks.unets.values())
        return networks

    def parts(self) -> dict[str, Any]:
        """All that a checkpoint holds."""
        optimisers = {f"optimiser of {name}": part for name, part in self.learners.items()}
        return {**self.networks.parts(), "heads": self.heads, "ema": self.ema, **optimisers}

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return list(self.learners.values())

    @property
    def learning(self) -> bool:
        """Whether lessons are still given."""
        return self.run.used < self.options.lessons

    def schedule(self, used: float, step: int) -> float:
        """Warm-up and cosine for the lessons, and again for distribution matching."""
        share = self.options.lessons
        part = used / share if used < share else (used - share) / (1.0 - share)
        return min(1.0, 0.02 + part / 0.02) * cosine(part)

    def step(self, number: int) -> dict[str, Tensor]:
        generator = step_generator(self.options.seed + 1, number)
        return self._lesson(generator) if self.learning else self._match(number, generator)

    def _lesson(self, generator: torch.Generator) -> dict[str, Tensor]:
        assert self.pairs is not None
        noise, latents, _ = self.pairs
        chosen = torch.randint(len(noise), (self.options.batch,), generator=generator)
        text = self.texts([len(self.sounds.texts) + k for k in chosen.tolist()])
        with autocast(self.device):
            painted = self.losses.paint(noise[chosen].to(self.device).float(), text)
        loss = F.mse_loss(painted.float(), latents[chosen].to(self.device).float())
        norm = descend(loss, self.networks.trained("student"), self.learners["lessons"])
        self.ema.update()
        return {"lesson": loss, "norm": norm}

    def _match(self, number: int, generator: torch.Generator) -> dict[str, Tensor]:
        count = self.options.batch
        real, real_texts = self.sounds.draw(generator, count)
        _, texts = self.sounds.draw(generator, count)
        noises = torch.randn((3, *real.shape), generator=generator).to(self.device)
        steps = len(self.alphas_cumprod)
        timesteps = torch.randint(round(0.02 * steps), round(0.98 * steps), (count,), generator=generator)
        text = self.texts(texts)
        batch = Batch(
            seed_noise=noises[0], text=text, prior=text, empty=self.texts.empty, real=real.to(self.device),
            real_text=self.texts(real_texts), noise=noises[1], real_noise=noises[2],
            timesteps=timesteps.to(self.device),
        )  # fmt: skip
        told = self.iteration.step(number, batch, target=False)
        if number % self.options.ratio == 0:
            self.ema.update()
        return {name: told[name] for name in ("fake", "critic_gan", "real_logit", "fake_logit")}

    @torch.no_grad()
    def preview(self, number: int) -> dict[str, float]:
        """Pictures of some captions from fixed noise, and how far two seeds of one caption are apart."""
        generator = torch.Generator().manual_seed(PREVIEW_SEED)
        _, texts = self.sounds.draw(generator, PREVIEWS)
        noise = torch.randn((2 * PREVIEWS, *self.sounds.latents.shape[1:]), generator=generator)
        with self.ema.applied(), autocast(self.device):
            latents = self.losses.paint(noise.to(self.device), self.texts(texts).repeat(2, 1, 1))
        pixels = [
            self.model.vae.decode(part / self.model.vae_scale).sample for part in latents.float().split(4)
        ]
        levels = to_levels(torch.cat(pixels)).cpu()
        save_sheet(list(levels.split(4)), self.run.preview_folder(number) / "sheet.png")
        first, second = latents.chunk(2)
        return {"seeds_apart": (first - second).square().mean().sqrt().item(), "spread": latents.std().item()}

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        """The averaged student as a model and as a LoRA, and the share of the change that the LoRA keeps."""
        facts = {"method": "DMD2", "options": to_publish(self.options), **result}
        header = output.one_step_header(self.options.timestep, facts)
        with self.ema.applied():
            student = self.networks.unets["student"].state_dict()
            weights = {name: tensor.clone() for name, tensor in student.items()}
        base, folder, rank = self.model.path, self.run.path, self.options.rank
        name = "model" if base.is_dir() and (base / "config.json").is_file() else "model.safetensors"
        output.save_model(base, weights, folder / name, header)
        kept = output.save_lora(base, weights, folder / "lora.safetensors", header, rank=rank)
        return {"lora_keeps": kept}
