"""Trains the adapter with which Mini paints parts: extra channels for what is kept, and low-rank changes.

The model itself stays as it is; engine/sonopaint/models/inpaint.py says how the adapter is used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sonoconvert.checkpoints.files import write_tensors
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.hashes import sha256_of
from sonopaint.models.inpaint import DOWN, INPAINT_FILE, UP, kept_channels, widen
from sonotrain.data.corpus import Corpus
from sonotrain.files.options import option, to_publish
from sonotrain.trainers.mini.phrasings import Phrasings
from sonotrain.trainers.mini.vae import load_vae
from sonotrain.training import common
from sonotrain.training.adapter import Sizes, adapter_module, inject, lora_layers, without_lora
from sonotrain.training.base_model import plain_attention
from sonotrain.training.compute import autocast, descend, step_generator
from sonotrain.training.ema import Ema
from sonotrain.training.inputs.corpus_latents import corpus_latents, picture_latents
from sonotrain.training.inputs.tokens import embedded
from sonotrain.training.losses import diffused, min_snr_weights
from sonotrain.training.run import Run, Trainer

KEPT_WEIGHT = 0.1  # of errors where the painter puts the source's own latents anyway


@dataclass(frozen=True)
class InpaintOptions:
    model: str = option("weights/mini", "folder of the model that is to paint parts")
    scenes: str = option("runs/scenes", "folder of a corpus of scenes")
    rank: int = option(32, "rank of the low-rank changes")
    conv_rank: int = option(8, "rank of those of convolutions")
    batch: int = common.batch(16, "scenes")
    learning_rate: float = option(1e-3, "peak learning rate")
    warmup: int = common.warmup(50)
    ema: float = common.ema(0.99)
    snr_gamma: float = option(5.0, "γ of the min-SNR weights")
    noise_offset: float = option(0.1, "noise that is the same all over a channel, as the model was trained")
    caption_dropout: float = option(0.1, "share of scenes shown without a caption, for guidance")
    held_out: int = option(64, "scenes that only the validation sees")
    seed: int = common.seed()
    threads: int = common.threads()
    checkpoint_minutes: float = common.checkpoint_minutes()


class InpaintTrainer(Trainer):
    """inpaint.json holds the validation loss with the adapter and without; its product goes beside the model
    as inpaint.safetensors."""

    command = "inpaint"
    Options = InpaintOptions
    options: InpaintOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        if min(self.options.rank, self.options.conv_rank, self.options.batch) < 1:
            names = ", ".join(setting(name) for name in ("rank", "conv_rank", "batch"))
            raise SonopaintError(f"{names} must be at least 1.")
        if not (Path(self.options.model) / "unet.safetensors").is_file():
            raise SonopaintError(f"{self.options.model} holds no Mini; name one with {setting('model')}.")

    def prepare(self) -> None:
        from sonopaint.models.mini import load_mini
        from sonopaint.models.schedule import scaled_linear_alphas_cumprod

        options, device = self.options, self.device
        unet, _, text_encoder, tokenizer, _ = load_mini(options.model)
        self.facts |= {"base": sha256_of(Path(options.model) / "unet.safetensors")}
        self.text_encoder = text_encoder.to(device).requires_grad_(False)
        self.scenes = Scenes(options.scenes, tokenizer, options.model, device)
        if not 0 < options.held_out < len(self.scenes.after):
            raise SonopaintError(f"{setting('held_out')} must be 1 to {len(self.scenes.after) - 1}.")
        torch.manual_seed(options.seed)
        names = [
            name
            for name, module in unet.named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d) and name != "conv_in"
        ]
        inject(unet, names, Sizes(options.rank, float(options.rank), options.conv_rank))
        widen(unet)  # anew, where the model has an adapter already
        unet.conv_in.requires_grad_(False)
        unet.conv_in.kept.requires_grad_(True)
        self.unet = unet.to(device).train()
        if device.type == "cpu":
            plain_attention(self.unet)
        self.learnt = nn.ParameterList([p for p in self.unet.parameters() if p.requires_grad])
        self.alphas = scaled_linear_alphas_cumprod().float().to(device)
        self.ema = Ema([self.learnt], options.ema)
        self.optimiser = torch.optim.AdamW(self.learnt, options.learning_rate, betas=(0.9, 0.99), fused=True)

    def parts(self) -> dict[str, Any]:
        return {"learnt": self.learnt, "ema": self.ema, "optimiser": self.optimiser}

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser]

    def loss(
        self, latents: Tensor, kept: Tensor, noise: Tensor, timesteps: Tensor, ids: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(min-SNR weighted loss, mean squared error inside the box) of predicting the noise.

        `latents` [B, 4, H, W] of the painted scenes, `kept` [B, 5, H, W] their extra channels, `ids` [B, 77].
        """
        latents, kept, noise = (values.to(self.device) for values in (latents, kept, noise))
        timesteps = timesteps.to(self.device)
        noisy = torch.cat([diffused(latents, noise, self.alphas[timesteps]), kept], 1)
        with autocast(self.device):
            text = embedded(self.text_encoder, ids.to(self.device))
            predicted = self.unet(noisy, timesteps, text, return_dict=False)[0]
        squares, painted = (predicted.float() - noise).square(), 1.0 - kept[:, :1]
        weight = painted + KEPT_WEIGHT * kept[:, :1]
        errors = (squares * weight).mean((1, 2, 3)) / weight.mean((1, 2, 3))
        inside = (squares * painted).mean() / painted.mean()
        return (min_snr_weights(self.alphas, timesteps, self.options.snr_gamma) * errors).mean(), inside

    def step(self, number: int) -> dict[str, Tensor]:
        options = self.options
        generator = step_generator(options.seed, number)
        count = len(self.scenes.after) - options.held_out
        picked = torch.randint(count, (options.batch,), generator=generator) + options.held_out
        texts = self.scenes.phrasings.choose(picked.tolist(), generator)
        texts[torch.rand(len(picked), generator=generator) < options.caption_dropout] = 0
        latents, kept = self.scenes.draw(picked, generator)
        timesteps = torch.randint(len(self.alphas), (options.batch,), generator=generator)
        noise = torch.randn(latents.shape, generator=generator)
        noise += options.noise_offset * torch.randn((*latents.shape[:2], 1, 1), generator=generator)
        loss, error = self.loss(latents, kept, noise, timesteps, self.scenes.phrasings.ids[texts])
        norm = descend(loss, self.learnt, self.optimiser)
        self.ema.update()
        return {"loss": loss, "mse": error, "norm": norm}

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        with self.ema.applied():
            return {"validation_mse": self.validate(), "validation_mse_blind": self.validate(blind=True)}

    @torch.no_grad()
    def validate(self, *, blind: bool = False) -> float:
        """Mean squared error inside the boxes of held-out scenes, with fixed noise and timesteps; `blind`:
        of the model without the adapter."""
        generator, count = torch.Generator().manual_seed(1), self.options.held_out
        picked = torch.arange(count)
        latents, kept = self.scenes.draw(picked, generator)
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = torch.linspace(10, len(self.alphas) - 10, count).long()
        ids = self.scenes.phrasings.first(count)
        weights = self.unet.conv_in.kept
        before = weights.detach().clone()
        if blind:
            weights.zero_()
        errors = []
        with without_lora(*([self.unet] if blind else [])):
            for part in picked.split(16):
                values = (latents[part], kept[part], noise[part], timesteps[part], ids[part])
                errors.append(self.loss(*values)[1].item())
        weights.copy_(before)
        return sum(errors) / len(errors)

    def save(self, path: Path, steps: int) -> dict[str, Any]:
        """The averaged adapter, fp16."""
        facts = {"options": to_publish(self.options), "steps": steps, "base_sha256": self.facts["base"]}
        tensors = {}
        with self.ema.applied():
            tensors["kept"] = self.unet.conv_in.kept.detach().cpu().half().contiguous()
            for name, layer in lora_layers(self.unet):
                module = adapter_module(layer)
                tensors[name + DOWN], tensors[name + UP] = module.down.half(), module.up.half()
        metadata = {"format": "pt", "sonopaint.training": json.dumps(facts)}
        write_tensors(path, tensors, metadata, force=True)
        return {"goes_to": str(Path(self.options.model) / INPAINT_FILE)}


class Scenes:
    """A corpus of scenes as latents: what the box holds after it was painted, and the clip before.

    `after`, `before`: float16 [N, 4, 16, 40]; `boxes`: int64 [N, 4], rows (lowest first) and columns.
    """

    def __init__(self, folder: str, tokenizer: Any, vae: str, device: torch.device) -> None:
        corpus = Corpus(folder)
        if corpus.before is None or corpus.boxes is None:
            raise SonopaintError(
                f'{folder} holds no scenes; make some with "sonotrain base corpus --content scenes".'
            )
        self.phrasings, self.boxes = Phrasings(corpus, tokenizer), corpus.boxes
        coder = load_vae(vae, device)
        self.after = corpus_latents(corpus, *coder, device)
        self.before = picture_latents(corpus.before, corpus.folder, *coder, device)

    def draw(self, picked: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Of the scenes `picked` [B] the latents to paint [B, 4, 16, 40] and the extra channels
        [B, 5, 16, 40].

        What is painted is the box, grown at random: by up to two cells, or with a ragged edge as of a brush.
        """
        count = len(picked)
        painted = torch.zeros(count, 1, *self.after.shape[-2:])
        height = painted.shape[-2]
        grown = torch.randint(3, (count, 4), generator=generator)
        for mask, (low, high, first, last), grow in zip(
            painted, self.boxes[picked].tolist(), grown.tolist(), strict=True
        ):
            top, bottom = max(0, height - high - grow[0]), height - low + grow[1]
            mask[:, top:bottom, max(0, first - grow[2]) : last + grow[3]] = 1.0
        ragged = torch.rand(painted.shape, generator=generator) < 0.3
        near = nn.functional.max_pool2d(painted, 3, stride=1, padding=1)
        brush = torch.rand(count, 1, 1, 1, generator=generator) < 0.3
        painted = torch.where(brush & ragged, near, painted)
        return self.after[picked].float(), kept_channels(self.before[picked].float(), painted)
