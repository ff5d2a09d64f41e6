"""Kinds of sound that an adapter for curves brings along: vectors that the U-Net reads in place of a prompt.

T-Foley (Chung et al. 2024, arXiv:2401.09294) learns new classes so: its generator stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from sonopaint.models.prompt import CHUNK

LENGTH = CHUNK + 2  # vectors that a text encoder makes of a chunk


def words_of(text: str) -> list[str]:
    """The words of a class's name or of a prompt, in small letters; digits count."""
    return re.findall(r"[^\W_]+", text.casefold())


def class_named(classes: Iterable[str], prompt: str) -> str | None:
    """The class whose words stand in the prompt, one behind the other; of several the one of most words."""
    said = f" {' '.join(words_of(prompt))} "
    found = [name for name in classes if f" {' '.join(words_of(name))} " in said]
    return max(found, key=lambda name: len(words_of(name)), default=None)


def first_vectors(embedding: Tensor, count: int) -> Tensor:
    """`count` vectors [k, D] that say nearly what an embedding [77, D] says; the last is the rest's mean.

    At 8 of them Mini's U-Net is off by some 5 % of what the words change.
    """
    return torch.cat([embedding[: count - 1], embedding[count - 1 :].mean(0, keepdim=True)])


def as_embedding(vectors: Tensor, length: int) -> Tensor:
    """A class's vectors [k, D] as long as prompts are, [77·n, D]: the last one fills each chunk up.

    Attention is the same however many chunks there are, since each holds the same.
    """
    return vectors[(torch.arange(length) % LENGTH).clamp_max(len(vectors) - 1)]
