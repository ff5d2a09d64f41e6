"""Trains the adapter with which a model follows curves; the model itself stays as it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sonoconvert.curves.curves import Curves, sketched
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.hashes import sha256_of
from sonoconvert.pictures.format import get_format
from sonopaint.models.curves import (
    CURVES_FILE,
    FOLLOWED,
    VARIANTS,
    control,
    following,
    points_of,
    relative,
)
from sonopaint.models.curves_file import load_adapter, new_adapter, save_adapter
from sonopaint.models.curves_output import spread
from sonotrain.data.corpus import FORMAT, Corpus
from sonotrain.files.options import option, to_publish
from sonotrain.files.pace import Pace
from sonotrain.files.tensors import keep, kept
from sonotrain.trainers.curves.data import corpus_curves, row
from sonotrain.trainers.mini.phrasings import Phrasings
from sonotrain.trainers.mini.vae import load_vae
from sonotrain.training import common
from sonotrain.training.base_model import plain_attention
from sonotrain.training.compute import autocast, descend, step_generator
from sonotrain.training.ema import Ema, take_average
from sonotrain.training.inputs.corpus_latents import corpus_latents
from sonotrain.training.losses import diffused, min_snr_weights, snr
from sonotrain.training.run import Run, Trainer
from sonotrain.training.run_folder import load_final
from sonotrain.training.weights import facts_of, our_header

TOLD_S = 15.0  # between words about how far the predictions are
STRETCHES = 0.3  # share of the clips in which each curve is free for a while


@dataclass(frozen=True)
class AdapterOptions:
    """What each trainer of an adapter for curves is told."""

    model: str = option("weights/mini", "folder of the model that is to follow curves; it stays as it is")
    keep: float = option(0.0, "share of the adapter of --start in the product; the rest is what was learnt")
    channels: int = option(64, "channels of the branch at each resolution")
    dropout: float = option(0.3, "share of the clips in which a curve is free, for each curve by itself")
    batch: int = common.batch(8)
    learning_rate: float = option(1e-3, "peak learning rate")
    warmup: int = common.warmup(30)
    ema: float = common.ema(0.99)
    snr_gamma: float = option(5.0, "γ of the min-SNR weights")
    noise_offset: float = option(0.1, "noise that is the same all over a channel, as the model was trained")
    tilt: float = option(
        0.6, "exponent of the draw of noise levels: 1 is even, below it noisier ones are likelier"
    )
    caption_dropout: float = option(0.15, "share of clips shown without words, for guidance")
    seed: int = common.seed()
    threads: int = common.threads()
    checkpoint_minutes: float = common.checkpoint_minutes(3.0)


@dataclass(frozen=True)
class CurvesOptions(AdapterOptions):
    corpus: str = option("runs/corpus", "folder of a corpus (not of scenes)")
    clips: int = option(0, "clips of it to learn from (0: all)")
    start: str = option("", "adapter to go on from (a curves.safetensors of the same variant and channels)")
    variant: str = option("output", "how the curves get into the U-Net", VARIANTS)
    predictions: int = option(1500, "of variant output: predictions of the model that are kept to learn from")
    held_out: int = option(64, "clips that only the validation sees")


class CurvesTrainer(Trainer):
    """curves.json holds the validation loss with curves and without; the product goes beside the model."""

    command = "curves"
    Options: ClassVar[type] = CurvesOptions
    options: CurvesOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        options = self.options
        if options.batch < 1 or options.channels < 8 or options.channels % 8:
            raise SonopaintError(
                f"{setting('batch')} must be at least 1, and {setting('channels')} a multiple of 8."
            )
        if not 0 <= options.keep < 1 or options.keep and not options.start:
            raise SonopaintError(
                f"{setting('keep')} is a share of {setting('start')}, from 0 up to 1, not {options.keep:g}."
            )
        if not (Path(options.model) / "unet.safetensors").is_file():
            raise SonopaintError(f"{options.model} holds no Mini; name one with {setting('model')}.")

    def open_model(self) -> None:
        """The model, which stays as it is."""
        from sonopaint.models.mini import load_mini
        from sonopaint.models.schedule import scaled_linear_alphas_cumprod

        unet, _, text_encoder, self.tokenizer, _ = load_mini(self.options.model)
        self.facts |= {"base": sha256_of(Path(self.options.model) / "unet.safetensors")}
        self.unet = unet.to(self.device).requires_grad_(False)
        if self.device.type == "cpu":
            plain_attention(self.unet)
        self.text_encoder = text_encoder.to(self.device).requires_grad_(False)
        self.alphas = scaled_linear_alphas_cumprod().float().to(self.device)
        self.format = get_format(FORMAT)

    def learn(self, *modules: torch.nn.Module) -> None:
        """What learns: its average and its optimiser."""
        self.learning = torch.nn.ModuleList(modules).to(self.device)
        self.ema = Ema(modules, self.options.ema)
        self.optimiser = torch.optim.AdamW(
            self.learning.parameters(),
            self.options.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=0.0,
            fused=True,
        )

    def prepare(self) -> None:
        options, device = self.options, self.device
        self.open_model()
        corpus = Corpus(options.corpus, options.clips or None)
        if not 0 < options.held_out < len(corpus):
            raise SonopaintError(f"{setting('held_out')} must be 1 to {len(corpus) - 1}.")
        self.held_out = options.held_out
        self.phrasings = Phrasings(corpus, self.tokenizer)
        self.run.preparing("measuring the curves of the clips")
        self.curves = corpus_curves(corpus)
        self.latents = corpus_latents(corpus, *load_vae(options.model, device), device)
        del corpus
        torch.manual_seed(options.seed)
        self.adapter = new_adapter(options.variant, points_of(self.unet), options.channels)
        if options.start:
            self._go_on_from(Path(options.start))
        self.learn(self.adapter)
        self.behind = options.variant == "output"
        if self.behind:
            self.kept = self._kept_predictions(self.run.path / "predictions.safetensors")

    def _go_on_from(self, path: Path) -> None:
        begun = load_adapter(path)
        if (begun.variant, begun.channels) != (self.options.variant, self.options.channels):
            raise SonopaintError(
                f"{path} is an adapter {begun.variant} of {begun.channels} channels; choose the same "
                f"{setting('variant')} and {setting('channels')}, or no {setting('start')}."
            )
        self.adapter.load_state_dict(begun.state_dict())

    def parts(self) -> dict[str, Any]:
        return {"adapter": self.adapter, "ema": self.ema, "optimiser": self.optimiser}

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser]

    def asked(self, clip: int, rng: np.random.Generator) -> Curves:
        """A clip's curves as a person might give them: smoothed, some of them free, or free for a while."""
        rate = self.format.sample_rate / self.format.hop_length
        drawn = sketched(relative(row(self.curves, clip, rate)), rng)
        values = {}
        for name in FOLLOWED:
            values[name] = drawn.values[name].copy()
            if rng.random() < self.options.dropout:
                values[name][:] = np.nan
            elif rng.random() < STRETCHES:
                first, last = sorted(rng.integers(0, drawn.frames, 2).tolist())
                values[name][first:last] = np.nan
        return Curves(rate, values)

    def controls(self, clips: list[int], rng: np.random.Generator) -> Tensor:
        """[B, 138, 16, 40]."""
        columns = 8 * self.latents.shape[-1]
        return torch.cat([control(self.asked(clip, rng), self.format, columns) for clip in clips])

    def loss(
        self,
        latents: Tensor,
        controls: Tensor,
        noise: Tensor,
        timesteps: Tensor,
        ids: Tensor,
        *,
        blind: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """(min-SNR weighted loss, mean squared error) of predicting the noise of latents [B, 4, H, W].

        `blind`: of the model without the adapter.
        """
        device = self.device
        latents, controls, noise, timesteps = (v.to(device) for v in (latents, controls, noise, timesteps))
        noisy = diffused(latents, noise, self.alphas[timesteps])
        with autocast(device):
            text = self.read(ids.to(device))
            sigmas = snr(self.alphas)[timesteps].rsqrt()
            injected = not blind and not self.behind
            with following(self.unet, self.adapter(controls, noisy, sigmas) if injected else {}):
                predicted = self.unet(noisy, timesteps, text, return_dict=False)[0]
            if self.behind and not blind:
                predicted = self._corrected(noisy, predicted.float(), controls, timesteps)[1]
        errors = (predicted.float() - noise).square().mean((1, 2, 3))
        return (
            min_snr_weights(self.alphas, timesteps, self.options.snr_gamma) * errors
        ).mean(), errors.mean()

    @torch.no_grad()
    def read(self, ids: Tensor) -> Tensor:
        """What the U-Net reads, [B, 77, D], of what `captions` gave."""
        unique, back = ids.unique(dim=0, return_inverse=True)
        return self.text_encoder(unique).last_hidden_state[back]

    def captions(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """Ids [B, 77] of a caption for each clip, some of them empty."""
        texts = self.phrasings.choose(clips.tolist(), generator)
        texts[torch.rand(len(clips), generator=generator) < self.options.caption_dropout] = 0
        return self.phrasings.ids[texts]

    def first_captions(self, count: int) -> Tensor:
        """Those of the first clips, for the validation."""
        return self.phrasings.first(count)

    def _corrected(
        self, noisy: Tensor, predicted: Tensor, controls: Tensor, timesteps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(x0, the noise that it means) of noisy latents and the noise that the model predicts, corrected."""
        alpha = self.alphas[timesteps].view(-1, 1, 1, 1)
        x0 = (noisy - (1 - alpha).sqrt() * predicted) / alpha.sqrt()
        x0 = self.adapter(controls, noisy, x0, snr(self.alphas)[timesteps].rsqrt())
        return x0, (noisy - alpha.sqrt() * x0) / (1 - alpha).sqrt()

    @torch.no_grad()
    def _kept_predictions(self, path: Path) -> dict[str, Tensor]:
        """What the model predicts of so many noisy clips: painted once, kept in the run's folder."""
        if found := kept(path):
            return found
        rows: dict[str, list[Tensor]] = {"clip": [], "timestep": [], "noisy": [], "predicted": []}
        total, pace = self.options.predictions, Pace(TOLD_S)
        for number in range(0, total, 8):
            if number and pace.due():
                left = pace.left(number, total - number)
                self.run.preparing(f"painting predictions: {number} of {total}, {left} left")
            clips, ids, timesteps, noise = self._drawn(8, step_generator(self.options.seed, -1 - number))
            noisy = diffused(self.latents[clips].float(), noise, self.alphas[timesteps].cpu()).to(self.device)
            with autocast(self.device):
                text = self.text_encoder(ids.to(self.device)).last_hidden_state
                predicted = self.unet(noisy, timesteps.to(self.device), text, return_dict=False)[0]
            values = (clips, timesteps, noisy.cpu().half(), predicted.cpu().half())
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
        made = {name: torch.cat(parts) for name, parts in rows.items()}
        keep(path, made)
        return made

    def _drawn(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(clips, their captions' ids, timesteps [B], noise [B, 4, H, W]) at random."""
        options = self.options
        clips = torch.randint(len(self.latents) - self.held_out, (count,), generator=generator)
        clips += self.held_out
        ids = self.captions(clips, generator)
        timesteps = (torch.rand(count, generator=generator) ** options.tilt * len(self.alphas)).long()
        noise = torch.randn(count, *self.latents.shape[1:], generator=generator)
        noise += options.noise_offset * torch.randn((*noise.shape[:2], 1, 1), generator=generator)
        return clips, ids, timesteps, noise

    def _step_behind(self, generator: torch.Generator, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """(loss in units of the predictions' own error, mean squared error of x0) of kept predictions."""
        often = self.kept["timestep"].float() + 50  # where there is little noise, little is left to correct
        picked = torch.multinomial(often, self.options.batch, replacement=True, generator=generator)
        clips, timesteps, noisy, predicted = (
            self.kept[name][picked] for name in ("clip", "timestep", "noisy", "predicted")
        )
        controls = self.controls(clips.tolist(), rng).to(self.device)
        timesteps = timesteps.to(self.device)
        noisy, predicted = (value.float().to(self.device) for value in (noisy, predicted))
        with autocast(self.device):
            x0, _ = self._corrected(noisy, predicted, controls, timesteps)
        squares = (x0.float() - self.latents[clips].float().to(self.device)).square()
        return (squares / spread(snr(self.alphas)[timesteps].rsqrt()).square()).mean(), squares.mean()

    def step(self, number: int) -> dict[str, Tensor]:
        options = self.options
        generator, rng = step_generator(options.seed, number), np.random.default_rng([options.seed, number])
        if self.behind:
            loss, error = self._step_behind(generator, rng)
        else:
            clips, ids, timesteps, noise = self._drawn(options.batch, generator)
            controls = self.controls(clips.tolist(), rng)
            latents = self.latents[clips].float()
            loss, error = self.loss(latents, controls, noise, timesteps, ids)
        norm = descend(loss, self.learning.parameters(), self.optimiser)
        self.ema.update()
        return {"loss": loss, "mse": error, "norm": norm}

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        with self.ema.applied():
            return {"validation_mse": self.validate(), "validation_mse_blind": self.validate(blind=True)}

    @torch.no_grad()
    def validate(self, *, blind: bool = False) -> float:
        """Mean squared error on held-out clips with fixed noise and levels; `blind`: of the model alone."""
        generator, count = torch.Generator().manual_seed(1), self.held_out or len(self.latents)
        noise = torch.randn(count, *self.latents.shape[1:], generator=generator)
        timesteps = torch.linspace(10, len(self.alphas) - 10, count).long()
        ids, rng = self.first_captions(count), np.random.default_rng(1)
        controls = self.controls(list(range(count)), rng)
        errors = []
        for part in torch.arange(count).split(16):
            values = (self.latents[part].float(), controls[part], noise[part], timesteps[part], ids[part])
            errors += [self.loss(*values, blind=blind)[1].item()] * len(part)
        return sum(errors) / len(errors)

    def save(self, path: Path, steps: int) -> dict[str, Any]:
        """The averaged adapter, fp16."""
        facts = {"options": to_publish(self.options), "steps": steps, "base_sha256": self.facts["base"]}
        with self.ema.applied():
            adapter = copy.deepcopy(self.adapter)
        mix(adapter, self.options.start, self.options.keep)
        save_adapter(adapter, path, {"sonopaint.training": json.dumps(facts)}, force=True)
        return {"goes_to": str(Path(self.options.model) / CURVES_FILE)}


def mix(adapter: torch.nn.Module, start: str, keep: float) -> None:
    """The mean of an adapter and of the one it went on from (Wortsman et al. 2022, arXiv:2203.05482).

    It follows nearly as well as what was learnt last, and changes the kind of sound as little as the first.
    """
    if keep:
        first = load_adapter(start).state_dict()
        for name, value in adapter.state_dict().items():
            value.lerp_(first[name].to(value), keep)


def export_curves(run: str | Path, out: str | Path, *, force: bool = False) -> Path:
    """Writes a run's averaged adapter, as it is by now, to `out`/curves.safetensors (fp16)."""
    from sonopaint.models.mini import load_mini

    run = Path(run)
    parts, config = load_final(run)
    if config.get("command", "curves") != CurvesTrainer.command:
        raise SonopaintError(
            f"{run} holds a run of another trainer ({config['command']}); take its own file."
        )
    options = config["options"]
    adapter = new_adapter(options["variant"], points_of(load_mini(options["model"])[0]), options["channels"])
    take_average([adapter], parts["ema"])
    mix(adapter, options.get("start", ""), options.get("keep", 0.0))
    data = "synthesised sounds (foley corpus), no recordings"
    told = options | {
        "model": Path(options["model"]).name,
        "corpus": "",
        "start": Path(options.get("start", "")).name,
    }
    facts = facts_of(run, "curves", data, told) | {"base_sha256": config["base"]}
    metadata = our_header("Lets a model follow curves: loudness, pitch, brightness, onsets.", facts)
    path = Path(out) / CURVES_FILE
    save_adapter(adapter, path, metadata, force=force)
    return path
