"""`sonotrain audioldm`: AudioLDM learns a set of classes, lightly (Desbos 2026, section 3.4.1).

The U-Net and its projection of the text (``class_embedding``) learn for 200 steps; CLAP, VAE and vocoder are
frozen. The class is all that the text says. What the document does not give (rate, batch, optimiser) is ours.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import write_text
from sonoconvert.files.hashes import sha256_of
from sonotrain.data.esc50 import is_esc50
from sonotrain.files.options import option
from sonotrain.trainers.audioldm.data import Sounds, labelled, prepare_sounds
from sonotrain.training import common
from sonotrain.training.adapter import Sizes, inject, lora_layers, target_modules, trained
from sonotrain.training.compute import autocast, descend, step_generator
from sonotrain.training.loop import Budget, cosine, warmed_up
from sonotrain.training.losses import diffused
from sonotrain.training.objective import OBJECTIVES, draw_timesteps, loss_weights, target
from sonotrain.training.run import Run, Trainer

logger = logging.getLogger(__name__)

METHODS = ("lora", "whole")
RATES = {"lora": 1e-4, "whole": 1e-5}
PROJECTION = "class_embedding"
PART = 16  # one sound of so many is held out, where there are no folds
CHECKED = 4  # noise levels of the validation


@dataclass(frozen=True)
class AudioldmOptions:
    dataset: str = option("", "ESC-50's folder, or any folder with a folder of sounds for each class")
    folds: str = option("1,2,3", "folds of ESC-50 to learn from")
    held_out: str = option("4", "folds of ESC-50 to validate on (of others: every 16th sound)")
    model: str = option("", "folder of an AudioLDM pipeline, such as audioldm-m-full")
    method: str = option("lora", "lora: small changes of the attention; whole: all of the U-Net", METHODS)
    rank: int = option(8, "rank of the LoRA")
    steps: int = option(200, "optimiser steps")
    batch: int = common.batch(4)
    learning_rate: float = option(0.0, "peak learning rate (0: 1e-4 for lora, 1e-5 for whole)")
    objective: str = option("diffusion", "diffusion, or flow: the velocity's loss", OBJECTIVES)
    snr_gamma: float = option(5.0, "γ of the Min-SNR weights (0: none)")
    caption_dropout: float = option(0.1, "share of clips shown without a text, for guidance")
    seconds: float = option(5.12, "length of what is learnt")
    warmup: float = common.warmup_share()
    seed: int = common.seed()
    threads: int = common.threads()
    checkpoint_every: int = common.checkpoint_every(50)
    log_every: int = common.log_every()


class AudioldmTrainer(Trainer):
    """Leaves a whole pipeline, for diffusers and `sonopaint variations`, in RUN/model."""

    command = "audioldm"
    Options = AudioldmOptions
    options: AudioldmOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        options = self.options
        if options.batch < 1 or options.steps < 1 or options.rank < 1 or options.seconds <= 0:
            names = ", ".join(setting(name) for name in ("batch", "steps", "rank", "seconds"))
            raise SonopaintError(f"{names} must be above 0.")
        if not 0 <= options.caption_dropout <= 1:
            raise SonopaintError(f"{setting('caption_dropout')} is a share from 0 to 1.")
        folder = Path(options.model).expanduser()
        unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
        if not options.model or not (folder / "model_index.json").is_file() or not unet.is_file():
            raise SonopaintError(
                f"{options.model or 'No folder'} is no AudioLDM pipeline; give {setting('model')} a folder "
                "with model_index.json, unet/, vae/, text_encoder/, tokenizer/ and vocoder/, such as a "
                "download of cvssp/audioldm-m-full with safetensors."
            )
        self.found = labelled(options.dataset, options.folds)
        if is_esc50(options.dataset):
            self.checked = labelled(options.dataset, options.held_out)
        else:
            self.checked = self.found[::PART]
            self.found = [one for one in self.found if one not in self.checked] or self.checked
        self.facts |= {"base": sha256_of(unet), "clips": len(self.found)}

    def prepare(self) -> None:
        options, device = self.options, self.device
        self.pipe = load_pipeline(options.model).to(device)
        self.run.preparing("encoding the sounds")
        self.sounds, self.held_out = (
            prepare_sounds(self.pipe, found, options.seconds, device, self.run.path / "cache")
            for found in (self.found, self.checked)
        )
        self.unet = unet = self.pipe.unet
        self.alphas = self.pipe.scheduler.alphas_cumprod.float().to(device)
        self.prediction = str(self.pipe.scheduler.config.prediction_type)
        for part in (self.pipe.vae, self.pipe.text_encoder, self.pipe.vocoder):
            part.requires_grad_(False)
        self.before = self.validate()
        torch.manual_seed(options.seed)
        if options.method == "lora":
            names = target_modules(unet, "attention")
            names += [PROJECTION] if isinstance(getattr(unet, PROJECTION, None), nn.Linear) else []
            inject(unet, names, Sizes(options.rank, float(options.rank), options.rank))
        else:
            unet.requires_grad_(True)
        unet.train()
        self.parameters = nn.ParameterList(trained(unet))
        rate = options.learning_rate or RATES[options.method]
        self.optimiser = torch.optim.AdamW(self.parameters, lr=rate, weight_decay=0.01)

    def budget(self) -> Budget:
        return Budget(steps=self.options.steps)

    def parts(self) -> dict[str, Any]:
        return {"weights": self.parameters, "optimiser": self.optimiser}

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser]

    def schedule(self, used: float, step: int) -> float:
        warmup = self.options.warmup
        steps = warmup * self.options.steps if warmup < 1 else warmup
        return warmed_up(cosine, used, step, round(steps), self.run.schedule)

    def errors(
        self, sounds: Sounds, clips: Tensor, texts: Tensor, steps: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(weighted, plain) squared errors [B] for some clips with some texts at some noise levels."""
        device, options = self.device, self.options
        latents, steps, noise = sounds.latents[clips].to(device), steps.to(device), noise.to(device)
        alphas = self.alphas[steps]
        with autocast(device):
            answer = self.unet(
                diffused(latents, noise, alphas), steps, None, class_labels=sounds.texts[texts].to(device)
            ).sample
        wanted = target(latents, noise, alphas, self.prediction)
        error = (answer.float() - wanted).square().mean((1, 2, 3))
        weights = loss_weights(self.alphas, steps, self.prediction, options.snr_gamma, options.objective)
        return weights * error, error

    def step(self, number: int) -> dict[str, Tensor]:
        options = self.options
        generator = step_generator(options.seed, number)
        clips = torch.randint(len(self.sounds), (options.batch,), generator=generator)
        texts = self.sounds.text_of[clips].clone()
        texts[torch.rand(len(texts), generator=generator) < options.caption_dropout] = -1  # ""
        steps = draw_timesteps(self.alphas, options.batch, generator, options.objective)
        noise = torch.randn(self.sounds.latents[clips].shape, generator=generator)
        loss, plain = self.errors(self.sounds, clips, texts, steps, noise)
        norm = descend(loss.mean(), self.parameters, self.optimiser)
        if not torch.isfinite(norm):
            raise SonopaintError(
                f"Training has exploded at step {number}: lower {setting('learning_rate')} and start anew."
            )
        return {"loss": loss.mean().detach(), "mse": plain.mean().detach(), "norm": norm}

    @torch.no_grad()
    def validate(self) -> float:
        """Plain error of the held-out sounds at fixed noise levels and noise."""
        sounds, total = self.held_out, 0.0
        self.unet.eval()
        noise = torch.randn(sounds.latents.shape, generator=torch.Generator().manual_seed(1))
        levels = torch.linspace(0, len(self.alphas) - 1, CHECKED + 2).long()[1:-1]
        for level in levels.tolist():
            for clips in torch.arange(len(sounds)).split(self.options.batch):
                steps = torch.full((len(clips),), level)
                _, plain = self.errors(sounds, clips, sounds.text_of[clips], steps, noise[clips])
                total += float(plain.sum())
        self.unet.train()
        return total / (len(sounds) * CHECKED)

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        after = self.validate()
        merge(self.unet)
        out = self.run.path / "model"
        self.pipe.unet.eval()
        self.pipe.save_pretrained(out, safe_serialization=True)
        logger.info("%s is ready; held-out error %.4f, before %.4f", out, after, self.before)
        return {"validation_loss": after, "validation_loss_before": self.before, "model": out.name}

    def write_card(self, name: str, result: dict[str, Any]) -> None:
        text = (
            f"# {name}\n\nAudioLDM ({Path(self.options.model).name}), fine-tuned ({self.options.method}) on "
            f"{len(self.found)} sounds of {len(self.sounds.texts) - 1} classes for {result['steps']} steps. "
            f"Error of held-out sounds: {result['validation_loss_before']:.4f} before, "
            f"{result['validation_loss']:.4f} after. The weights keep AudioLDM's licence.\n"
        )
        write_text(self.run.path / "README.md", text, force=True)


def load_pipeline(folder: str | Path) -> Any:
    """AudioLDM from a folder, fp32; SonopaintError where it is damaged or another model."""
    from diffusers import AudioLDMPipeline

    try:
        pipe = AudioLDMPipeline.from_pretrained(
            str(Path(folder).expanduser()), local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SonopaintError(f"{folder} can't be loaded as AudioLDM ({reason}); get it anew.") from error
    return pipe


def merge(module: nn.Module) -> None:
    """Puts what peft's layers learnt into the layers themselves, and takes peft's away."""
    for name, layer in list(lora_layers(module)):
        layer.merge()
        parent, _, last = name.rpartition(".")
        setattr(module.get_submodule(parent), last, layer.get_base_layer())
