"""Captions as tokens and, once computed, as embeddings that are kept: the text encoder then leaves memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sonoconvert.files.atomic import atomic_path
from sonotrain.files.hashes import file_key

MAX_LENGTH = 77


def encode(tokenizer: Any, texts: list[str]) -> Tensor:
    """Token ids int64 [texts, 77], cut and padded as CLIP does."""
    batch = tokenizer(texts, padding="max_length", truncation=True, max_length=MAX_LENGTH)
    return torch.tensor(batch.input_ids)


class Captions:
    """All captions as token ids, each text once; text 0 is the empty caption (for guidance).

    `of_clip[i]` are the texts of clip i. `embeddings` fp32 [texts, 77, D] once `embed` was called.
    """

    def __init__(
        self, tokenizer: Any, texts_of_clips: Sequence[Sequence[str]], more: Sequence[str] = ()
    ) -> None:
        numbers: dict[str, int] = {"": 0}
        self.of_clip = [[numbers.setdefault(t, len(numbers)) for t in texts] for texts in texts_of_clips]
        self.more = [numbers.setdefault(text, len(numbers)) for text in more]
        self.texts = list(numbers)
        self.ids = encode(tokenizer, self.texts)
        self.numbers = numbers
        self.embeddings: Tensor | None = None
        lengths = [len(ids) for ids in tokenizer(self.texts, verbose=False).input_ids]
        self.too_long = [t for t, n in zip(self.texts, lengths, strict=True) if n > self.ids.shape[1]]

    def choose(self, clips: Sequence[int], generator: torch.Generator) -> Tensor:
        """One random caption for each clip, as numbers of texts."""
        draws = torch.rand(len(clips), generator=generator).tolist()
        options = [self.of_clip[clip] for clip in clips]
        return torch.tensor([o[int(draw * len(o))] for o, draw in zip(options, draws, strict=True)])

    @torch.no_grad()
    def embed(self, text_encoder: Any, device: torch.device, fingerprint: str, folder: Path) -> None:
        """Computes or finds the embeddings of all texts; the text encoder is not needed after that."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"text-{file_key(fingerprint, self.ids.tolist())}.safetensors"
        if not path.is_file():
            parts = [text_encoder(ids.to(device)).last_hidden_state.cpu() for ids in self.ids.split(16)]
            with atomic_path(path, force=True) as beside:
                save_file({"embeddings": torch.cat(parts).contiguous()}, beside)
        with safe_open(str(path), framework="pt") as file:
            self.embeddings = file.get_tensor("embeddings").float()
