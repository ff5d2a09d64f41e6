"""The step, the validation and the state of LoRA training, on one process or several (accelerate)."""

from __future__ import annotations

import logging
import math
from collections import deque
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from sonoconvert.errors import SonopaintError, setting
from sonotrain.trainers.lora.data import TrainingData
from sonotrain.trainers.lora.objective import (
    cell_weights,
    errors,
    offset_noise,
    timesteps_for_validation,
)
from sonotrain.trainers.lora.optimisers import make_optimiser
from sonotrain.trainers.lora.options import LoraOptions
from sonotrain.training.adapter import Sizes, inject, target_modules, text_modules, trained, without_lora
from sonotrain.training.compute import step_generator
from sonotrain.training.ema import Ema
from sonotrain.training.losses import diffused
from sonotrain.training.objective import draw_timesteps, loss_weights, prediction_of, target

logger = logging.getLogger(__name__)

VALIDATION_TIMESTEPS = 8
EXPLODED = 1.5  # mean squared error: saying nothing at all has 1.0
KEPT_EVERY = 2  # of so many clips one is also shown with another prompt, for --preserve
KEPT_EMPTY = 0.2  # share of those that are shown without words
WATCHED = 20  # steps whose mean is compared with it


def precision_of(options: LoraOptions, device: torch.device) -> torch.dtype:
    """The type in which the frozen base model computes."""
    name = options.precision
    if name == "auto":
        if device.type != "cuda":
            return torch.float32
        name = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if name == "fp16" and device.type == "cpu":
        raise SonopaintError(
            f"{setting('precision')} fp16 needs a graphics card; use fp32 or bf16 on a processor."
        )
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def sizes_of(options: LoraOptions) -> Sizes:
    """The LoRA layers that the options mean."""
    return Sizes(options.rank, options.alpha, options.conv_rank, options.lora_dropout, options.dora)


class Learner:
    """LoRA layers in `model`, their optimiser, and what happens in one step.

    All random numbers of a step are drawn for the whole batch (batch × accumulation × processes) from
    generators that hang on the seed and the step's number, and each process takes its share: so a resumed run
    goes on exactly, and several processes do what one would.
    """

    def __init__(self, model: Any, data: TrainingData, options: LoraOptions, accelerator: Any) -> None:
        self.model, self.data, self.options, self.accelerator = model, data, options, accelerator
        self.device = accelerator.device
        self.dtype = precision_of(options, self.device)
        self.prediction = prediction_of(options.prediction, model.prediction_type)
        self.schedule = model.alphas_cumprod.float().to(self.device)
        model.unet.to(self.device, self.dtype)
        if options.text_encoder:
            model.text_encoder.to(self.device, self.dtype)
        torch.manual_seed(options.seed)  # for the layers' first values
        inject(model.unet, target_modules(model.unet, options.targets), sizes_of(options))
        self.parameters = trained(model.unet)
        if options.text_encoder:
            inject(model.text_encoder, text_modules(model.text_encoder), sizes_of(options))
            self.parameters += trained(model.text_encoder)
        self.modules = [model.unet, *([model.text_encoder] if options.text_encoder else [])]
        if options.gradient_checkpointing:
            model.unet.enable_gradient_checkpointing()
            if options.text_encoder:
                model.text_encoder.gradient_checkpointing_enable()
        for module in self.modules:
            module.train()
        groups = [{"params": trained(model.unet), "lr": options.learning_rate}]
        if options.text_encoder:
            groups.append({"params": trained(model.text_encoder), "lr": options.text_learning_rate})
        self.optimiser = make_optimiser(options, groups)
        # in several processes this wraps the modules so that gradients are averaged
        prepared = accelerator.prepare(*self.modules)
        self.wrapped = list(prepared) if isinstance(prepared, tuple) else [prepared]
        self.fast_unet = torch.compile(self.wrapped[0]) if options.compile else self.wrapped[0]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.weights = nn.ParameterList(self.parameters)
        self.ema = Ema([self.weights], options.ema) if options.ema else None
        self.recent: deque[float] = deque(maxlen=WATCHED)
        self.orders: dict[int, Tensor] = {}

    @property
    def global_batch(self) -> int:
        """Clips in one step, over all processes."""
        return self.options.batch * self.options.accumulation * self.accelerator.num_processes

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        parts = {"lora": self.weights, "optimiser": self.optimiser, "scaler": self.scaler}
        return {**parts, "ema": self.ema} if self.ema else parts

    def averaged(self) -> AbstractContextManager[None]:
        """Within the block the LoRA holds its moving average, where there is one."""
        return self.ema.applied() if self.ema else nullcontext()

    def autocast(self) -> AbstractContextManager[Any]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def embed(self, texts: Tensor, *, frozen: bool = False) -> Tensor:
        """Embeddings [B, 77, D] of texts by their numbers."""
        captions = self.data.captions
        if captions.embeddings is not None:
            return captions.embeddings[texts].to(self.device, self.dtype)
        encoder = self.model.text_encoder if frozen else self.wrapped[1]
        return encoder(captions.ids[texts].to(self.device)).last_hidden_state

    def clips_of(self, number: int) -> list[int]:
        """The clips of a step: each epoch shows all in a new order."""
        total = len(self.data.train)
        first = number * self.global_batch
        clips = []
        for position in range(first, first + self.global_batch):
            epoch, place = divmod(position, total)
            if epoch not in self.orders:
                self.orders = {e: order for e, order in self.orders.items() if e >= epoch - 1}
                generator = step_generator(self.options.seed + 2, epoch)
                self.orders[epoch] = torch.randperm(total, generator=generator)
            clips.append(int(self.orders[epoch][place]))
        return clips

    def draw(self, number: int) -> dict[str, Tensor]:
        """All inputs of a step for the whole batch, on the CPU."""
        options, count = self.options, self.global_batch
        generator = step_generator(options.seed, number)
        clips = self.clips_of(number)
        variants = torch.randint(self.data.train.variants, (count,), generator=generator)
        texts = self.data.captions.choose(clips, generator)
        texts[torch.rand(count, generator=generator) < options.caption_dropout] = 0
        latents, masks = self.data.train.get(clips, variants.tolist())
        drawn = {"latents": latents, "masks": masks, "texts": texts}
        drawn["timesteps"] = draw_timesteps(
            self.schedule, count, generator, options.objective, options.flow_mean, options.flow_spread
        )
        if options.preserve and self.data.prior is not None:
            self._draw_kept(drawn, generator)
        other = step_generator(options.seed + 1, number)
        drawn["noise"] = offset_noise(tuple(latents.shape), other, options.noise_offset)
        return drawn

    def _draw_kept(self, drawn: dict[str, Tensor], generator: torch.Generator) -> None:
        """Which of the base model's own paintings stand beside the clips, and under which text."""
        assert self.data.prior is not None
        count = self.global_batch
        chosen = torch.randint(len(self.data.prior), (count,), generator=generator)
        texts = torch.tensor(self.data.kept_prompts)[chosen]
        # without words, too: guidance leads away from that
        texts[torch.rand(count, generator=generator) < KEPT_EMPTY] = 0
        drawn["kept_texts"], drawn["kept_latents"] = texts, self.data.prior[chosen]
        drawn["keep"] = torch.arange(count) % KEPT_EVERY == 0

    def step(self, number: int) -> dict[str, Tensor]:
        """One optimiser step; {"loss", "mse", "norm" of the gradient, …}."""
        options = self.options
        torch.manual_seed(
            (options.seed * 1_000_003 + number) * 131 + self.accelerator.process_index
        )  # dropout
        drawn = self.draw(number)
        share = options.batch * options.accumulation
        first = share * self.accelerator.process_index
        told: dict[str, Tensor] = {}
        self.optimiser.zero_grad(set_to_none=True)
        for turn in range(options.accumulation):
            start = first + turn * options.batch
            part = {name: value[start : start + options.batch] for name, value in drawn.items()}
            with self._no_sync(turn < options.accumulation - 1):
                loss, values = self.loss(part)
                self.scaler.scale(loss / options.accumulation).backward()
            for name, value in values.items():
                told[name] = told.get(name, 0) + value.detach() / options.accumulation
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.parameters, options.clip_norm or math.inf)
        told = self._averaged_over_processes(told)
        self._watch(number, float(told["mse"]), float(norm))
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.ema:
            self.ema.update()
        return {**told, "norm": norm}

    def loss(self, part: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one batch on this process, and what to log."""
        options = self.options
        kept = torch.nonzero(part["keep"])[:, 0] if "keep" in part else torch.tensor([])
        with self.autocast():
            noisy, wanted, weights, steps = self._noisy(part)
            text = self.embed(part["texts"])
            if len(kept):
                others = {name: part[name][kept] for name in ("timesteps", "noise")}
                others |= {"latents": part["kept_latents"][kept], "texts": part["kept_texts"][kept]}
                noisy2, _, _, steps2 = self._noisy(others)
                base = self._base_says(noisy2, steps2, others["texts"])
                text = torch.cat([text, self.embed(others["texts"])])
                noisy, steps = torch.cat([noisy, noisy2]), torch.cat([steps, steps2])
            predicted = self.fast_unet(noisy, steps, text, return_dict=False)[0]
        count = len(part["texts"])
        cells = cell_weights(part["masks"].to(self.device), options.padding_weight)
        error = errors(predicted[:count], wanted, cells)
        loss = (weights * error).mean()
        told = {"loss": loss, "mse": error.mean()}
        if "keep" in part:
            told["drift"] = loss.new_zeros(())  # on every process, whichever clips it has
        if len(kept):
            # unweighted: what is noisiest decides what a picture will be of
            drift = (predicted[count:].float() - base.float()).square().mean((1, 2, 3))
            told["drift"] = drift.sum() * KEPT_EVERY / count
            loss = loss + options.preserve * drift.sum() * KEPT_EVERY / count
        return loss, told

    def _noisy(self, part: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(noisy latents, target, loss weights, timesteps) on the device."""
        steps = part["timesteps"].to(self.device)
        latents, noise = part["latents"].to(self.device), part["noise"].to(self.device)
        alphas = self.schedule[steps]
        wanted = target(latents, noise, alphas, self.prediction)
        weights = loss_weights(
            self.schedule, steps, self.prediction, self.options.snr_gamma, self.options.objective
        )
        return diffused(latents, noise, alphas).to(self.dtype), wanted, weights, steps

    @torch.no_grad()
    def _base_says(self, noisy: Tensor, steps: Tensor, texts: Tensor) -> Tensor:
        """What the base model predicts for other prompts: the LoRA is to leave that as it is."""
        with without_lora(*self.modules):
            text = self.embed(texts, frozen=True)
            return self.model.unet(noisy, steps, text, return_dict=False)[0]

    def _no_sync(self, active: bool) -> AbstractContextManager[Any]:
        stack = ExitStack()
        if active:
            for module in self.wrapped:
                stack.enter_context(self.accelerator.no_sync(module))
        return stack

    def _averaged_over_processes(self, told: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.accelerator.num_processes == 1:
            return told
        values = torch.stack(list(told.values()))
        return dict(zip(told, self.accelerator.reduce(values, "mean"), strict=True))

    def _watch(self, number: int, mse: float, norm: float) -> None:
        """SonopaintError when training has gone wrong, before the bad step is taken."""
        self.recent.append(mse)
        mean = sum(self.recent) / len(self.recent)
        bad_norm = not math.isfinite(norm) and not self.scaler.is_enabled()
        if math.isfinite(mse) and not bad_norm and not (len(self.recent) == WATCHED and mean > EXPLODED):
            return
        remedy = f"lower {setting('learning_rate')} (now {self.options.learning_rate:g})"
        if self.options.warmup < 0.1:
            remedy += f" or lengthen {setting('warmup')}"
        if self.scaler.is_enabled():
            remedy += f", or use {setting('precision')} bf16"
        what = f"the error is {mse:.3g}" if math.isfinite(mse) else "the error is no longer a number"
        raise SonopaintError(
            f"Training has exploded at step {number} ({what}, the gradient's norm {norm:.3g}): {remedy} "
            f"and start anew with another {setting('out')}; the checkpoints before this step are whole."
        )

    @torch.no_grad()
    def validate(self, number: int = 0) -> dict[str, float]:
        """The weighted loss on validation clips, at fixed timesteps with fixed noise."""
        del number
        clips = len(self.data.validation_examples)
        latents, masks = self.data.validation.get(range(clips), [0] * clips)
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
        texts = torch.tensor(self.data.validation_texts)
        for module in self.modules:
            module.eval()
        total = 0.0
        with self.averaged(), self.autocast():
            for step in timesteps_for_validation(len(self.schedule), VALIDATION_TIMESTEPS).tolist():
                steps = torch.full((clips,), step)
                whole = {
                    "latents": latents,
                    "noise": noise,
                    "timesteps": steps,
                    "masks": masks,
                    "texts": texts,
                }
                for chosen in torch.arange(clips).split(max(self.options.batch, 1)):
                    part = {name: value[chosen] for name, value in whole.items()}
                    noisy, wanted, weights, at = self._noisy(part)
                    text = self.embed(part["texts"], frozen=True)
                    predicted = self.model.unet(noisy, at, text, return_dict=False)[0]
                    cells = cell_weights(part["masks"].to(self.device), self.options.padding_weight)
                    total += float((weights * errors(predicted, wanted, cells)).sum())
        for module in self.modules:
            module.train()
        return {"validation_loss": total / (clips * VALIDATION_TIMESTEPS)}
