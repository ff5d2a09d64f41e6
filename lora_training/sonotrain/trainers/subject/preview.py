"""Some prompts with fixed seeds, painted by the network in training and by what it began as."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoconvert.pictures.picture import Picture
from sonotrain.trainers.one_step import matching
from sonotrain.trainers.one_step.networks import Role
from sonotrain.trainers.subject.methods import Setting
from sonotrain.trainers.subject.options import ONE_STEP
from sonotrain.training.previews import save, save_pairs, to_pictures

SEED = 1


class Painter:
    """Paints latents with a role's network: in one step where the method makes a student, else in many."""

    def __init__(self, setting: Setting, model: Any, role: Role) -> None:
        self.setting, self.model, self.role = setting, model, role
        self.one_step = setting.options.method in ONE_STEP

    @torch.no_grad()
    def __call__(self, texts: Sequence[int], seed: int = SEED) -> Tensor:
        """Scaled latents [texts, 4, h, w] on the CPU; the noise hangs on the place only."""
        setting = self.setting
        noise = torch.randn((len(texts), *setting.data.size), generator=torch.Generator().manual_seed(seed))
        found = []
        for number, one in zip(texts, noise.to(setting.device), strict=True):
            text = setting.data.text(number).to(setting.device)
            with setting.autocast():
                found.append((self._once if self.one_step else self._steps)(one[None], text).float().cpu())
        return torch.cat(found)

    def _once(self, noise: Tensor, text: Tensor) -> Tensor:
        steps = torch.tensor([self.setting.timestep], device=noise.device)
        predicted = self.setting.networks.noise(self.role, noise, steps, text)
        return matching.clean_from_noise(noise, predicted, self.setting.alphas_cumprod[steps])

    def _steps(self, noise: Tensor, text: Tensor) -> Tensor:
        from dataclasses import replace

        from sonopaint.samplers import SAMPLERS, Denoiser
        from sonopaint.samplers.schedule import sigmas

        defaults = self.model.defaults
        levels = sigmas(self.model.alphas_cumprod, int(defaults["steps"]))
        model = replace(self.model, unet=self.setting.networks.unet_of(self.role))
        empty = self.setting.data.text(0).to(noise.device)
        denoise = Denoiser(model, text, empty, float(defaults["guidance_scale"]))
        return SAMPLERS[str(defaults["sampler"])](denoise, noise * float(levels[0]), levels)


class Previews:
    """Writes step-N/{k}-with and {k}-without (as it was at the start) as .png and .wav, and sheet.png."""

    def __init__(self, painter: Painter, decoder: Any, folder: Path) -> None:
        self.painter, self.decoder, self.folder = painter, decoder, folder
        data = painter.setting.data
        self.prompts = data.prompts
        self.texts = [data.captions.numbers[prompt] for prompt in self.prompts]
        self.before: list[Picture] | None = None

    def remember(self) -> None:
        """Paints what training begins with."""
        self.before = self._paint()

    def _paint(self) -> list[Picture]:
        return to_pictures(self.painter.model, self.decoder, self.painter(self.texts))

    def __call__(self, number: int) -> dict[str, float]:
        target = self.folder / f"step-{number:08d}"
        target.mkdir(parents=True, exist_ok=True)
        after = self._paint()
        for kind, pictures in (("with", after), ("without", self.before or [])):
            for index, picture in enumerate(pictures):
                settings = {"prompt": self.prompts[index], "subject": kind, "step": number}
                save(picture, target / f"{index}-{kind}", settings)
        save_pairs(self.before or after, after, target / "sheet.png")
        return {}
