"""What the base model paints for other prompts: the LoRA is to leave that as it is (--preserve).

Prior preservation (Ruiz et al. 2023, "DreamBooth", eq. 2) with the base model's own prediction as the target
in place of the noise: what it says of its own pictures is known exactly, so nothing is learnt but to stay.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonotrain.files.hashes import file_key
from sonotrain.files.pace import Pace
from sonotrain.files.tensors import keep, kept
from sonotrain.training.inputs.tokens import Captions
from sonotrain.training.painting import noise_of, sample

logger = logging.getLogger(__name__)

STEPS = 12  # enough for what only has to be of the right kind
BATCH = 4
SEED = 4242


@torch.no_grad()
def cache_prior(
    model: Any,
    fingerprint: str,
    captions: Captions,
    texts: Sequence[int],
    folder: Path,
    tell: Callable[[str], None] = logger.info,
) -> Tensor:
    """Scaled latents fp32 [N, 4, h, w], one for each text (numbers of `captions`); painted once and kept."""
    prompts = [captions.texts[number] for number in texts]
    path = folder / f"prior-{file_key(fingerprint, prompts, STEPS, SEED)}.safetensors"
    if found := kept(path):
        return found["latents"].float()
    noise = noise_of(model, len(texts), SEED)
    parts, pace = [], Pace()
    for first in range(0, len(texts), BATCH):
        chosen = torch.tensor(list(texts[first : first + BATCH]))
        text, empty = (_embed(model, captions, numbers) for numbers in (chosen, torch.tensor([0])))
        part = noise[first : first + BATCH]
        parts.append(sample(model, text, empty, part, steps=STEPS, sampler="dpmpp_2m").cpu())
        done = first + len(chosen)
        left = pace.left(done, len(texts) - done)
        tell(f"Painting what the model knows: {done} of {len(texts)}, {left} left")
    latents = torch.cat(parts).half().contiguous()
    keep(path, {"latents": latents})
    return latents.float()


def _embed(model: Any, captions: Captions, numbers: Tensor) -> Tensor:
    if captions.embeddings is not None:
        return captions.embeddings[numbers].to(model.device, model.dtype)
    return model.text_encoder(captions.ids[numbers].to(model.device)).last_hidden_state
