"""What a LoRA run learns from: its dataset (built first, from a folder of sounds), cached for training."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonotrain.data.augment import Augmentation
from sonotrain.data.dataset import Example, SoundDataset, check_format, is_dataset, load_dataset
from sonotrain.trainers.lora.options import LoraOptions
from sonotrain.training.inputs.latents import LatentCache, Variants, cache_latents
from sonotrain.training.inputs.prior import cache_prior
from sonotrain.training.inputs.tokens import Captions, captions_of

logger = logging.getLogger(__name__)

MOST_VALIDATED = 8  # clips of the validation loss


@dataclass
class TrainingData:
    """Clips as latents, captions as numbers of texts, and the prompts of previews (one for each picture)."""

    dataset: SoundDataset
    train: LatentCache
    validation: LatentCache
    validation_examples: list[Example]
    captions: Captions
    validation_texts: list[int]  # numbers of texts, one for each validated clip
    prompts: list[str]
    trigger: str
    kept_prompts: list[int]  # numbers of the texts that must go on meaning what they mean
    prior: Tensor | None  # [len(kept_prompts), 4, h, w]: what the base model paints for them
    encoding_s: float  # seconds that the clips took
    painting_s: float  # and the prior

    def facts(self) -> dict[str, Any]:
        """What the dataset is, for config.json: a resumed run must find the same."""
        lines = [f"{e.picture.name}|{e.columns}|{e.text}|{e.more_texts}" for e in self.dataset.train]
        lines += [f"v|{e.picture.name}" for e in self.validation_examples]
        return {
            "clips": len(self.dataset.train),
            "validation_clips": len(self.dataset.validation),
            "digest": hashlib.sha256("\n".join(lines).encode()).hexdigest()[:20],
        }


def open_dataset(options: LoraOptions, run: Path, model: Any, *, make: bool = True) -> SoundDataset:
    """The dataset in --dataset, or one made (or, unless `make`, found) in the run folder from its sounds.

    SonopaintError where there is none, or where its format isn't the model's.
    """
    if not options.dataset:
        raise SonopaintError(
            f"Say what to learn from: {setting('dataset')} FOLDER (of sounds, or made by sonotrain dataset)."
        )
    folder = Path(options.dataset).expanduser()
    if not folder.is_dir():
        raise SonopaintError(
            f"There is no folder {folder}; {setting('dataset')} takes a folder of sounds or a dataset."
        )
    if is_dataset(folder):
        dataset = load_dataset(folder)
    else:
        dataset = _build(folder, run / "dataset", options) if make else load_dataset(run / "dataset")
    check_format(dataset, model)
    return replace(dataset, splits=dataset.splits | {"train": repeated(dataset.train)})


def repeated(examples: list[Example]) -> list[Example]:
    """Each example as often as it is to be learnt from beside the others (10 and 20 repeats are 1 and 2)."""
    share = math.gcd(*(example.repeats for example in examples)) or 1
    return [example for example in examples for _ in range(example.repeats // share)]


def _build(source: Path, out: Path, options: LoraOptions) -> SoundDataset:
    from sonotrain.data.build import build_dataset
    from sonotrain.data.options import DatasetOptions

    logger.info("making a dataset of %s in %s", source, out)
    # the preview prompts are the test: no clip is kept back for one
    chosen = DatasetOptions(model=options.model, format=options.format, trigger=options.trigger, test=0.0)

    def tell(done: int, total: int, what: str) -> None:
        if done in (0, total):
            logger.info("%s", what)

    return build_dataset(source, out, chosen, tell)


def kept_prompts() -> list[str]:
    """What --preserve keeps: a caption of each kind of sound that Mini knows."""
    from sonotrain.data.foley import BASE_KINDS, KINDS

    return [KINDS[name].doing[0] for name in BASE_KINDS]


def trigger_of(options: LoraOptions, dataset: SoundDataset) -> str:
    """The word that calls the new sound; empty for a dataset with captions of many kinds."""
    return options.trigger or dataset.trigger


def default_prompts(trigger: str, texts: list[str]) -> list[str]:
    """The trigger, and the two most usual captions beside it."""
    usual = sorted(set(texts), key=lambda text: (-texts.count(text), text))
    return list(dict.fromkeys([*([trigger] if trigger else []), *usual]))[: 3 if trigger else 4]


def prepare(
    model: Any,
    fingerprint: str,
    dataset: SoundDataset,
    options: LoraOptions,
    folder: Path,
    kept_prompts: list[str],
    tell: Callable[[str], None] = logger.info,
) -> TrainingData:
    """Reads captions, and makes or finds the caches in `folder` (of several processes, the first does)."""
    trigger = trigger_of(options, dataset)
    examples = dataset.train
    validated = dataset.validation[:MOST_VALIDATED]
    if not validated:
        logger.warning("The dataset has no validation clips: the validation loss is that of training clips.")
        validated = examples[:MOST_VALIDATED]
    texts = captions_of(examples, trigger)
    validation = [clip[0] for clip in captions_of(validated, trigger)]
    prompts = list(options.preview_prompts) or default_prompts(trigger, [clip[0] for clip in texts])
    kept = [text for text in kept_prompts if trigger.lower() not in text.lower() or not trigger]
    captions = Captions(model.tokenizer, texts, [*validation, *prompts, *kept])
    for text in captions.too_long(model.tokenizer)[:3]:
        logger.warning("Longer than 77 tokens, so its end is not read: %s", text)
    augmentation = Augmentation(
        offset_s=options.offset_s,
        gain_db=options.gain_db,
        polarity=options.polarity,
        resample_cents=options.resample_cents,
        mix=options.mix,
        mask_time_s=options.mask_time_s,
        mask_frequency=options.mask_frequency,
    )
    variants = Variants(options.variants, augmentation, options.seed)
    plain = Variants(1, Augmentation(), 0)
    with torch.no_grad():
        begun = time.monotonic()
        train = cache_latents(model, fingerprint, examples, model.format, variants, folder, tell)
        held = cache_latents(model, fingerprint, validated, model.format, plain, folder, tell)
        encoding_s = time.monotonic() - begun
        if not options.text_encoder:
            captions.embed(model.text_encoder, model.device, fingerprint, folder)
        numbers, begun = [captions.numbers[text] for text in kept], time.monotonic()
        prior = cache_prior(model, fingerprint, captions, numbers, folder, tell) if numbers else None
    return TrainingData(
        dataset=dataset,
        train=train,
        validation=held,
        validation_examples=validated,
        captions=captions,
        validation_texts=[captions.numbers[text] for text in validation],
        prompts=[prompt for prompt in prompts for _ in range(options.preview_images)],
        trigger=trigger,
        kept_prompts=numbers,
        prior=prior,
        encoding_s=encoding_s,
        painting_s=time.monotonic() - begun,
    )
