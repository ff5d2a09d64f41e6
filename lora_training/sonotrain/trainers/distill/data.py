"""What distillation learns from: captions to paint, and real sounds as latents for the discriminator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonotrain.training.inputs.tokens import captions_of, choose, encode, numbered


@dataclass
class Sounds:
    """Latents fp16 [N, 4, h, w] of clips, and each clip's captions as numbers of `texts` (0 is empty)."""

    latents: Tensor
    texts: list[str]
    of_clip: list[list[int]]

    def draw(self, generator: torch.Generator, count: int) -> tuple[Tensor, list[int]]:
        """Random clips, and a random caption of each."""
        clips = torch.randint(len(self.latents), (count,), generator=generator)
        return self.latents[clips].float(), choose(self.of_clip, clips.tolist(), generator)


def open_sounds(model: Any, fingerprint: str, corpus: str, dataset: str, cache: Path) -> Sounds:
    """From `--corpus` (the foley corpus, for Mini) or `--dataset` (made by sonotrain dataset)."""
    if bool(corpus) == bool(dataset):
        raise SonopaintError(
            f"Say what sounds to learn from: {setting('corpus')} (a folder of sonotrain base corpus) or "
            f"{setting('dataset')} (one of sonotrain dataset), one of the two."
        )
    return _corpus(model, corpus) if corpus else _dataset(model, fingerprint, dataset, cache)


def _corpus(model: Any, folder: str) -> Sounds:
    from sonotrain.data.corpus import FORMAT, Corpus
    from sonotrain.training.inputs.corpus_latents import corpus_latents

    if model.format.name != FORMAT:
        raise SonopaintError(
            f"The corpus is made of {FORMAT} pictures, but {model.name} paints {model.format.name}; "
            f"give sounds in its format with {setting('dataset')}."
        )
    corpus = Corpus(folder)
    latents = corpus_latents(corpus, model.vae, model.vae_scale, model.device)
    numbers, of_clip = numbered(record.phrasings for record in corpus.records)
    return Sounds(latents, list(numbers), of_clip)


def _dataset(model: Any, fingerprint: str, folder: str, cache: Path) -> Sounds:
    from sonotrain.data.augment import Augmentation
    from sonotrain.data.dataset import check_format, load_dataset
    from sonotrain.training.inputs.latents import Variants, cache_latents

    dataset = load_dataset(folder)
    check_format(dataset, model)
    plain = Variants(1, Augmentation(), 0)
    kept = cache_latents(model, fingerprint, dataset.train, model.format, plain, cache)
    clips = range(len(dataset.train))
    latents = torch.cat([kept.get([clip], [0])[0].half() for clip in clips])
    numbers, of_clip = numbered(captions_of(dataset.train, dataset.trigger))
    return Sounds(latents, list(numbers), of_clip)


class Texts:
    """Embeddings of captions, each distinct one of a batch encoded once."""

    def __init__(self, model: Any, texts: list[str]) -> None:
        self.encoder, self.device = model.text_encoder, model.device
        self.ids = encode(model.tokenizer, texts)
        self.empty = self([0])

    @torch.no_grad()
    def __call__(self, numbers: list[int]) -> Tensor:
        """Embeddings [B, 77, D], float32."""
        unique, back = torch.tensor(numbers).unique(return_inverse=True)
        hidden = self.encoder(self.ids[unique].to(self.device)).last_hidden_state.float()
        return hidden[back.to(self.device)]
