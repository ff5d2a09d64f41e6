"""Clips of a method for each prompt and seed, as files: what is there already is not painted again."""

from __future__ import annotations

import json
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files.atomic import atomic_path
from sonoconvert.files.clip import write_clip
from sonotrain.data.corpus import clock
from sonotrain.evaluation.hearing import Progress
from sonotrain.evaluation.subject.folders import Subject
from sonotrain.evaluation.subject.methods import Weights
from sonotrain.evaluation.subject.prompts import PLAIN, Template
from sonotrain.evaluation.tables import write_json
from sonotrain.files.json_files import read_json

logger = logging.getLogger(__name__)

ABOUT, TIMES = "painted.json", "seconds.jsonl"
TELL_S = 10.0  # seconds between two lines of progress


@dataclass(frozen=True)
class Sampling:
    """How models of many steps sample (a student takes one, whatever this says).

    steps, sampler: DreamBooth's 50 of DDIM; guidance: 0 is the model's own; size: of pictures, in pixels.
    """

    steps: int = 50
    guidance: float = 0.0
    sampler: str = "ddim"
    size: int = 512


@dataclass(frozen=True)
class Shot:
    """One clip: template 0 is the plain prompt, 1 … 25 are the list's."""

    template: int
    seed: int
    text: str

    @property
    def stem(self) -> str:
        return f"p{self.template:02d}-s{self.seed}"


@dataclass(frozen=True)
class Painted:
    """The files of the shots, in their order; evaluations of the U-Net for each; median seconds for one."""

    files: list[Path]
    nfe: int
    seconds: float | None


def shots(subject: Subject, templates: Sequence[int], seeds: Sequence[int], token: str) -> list[Shot]:
    """The plain prompt and the chosen templates (from 1), each with all seeds."""
    listed: dict[int, Template] = {0: Template(PLAIN)}
    listed |= {number: subject.templates[number - 1] for number in templates}
    return [
        Shot(number, seed, template.prompt(token, subject.noun))
        for number, template in listed.items()
        for seed in seeds
    ]


def paint_all(
    wanted: Sequence[Shot],
    weights: Weights,
    folder: Path,
    sampling: Sampling,
    *,
    sounds: bool,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> Painted:
    """Paints the missing shots into `folder`/pNN-sN.flac (.png); one after another, each timed.

    Raises SonopaintError where the folder holds clips of other weights, token or sampling.
    """
    _check(folder, {"files": weights.hashes(), "sampling": vars(sampling), "plain": wanted[0].text})
    suffix = ".flac" if sounds else ".png"
    files = [folder / f"{shot.stem}{suffix}" for shot in wanted]
    missing = [index for index, file in enumerate(files) if not file.is_file()]
    if missing:
        paint, nfe = painter(weights, sampling, sounds=sounds, device=device)
        write_json(folder / ABOUT, read_json(folder / ABOUT) | {"nfe": nfe})
        start = told = time.monotonic()
        for done, index in enumerate(missing, 1):
            begin = time.perf_counter()
            paint(wanted[index], files[index])
            _append(folder / TIMES, {"seconds": time.perf_counter() - begin, "shot": wanted[index].stem})
            now = time.monotonic()
            if progress:
                progress(done, len(missing), f"painting {folder.parent.name}/{folder.name}")
            if now - told > TELL_S or done == len(missing):
                told = now
                left = clock((now - start) / done * (len(missing) - done))
                name = f"{folder.parent.name}/{folder.name}"
                logger.info("%s: painted %d of %d, %s left", name, done, len(missing), left)
    return Painted(files, int(read_json(folder / ABOUT)["nfe"]), _median_seconds(folder / TIMES))


Paint = Callable[[Shot, Path], None]


def painter(
    weights: Weights, sampling: Sampling, *, sounds: bool, device: str | torch.device = "cpu"
) -> tuple[Paint, int]:
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


def _pictures(model: Any, sampling: Sampling, guidance: float) -> Paint:
    """Square pictures of a model that paints no sounds."""
    from PIL import Image

    from sonopaint.models.prompt import encode_prompt
    from sonopaint.samplers import SAMPLERS, Denoiser
    from sonopaint.samplers.one_step import one_step_sigma, sample_one_step
    from sonopaint.samplers.schedule import sigmas

    side = sampling.size // model.latent_factor

    @torch.no_grad()
    def paint(shot: Shot, file: Path) -> None:
        noise = torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(shot.seed))
        noise = noise.to(model.device)
        text = encode_prompt(model, [shot.text, ""])
        if model.one_step is not None:
            sigma = one_step_sigma(model.alphas_cumprod, model.one_step)
            latents = sample_one_step(Denoiser(model, text[:1]), noise, sigma)
        else:
            levels = sigmas(model.alphas_cumprod, sampling.steps)
            denoise = Denoiser(model, text[:1], text[1:], guidance)
            latents = SAMPLERS[sampling.sampler](denoise, noise * float(levels[0]), levels)
        pixels = model.vae.decode((latents / model.vae_scale).to(model.dtype)).sample[0].float().cpu()
        bytes_ = ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        with atomic_path(file, force=True) as beside:
            Image.fromarray(bytes_).save(beside, format="PNG")

    return paint


def _check(folder: Path, about: dict[str, Any]) -> None:
    """A folder belongs to one model and one way of sampling, so that clips are never mixed from two."""
    about = json.loads(json.dumps(about))
    if (folder / ABOUT).is_file():
        before = read_json(folder / ABOUT)
        if changed := [name for name, value in about.items() if before.get(name) != value]:
            raise SonopaintError(
                f"{folder} holds clips that were painted with other {', '.join(changed)}; choose another "
                "--out, or delete the folder."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / ABOUT, about)


def _append(path: Path, line: dict[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _median_seconds(path: Path) -> float | None:
    """Of one shot, without the first, which warms up (unless it is the only one)."""
    if not path.is_file():
        return None
    seconds = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            seconds.append(float(json.loads(line)["seconds"]))
        except (ValueError, KeyError, TypeError):
            continue  # a line that was cut off
    return statistics.median(seconds[1:] or seconds) if seconds else None
