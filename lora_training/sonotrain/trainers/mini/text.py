"""Pre-trains Mini's text encoder to tell kinds, their order and attributes apart."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonoconvert.errors import SonopaintError
from sonotrain.data.corpus import Corpus
from sonotrain.files.options import option
from sonotrain.trainers.mini.phrasings import Phrasings, learn_tokenizer
from sonotrain.training import common
from sonotrain.training.compute import autocast, descend, step_generator
from sonotrain.training.run import Run, Trainer
from sonotrain.training.run_folder import load_final

logger = logging.getLogger(__name__)

RELATIONS = ("single", "parallel", "sequence")
HELD_OUT = 20  # one text in twenty is kept for validation


@dataclass(frozen=True)
class TextOptions:
    corpus: str = option("runs/corpus", "folder of the corpus")
    clips: int = option(0, "clips to use (0: all that are there)")
    vocab_size: int = option(3072, "largest size of the tokenizer's vocabulary")
    batch: int = common.batch(128, "captions")
    learning_rate: float = option(1e-3, "peak learning rate")
    warmup: int = common.warmup(50)
    seed: int = common.seed()
    threads: int = common.threads()
    checkpoint_minutes: float = common.checkpoint_minutes()


class Heads(nn.Module):
    """What is read off a caption's embedding: kinds, first and second kind, relation, attributes."""

    def __init__(self, width: int, kinds: int, attributes: int) -> None:
        super().__init__()
        self.sizes = [kinds, kinds, kinds + 1, len(RELATIONS), attributes]
        self.linear = nn.Linear(width, sum(self.sizes))

    def forward(self, pooled: Tensor) -> tuple[Tensor, ...]:
        return self.linear(pooled).split(self.sizes, dim=1)


class TextTrainer(Trainer):
    """Learns the tokenizer (in the run's folder), then trains; text.json holds the held-out accuracy."""

    command = "text"
    Options = TextOptions
    options: TextOptions

    def __init__(self, given: Mapping[str, Any], run: Run) -> None:
        super().__init__(given, run)
        self.corpus = Corpus(self.options.corpus, self.options.clips or None)
        self.options = replace(self.options, clips=len(self.corpus))

    def prepare(self) -> None:
        from transformers import CLIPTextConfig, CLIPTextModel

        from sonopaint.models.mini import mini_config
        from sonopaint.models.tokenizer import load_tokenizer

        options, device, corpus = self.options, self.device, self.corpus
        folder = self.run.path / "tokenizer"
        if (folder / "vocab.json").is_file():
            tokenizer = load_tokenizer(folder)
        else:
            tokenizer = learn_tokenizer(corpus, folder, options.vocab_size)
        self.phrasings = Phrasings(corpus, tokenizer)
        self.kinds, self.attributes = corpus.kinds(), corpus.attributes()
        torch.manual_seed(options.seed)
        architecture = self.facts["architecture"] = mini_config(len(tokenizer))["text_encoder"]
        self.encoder = CLIPTextModel(CLIPTextConfig(**architecture)).to(device).train()
        self.heads = Heads(architecture["hidden_size"], len(self.kinds), len(self.attributes)).to(device)
        parameters = [*self.encoder.parameters(), *self.heads.parameters()]
        self.optimiser = torch.optim.AdamW(parameters, options.learning_rate, weight_decay=0.01, fused=True)
        self._label(corpus)

    def _label(self, corpus: Corpus) -> None:
        """Labels of every text; texts are split by checksum, so no validation text is trained on."""
        kind = {name: number for number, name in enumerate(self.kinds)}
        attribute = {name: number for number, name in enumerate(self.attributes)}
        count = len(self.phrasings.texts)
        self.labels = {
            "kinds": torch.zeros(count, len(kind)),
            "first": torch.zeros(count, dtype=torch.long),
            "second": torch.zeros(count, dtype=torch.long),
            "relation": torch.zeros(count, dtype=torch.long),
            "attributes": torch.zeros(count, len(attribute)),
        }
        for record, texts in zip(corpus.records, self.phrasings.of_clip, strict=True):
            numbers = [kind[name] for name in record.kinds]
            second = numbers[1] if len(numbers) > 1 else len(kind)
            for text in texts:
                self.labels["kinds"][text, numbers] = 1.0
                self.labels["first"][text] = numbers[0]
                self.labels["second"][text] = second
                self.labels["relation"][text] = RELATIONS.index(record.relation)
                for name in record.attributes:
                    self.labels["attributes"][text, attribute[name]] = 1.0
        held = torch.tensor([zlib.crc32(text.encode()) % HELD_OUT == 0 for text in self.phrasings.texts])
        numbers_of_texts = torch.arange(count)
        self.train_texts = numbers_of_texts[1:][~held[1:]]  # without the empty caption
        self.held_texts = numbers_of_texts[1:][held[1:]]
        if not len(self.train_texts) or not len(self.held_texts):
            raise SonopaintError("The corpus has too few captions to train a text encoder; make it larger.")

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser]

    def parts(self) -> dict[str, Any]:
        return {"text_encoder": self.encoder, "heads": self.heads, "optimiser": self.optimiser}

    def predict(self, texts: Tensor) -> tuple[Tensor, ...]:
        """Logits of the heads. Texts are cut after the longest: the encoder is causal, nothing changes."""
        lengths = self.phrasings.lengths[texts]
        ids = self.phrasings.ids[texts, : int(lengths.max())].to(self.device)
        with autocast(self.device):
            hidden = self.encoder(ids).last_hidden_state
            pooled = hidden[torch.arange(len(texts)), lengths.to(self.device) - 1]
            return tuple(part.float() for part in self.heads(pooled))

    def step(self, number: int) -> dict[str, Tensor]:
        generator = step_generator(self.options.seed, number)
        chosen = torch.randint(len(self.train_texts), (self.options.batch,), generator=generator)
        texts = self.train_texts[chosen]
        kinds, first, second, relation, attributes = self.predict(texts)
        wanted = {name: values[texts].to(self.device) for name, values in self.labels.items()}
        order = F.cross_entropy(first, wanted["first"]) + F.cross_entropy(second, wanted["second"])
        loss = order + F.cross_entropy(relation, wanted["relation"])
        loss = loss + 10 * F.binary_cross_entropy_with_logits(kinds, wanted["kinds"])
        if self.attributes:
            loss = loss + 5 * F.binary_cross_entropy_with_logits(attributes, wanted["attributes"])
        norm = descend(loss, self.encoder.parameters(), self.optimiser)
        return {"loss": loss, "order": order, "norm": norm}

    @torch.no_grad()
    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        """Accuracy on held-out captions: both kinds in their order, the relation, each attribute."""
        right = {"order": 0.0, "relation": 0.0, "attributes": 0.0}
        for texts in self.held_texts.split(256):
            _, first, second, relation, attributes = (part.cpu() for part in self.predict(texts))
            wanted = {name: values[texts] for name, values in self.labels.items()}
            both = (first.argmax(1) == wanted["first"]) & (second.argmax(1) == wanted["second"])
            right["order"] += both.float().sum().item()
            right["relation"] += (relation.argmax(1) == wanted["relation"]).float().sum().item()
            if self.attributes:
                same = (attributes > 0) == (wanted["attributes"] > 0)
                right["attributes"] += same.float().mean(1).sum().item()
        return {name: value / len(self.held_texts) for name, value in right.items()}


def load_text(folder: str | Path) -> tuple[Any, Any]:
    """The pre-trained text encoder of a run folder, or an exported model's, and its tokenizer."""
    from transformers import CLIPTextConfig, CLIPTextModel

    from sonopaint.models.mini import is_mini, load_mini
    from sonopaint.models.tokenizer import load_tokenizer

    if is_mini(folder):
        _, _, encoder, tokenizer, _ = load_mini(folder)
        return encoder, tokenizer
    parts, config = load_final(folder)
    encoder = CLIPTextModel(CLIPTextConfig(**config["architecture"]))
    encoder.load_state_dict(parts["text_encoder"])
    return encoder, load_tokenizer(Path(folder) / "tokenizer")
