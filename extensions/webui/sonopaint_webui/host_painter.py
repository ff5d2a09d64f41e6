"""HostPainter: paints a canvas with the checkpoint, LoRAs, samplers and styles of the WebUI itself."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import AbstractContextManager, closing, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from sonoconvert.errors import Cancelled, SonopaintError
from sonoconvert.pictures.picture import Picture
from sonopaint.knowledge import Knowledge, knowledge_of
from sonopaint.models.circular import circular_time
from sonopaint.models.folders import shipped_folder
from sonopaint.models.grain import GrainNetwork, grain_beside, grained
from sonopaint.painters.spans import MULTIPLE, fill_masked, padded, paint_spans
from sonopaint.tasks.progress import Progress, silent
from sonopaint.tasks.settings import SD_DEFAULTS, PaintSettings
from sonopaint_webui import host, infotext, shipped

if TYPE_CHECKING:
    from sonoconvert.edits.canvas import Canvas
    from sonoconvert.pictures.format import SpectrogramFormat
    from sonopaint.painters.following import Following

logger = logging.getLogger(__name__)

LATENT = 8  # pixels of one latent cell
OVERLAP = 0.25  # of a window: what the next one sees of it
# What a masked area starts from: our names, which are the host's, and the host's numbers for them. "fill" is
# drawn by ourselves, along time.
FILLS = {"fill": 1, "original": 1, "latent noise": 2, "latent nothing": 3}
# For the time of one picture: nothing of the host's may touch what was painted.
SETTINGS = {"img2img_color_correction": False, "face_restoration": False, "return_mask": False}


@dataclasses.dataclass
class HostPainter:
    """The Painter of AUTOMATIC1111 and Forge. Called inside ``host.queued``.

    format: of the pictures. fill: one of FILLS, what masked areas start from at full strength.
    scheduler: the schedule's label, empty for automatic. styles: names of the WebUI's styles.
    checkpoint: paint with this one instead of the loaded one. lead: of the model, see `paint_spans`.
    following: curves that all that it paints is to follow, with an adapter that works here.
    about: our part of the infotext. infotexts: of each picture of the host's. comments: what the host said
    while it painted them.
    """

    format: SpectrogramFormat
    fill: str = "latent nothing"
    scheduler: str = ""
    styles: tuple[str, ...] = ()
    checkpoint: str = ""
    lead: int | None = None
    following: Following | None = None
    about: str = ""
    infotexts: list[str] = dataclasses.field(default_factory=list)
    comments: dict[str, None] = dataclasses.field(default_factory=dict)

    @cached_property
    def _file(self) -> Path | None:
        """The checkpoint's."""
        return host.checkpoint_files().get(self.checkpoint) if self.checkpoint else host.chosen_checkpoint()

    @cached_property
    def knowledge(self) -> Knowledge | None:
        """What the checkpoint knows, where that can be listed."""
        return knowledge_of(self._file) if self._file else None

    @cached_property
    def grain(self) -> GrainNetwork | None:
        """What knows how rough the noise is that the checkpoint's VAE blurs; for Mini the shipped one."""
        if self._file is None:
            return None
        mini = self._file.name == shipped.CHECKPOINT and shipped.is_mini(self._file)
        return grain_beside(shipped_folder() / "mini" if mini else self._file, self.format)

    def resolve(self, settings: PaintSettings) -> PaintSettings:
        """The settings with the WebUI's usual values where they say None; unknown names are refused."""
        sampler = settings.sampler or host.sampler_names()[0]
        host.check_names(sampler, self.scheduler, self.styles)
        return settings.resolved({**SD_DEFAULTS, "sampler": sampler})

    def describe(self) -> dict[str, Any]:
        from modules import shared

        model = shared.sd_model
        return {
            "model": self.checkpoint or host.checkpoint_name(model),
            "model_hash": str(getattr(model, "sd_model_hash", "") or ""),
            "scheduler": self.scheduler,
            "styles": list(self.styles),
            "masked_content": self.fill,
            **(self.following.describe() if self.following else {}),
        }

    def paint(
        self, canvas: Canvas, prompt: str, settings: PaintSettings, progress: Progress | None = None
    ) -> Picture:
        """Repaint the masked cells of ``canvas`` (see Painter.paint)."""
        return self.paint_with(canvas, dataclasses.replace(settings, prompt=prompt), progress)

    def paint_between(
        self, canvas: Canvas, a: PaintSettings, b: PaintSettings, t: float, progress: Progress | None = None
    ) -> Picture:
        """The picture ``t`` of the way from a's to b's.

        The host mixes the two seeds' noise along the great circle (its variation seed) and the prompts'
        predictions by weight (its AND); the ends are what a and b alone paint.
        """
        if t in (0, 1):
            return self.paint_with(canvas, a if t == 0 else b, progress)
        mixed = f"{a.prompt} :{1 - t:.4f} AND {b.prompt} :{t:.4f}"
        prompt = a.prompt if a.prompt == b.prompt else mixed
        settings = dataclasses.replace(a, prompt=prompt)
        return self.paint_with(canvas, settings, progress, subseed=b.seed, subseed_strength=t)

    @torch.no_grad()
    def paint_with(
        self, canvas: Canvas, settings: PaintSettings, progress: Progress | None = None, **seeds: Any
    ) -> Picture:
        """``paint`` to ``settings.prompt``. ``seeds``: the host's variation seed and its strength."""
        fmt = canvas.picture.format
        if dataclasses.replace(fmt, channels=self.format.channels) != self.format:
            raise SonopaintError(
                f"The picture's format is {fmt.name}, but {self.format.name} is painted; "
                "convert the sound with that format first."
            )
        settings, model = self.resolve(settings), host.loaded_model()
        if self.lead is not None and settings.sampler == host.ONE_STEP_SAMPLER and settings.strength == 1:
            settings = dataclasses.replace(settings, steps=1)  # a few are too quiet
        report = progress or silent
        mask = np.ascontiguousarray(canvas.mask[::-1])  # top row first, as pixels have it
        columns = mask.shape[1]
        across = bool(mask[:, 0].any() or mask[:, -1].any())
        circular = canvas.circular and across and columns % MULTIPLE == 0
        windows = [(0, columns, 0)] if circular else _windows(mask, self.format.width, self.lead)
        pixels = canvas.picture.pixels.copy()
        with circular_time(*host.convolutions(model)) if circular else nullcontext():
            for index, (start, stop, seen) in enumerate(windows):
                report(index, len(windows), "Painting")
                part, part_mask = pixels[:, start:stop], mask[:, start:stop].copy()
                part_mask[:, :seen] = 0  # painted by the window before
                own = part_mask.copy()
                if self.lead is not None and index + 1 < len(windows):
                    own[:, windows[index + 1][0] - start :] = 0  # painted by the window after
                if not own.any():
                    continue
                # Windows of the same noise would sound alike.
                item = dataclasses.replace(settings, seed=(settings.seed + index * 7919) % 2**32)
                wide = stop - start
                begins_s = canvas.first / canvas.source.sample_rate + fmt.seconds(start)
                with self._curves(begins_s, padded(wide)):
                    painted = self._paint_part(part, part_mask, wide, item, circular, seeds)
                painted = painted.astype(np.float32)
                if fmt.channels == "mono":
                    painted = painted.mean(axis=-1, keepdims=True)
                if self.grain is not None:
                    painted = grained(self.grain, painted, start - windows[0][0])
                weight = own[..., None]
                pixels[:, start:stop] = np.rint(part * (1 - weight) + painted * weight).astype(np.uint8)
        report(len(windows), len(windows), "Painting")
        return dataclasses.replace(canvas.picture, pixels=pixels)

    def _curves(self, begins_s: float, columns: int) -> AbstractContextManager[None]:
        """Lets a picture of so many columns, from a second of the result on, follow its curves."""
        if self.following is None:
            return nullcontext()
        from sonopaint_webui.curves import at_work

        return at_work(self.following.adapter, self.following.control(self.format, begins_s, columns))

    def _paint_part(
        self,
        pixels: np.ndarray,
        mask: np.ndarray,
        columns: int,
        settings: PaintSettings,
        circular: bool,
        seeds: Any,
    ) -> np.ndarray:
        """What the host paints over uint8 [H, W, 3] where mask [H, W] says so; unmasked cells too.

        columns: how wide the host's picture is to be, at least W.
        """
        height, width = mask.shape
        # The U-Net halves three times what the VAE has divided by 8. What fills a size up is free to paint.
        tall, wide = padded(height), padded(max(width, columns))
        more = ((tall - height, 0), (0, wide - width))
        original = settings.strength < 1 or self.fill == "original"
        everything = bool((mask > 0).all())
        if everything and not original:
            painted = self._process("StableDiffusionProcessingTxt2Img", settings, wide, tall, seeds)
            return painted[-height:, :width]
        start = pixels if original else fill_masked(pixels, mask, circular=circular).round().astype(np.uint8)
        image = Image.fromarray(np.pad(start, (*more, (0, 0)), mode="edge"))
        options: dict[str, Any] = {"init_images": [image], "denoising_strength": settings.strength}
        if not everything:
            free = np.pad(mask, more, constant_values=1.0)
            cells = free.reshape(tall // LATENT, LATENT, wide // LATENT, LATENT).max(axis=(1, 3)) > 0
            whole = np.kron(cells, np.full((LATENT, LATENT), 255, dtype=np.uint8))
            options |= {
                "mask": Image.fromarray(whole),
                "mask_blur": 0,
                "inpainting_fill": 1 if original else FILLS[self.fill],
                "inpaint_full_res": False,
                "inpainting_mask_invert": 0,
            }
        painted = self._process("StableDiffusionProcessingImg2Img", settings, wide, tall, seeds, **options)
        return painted[-height:, :width]

    def _process(
        self, kind: str, settings: PaintSettings, width: int, height: int, seeds: Any, **options: Any
    ) -> np.ndarray:
        """One picture from the host, uint8 [height, width, 3]."""
        from modules import processing, shared

        state = shared.state
        if host.scheduler_names():  # hosts before 1.9 have no such field
            options["scheduler"] = self.scheduler or "Automatic"
        changes: dict[str, Any] = dict(SETTINGS)
        if self.checkpoint:
            changes["sd_model_checkpoint"] = self.checkpoint
        request = getattr(processing, kind)(
            sd_model=shared.sd_model,
            prompt=settings.prompt,
            negative_prompt=settings.negative_prompt,
            styles=list(self.styles),
            seed=settings.seed,
            sampler_name=settings.sampler,
            batch_size=1,
            n_iter=1,
            steps=settings.steps,
            cfg_scale=settings.guidance_scale,
            width=width,
            height=height,
            restore_faces=False,
            tiling=False,
            do_not_save_samples=True,
            do_not_save_grid=True,
            override_settings=changes,
            extra_generation_params={infotext.KEY: self.about} if self.about else {},
            **seeds,
            **options,
        )
        torch.manual_seed(settings.seed)  # the VAE's encoder draws from it
        before = host.errors_so_far()
        try:
            with closing(request):
                done = processing.process_images(request)
        except SonopaintError:
            raise
        except Exception as error:  # noqa: BLE001 - hosts, models and other extensions fail in every way
            raise host.failure(error, settings.prompt) from error
        self._hear(str(getattr(done, "comments", "")), before, settings.prompt)
        if state.interrupted or state.skipped:
            raise Cancelled("skipped" if state.skipped and not state.interrupted else "interrupted")
        if not done.images:
            raise SonopaintError("The WebUI painted nothing; look at its console for the reason.")
        self.infotexts.append(str(done.infotexts[0]) if done.infotexts else "")
        painted = np.asarray(done.images[int(getattr(done, "index_of_first_image", 0))].convert("RGB"))
        if painted.shape[:2] != (height, width):
            raise SonopaintError(
                f"The WebUI painted {painted.shape[1]} × {painted.shape[0]} pixels instead of "
                f"{width} × {height}; turn off what changes the size (high-res fix, an upscaling script)."
            )
        return painted

    def _hear(self, comments: str, before: list[Any], prompt: str) -> None:
        """Keep what the host told beside a picture, and what it told its console only."""
        told = [line.strip() for line in comments.splitlines() if line.strip()]
        caught = [one for one in host.errors_so_far() if not any(one is other for other in before)]
        told += [f"The WebUI reports an error: {one.get('exception', '')}" for one in caught]
        told = [*_of_other_models(prompt), *told]  # first: AUTOMATIC1111 only says that None has no length
        for name in host.missing_loras(prompt):  # first: Forge only says that None has no file's name
            if not any(name in line for line in told):
                told.insert(0, f"There is no LoRA {name!r} here: the sound was painted without it.")
        self.comments |= dict.fromkeys(told)


def _of_other_models(prompt: str) -> list[str]:
    """A sentence for each LoRA that fits another model than the one that painted: hosts ignore such ones."""
    from modules import shared

    learnt = {path.stem: host.header_of(path) for path in host.lora_files(prompt)}
    info = getattr(shared.sd_model, "sd_checkpoint_info", None)
    mini = bool(learnt) and shipped.is_mini(Path(info.filename) if info else None)
    base = "another model" if mini else "Sonopaint Mini"
    return [
        f"{name} was learnt on {base}: the sound was painted without it."
        for name, header in learnt.items()
        if shipped.BASE_KEY in header and shipped.learnt_on_mini(header) != mini
    ]


def _windows(mask: np.ndarray, width: int, lead: int | None = None) -> list[tuple[int, int, int]]:
    """(start, stop, columns already painted) of what is painted one after the other.

    The host paints a picture in one piece; one that is wider than the model knows is painted from left to
    right, each window going on from the last quarter of the one before.
    """
    windows = []
    for start, stop in paint_spans(mask, width, lead):
        if stop - start <= 1.5 * padded(width):
            windows.append((start, stop, 0))
            continue
        window, stride = padded(width), round(padded(width) * (1 - OVERLAP))
        count = -(-(stop - start - window) // stride) + 1
        begins = [start + min(index * stride, stop - start - window) for index in range(count)]
        ends = [start] + [begin + window for begin in begins]
        windows += [(b, b + window, end - b) for b, end in zip(begins, ends, strict=False)]
    return windows
