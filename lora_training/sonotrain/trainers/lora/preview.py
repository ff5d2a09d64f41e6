"""Fixed prompts with fixed seeds, painted with and without the LoRA, as pictures and as sounds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoconvert.files.clip import read_clip, write_clip
from sonoconvert.pictures.picture import load_picture, save_picture
from sonotrain.trainers.lora.learner import Learner
from sonotrain.training.adapter import without_lora
from sonotrain.training.compute import step_generator
from sonotrain.training.painting import noise_of, sample
from sonotrain.training.previews import Painting, save, save_comparison, to_paintings

logger = logging.getLogger(__name__)

SEED = 1
BATCH = 4


class Previews:
    """Paints with the model in training. Only the VAE's decoder is kept for it, beside the U-Net."""

    def __init__(self, trainer: Learner, decoder: Any) -> None:
        self.trainer, self.decoder = trainer, decoder
        self.prompts = trainer.data.prompts
        self.without: list[Painting] | None = None  # the base model's answers, which never change

    def __call__(self, number: int, target: Path) -> None:
        """Writes {k}-with.png, .wav, {k}-without.* and sheet.png into `target`."""
        if self.without is None:
            with without_lora(*self.trainer.modules):
                self.without = self.paint(self.prompts)
        with self.trainer.averaged():
            after = self.paint(self.prompts)
        save_comparison(self.without, after, self.prompts, target, step=number)

    def sample(self, number: int, target: Path) -> dict[str, float]:
        """A random training and validation clip as they are, and after picture, VAE and back."""
        data = self.trainer.data
        generator = step_generator(self.trainer.options.seed + 3, number)
        sets = (
            ("train", data.dataset.train, data.train),
            ("validation", data.validation_examples, data.validation),
        )
        for kind, examples, cache in sets:
            chosen = int(torch.randint(len(examples), (1,), generator=generator))
            latents, _ = cache.get([chosen], [0])
            (painting,) = self.paintings(latents)
            settings = {"caption": examples[chosen].text, "source": examples[chosen].source}
            save(painting, target / f"{kind}-round-trip", settings)
            save_picture(load_picture(examples[chosen].picture), target / f"{kind}-original.png", force=True)
            write_clip(read_clip(examples[chosen].audio), target / f"{kind}-original.wav", force=True)
        return {}

    @torch.no_grad()
    def paint(self, prompts: Sequence[str]) -> list[Painting]:
        """One picture for each prompt; its noise hangs on its place only."""
        trainer, model = self.trainer, self.trainer.model
        for module in trainer.modules:
            module.eval()
        noise = noise_of(model, len(prompts), SEED)
        numbers = trainer.data.captions.numbers
        found = []
        with trainer.autocast():
            for first in range(0, len(prompts), BATCH):
                part = list(prompts[first : first + BATCH])
                text = trainer.embed(torch.tensor([numbers[p] for p in part]), frozen=True)
                empty = trainer.embed(torch.tensor([0]), frozen=True)
                steps = trainer.options.preview_steps
                found.append(sample(model, text, empty, noise[first : first + BATCH], steps=steps).cpu())
        for module in trainer.modules:
            module.train()
        return self.paintings(torch.cat(found))

    def paintings(self, latents: Tensor) -> list[Painting]:
        """Scaled latents [N, 4, h, w] → pictures with their sounds."""
        return to_paintings(self.trainer.model, self.decoder, latents)
