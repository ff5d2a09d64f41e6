"""Methods as back-ends: what paints a subject's prompts, in sounds or pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sonoconvert.files.atomic import atomic_path
from sonoconvert.files.clip import write_clip
from sonotrain.evaluation.bench.nouns import Make, Reference, Shot
from sonotrain.evaluation.subject.folders import Subject
from sonotrain.evaluation.subject.methods import Method, Weights, find_weights
from sonotrain.evaluation.subject.prompts import PLAIN, Template
from sonotrain.files.options import option


@dataclass(frozen=True)
class Sampling:
    """How models of many steps sample (a student takes one, whatever this says); DreamBooth: 50 of DDIM."""

    steps: int = option(50, "sampling steps")
    guidance: float = option(0.0, "guidance scale (default: the model's)")
    sampler: str = option("ddim", "sampler")
    size: int = option(512, "side of pictures in pixels")


class Painting:
    """A method as a back-end: weights for each subject, and the list's prompts in so many seeds.

    SonopaintError where a subject has no weights, before anything is painted.
    """

    def __init__(
        self,
        method: Method,
        subjects: Sequence[Subject],
        *,
        base: str,
        token: str,
        prompts: Sequence[int],
        seeds: Sequence[int],
        sampling: Sampling,
        device: str | torch.device = "cpu",
    ) -> None:
        self.name, self.token, self.prompts = method.name, token if method.token else "", prompts
        self.seeds, self.sampling, self.device = seeds, sampling, device
        self.weights = {subject.name: find_weights(method, subject.name, base) for subject in subjects}
        self.sounds = subjects[0].sounds
        self.suffix = ".flac" if self.sounds else ".png"

    def shots(self, reference: Any) -> list[Shot]:
        """The plain prompt and the chosen templates (from 1), each with all seeds."""
        listed = {0: Template(PLAIN)} | {n: reference.templates[n - 1] for n in self.prompts}
        return [
            Shot(
                number, seed, template.prompt(self.token, reference.noun), template.prompt("", reference.noun)
            )
            for number, template in listed.items()
            for seed in self.seeds
        ]

    def facts(self, reference: Reference) -> dict[str, Any]:
        return {"files": self.weights[reference.name].hashes(), "sampling": asdict(self.sampling)}

    def open(self, reference: Reference) -> tuple[Make, dict[str, Any]]:
        paint, nfe = painter(
            self.weights[reference.name], self.sampling, sounds=self.sounds, device=self.device
        )
        return paint, {"nfe": nfe}

    def cost(self, reference: Reference) -> dict[str, Any]:
        weights = self.weights[reference.name]
        return {"minutes": weights.minutes, "memory_mb": weights.memory_mb}


def painter(
    weights: Weights, sampling: Sampling, *, sounds: bool, device: str | torch.device = "cpu"
) -> tuple[Make, int]:
    """(a function that paints one shot into a file, evaluations of the U-Net that it takes)."""
    from sonopaint.models.loading import load_model

    loras: list[tuple[str | Path, float]] = [(weights.lora, 1.0)] if weights.lora else []
    format = None if sounds else "riffusion-v1"  # a model of pictures says none; it is not used for them
    model = load_model(weights.model, device=device, loras=loras, format=format)
    guidance = sampling.guidance or float(model.defaults["guidance_scale"])
    nfe = 1 if model.one_step is not None else sampling.steps * (2 if guidance != 1 else 1)
    if not sounds:
        return _pictures(model, sampling, guidance), nfe

    from sonopaint.tasks import PaintSettings
    from sonopaint.tasks.generation import generate

    told: dict[str, Any] = {}
    if nfe > 1:
        told = {"steps": sampling.steps, "sampler": sampling.sampler, "guidance_scale": guidance}

    def paint(shot: Shot, file: Path) -> None:
        settings = PaintSettings(prompt=shot.text, seed=shot.seed, **told)
        write_clip(generate(model, settings)[0].clip, file, force=True)

    return paint, nfe


def _pictures(model: Any, sampling: Sampling, guidance: float) -> Make:
    """Square pictures of a model that paints no sounds."""
    from PIL import Image

    from sonopaint.models.prompt import encode_prompt
    from sonotrain.training.painting import painted

    side = sampling.size // model.latent_factor

    def paint(shot: Shot, file: Path) -> None:
        noise = torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(shot.seed))
        text = encode_prompt(model, [shot.text, ""])
        how = {"steps": sampling.steps, "sampler": sampling.sampler, "guidance": guidance}
        pixels = painted(model, text[:1], text[1:], noise, **how)[0].float().cpu()
        bytes_ = ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        with atomic_path(file, force=True) as beside:
            Image.fromarray(bytes_).save(beside, format="PNG")

    return paint
