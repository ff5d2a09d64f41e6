"""Teaches a model new kinds of sound along curves: the generator is frozen, classes and FiLM layers learn.

So T-Foley is fine-tuned (Chung et al. 2024, arXiv:2401.09294; on ESC-50 by Desbos 2026, section 3.4.2: class
embeddings and the MLPs of the FiLM conditioning, 6,250 steps). Here a class is a few vectors that the U-Net
reads where the text encoder's output would stand (models/classes.py).
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sonoconvert.curves.measure import measure
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import read_clip
from sonoconvert.pictures.picture import load_picture
from sonopaint.knowledge import knowledge_of
from sonopaint.models.classes import LENGTH, as_embedding, first_vectors, words_of
from sonopaint.models.curves import FOLLOWED, points_of
from sonopaint.models.curves_file import fits, load_adapter, new_adapter, save_adapter
from sonotrain.data.build import build_dataset
from sonotrain.data.corpus import quantise
from sonotrain.data.dataset import Example, is_dataset, load_dataset
from sonotrain.data.options import DatasetOptions
from sonotrain.files.options import option, to_publish
from sonotrain.trainers.curves.train import AdapterOptions, CurvesTrainer, mix
from sonotrain.trainers.mini.vae import load_vae
from sonotrain.training.inputs.corpus_latents import picture_latents
from sonotrain.training.inputs.tokens import embedded, encode
from sonotrain.training.run import Run

FILM = ("block-film", "film")


@dataclass(frozen=True)
class TuneOptions(AdapterOptions):
    sounds: str = option("", "folder with a folder of sounds for each kind, or a dataset")
    kind: str = option("", "what all of the sounds are, where they lie in one folder")
    start: str = option("", "adapter to go on from, one of block-film or film (default: a new one)")
    variant: str = option("block-film", "of a new adapter", FILM)
    vectors: int = option(8, f"vectors of each kind, 2 to {LENGTH}")
    learning_rate: float = option(3e-3, "peak learning rate")


class TuneTrainer(CurvesTrainer):
    """The product is an adapter with its classes; tune.json holds the error before and after."""

    command = "tune"
    Options = TuneOptions
    options: TuneOptions  # type: ignore[assignment]
    behind = False

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        options = self.options
        if not 2 <= options.vectors <= LENGTH:
            raise SonopaintError(f"{setting('vectors')} must be 2 to {LENGTH}, not {options.vectors}.")
        if options.kind and not words_of(options.kind):
            raise SonopaintError(
                f"{setting('kind')} is {options.kind!r}; give it a word that prompts can name."
            )
        if not Path(options.sounds).is_dir() or not options.sounds:
            raise SonopaintError(
                f"There is no folder {options.sounds or 'of sounds'}; name one with {setting('sounds')}."
            )

    def prepare(self) -> None:
        options = self.options
        self.open_model()
        torch.manual_seed(options.seed)
        self.adapter = self._adapter()
        self.run.preparing("reading the sounds")
        learnt, held = self._examples()
        self.names = sorted({name for _, name in learnt})
        self.held_out = len(held)
        examples = [example for example, _ in held + learnt]
        self.kind_of = torch.tensor([self.names.index(name) for _, name in held + learnt])
        self.curves = _curves(examples)
        pictures = torch.stack([quantise(load_picture(example.picture).levels()[0]) for example in examples])
        told = json.dumps([name for _, name in held + learnt]).encode()
        self.facts |= {"data": hashlib.sha256(told + pictures.numpy().tobytes()).hexdigest()[:20]}
        vae = load_vae(options.model, self.device)
        self.latents = picture_latents(pictures, self.run.path, *vae, self.device)
        first = [self._first_vectors(name) for name in self.names]
        self.classes = nn.ParameterList(nn.Parameter(vectors) for vectors in first)
        self.empty = self._embedding("").to(self.device)
        self.learn(self.adapter, self.classes)
        self.before = self.validate()

    def _examples(self) -> tuple[list[tuple[Example, str]], list[tuple[Example, str]]]:
        """(clips to learn from, clips for the validation alone), each with its class."""
        folder = Path(self.options.sounds)
        if is_dataset(folder):
            dataset = load_dataset(folder)
        else:
            options = DatasetOptions(format=self.format.name, test=0.0, max_unreadable=1.0)
            dataset = build_dataset(folder, self.run.path / "dataset", options)
        if dataset.format != self.format:
            raise SonopaintError(
                f"The dataset {folder} has the format {dataset.format.name}, but the model paints "
                f"{self.format.name}; give the folder that its sounds are in."
            )
        learnt, held = (
            [(example, self._class_of(example)) for example in dataset.splits[split]]
            for split in ("train", "validation")
        )
        known = {name for _, name in learnt}
        learnt += [one for one in held if one[1] not in known]  # nothing of such a kind can be spared
        return learnt, [one for one in held if one[1] in known]

    def _class_of(self, example: Example) -> str:
        name = self.options.kind or (example.label or "").replace("_", " ")
        if not words_of(name):
            raise SonopaintError(
                f"What {example.source} is isn't said; put it into a folder that is named after its kind, or "
                f"give {setting('kind')}."
            )
        return name

    def _adapter(self) -> Any:
        """The one to go on from, or a new one that changes nothing yet."""
        options = self.options
        if not options.start:
            return new_adapter(options.variant, points_of(self.unet), options.channels)
        adapter = load_adapter(options.start).requires_grad_(True)
        if adapter.variant not in FILM:
            raise SonopaintError(
                f"{options.start} is an adapter {adapter.variant}; {setting('start')} takes one of "
                f"{' or '.join(FILM)} (without it a new one begins)."
            )
        if not fits(adapter, self.unet):
            raise SonopaintError(f"{options.start} was made for another kind of model than {options.model}.")
        return adapter

    def _first_vectors(self, name: str) -> Tensor:
        """Of the adapter's own class, else of the name's words, or of the nearest kind that is known."""
        if name in self.adapter.classes:
            return self.adapter.classes[name].clone()
        known, words = knowledge_of(self.options.model), name
        if known is not None and known.sentence(name):
            words = known.nearest(name, 1)[0]
            self.run.preparing(f"the model does not know {name}, which begins as {words}")
        return first_vectors(self._embedding(words), self.options.vectors)

    @torch.no_grad()
    def _embedding(self, text: str) -> Tensor:
        """What the text encoder makes of a text: [77, D]."""
        return embedded(self.text_encoder, encode(self.tokenizer, [text]).to(self.device))[0].cpu()

    def parts(self) -> dict[str, Any]:
        return super().parts() | {"classes": self.classes}

    def captions(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """Numbers [B] of the clips' classes; −1: no words."""
        dropped = torch.rand(len(clips), generator=generator) < self.options.caption_dropout
        return self.kind_of[clips].masked_fill(dropped, -1)

    def first_captions(self, count: int) -> Tensor:
        return self.kind_of[:count]

    def read(self, ids: Tensor) -> Tensor:
        rows = [self.empty if n < 0 else as_embedding(self.classes[n], LENGTH) for n in ids.tolist()]
        return torch.stack(rows)

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        with self.ema.applied():
            return {"validation_mse": self.validate(), "validation_mse_before": self.before}

    def save(self, path: Path, steps: int) -> dict[str, Any]:
        """The averaged adapter with its classes, fp16; those of --start that were not learnt stay."""
        facts = {"options": to_publish(self.options), "steps": steps, "base_sha256": self.facts["base"]}
        with self.ema.applied():
            adapter = copy.deepcopy(self.adapter)
            adapter.classes |= dict(zip(self.names, copy.deepcopy(list(self.classes)), strict=True))
        mix(adapter, self.options.start, self.options.keep)
        save_adapter(adapter, path, {"sonopaint.training": json.dumps(facts)}, force=True)
        return {"classes": self.names}


def _curves(examples: Sequence[Example]) -> dict[str, Tensor]:
    """Curves {name: float32 [N, 320]} of clips, as `corpus_curves` has them."""
    rows = [measure(read_clip(example.audio), FOLLOWED, quick=True).values for example in examples]
    return {name: torch.stack([torch.from_numpy(row[name]).float() for row in rows]) for name in FOLLOWED}
