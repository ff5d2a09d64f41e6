"""Noise and what the teacher makes of it: the student's first lessons (DMD, Yin et al. 2024, section 3.3)."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from sonotrain.files.pace import Pace
from sonotrain.files.tensors import keep
from sonotrain.training.compute import autocast, step_generator
from sonotrain.training.painting import sample

logger = logging.getLogger(__name__)

CHUNK = 64  # pairs in one file
SAMPLER = "dpmpp_2m"


@torch.no_grad()
def make_pairs(
    model: Any,
    captions: Sequence[str],
    folder: Path,
    count: int,
    *,
    shape: tuple[int, int, int],
    steps: int,
    guidance_scale: float,
    seed: int = 0,
    workers: tuple[int, int] = (0, 1),
    batch: int = 16,
) -> None:
    """Fills `folder` with `count` pairs for randomly drawn captions; chunks that are there already stay.

    A chunk depends on its own number and the seed only; worker k of n = `workers` makes every n-th.
    `shape`: of one latent [C, H, W].
    """
    from sonopaint.models.prompt import encode_prompt

    folder.mkdir(parents=True, exist_ok=True)
    worker, of = workers
    missing = [k for k in range(worker, -(-count // CHUNK), of) if not _path(folder, k).is_file()]
    pace = Pace()
    for done, chunk in enumerate(missing, 1):
        generator = step_generator(seed, chunk)
        chosen = torch.randint(len(captions), (CHUNK,), generator=generator).tolist()
        noise = torch.randn((CHUNK, *shape), generator=generator).half()
        size = min(CHUNK, count - chunk * CHUNK)
        chosen, noise = chosen[:size], noise[:size]
        made = []
        for first in range(0, size, batch):
            embedded = encode_prompt(model, [captions[i] for i in chosen[first : first + batch]] + [""])
            part = noise[first : first + batch]
            with autocast(model.device):
                painted = sample(
                    model, embedded[:-1], embedded[-1:], part,
                    steps=steps, guidance=guidance_scale, sampler=SAMPLER,
                )  # fmt: skip
            made.append(painted.half().cpu())
        metadata = {"captions": json.dumps([captions[i] for i in chosen])}
        keep(_path(folder, chunk), {"noise": noise, "latents": torch.cat(made)}, metadata)
        left = pace.left(done, len(missing) - done)
        logger.info("pairs: %d of %d, %s left", min(count, (chunk + 1) * CHUNK), count, left)


def load_pairs(folder: Path, count: int) -> tuple[Tensor, Tensor, list[str]]:
    """(noise, latents, captions) of the first `count` pairs that are there; [N, C, H, W], fp16."""
    from safetensors import safe_open

    paths = sorted(folder.glob("pairs-*.safetensors"))[: -(-count // CHUNK)]
    parts = [load_file(path) for path in paths]
    captions: list[str] = []
    for path in paths:
        with safe_open(path, "pt") as file:
            captions += json.loads(file.metadata()["captions"])
    noise, latents = (torch.cat([part[name] for part in parts])[:count] for name in ("noise", "latents"))
    return noise, latents, captions[:count]


def _path(folder: Path, chunk: int) -> Path:
    return folder / f"pairs-{chunk:05d}.safetensors"
