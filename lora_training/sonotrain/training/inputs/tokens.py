"""Captions as tokens and, once computed, as embeddings that are kept: the text encoder then leaves memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonotrain.data.dataset import Example
from sonotrain.files.hashes import file_key
from sonotrain.files.tensors import keep, kept

MAX_LENGTH = 77


def encode(tokenizer: Any, texts: list[str]) -> Tensor:
    """Token ids int64 [texts, 77], cut and padded as CLIP does."""
    batch = tokenizer(texts, padding="max_length", truncation=True, max_length=MAX_LENGTH)
    return torch.tensor(batch.input_ids)


def embedded(text_encoder: Any, ids: Tensor) -> Tensor:
    """Embeddings [B, 77, D] of token ids [B, 77]; each different caption is computed once."""
    unique, back = ids.unique(dim=0, return_inverse=True)
    return text_encoder(unique).last_hidden_state[back]


def captions_of(examples: list[Example], trigger: str) -> list[list[str]]:
    """All captions of each clip, the trigger word in front where they lack it, and the trigger by itself."""

    def called(text: str) -> str:
        if not trigger or trigger.lower() in text.lower():
            return text
        return f"{trigger}, {text}" if text else trigger

    alone = [trigger] if trigger else []
    found = [[called(text) for text in (e.text, *e.more_texts)] + alone for e in examples]
    return [list(dict.fromkeys(texts)) for texts in found]


def numbered(
    texts_of_clips: Iterable[Sequence[str]], more: Sequence[str] = ()
) -> tuple[dict[str, int], list[list[int]]]:
    """(each text once with its number, 0 the empty caption; the numbers of each clip's texts)."""
    numbers: dict[str, int] = {"": 0}
    of_clip = [[numbers.setdefault(text, len(numbers)) for text in texts] for texts in texts_of_clips]
    for text in more:
        numbers.setdefault(text, len(numbers))
    return numbers, of_clip


def choose(of_clip: Sequence[Sequence[int]], clips: Sequence[int], generator: torch.Generator) -> list[int]:
    """One random text for each clip, as its number."""
    draws = torch.rand(len(clips), generator=generator).tolist()
    return [of_clip[clip][int(draw * len(of_clip[clip]))] for clip, draw in zip(clips, draws, strict=True)]


class Captions:
    """All captions as token ids, each text once; text 0 is the empty caption (for guidance).

    `of_clip[i]` are the texts of clip i. `embeddings` fp32 [texts, 77, D] once `embed` was called.
    """

    def __init__(
        self, tokenizer: Any, texts_of_clips: Iterable[Sequence[str]], more: Sequence[str] = ()
    ) -> None:
        self.numbers, self.of_clip = numbered(texts_of_clips, more)
        self.texts = list(self.numbers)
        self.ids = encode(tokenizer, self.texts)
        self.embeddings: Tensor | None = None

    def too_long(self, tokenizer: Any) -> list[str]:
        """Texts whose end is not read."""
        lengths = [len(ids) for ids in tokenizer(self.texts, verbose=False).input_ids]
        return [text for text, n in zip(self.texts, lengths, strict=True) if n > MAX_LENGTH]

    def choose(self, clips: Sequence[int], generator: torch.Generator) -> Tensor:
        """One random caption for each clip, as numbers of texts."""
        return torch.tensor(choose(self.of_clip, clips, generator))

    @torch.no_grad()
    def embed(self, text_encoder: Any, device: torch.device, fingerprint: str, folder: Path) -> None:
        """Computes or finds the embeddings of all texts; the text encoder is not needed after that."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"text-{file_key(fingerprint, self.ids.tolist())}.safetensors"
        found = kept(path)
        if not found:
            parts = [text_encoder(ids.to(device)).last_hidden_state.cpu() for ids in self.ids.split(16)]
            found = {"embeddings": torch.cat(parts)}
            keep(path, found)
        self.embeddings = found["embeddings"].float()
