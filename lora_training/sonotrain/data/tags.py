"""Tags for clips by a model from the person's disk: CLAP chooses from words, a tagger from its classes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import read_clip
from sonotrain.data.texts import read_sidecar

logger = logging.getLogger(__name__)

BATCH = 8
_LEAST = 0.1  # a class less probable than this is no tag
_PROMPT = "This is a sound of {}."  # as CLAP's authors ask for zero-shot classes (Wu et al. 2023)


class Tagger:
    """A model of transformers in a local folder: CLAP, or one for audio classification (AST, wav2vec 2.0 …).

    Args:
        folder: with config.json, preprocessor_config.json and safetensors.
        words: what CLAP chooses from; classifiers bring their own.

    Raises:
        SonopaintError: transformers is missing, the folder holds no such model, or CLAP has no words.
    """

    def __init__(self, folder: str | Path, words: Sequence[str] = (), device: str = "auto") -> None:
        try:
            from transformers import AutoConfig, AutoFeatureExtractor
        except ImportError as error:
            raise SonopaintError(
                "Tags need transformers; install it with: python install.py train"
            ) from error
        self.folder = Path(folder).expanduser()
        if not (self.folder / "config.json").is_file():
            raise SonopaintError(f"{folder} holds no tagger (no config.json); give a folder of transformers.")
        self.device = torch.device(
            ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        )
        try:
            config = AutoConfig.from_pretrained(self.folder, local_files_only=True)
            self.extractor = AutoFeatureExtractor.from_pretrained(self.folder, local_files_only=True)
            self.is_clap = config.model_type == "clap"
            self.words = [word for word in words if word] if self.is_clap else self._load_classifier(config)
            if self.is_clap:
                self._load_clap()
        except (OSError, ValueError, KeyError, ImportError) as error:
            if isinstance(error, SonopaintError):
                raise
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise SonopaintError(f"The tagger in {folder} can't be loaded ({first}).") from error
        self.model.eval().to(self.device)

    def _load_classifier(self, config: Any) -> list[str]:
        from transformers import AutoModelForAudioClassification

        self.model = AutoModelForAudioClassification.from_pretrained(
            self.folder, local_files_only=True, use_safetensors=True
        )
        return [str(config.id2label[index]) for index in sorted(config.id2label)]

    def _load_clap(self) -> None:
        from transformers import AutoTokenizer, ClapModel

        if not self.words:
            raise SonopaintError(
                f"CLAP needs words to choose from: give a text file, one a line ({setting('tag_words')})."
            )
        self.model = ClapModel.from_pretrained(self.folder, local_files_only=True, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        self.prompts = tokenizer(
            [_PROMPT.format(word) for word in self.words], padding=True, return_tensors="pt"
        )

    @property
    def sample_rate(self) -> int:
        return int(self.extractor.sampling_rate)

    @torch.no_grad()
    def probabilities(self, waveforms: Sequence[torch.Tensor]) -> torch.Tensor:
        """Clips [samples] at `sample_rate` → probability of every word, float [clips, words]."""
        sounds = [waveform.numpy() for waveform in waveforms]
        features = self.extractor(sounds, sampling_rate=self.sample_rate, return_tensors="pt", padding=True)
        inputs = {name: value.to(self.device) for name, value in features.items() if torch.is_tensor(value)}
        if self.is_clap:
            prompts = {name: value.to(self.device) for name, value in self.prompts.items()}
            logits = self.model(**inputs, **prompts).logits_per_audio
            return logits.softmax(-1).cpu()
        logits = self.model(**inputs).logits
        several = self.model.config.problem_type == "multi_label_classification" or len(self.words) > 200
        return (logits.sigmoid() if several else logits.softmax(-1)).cpu()

    def tags(self, paths: Iterable[Path], most: int) -> Iterator[tuple[str, ...]]:
        """At most `most` tags of each clip, the most probable first."""
        for batch in _batches(paths, BATCH):
            clips = [read_clip(path).mono().resampled(self.sample_rate).waveform[0] for path in batch]
            for row in self.probabilities(clips):
                values, indices = row.topk(min(most, len(self.words)))
                pairs = zip(values.tolist(), indices.tolist(), strict=True)
                yield tuple(self.words[index].lower() for value, index in pairs if value >= _LEAST)


def read_words(path: str) -> list[str]:
    """The lines of a text file of words. SonopaintError where it can't be read or is empty."""
    if not path:
        return []
    words, _ = read_sidecar(Path(path).expanduser())
    if not words:
        raise SonopaintError(f"{path} holds no words; write one a line.")
    return list(words)


def tag_clips(
    tagger: Tagger,
    paths: Sequence[tuple[str, Path]],
    most: int,
    known: dict[str, Any],
    tell: Callable[[int, int, str], None],
) -> dict[str, tuple[str, ...]]:
    """Tags of each clip, by its name; `known` is filled as it goes, so that a stopped build loses little."""
    missing = [(name, path) for name, path in paths if name not in known]
    found = tagger.tags((path for _, path in missing), most)
    for number, ((name, _), tags) in enumerate(zip(missing, found, strict=True)):
        known[name] = list(tags)
        tell(number + 1, len(missing), "Tagging")
    return {name: tuple(known[name]) for name, _ in paths}


def _batches(paths: Iterable[Path], size: int) -> Iterator[list[Path]]:
    batch: list[Path] = []
    for path in paths:
        batch.append(path)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
