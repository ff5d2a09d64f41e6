"""Fixed prompts with fixed seeds, painted with and without the LoRA, as pictures and as sounds."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sonoconvert.conversion.convert import decode
from sonoconvert.files.clip import read_clip, write_clip
from sonoconvert.pictures.picture import Picture, load_picture, save_picture
from sonotrain.trainers.loop import step_generator
from sonotrain.trainers.lora.adapter import without_lora
from sonotrain.trainers.lora.trainer import LoraTrainer

logger = logging.getLogger(__name__)

SEED = 1
BATCH = 4
GAP = 4  # pixels between the pictures of a sheet


class Previews:
    """Paints with the model in training. Only the VAE's decoder is kept for it, beside the U-Net."""

    def __init__(self, trainer: LoraTrainer, decoder: Any, folder: Path, steps: int) -> None:
        self.trainer, self.decoder, self.folder = trainer, decoder, folder
        self.steps = steps or int(trainer.model.defaults["steps"])
        self.prompts = trainer.data.prompts
        self.without: list[Picture] | None = None  # the base model's answers, which never change

    def __call__(self, number: int) -> dict[str, float]:
        """Writes step-N/{k}-with.png, .wav, {k}-without.* and sheet.png; returns nothing to log."""
        target = self.folder / f"step-{number:08d}"
        target.mkdir(parents=True, exist_ok=True)
        if self.without is None:
            with without_lora(*self.trainer.modules):
                self.without = self.paint(self.prompts)
        with self.trainer.averaged():
            after = self.paint(self.prompts)
        for kind, pictures in (("with", after), ("without", self.without)):
            for index, picture in enumerate(pictures):
                save(
                    picture,
                    target / f"{index}-{kind}",
                    {"prompt": self.prompts[index], "lora": kind, "step": number},
                )
        save_pairs(self.without, after, target / "sheet.png")
        return {}

    def sample(self, number: int) -> dict[str, float]:
        """A random training and validation clip as they are, and after picture, VAE and back."""
        data = self.trainer.data
        generator = step_generator(self.trainer.options.seed + 3, number)
        target = self.folder / f"step-{number:08d}"
        target.mkdir(parents=True, exist_ok=True)
        sets = (
            ("train", data.dataset.train, data.train),
            ("validation", data.validation_examples, data.validation),
        )
        for kind, examples, cache in sets:
            chosen = int(torch.randint(len(examples), (1,), generator=generator))
            latents, _ = cache.get([chosen], [0])
            (picture,) = self.pictures(latents)
            settings = {"caption": examples[chosen].text, "source": examples[chosen].source}
            save(picture, target / f"{kind}-round-trip", settings)
            save_picture(load_picture(examples[chosen].picture), target / f"{kind}-original.png", force=True)
            write_clip(read_clip(examples[chosen].audio), target / f"{kind}-original.wav", force=True)
        return {}

    @torch.no_grad()
    def paint(self, prompts: Sequence[str]) -> list[Picture]:
        """One picture for each prompt; its noise hangs on its place only."""
        from sonopaint.painters.latents import window_of
        from sonopaint.samplers import SAMPLERS, Denoiser
        from sonopaint.samplers.schedule import sigmas

        trainer, model = self.trainer, self.trainer.model
        for module in trainer.modules:
            module.eval()
        levels = sigmas(model.alphas_cumprod, self.steps)
        size = (4, model.format.n_mels // model.latent_factor, window_of(model))
        noise = torch.randn((len(prompts), *size), generator=torch.Generator().manual_seed(SEED))
        numbers = trainer.data.captions.numbers
        found = []
        with trainer.autocast():
            for first in range(0, len(prompts), BATCH):
                part = list(prompts[first : first + BATCH])
                text = trainer.embed(torch.tensor([numbers[p] for p in part]), frozen=True)
                empty = trainer.embed(torch.tensor([0]), frozen=True)
                denoise = Denoiser(model, text, empty, float(model.defaults["guidance_scale"]))
                x = noise[first : first + BATCH].to(model.device) * float(levels[0])
                found.append(SAMPLERS[str(model.defaults["sampler"])](denoise, x, levels).float().cpu())
        for module in trainer.modules:
            module.train()
        return self.pictures(torch.cat(found))

    def pictures(self, latents: Tensor) -> list[Picture]:
        """Scaled latents [N, 4, h, w] → pictures."""
        return to_pictures(self.trainer.model, self.decoder, latents)


@torch.no_grad()
def to_pictures(model: Any, decoder: Any, latents: Tensor) -> list[Picture]:
    """Scaled latents [N, 4, h, w] → pictures. The decoder lives on the CPU and moves for this."""
    decoder.to(model.device)
    made = []
    for part in latents.split(BATCH):
        scaled = (part.to(model.device) / model.vae_scale).to(decoder.dtype)
        for image in decoder.decode(scaled).sample.float().cpu()[..., : model.format.width]:
            grey = ((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
            if model.format.channels == "mono":
                grey = np.repeat(grey.mean(axis=2, keepdims=True).round().astype(np.uint8), 3, axis=2)
            made.append(Picture(np.ascontiguousarray(grey), model.format))
    if model.device.type != "cpu":
        decoder.to("cpu")
    return made


def keep_decoder(model: Any, wanted: bool) -> Any:
    """Frees the VAE's encoder, and its decoder unless wanted, from the model; the decoder or None."""
    vae, model.vae = model.vae, None
    if not wanted:
        return None
    vae.encoder = vae.quant_conv = None
    return vae.to("cpu")


def save(picture: Picture, stem: Path, settings: dict[str, Any]) -> None:
    """stem.png and stem.wav."""
    save_picture(picture, stem.with_suffix(".png"), force=True)
    clip = decode(picture)
    write_clip(type(clip)(clip.waveform, clip.sample_rate, settings), stem.with_suffix(".wav"), force=True)


def save_pairs(before: Sequence[Picture], after: Sequence[Picture], path: Path) -> None:
    """Two rows of pictures as one PNG: without the LoRA above, with it below."""
    from PIL import Image

    from sonoconvert.files.atomic import atomic_path

    rows = []
    for pictures in (before, after):
        framed = [np.pad(p.pixels, ((0, GAP), (0, GAP), (0, 0)), constant_values=128) for p in pictures]
        rows.append(np.concatenate(framed, axis=1))
    with atomic_path(path, force=True) as beside:
        Image.fromarray(np.concatenate(rows, axis=0)).save(beside)


def slug(text: str, longest: int = 40) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^\w]+", "_", text).strip("_")[:longest] or "lora"
