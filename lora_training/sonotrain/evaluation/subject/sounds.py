"""The judge of sounds: references and generated clips in, figures out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoconvert.files.clip import read_clip
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonotrain.data.corpus import FORMAT
from sonotrain.evaluation.bench import measures
from sonotrain.evaluation.bench.nouns import Shot
from sonotrain.evaluation.embeddings import load_clap, load_embedding
from sonotrain.evaluation.embeddings.base import Embedding
from sonotrain.evaluation.hearing import hear_files, waves
from sonotrain.evaluation.metrics import cosine
from sonotrain.evaluation.subject.contexts import agrees
from sonotrain.evaluation.subject.folders import Subject
from sonotrain.evaluation.traits import listen
from sonotrain.trainers.mini.sound_classifier import load_classifier

DECIBELS = 80.0  # what lies between the levels 0 and 1


class SoundJudge:
    """Identity and diversity by an embedding, diversity and copies by log-mel pictures, agreement by measured
    traits and the corpus classifier, and by CLAP where its folder is given."""

    def __init__(
        self,
        embedding: str = "auto",
        weights: str = "",
        clap: str = "",
        *,
        cache: str = "",
        device: str | torch.device = "cpu",
    ) -> None:
        self.embedding = load_embedding(embedding, weights, device)
        self.clap = load_clap(clap, device) if clap else None
        self.classifier, _ = load_classifier()
        self.cache = cache

    def about(self) -> str:
        """Which network gave the figures."""
        said = f"identity and diversity: {self.embedding.title} ({self.embedding.file} {self.embedding.hash})"
        said += ", log-mel distances in dB; agreement: traits and the corpus classifier"
        return said + (f"; text: {self.clap.title} {self.clap.hash}" if self.clap else "")

    def measure(self, reference: Subject, shots: Sequence[Shot], files: Sequence[Path]) -> dict[str, Any]:
        """The figures of one method for one subject; CLAP reads the prompts without token."""
        learnt = self._vectors(reference.files)
        features = self._vectors(files)
        waveforms, pictures = self._heard(files)
        _, originals = self._heard(reference.files)
        numbers = [shot.number for shot in shots]
        rows = torch.tensor(numbers) > 0
        prompts = [number for number in numbers if number]
        distances = measures.embedding_distances(features[rows], features[rows])
        decibels = DECIBELS * measures.mel_distances(pictures[rows], pictures[rows])
        figures = measures.cell(features[rows], learnt, prompts, distances)
        figures["identity_plain"] = measures.identity(features[~rows], learnt) if (~rows).any() else None
        figures["intra_db"] = measures.spread(measures.intra(decibels, prompts))
        figures["inter_db"] = measures.spread(measures.inter(decibels, prompts))
        figures |= measures.copied(
            pictures[rows], originals, measures.pattern_distances, measures.COPIED_SOUND
        )
        figures |= self._agreement(reference, shots, waveforms)
        if self.clap:
            heard = self._vectors(files, self.clap)[rows]
            texts = self.clap.texts([shot.words for shot in shots if shot.number])
            figures["text"] = cosine(heard, texts).mean().item()
        return figures

    def together(self, references: Sequence[Any], made: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
        """Every figure is of one subject alone."""
        return {}

    def real(self, reference: Subject) -> dict[str, Any]:
        """What clips of the subject that nobody learnt from score."""
        learnt, features = self._vectors(reference.files), self._vectors(reference.held_out)
        _, pictures = self._heard(reference.held_out)
        _, originals = self._heard(reference.files)
        one = [1] * len(features)
        distances = measures.embedding_distances(features, features)
        figures = measures.cell(features, learnt, one, distances)
        decibels = DECIBELS * measures.mel_distances(pictures, pictures)
        figures["intra_db"] = measures.spread(measures.intra(decibels, one))
        return figures | measures.copied(
            pictures, originals, measures.pattern_distances, measures.COPIED_SOUND
        )

    def _agreement(self, subject: Subject, shots: Sequence[Shot], waveforms: Tensor) -> dict[str, Any]:
        traits = listen(waveforms, self.classifier)
        plain = {shot.seed: trait for shot, trait in zip(shots, traits, strict=True) if not shot.number}
        found: dict[int, list[bool]] = {}
        for shot, trait in zip(shots, traits, strict=True):
            if shot.number and shot.seed in plain:
                template = subject.templates[shot.number - 1]
                answer = agrees(template, trait, plain[shot.seed], self.classifier.kinds)
                if answer is not None:
                    found.setdefault(shot.number, []).append(answer)
        shares = {number: statistics.fmean(answers) for number, answers in found.items()}
        return {
            "agreement": statistics.fmean(shares.values()) if shares else None,
            "agreement_by_prompt": {str(number): share for number, share in sorted(shares.items())},
        }

    def _vectors(self, files: Sequence[Path], embedding: Embedding | None = None) -> Tensor:
        return hear_files(files, embedding or self.embedding, self.cache).clips[: len(files)]

    def _heard(self, files: Sequence[Path]) -> tuple[Tensor, Tensor]:
        """(mono waveforms [N, T] of 5.12 s at 32 kHz, levels [N, 128, 320])."""
        fmt = get_format(FORMAT)
        clips = (read_clip(path, duration_s=fmt.seconds(fmt.width)) for path in files)
        waveforms = waves(clips, fmt.sample_rate, fmt.width * fmt.hop_length)
        return waveforms, torch.cat([levels(part, fmt) for part in waveforms.split(16)])
