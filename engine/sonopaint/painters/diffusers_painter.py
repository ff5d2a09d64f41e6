"""DiffusersPainter: paints a canvas with a latent diffusion model, masks, windows and loops included."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.pictures.picture import Picture
from sonopaint.knowledge import Knowledge, knowledge_of
from sonopaint.models.grain import grained
from sonopaint.painters.latents import (
    Noise,
    decode_latents,
    encode_image,
    latent_mask,
    seeded_noise,
    slerp,
    window_of,
)
from sonopaint.painters.spans import MULTIPLE, fill_masked, padded, paint_spans
from sonopaint.painters.windows import over_windows
from sonopaint.tasks.progress import Progress, silent
from sonopaint.tasks.settings import ONE_STEP, PaintSettings

if TYPE_CHECKING:
    from sonoconvert.edits.canvas import Canvas
    from sonoconvert.pictures.format import SpectrogramFormat
    from sonopaint.models.model import Model
    from sonopaint.painters.following import Following

logger = logging.getLogger(__name__)

BATCH_CELLS = 2048  # of latents that are painted at once; one picture of SD 1.5's has 4096 and goes alone
MOST_TOGETHER = 4  # more gain little: a step of Mini takes 0.13 s for one seed, 0.35 for four, 0.63 for eight


@dataclass(frozen=True)
class Conditioning:
    """Prompt embeddings of equal length: ``text`` and ``negative``, each [1, L, D].

    blocks: those of blocks of the U-Net that read something else than ``text`` (models/block_prompts.py).
    """

    text: Tensor
    negative: Tensor
    blocks: Mapping[str, Tensor] = field(default_factory=dict)

    def lerp(self, other: Conditioning, t: float) -> Conditioning:
        """The embeddings ``t`` of the way to ``other``'s."""
        blocks = {
            begin: torch.lerp(self.blocks.get(begin, self.text), other.blocks.get(begin, other.text), t)
            for begin in {**self.blocks, **other.blocks}
        }
        return Conditioning(
            torch.lerp(self.text, other.text, t), torch.lerp(self.negative, other.negative, t), blocks
        )


class DiffusersPainter:
    """The Painter of Studio and the command line: a Model and the samplers of ``sonopaint.samplers``.

    following: curves that all that it paints is to follow.
    """

    def __init__(self, model: Model, following: Following | None = None) -> None:
        self.model, self.following = model, following
        self._said: set[str] = set()

    @property
    def knowledge(self) -> Knowledge | None:
        """What the model knows, where that can be listed, with the classes of the adapter for curves."""
        known = self._knowledge
        return known.with_kinds(self.following.adapter.classes) if known and self.following else known

    @cached_property
    def _knowledge(self) -> Knowledge | None:
        return knowledge_of(self.model.path, [name for name, weight in self.model.loras if weight])

    @property
    def format(self) -> SpectrogramFormat:
        return self.model.format

    @property
    def lead(self) -> int | None:
        """Columns before what is painted at which a window begins (see ``paint_spans``)."""
        return self.model.lead

    def resolve(self, settings: PaintSettings) -> PaintSettings:
        """The settings with the model's defaults where they say None; a student's own where it has no choice.

        Raises SonopaintError for an unknown sampler, and for the one of students on another model.
        """
        from sonopaint.models.one_step import student_timestep
        from sonopaint.samplers import SAMPLERS

        resolved = settings.resolved(self.model.defaults)
        if resolved.sampler not in SAMPLERS:
            raise SonopaintError(
                f"There is no {setting('sampler')} {resolved.sampler!r}; choose one of {', '.join(SAMPLERS)}."
            )
        if self.model.one_step is not None:
            return settings.for_student()
        if resolved.sampler == ONE_STEP:
            student_timestep({" with ".join([self.model.name, *(name for name, _ in self.model.loras)]): {}})
        return resolved

    def describe(self) -> dict[str, Any]:
        model = self.model
        told = {} if model.one_step is None else {"one_step": model.one_step}
        return {
            "model": model.name,
            "model_hash": model.hash,
            "loras": [list(lora) for lora in model.loras],
            **told,
            **(self.following.describe() if self.following else {}),
        }

    def _tell_ignored(self, settings: PaintSettings, resolved: PaintSettings) -> None:
        """Say once what a student makes nothing of."""
        asked = ", ".join(f"{name} {value!r}" for name, value in settings.ignored(resolved).items())
        if asked and asked not in self._said:
            self._said.add(asked)
            logger.warning("%s paints in one step, without guidance; not used: %s.", self.model.name, asked)

    def condition(self, *settings: PaintSettings) -> list[Conditioning]:
        """Encode the prompts of several settings in one call, so that all embeddings are equally long.

        Where a prompt names a class of the adapter for curves, that class's vectors stand in its place.
        """
        from sonopaint.models.prompt import encode_prompt

        texts = [[one.prompt, one.negative_prompt, *one.blocks.values()] for one in settings]
        with torch.no_grad():
            embeddings = iter(encode_prompt(self.model, [text for some in texts for text in some])[:, None])

        def read(prompt: str) -> Tensor:
            own = next(embeddings)
            of_class = self.following.embedding(prompt, own.shape[1]) if self.following else None
            return own if of_class is None else of_class[None].to(own)

        return [
            Conditioning(
                read(one.prompt), next(embeddings), {begin: read(text) for begin, text in one.blocks.items()}
            )
            for one in settings
        ]

    @torch.no_grad()
    def paint(
        self,
        canvas: Canvas,
        prompt: str,
        settings: PaintSettings,
        progress: Progress | None = None,
        *,
        noise: Noise | None = None,
        conditioning: Conditioning | None = None,
    ) -> Picture:
        """Repaint the masked cells of ``canvas`` (see Painter.paint).

        noise, conditioning: instead of the seed's noise and the prompt's embeddings (interpolations).
        """
        own = {settings.seed: noise or seeded_noise(settings.seed)}
        return self._paint(canvas, prompt, settings, own, progress or silent, conditioning)[0]

    def together(self, canvas: Canvas) -> int:
        """How many seeds ``paint_seeds`` paints quicker than ``paint`` does one after the other."""
        rows, columns = canvas.mask.shape
        cells = rows * padded(min(columns, self.format.width)) // self.model.latent_factor**2
        return min(max(BATCH_CELLS // cells, 1), MOST_TOGETHER)

    @torch.no_grad()
    def paint_seeds(
        self,
        canvas: Canvas,
        prompt: str,
        settings: PaintSettings,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[Picture]:
        """``paint`` with each of several seeds, in one batch.

        They differ from what ``paint`` makes by the rounding of sums in another order; the same seeds give
        the same pictures.
        """
        noises = {seed: seeded_noise(seed) for seed in seeds}
        return self._paint(canvas, prompt, settings, noises, progress or silent, None)

    def _paint(
        self,
        canvas: Canvas,
        prompt: str,
        settings: PaintSettings,
        noises: Mapping[int, Noise],
        report: Progress,
        conditioning: Conditioning | None,
    ) -> list[Picture]:
        """A picture for each {seed: its noise}."""
        fmt = canvas.picture.format
        if dataclasses.replace(fmt, channels=self.format.channels) != self.format:
            raise SonopaintError(
                f"The picture's format is {fmt.name}, but the model {self.model.name} "
                f"paints {self.format.name}; convert the sound with that format first."
            )
        asked = dataclasses.replace(settings, prompt=prompt)
        settings = self.resolve(asked)
        self._tell_ignored(asked, settings)
        source = canvas.picture.pixels
        mask = np.ascontiguousarray(canvas.mask[::-1])  # top row first, as pixels have it
        columns = mask.shape[1]
        # A loop has no seam of its own here only where the painted part reaches across the ends.
        across = bool(mask[:, 0].any() or mask[:, -1].any())
        circular = canvas.circular and across and columns % MULTIPLE == 0
        spans = [(0, columns)] if circular else paint_spans(mask, self.format.width, self.lead)
        if not spans:
            return [canvas.picture] * len(noises)
        report(0, len(spans) * (settings.steps or 1), "Reading the prompt")
        conditioning = conditioning or self.condition(settings)[0]

        pixels = np.repeat(source[None], len(noises), axis=0)
        for index, (start, stop) in enumerate(spans):

            def tell(step: int, total: int, message: str, index: int = index) -> None:
                report(index * total + step, len(spans) * total, message)

            part, part_mask = pixels[:, :, start:stop], mask[:, start:stop]
            wide = stop - start
            control = None
            if self.following is not None:
                begins_s = canvas.first / canvas.source.sample_rate + fmt.seconds(start)
                control = self.following.control(self.format, begins_s, padded(wide))
            painted = self._paint_part(
                part, part_mask, wide, settings, conditioning, noises, circular, tell, control
            )
            if fmt.channels == "mono":
                painted = painted.mean(axis=-1, keepdims=True)
            if self.model.grain is not None:
                painted = np.stack([grained(self.model.grain, one, start - spans[0][0]) for one in painted])
            own = slice(start, min([stop, columns, *(first for first, _ in spans[index + 1 :])]))
            count = own.stop - start
            pixels[:, :, own] = _blend(part[:, :, :count], painted[:, :, :count], part_mask[:, :count])
        return [dataclasses.replace(canvas.picture, pixels=one) for one in pixels]

    def paint_between(
        self, canvas: Canvas, a: PaintSettings, b: PaintSettings, t: float, progress: Progress | None = None
    ) -> Picture:
        """The picture ``t`` of the way from a's to b's prompt and noise; everything else is a's."""
        text_a, text_b = self.condition(a, b)
        noise_a, noise_b = seeded_noise(a.seed), seeded_noise(b.seed)
        return self.paint(
            canvas,
            a.prompt,
            a,
            progress,
            noise=lambda shape: slerp(noise_a(shape), noise_b(shape), t),
            conditioning=text_a.lerp(text_b, t),
        )

    def _paint_part(
        self,
        pixels: np.ndarray,
        mask: np.ndarray,
        columns: int,
        settings: PaintSettings,
        conditioning: Conditioning,
        noises: Mapping[int, Noise],
        circular: bool,
        report: Progress,
        control: Tensor | None = None,
    ) -> np.ndarray:
        """Paint pixels [B, H, W, 3] where mask [H, W] says so; float32 [B, H, W, 3] in 0 … 255, unmasked too.

        columns: how wide the model's picture is to be, at least W.
        """
        from sonopaint.models.inpaint import inpainting, kept_channels, sees_kept
        from sonopaint.models.schedule import sigmas as schedule
        from sonopaint.samplers import SAMPLERS
        from sonopaint.samplers.common import added_noise
        from sonopaint.samplers.one_step import pure_noise

        model = self.model
        factor = model.latent_factor
        height, width = mask.shape
        wide = padded(max(width, columns))
        from_original = settings.fill == "original" or settings.strength < 1
        if (pixels == pixels[:1]).all():
            pixels = pixels[:1]  # what all seeds begin with is encoded once
        start_pixels = pixels.astype(np.float32)
        if not from_original:
            start_pixels = np.stack([fill_masked(one, mask, circular=circular) for one in pixels])
        # Columns that only fill the width up are free to be painted: no silence leaks in from the side.
        start_pixels = np.pad(start_pixels, ((0, 0), (0, 0), (0, wide - width), (0, 0)), mode="edge")
        free = np.pad(mask, ((0, 0), (0, wide - width)), constant_values=1.0)

        levels = model.alphas_cumprod
        if model.one_step is not None:  # a student begins at its own timestep, not at the last one
            levels = levels[: model.one_step + 1]
        sigmas = schedule(levels, min(settings.steps or 1, len(levels)), strength=settings.strength)
        steps = len(sigmas) - 1
        report(0, steps, "Painting")
        paint_here = latent_mask(torch.from_numpy(free), factor).to(model.device)
        channels = int(model.unet.config.in_channels)
        shape = (1, channels, height // factor, wide // factor)
        if from_original or not bool(paint_here.all()):
            image = torch.from_numpy(start_pixels).permute(0, 3, 1, 2) / 127.5 - 1
            source = encode_image(model, image, circular=circular).to(model.device)
        else:
            source = torch.zeros(shape, device=model.device)
        source = source.expand(len(noises), -1, -1, -1)
        kept = None
        if sees_kept(model.unet) and not bool(paint_here.all()):
            kept = kept_channels(source, paint_here)
        own_noise = torch.cat([noise(shape) for noise in noises.values()]).to(model.device)
        first = float(sigmas[0])
        if settings.sampler == ONE_STEP and not from_original:
            start = pure_noise(own_noise, first)  # kept cells are set in `denoise`
        else:
            start = (source if from_original else source * (1 - paint_here)) + own_noise * first

        window = window_of(model)
        denoiser = _denoiser(model, conditioning, settings, circular and shape[-1] <= window)
        extra = [] if kept is None else [kept]
        if control is not None and self.following is not None:
            denoiser.adapter = self.following.adapter.to(model.device)
            extra.append(control.to(model.device).expand(len(noises), -1, -1, -1))
        sizes = [channels, *(part.shape[1] for part in extra)]
        done = 0

        def denoise(x: Tensor, sigma: float) -> Tensor:
            """x0 with the kept latents at the source's, seen by the model at the source's noise level."""
            x = x * paint_here + (source + own_noise * sigma) * (1 - paint_here)

            def one_window(part: Tensor) -> Tensor:
                report(done, steps, "Painting")  # so that a long step can be stopped, too
                x, *more = part.split(sizes, 1)
                kept_here = more.pop(0) if kept is not None else None
                return denoiser(x, sigma, kept_here, *more)

            seen = torch.cat([x, *extra], 1)
            x0 = over_windows(one_window, seen, window, circular=circular)
            return x0 * paint_here + source * (1 - paint_here)

        def after_step(step: int, total: int, x0: Tensor) -> None:
            nonlocal done
            done = step
            report(step, total, "Painting")

        with inpainting(model.unet) if kept is not None else nullcontext():
            latents = SAMPLERS[settings.sampler or ""](
                denoise,
                start,
                sigmas,
                callback=after_step,
                generator=[added_noise(seed) for seed in noises],
            )
        image = decode_latents(model, latents, circular=circular)[..., :width]
        painted = ((image + 1) * 127.5).clamp(0, 255).permute(0, 2, 3, 1).cpu()
        if not bool(torch.isfinite(painted).all()):
            raise SonopaintError(
                f"The model {model.name} painted values that are no numbers; "
                f"use 32-bit weights or a lower {setting('guidance_scale')}."
            )
        return painted.numpy()


def _denoiser(model: Model, conditioning: Conditioning, settings: PaintSettings, circular: bool) -> Any:
    from sonopaint.models.denoiser import Denoiser

    return Denoiser(
        model,
        conditioning.text,
        conditioning.negative,
        guidance_scale=1.0 if settings.guidance_scale is None else settings.guidance_scale,
        circular=circular,
        blocks=conditioning.blocks,
    )


def _blend(source: np.ndarray, painted: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """uint8 [B, H, W, 3]: painted where mask [H, W] is 1, exactly the source where it is 0."""
    weight = mask[..., None]
    return np.rint(source * (1 - weight) + painted * weight).astype(np.uint8)
