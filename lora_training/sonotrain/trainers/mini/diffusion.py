"""Trains Mini's U-Net and text encoder together on latents: diffusion with min-SNR weights, or flow."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sonoconvert.errors import SonopaintError, setting
from sonotrain.data.corpus import FORMAT
from sonotrain.files.json_files import read_json
from sonotrain.files.options import option
from sonotrain.trainers.mini.phrasings import Phrasings
from sonotrain.trainers.mini.text import load_text
from sonotrain.trainers.mini.vae import VALIDATION_CLIPS, load_vae, open_corpus
from sonotrain.training import common
from sonotrain.training.base_model import plain_attention
from sonotrain.training.compute import autocast, compiled, step_generator
from sonotrain.training.ema import Ema, take_average
from sonotrain.training.inputs.corpus_latents import corpus_latents
from sonotrain.training.inputs.tokens import embedded
from sonotrain.training.losses import diffused
from sonotrain.training.objective import (
    OBJECTIVES,
    PREDICTIONS,
    draw_timesteps,
    loss_weights,
    prediction_of,
    target,
)
from sonotrain.training.previews import save_sheet
from sonotrain.training.run import Run, Trainer
from sonotrain.training.run_folder import load_final

logger = logging.getLogger(__name__)

PREVIEW_PROMPTS = (
    "a dog barking",
    "rain falling",
    "a siren wailing",
    "birds chirping",
    "a snare drum playing",
    "a distant, low train horn",
    "a gun firing",
    "a dog barks, then a siren passes",
)


@dataclass(frozen=True)
class DiffusionOptions:
    corpus: str = option("runs/corpus", "folder of the corpus")
    vae: str = option("runs/vae", "run folder of the VAE")
    text: str = option("runs/text", "run folder of the text encoder")
    start: str = option("", "folder of a model to train on, in place of --vae and --text")
    clips: int = option(0, "clips to use (0: all that are there)")
    batch: int = common.batch(16)
    learning_rate: float = option(5e-4, "peak learning rate of the U-Net")
    text_learning_rate: float = option(1e-4, "peak learning rate of the text encoder")
    text_every: int = option(4, "train the text encoder at every so many steps (it is costly on a CPU)")
    warmup: int = common.warmup(100)
    ema: float = common.ema(0.999)
    objective: str = option("diffusion", "diffusion, or flow: the velocity's loss", OBJECTIVES)
    prediction: str = option(
        "auto",
        "epsilon, v_prediction or sample, which is the sound itself (auto: as --start says, else epsilon)",
        PREDICTIONS,
    )
    flow_mean: float = option(0.0, "flow: mean of the times' logit, lower is noisier")
    flow_spread: float = option(1.0, "flow: spread of the times' logit (0: all times alike)")
    snr_gamma: float = option(5.0, "γ of the min-SNR weights")
    noise_offset: float = option(
        0.1, "noise that is the same all over a channel, beside the noise of each cell: teaches silence"
    )
    caption_dropout: float = option(0.1, "share of clips shown without a caption, for guidance")
    filler_words: float = option(
        0.3, "share of captions shown among words that say nothing, so that such words change nothing"
    )
    seed: int = common.seed()
    threads: int = common.threads()
    checkpoint_minutes: float = common.checkpoint_minutes()
    preview_minutes: float = common.preview_minutes()
    preview_steps: int = option(20, "sampling steps of previews", free=True)


class DiffusionTrainer(Trainer):
    """diffusion.json holds the validation loss."""

    command = "diffusion"
    Options = DiffusionOptions
    options: DiffusionOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        options = self.options
        if options.text_every < 1 or options.batch < 1:
            raise SonopaintError(f"{setting('batch')} and {setting('text_every')} must be at least 1.")
        self.corpus = open_corpus(options.corpus, options.clips)
        options = replace(options, clips=len(self.corpus))
        if options.start:
            options = replace(options, vae=options.start, text=options.start)
            says = read_json(Path(options.start) / "config.json")["scheduler"].get(
                "prediction_type", "epsilon"
            )
        else:
            says = "epsilon" if options.prediction == "auto" else options.prediction
        options = replace(options, prediction=prediction_of(options.prediction, says))
        self.options = options
        self.prompts = list(PREVIEW_PROMPTS)

    def prepare(self) -> None:
        from diffusers import UNet2DConditionModel

        from sonopaint.models.mini import load_mini, mini_config
        from sonopaint.models.schedule import scaled_linear_alphas_cumprod

        options, device, corpus = self.options, self.device, self.corpus
        self.text_encoder, self.tokenizer = load_text(options.text)
        self.text_encoder = self.text_encoder.to(device).train()
        self.phrasings = Phrasings(corpus, self.tokenizer)
        self.fillers = self.phrasings.fillers(self.tokenizer)
        latents = corpus_latents(corpus, *load_vae(options.vae, device), device)
        self.latents = latents.to(device) if device.type == "cuda" else latents
        torch.manual_seed(options.seed)
        architecture = mini_config()["unet"]
        unet = load_mini(options.start)[0] if options.start else UNet2DConditionModel(**architecture)
        self.facts |= {"architecture": architecture}
        self.unet = unet.to(device).train()
        if device.type == "cuda":
            self.unet.to(memory_format=torch.channels_last)  # on the CPU its group norms are slow
        else:
            plain_attention(self.unet)
            self.text_encoder.set_attn_implementation("eager")
        self.fast_unet = compiled(self.unet, device)
        self.alphas_cumprod = scaled_linear_alphas_cumprod()
        self.alphas = self.alphas_cumprod.float().to(device)
        self.ema = Ema([self.unet, self.text_encoder], options.ema, every=4)
        groups = [
            {"params": list(self.unet.parameters()), "lr": options.learning_rate},
            {"params": list(self.text_encoder.parameters()), "lr": options.text_learning_rate},
        ]
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.01, fused=True)

    def parts(self) -> dict[str, Any]:
        return {
            "unet": self.unet,
            "text_encoder": self.text_encoder,
            "ema": self.ema,
            "optimiser": self.optimiser,
        }

    def captions(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """Token ids [B, 77] of a random phrasing for each clip: some among fillers, some left out."""
        options = self.options
        texts = self.phrasings.choose(clips.tolist(), generator)
        texts[torch.rand(len(clips), generator=generator) < options.caption_dropout] = 0
        ids = self.phrasings.ids[texts]
        if options.filler_words:
            rng = random.Random(int(torch.randint(1 << 62, (), generator=generator)))
            for number in range(len(ids)):
                if texts[number] and rng.random() < options.filler_words:
                    ids[number] = self.fillers.around(ids[number], rng)
        return ids

    def loss(self, latents: Tensor, noise: Tensor, timesteps: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """(weighted loss, plain mean squared error) of what the U-Net predicts."""
        told = self.options
        noisy = diffused(latents, noise, self.alphas[timesteps])
        if self.device.type == "cuda":
            noisy = noisy.contiguous(memory_format=torch.channels_last)
        unet = self.fast_unet if torch.is_grad_enabled() else self.unet  # don't compile it for validation
        predicted = unet(noisy, timesteps, text, return_dict=False)[0]
        wanted = target(latents, noise, self.alphas[timesteps], told.prediction)
        errors = (predicted.float() - wanted).square().mean((1, 2, 3))
        weights = loss_weights(self.alphas, timesteps, told.prediction, told.snr_gamma, told.objective)
        return (weights * errors).mean(), errors.mean()

    def step(self, number: int) -> dict[str, Tensor]:
        options = self.options
        generator = step_generator(options.seed, number)
        clips = torch.randint(len(self.latents) - VALIDATION_CLIPS, (options.batch,), generator=generator)
        clips = clips + VALIDATION_CLIPS
        ids = self.captions(clips, generator)
        timesteps = draw_timesteps(
            self.alphas, options.batch, generator, options.objective, options.flow_mean, options.flow_spread
        ).to(self.device)
        latents = self.latents[clips.to(self.latents.device)].float().to(self.device)
        drawn = step_generator(options.seed + 1, number, self.device)
        noise = torch.randn(latents.shape, generator=drawn, device=self.device)
        if options.noise_offset:
            shift = torch.randn((*latents.shape[:2], 1, 1), generator=drawn, device=self.device)
            noise = noise + options.noise_offset * shift
        train_text = number % options.text_every == 0
        with autocast(self.device):
            with torch.set_grad_enabled(train_text):
                text = embedded(self.text_encoder, ids.to(self.device))
            loss, error = self.loss(latents, noise, timesteps, text)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        if train_text:
            nn.utils.clip_grad_norm_(self.text_encoder.parameters(), 1.0)
        self.optimiser.step()
        self.ema.update()
        return {"loss": loss, "mse": error, "norm": norm}

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser]

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        return {"validation_loss": self.validate()}

    @torch.no_grad()
    def validate(self) -> float:
        """Weighted loss of the averaged weights on validation clips, with fixed timesteps and noise."""
        count = VALIDATION_CLIPS
        latents = self.latents[:count].float()
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1)).to(self.device)
        timesteps = torch.linspace(10, len(self.alphas) - 10, count).long().to(self.device)
        ids = self.phrasings.first(count).to(self.device)
        total = 0.0
        with self.ema.applied(), autocast(self.device):
            for part in torch.arange(count).split(16):
                picked = part.to(self.device)
                text = embedded(self.text_encoder, ids[picked])
                loss, _ = self.loss(latents[picked], noise[picked], timesteps[picked], text)
                total += loss.item() * len(part)
        return total / count

    def preview(self, number: int) -> dict[str, float]:
        """Fixed prompts with fixed seeds as a sheet of pictures and as sounds; the validation loss."""
        from sonoconvert.files.clip import Clip, write_clip
        from sonotrain.training.painting import paint, to_sound

        vae, factor = load_vae(self.options.vae, self.device)
        parts = self.unet, vae, factor, self.text_encoder, self.tokenizer
        model = as_model(*parts, self.device, self.options.prediction)
        with self.ema.applied():
            levels = paint(model, PREVIEW_PROMPTS, seed=1, steps=self.options.preview_steps)
        folder = self.run.preview_folder(number)
        save_sheet([levels[:4], levels[4:]], folder / "sheet.png")
        for index, waveform in enumerate(to_sound(levels)):
            save_sheet([levels[index][None]], folder / f"{index}-with.png", gap=0)
            settings = {"prompt": PREVIEW_PROMPTS[index], "step": number}
            write_clip(Clip(waveform[None], 32000, settings), folder / f"{index}-with.wav", force=True)
        return {"validation_loss": self.validate()}


def as_model(
    unet: Any,
    vae: Any,
    factor: float,
    text_encoder: Any,
    tokenizer: Any,
    device: torch.device,
    prediction: str = "epsilon",
) -> Any:
    """Modules in training as the engine's Model."""
    from sonoconvert.pictures.format import get_format
    from sonopaint.models.mini import mini_config
    from sonopaint.models.model import Model
    from sonopaint.models.schedule import scaled_linear_alphas_cumprod

    return Model(
        unet=unet, vae=vae, text_encoder=text_encoder, tokenizer=tokenizer,
        alphas_cumprod=scaled_linear_alphas_cumprod(), prediction_type=prediction, format=get_format(FORMAT),
        name="mini in training", path=Path(), device=device, dtype=torch.float32,
        defaults=mini_config()["defaults"], vae_scale=factor,
    )  # fmt: skip


def load_diffusion(folder: str | Path) -> tuple[Any, Any, Any]:
    """The averaged U-Net and text encoder of a run folder, and the tokenizer (CPU, fp32)."""
    from diffusers import UNet2DConditionModel

    parts, config = load_final(folder)
    unet = UNet2DConditionModel(**config["architecture"])
    encoder, tokenizer = load_text(config["options"]["text"])
    take_average([unet, encoder], parts["ema"])
    return unet.eval(), encoder.eval(), tokenizer
