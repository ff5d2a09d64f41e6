"""What a subject run learns from: a few clips as latents, and which text each network hears."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.suffixes import SOUNDS
from sonotrain.data.augment import Augmentation
from sonotrain.data.foley.phrases import with_article
from sonotrain.trainers.subject.options import SubjectOptions
from sonotrain.training.inputs.latents import Variants, cache_latents, encode_pixels
from sonotrain.training.inputs.prior import cache_prior
from sonotrain.training.inputs.tokens import Captions

logger = logging.getLogger(__name__)

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
TOKENS = ("prt", "zqv", "sks", "qfx", "vbk")  # words without a meaning, to suggest
RARE = 30_000  # of CLIP's words the later ones are seldom; of Mini's every one has a meaning
CLIP_WORDS = 49_408
USUAL = (4, 20)  # the paper has 4 to 6 clips; far more are a case for a plain LoRA
ALIKE = 0.1  # clips nearer to each other than this share of their size are one clip


@dataclass
class SubjectData:
    """Scaled latents fp32 [clips, variants, 4, h, w], and texts as numbers of `captions`."""

    names: list[str]
    latents: Tensor
    captions: Captions
    instance: int
    prior: int
    source: int  # what the source teacher hears
    prompts: list[str]  # of previews
    prior_latents: Tensor | None = None  # [M, 4, h, w]: class sounds that the base painted
    notes: list[str] = field(default_factory=list)  # what to expect of these clips

    @property
    def size(self) -> tuple[int, ...]:
        """[4, h, w] of a latent."""
        return tuple(self.latents.shape[2:])

    def text(self, number: int) -> Tensor:
        """Embedding [1, 77, D] of a text; 0 is the empty one."""
        assert self.captions.embeddings is not None
        return self.captions.embeddings[number : number + 1]

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Latents [count, 4, h, w] of random variants of random clips."""
        clips = torch.randint(len(self.latents), (count,), generator=generator)
        variants = torch.randint(self.latents.shape[1], (count,), generator=generator)
        return self.latents[clips, variants]


def prompts_of(options: SubjectOptions) -> tuple[str, str]:
    """(instance prompt, class-prior prompt): "a prt dog bark", "a dog bark" (Uni-DAD, section 2.4)."""
    noun = bare(options.noun)
    return f"a {options.token} {noun}", with_article(noun)


def bare(noun: str) -> str:
    """A class without its article."""
    words = noun.split()
    return " ".join(words[1:] if words and words[0].lower() in ("a", "an", "the") else words)


def check_words(options: SubjectOptions, tokenizer: Any) -> list[str]:
    """SonopaintError where the class is missing or the rare token means something to the model already.

    What is to be said of a class that the model does not know.
    """
    noun, token = bare(options.noun), options.token.strip()
    if not noun:
        raise SonopaintError(
            f'Say what kind of thing the subject is, as you would call any of them: {setting("noun")} "dog '
            'bark".'
        )
    known = {word.lower() for word in noun.split()}
    free = [word for word in TOKENS if not meaning(word, tokenizer) and word not in known]
    advice = f"take another {setting('token')}" + (f", such as {free[0]}" if free else "")
    if len(token.split()) != 1 or not token.isalnum():
        raise SonopaintError(f"The token {options.token!r} is not one word of letters; {advice}.")
    if token.lower() in known or meaning(token, tokenizer):
        raise SonopaintError(
            f"The token {token!r} means something to this model already, so it can't stand for your "
            f"subject alone; {advice}."
        )
    unknown = [word for word in sorted(known) if not meaning(word, tokenizer)]
    if not unknown or len(tokenizer) >= CLIP_WORDS:
        return []
    return [
        f"The base model does not know the word {unknown[0]!r} of the class: it brings nothing of its own to "
        "the subject. A class that it knows gives better variations."
    ]


def meaning(word: str, tokenizer: Any) -> bool:
    """Whether a word is one that the tokenizer has as a whole and, in CLIP's, a frequent one."""
    ids = tokenizer(word.lower(), add_special_tokens=False).input_ids
    whole = len(ids) == 1 and len(word) > 1
    return whole and (len(tokenizer) < CLIP_WORDS or ids[0] < RARE)


@torch.no_grad()
def prepare(
    model: Any,
    fingerprint: str,
    options: SubjectOptions,
    run: Path,
    tell: Callable[[str], None] = logger.info,
) -> SubjectData:
    """Encodes clips and texts, kept in the run folder. SonopaintError where nothing can be learnt."""
    folder = Path(options.clips).expanduser()
    if not options.clips or not folder.is_dir():
        raise SonopaintError(
            f"There is no folder {options.clips or 'given'}; name one with a few sounds of the subject."
        )
    cache = run / "cache"
    tell("Reading the clips")
    files = sorted(folder.iterdir())
    pictures = [path for path in files if path.suffix.lower() in PICTURES]
    if pictures and not any(path.suffix.lower() in SOUNDS for path in files):
        names, latents = [path.name for path in pictures], _pictures(model, pictures)
    else:
        names, latents = _sounds(model, fingerprint, options, folder, run / "dataset", cache)
    notes = check_clips(names, latents[:, 0])
    instance, prior = prompts_of(options)
    prompts = list(options.preview_prompts) or [instance, prior]
    captions = Captions(model.tokenizer, [], [instance, prior, *prompts])
    captions.embed(model.text_encoder, model.device, fingerprint, cache)
    numbers = captions.numbers
    class_latents = None
    adapts = options.method in ("dreambooth", "dmd2-db") or (
        options.method == "db-dmd2" and options.adapt_steps
    )
    if adapts and options.prior_weight:
        texts = [numbers[prior]] * options.prior_clips
        class_latents = cache_prior(model, fingerprint, captions, texts, cache, tell)
    return SubjectData(
        names=names,
        latents=latents,
        captions=captions,
        instance=numbers[instance],
        prior=numbers[prior],
        source=numbers[prior if options.source_prompt == "prior" else instance],
        prompts=prompts,
        prior_latents=class_latents,
        notes=notes,
    )


def check_clips(names: Sequence[str], latents: Tensor) -> list[str]:
    """What to expect of 1, 2 or 50 clips, and of clips that are all alike (latents [N, 4, h, w])."""
    count, notes = len(names), []
    if count < USUAL[0]:
        clips, it = ("clip", "it") if count == 1 else ("clips", "them")
        notes.append(
            f"Only {count} {clips} to learn from: the variations will stay very near to {it}. "
            "4 to 6 are better."
        )
    elif count > USUAL[1]:
        notes.append(
            f"{count} clips are more than one subject needs (4 to 6): all are used, each is seen seldom. "
            "For a whole kind of sound, train a LoRA instead (sonotrain lora)."
        )
    if count > 1:
        flat = latents.flatten(1)
        size = (flat - flat.mean(1, keepdim=True)).norm(dim=1).mean().clamp_min(1e-6)
        if torch.pdist(flat).max() < ALIKE * size:
            notes.append(
                f"The {count} clips are all but the same sound: this is like learning from one clip, "
                "so expect copies of it rather than variations."
            )
    return notes


def _sounds(
    model: Any, fingerprint: str, options: SubjectOptions, folder: Path, dataset: Path, cache: Path
) -> tuple[list[str], Tensor]:
    """Clips as `sonotrain lora` reads them: cut, padded, silent ones and duplicates left out."""
    from sonotrain.data.build import build_dataset
    from sonotrain.data.dataset import check_format, is_dataset, load_dataset
    from sonotrain.data.options import DatasetOptions

    if is_dataset(folder):
        found = load_dataset(folder)
        check_format(found, model)
    else:
        chosen = DatasetOptions(
            model=options.model, format=options.format, validation=0.0, test=0.0, silence_db=-50.0,
            caption=prompts_of(options)[0],
        )  # fmt: skip
        found = build_dataset(folder, dataset, chosen, workers=1)
    variants = Variants(options.variants, Augmentation(resample_cents=0.0, gain_db=0.0), options.seed)
    kept = cache_latents(model, fingerprint, found.train, model.format, variants, cache)
    count = len(kept)
    parts = [kept.get(range(count), [v] * count)[0] for v in range(kept.variants)]
    return [Path(example.source).name for example in found.train], torch.stack(parts, dim=1)


def _pictures(model: Any, paths: Sequence[Path]) -> Tensor:
    """Pictures, cut to the model's proportions around their middle and resized: latents [N, 1, 4, h, w]."""
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    size = (model.format.width, model.format.n_mels)
    pixels = []
    for path in paths:
        try:
            with Image.open(path) as image:
                fitted = ImageOps.fit(ImageOps.exif_transpose(image).convert("RGB"), size)
        except (OSError, UnidentifiedImageError) as error:
            raise SonopaintError(f"{path.name} can't be read as a picture ({error}); remove it.") from error
        pixels.append(torch.from_numpy(np.asarray(fitted, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1)
    return encode_pixels(model, torch.stack(pixels)).float()[:, None]
