"""Judges variations: distance per class, alignment, diversity, timing, energy, masks, seeds, failures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sonoconvert.files.clip import Clip, read_clip
from sonopaint.variations.judge import COPY, distances
from sonopaint.variations.judge import Judge as Ear
from sonopaint.variations.measures import kept
from sonotrain.evaluation.bench.measures import spread
from sonotrain.evaluation.bench.nouns import Shot
from sonotrain.evaluation.bench.report import Column
from sonotrain.evaluation.embeddings import load_embedding
from sonotrain.evaluation.frechet import distance_of
from sonotrain.evaluation.hearing import hear_files
from sonotrain.evaluation.metrics import guesses, inception_score
from sonotrain.evaluation.variation import measures
from sonotrain.evaluation.variation.back_ends import changed_of

CLIPS_OF_A_SPLIT = 50  # of the inception score; with fewer there is one split

COLUMNS = (
    Column("fd", "FD ↓", "{:.1f}"),
    Column("identity", "alignment ↑"),
    Column("intra", "diversity ↑"),
    Column("inception", "IS ↑", "{:.2f}"),
    Column("right", "right kind ↑", "{:.0%}"),
    Column("target", "target kind ↑", "{:.0%}"),
    Column("copies", "copies ↓", "{:.0%}"),
    Column("failed", "failed ↓", "{:.0%}"),
    Column("onset_ms", "onset, ms ↓", "{:.1f}"),
    Column("envelope", "envelope ↑", "{:.2f}"),
    Column("dtw_db", "DTW, dB ↓", "{:.1f}"),
    Column("energy_db", "energy, dB ↓", "{:.1f}"),
    Column("loudness_lu", "loudness, LU ↓", "{:.2f}"),
    Column("inside_db", "inside, dB", "{:.1f}"),
    Column("outside_db", "outside, dB ↓", "{:.1f}"),
    Column("seeds", "over seeds ↓"),
    Column("made_s", "s per clip ↓", "{:.2f}"),
    Column("memory_mb", "MB ↓", "{:.0f}"),
)


class VariationJudge:
    """An embedding (CLAP, PANNs … or the shipped classifier) and what is measured of waveforms."""

    def __init__(
        self,
        embedding: str = "auto",
        weights: str = "",
        *,
        target: str = "",
        cache: str = "",
        device: str | torch.device = "cpu",
    ) -> None:
        self.embedding = load_embedding(embedding, weights, device)
        self.cache, self.ear, self.target = cache, Ear(), target
        self.heard: dict[Path, tuple[Tensor, Tensor | None]] = {}

    def about(self) -> str:
        """Which network gave the figures."""
        said = f"{self.embedding.title} ({self.embedding.file} {self.embedding.hash})"
        return f"{said}; copies: the corpus classifier, nearer than {COPY:g}"

    def measure(self, reference: Any, shots: Sequence[Shot], files: Sequence[Path]) -> dict[str, Any]:
        """The figures of one back-end for one reference; what failed is silent and counts as failed only.

        What can't be told of so few is missing: diversity of one, all of none.
        """
        del shots
        original = read_clip(reference.files[0])
        every = {file: read_clip(file) for file in files}
        clips = {file: clip for file, clip in every.items() if not measures.silent(clip)}
        figures: dict[str, Any] = {"failed": 1 - len(clips) / max(1, len(files))}
        if not clips:
            return figures
        own = self._vectors(reference.files)
        vectors = self._vectors(list(clips))
        likeness = (vectors @ own.T)[:, 0]
        figures |= {"identity": float(likeness.mean()), "seeds": None}
        if len(likeness) > 1:
            figures["seeds"] = float(likeness.std(correction=0))
            figures["intra"] = spread([float(torch.pdist(vectors).mean())])
        figures["copies"] = self._copies(original, list(clips.values()))
        if self.embedding.kinds:
            told = [guess.replace("_", " ") for guess in self._guesses(list(clips))]
            for name, kind in (("right", reference.noun), ("target", self.target)):
                if kind in {known.replace("_", " ") for known in self.embedding.kinds}:
                    figures[name] = sum(guess == kind for guess in told) / len(told)
        found = [kept(clip, original) for clip in clips.values()]
        for name in ("onset_ms", "loudness_lu"):
            values = [abs(value) for one in found if (value := one[name]) is not None]
            figures[name] = statistics.fmean(values) if values else None
        figures["envelope"] = statistics.fmean(one["envelope"] or 0.0 for one in found)
        figures["dtw_db"] = statistics.fmean(measures.warped(clip, original) for clip in clips.values())
        figures["energy_db"] = statistics.fmean(
            measures.energy_error(clip, original) for clip in clips.values()
        )
        changes = [measures.change_db(clip, original, changed_of(file)) for file, clip in clips.items()]
        figures["inside_db"] = statistics.fmean(inside for inside, _ in changes)
        outside = [value for _, value in changes if value is not None]
        figures["outside_db"] = statistics.fmean(outside) if outside else None
        return figures

    def real(self, reference: Any) -> dict[str, Any]:
        """What the reference's re-takes score as its variations: the ceiling."""
        return self.measure(reference, (), reference.held_out)

    def together(self, references: Sequence[Any], made: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
        """{reference: Fréchet distance of its class, inception score of all}, once all are made.

        A class's distance is that of all its variations to its references and their re-takes (re-takes
        themselves: every other one to the rest).
        """
        found: dict[str, Any] = {one.name: {} for one in references}
        for noun in dict.fromkeys(one.noun for one in references):
            group = [one for one in references if one.noun == noun]
            real = [file for one in group for file in (*one.files, *one.held_out)]
            ours = [file for one in group for file in made[one.name]]
            if set(ours) <= set(real):
                ours = ours[::2]
                real = [file for file in real if file not in ours]
            ours = self._audible(ours)
            if len(ours) > 1 and len(real) > 1:
                distance = distance_of(self._raw(ours), self._raw(real))
                for one in group:
                    found[one.name]["fd"] = distance
        every = self._audible([file for files in made.values() for file in files])
        if self.embedding.kinds and every:
            logits = torch.stack([self._heard([file])[0][1] for file in every])  # type: ignore[misc]
            score = inception_score(logits, splits=max(1, min(10, len(every) // CLIPS_OF_A_SPLIT)))[0]
            for figures in found.values():
                figures["inception"] = score
        return found

    def _audible(self, files: Sequence[Path]) -> list[Path]:
        return [file for file in files if not measures.silent(read_clip(file))]

    def _copies(self, original: Clip, clips: Sequence[Clip]) -> float:
        """Share of clips that are nearer to the reference, or to one before them, than two takes ever are."""
        features = self.ear.hear([original, *clips]).features
        apart = distances(features, features)
        return statistics.fmean(bool((apart[row, :row] < COPY).any()) for row in range(1, len(features)))

    def _guesses(self, files: Sequence[Path]) -> list[str]:
        logits = torch.stack([logits for _, logits in self._heard(files) if logits is not None])
        return guesses(logits, self.embedding.kinds)

    def _vectors(self, files: Sequence[Path]) -> Tensor:
        return normalize(self._raw(files), dim=1)

    def _raw(self, files: Sequence[Path]) -> Tensor:
        return torch.stack([vector for vector, _ in self._heard(files)]).double()

    def _heard(self, files: Sequence[Path]) -> list[tuple[Tensor, Tensor | None]]:
        """(features, logits or None) of each file, kept: files of a bench don't change."""
        new = [file for file in dict.fromkeys(files) if file not in self.heard]
        if new:
            heard = hear_files(new, self.embedding, self.cache)
            for row, file in enumerate(new):
                self.heard[file] = heard.clips[row], None if heard.logits is None else heard.logits[row]
        return [self.heard[file] for file in files]
