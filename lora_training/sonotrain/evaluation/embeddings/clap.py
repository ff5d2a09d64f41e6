"""CLAP (Wu et al. 2023) from a folder of transformers' ClapModel: audio and text in one space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from sonoconvert.errors import SonopaintError
from sonoconvert.files.hashes import sha256_of
from sonotrain.evaluation.embeddings.base import Embedded
from sonotrain.evaluation.embeddings.weights import find_weights

WANTED = "a CLAP folder (such as laion/clap-htsat-unfused: config.json, model.safetensors, tokenizer files)"
WEIGHTS = "model.safetensors"


class Clap:
    """ClapModel as an embedding: one vector of up to its longest clip (10 s), normalised; texts alike."""

    name = "clap"
    title = "CLAP"
    kinds: list[str] = []
    window_s: float | None = None
    version = 1

    def __init__(
        self, model: Any, processor: Any, *, file: str, hash: str, device: str | torch.device = "cpu"
    ) -> None:
        self.model, self.processor = model.to(device).eval(), processor
        self.device = torch.device(device)
        self.file, self.hash = file, hash
        extractor = processor.feature_extractor
        self.sample_rate = int(extractor.sampling_rate)
        self.longest = int(extractor.nb_max_samples)
        self.least_samples = self.sample_rate // 10
        self.longest_s: float | None = self.longest / self.sample_rate
        size = model.config.projection_dim
        self.details = f"{size} projected features, first {extractor.max_length_s} s, shorter clips repeated"

    @torch.no_grad()
    def __call__(self, waveforms: Tensor) -> Embedded:
        # Cropped here: the extractor would cut a longer clip at a random place.
        sounds = [sound.cpu().numpy() for sound in waveforms[:, : self.longest]]
        inputs = self.processor.feature_extractor(sounds, sampling_rate=self.sample_rate, return_tensors="pt")
        # For fusion models the extractor calls a random clip longer where none is; no clip is longer here.
        longer = torch.zeros(len(sounds), 1, dtype=torch.bool, device=self.device)
        features = self.model.get_audio_features(
            input_features=inputs["input_features"].to(self.device), is_longer=longer
        )
        return Embedded(_vectors(features))

    @torch.no_grad()
    def texts(self, captions: Sequence[str], batch: int = 32) -> Tensor:
        """Vectors [N, D] of captions, normalised; longer ones are cut at the model's 77 tokens or so."""
        parts = []
        limit = min(self.processor.tokenizer.model_max_length, 512)
        for first in range(0, len(captions), batch):
            tokens = self.processor.tokenizer(
                list(captions[first : first + batch]),
                padding=True,
                truncation=True,
                max_length=limit,
                return_tensors="pt",
            )
            parts.append(
                _vectors(
                    self.model.get_text_features(
                        input_ids=tokens["input_ids"].to(self.device),
                        attention_mask=tokens["attention_mask"].to(self.device),
                    )
                )
            )
        return torch.cat(parts)


def load_clap(weights: str | Path = "", device: str | torch.device = "cpu") -> Clap:
    """CLAP from the user's folder; SonopaintError where it is missing, incomplete or another model."""
    from transformers import ClapModel, ClapProcessor

    folder = find_weights(("*clap*",), WANTED, "from the hub, as a folder", weights)
    if not folder.is_dir() or not (folder / WEIGHTS).is_file():
        raise SonopaintError(f"{folder} has no {WEIGHTS}; give {WANTED}.")
    try:
        model = ClapModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        processor = ClapProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SonopaintError(f"{folder} can't be loaded as CLAP ({reason}); give {WANTED}.") from error
    digest = sha256_of(folder / WEIGHTS)[:10]
    return Clap(model, processor, file=f"{folder.name}/{WEIGHTS}", hash=digest, device=device)


def _vectors(output: Any) -> Tensor:
    """Normalised vectors of either generation of transformers (a tensor, or an output that pools it)."""
    tensor = output if isinstance(output, Tensor) else output.pooler_output
    return torch.nn.functional.normalize(tensor.float(), dim=-1).cpu()
