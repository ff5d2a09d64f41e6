"""Captions of clips: from people, labels or file names, in a template, with a trigger word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sonotrain.data.options import DatasetOptions

MAX_TOKENS = 77  # CLIP's context, start and end included
_HASH = re.compile(r"(?<![^\W_])(?=\w*\d)[0-9a-fA-F]{8,}(?![^\W_])")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
# Parts of file names that say nothing: numbers, take 3, hashes.
_NOISE = re.compile(r"^(\d+|take|final|edit|copy|untitled|mono|stereo|wav|mp3|v\d+)$")


def plain_label(label: str) -> str:
    """A folder's name as words: "Dog_Bark" → "dog bark"."""
    return " ".join(_words(label)) or label.lower()


def words_of_name(source: str) -> str:
    """What a file's name says: "field/DoorSlam_03 (take 2).wav" → "door slam"; often nothing."""
    stem = source.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return " ".join(word for word in _words(_HASH.sub(" ", stem)) if not _NOISE.match(word) and len(word) > 1)


def _words(text: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " ", text)
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)?", apart.lower())


def make_captions(
    options: DatasetOptions, source: str, texts: Sequence[str], label: str | None, tags: Sequence[str] = ()
) -> list[str]:
    """All captions of one clip, the most important first; a single "" where nothing is known.

    The text is what people wrote, else the label, else the words of the file's name. Without a template a
    caption is "TRIGGER, SIGNIFIER TEXT, TAGS".
    """
    name = words_of_name(source)
    plain = plain_label(label) if label else ""
    return list(
        dict.fromkeys(_caption(options, text, plain, name, tags) for text in (texts or [plain or name]))
    )


def _caption(options: DatasetOptions, text: str, label: str, name: str, tags: Sequence[str]) -> str:
    said = f"{options.signifier.strip()} {text}".strip() if text else ""
    # Tags that the text says already would only say it twice.
    new = [tag for tag in tags if tag.lower() not in text.lower()]
    values = {"text": said, "label": label, "name": name, "trigger": options.trigger, "tags": ", ".join(new)}
    if options.caption:
        filled = _PLACEHOLDER.sub(lambda match: values[match.group(1)], options.caption)
    else:
        filled = ", ".join(filter(None, (said, values["tags"])))
    if options.trigger and "{trigger}" not in options.caption:
        filled = f"{options.trigger}, {filled}"
    # What an empty placeholder leaves behind: double commas and spaces.
    filled = re.sub(r"\s*,(\s*,)+", ",", " ".join(filled.split()))
    return filled.strip(" ,")


def load_counter(model: str) -> Any:
    """The tokenizer that counts captions: the model's, else CLIP's. None where transformers is missing."""
    try:
        import transformers  # noqa: F401
    except ImportError:
        return None
    from sonopaint.models.info import find_model
    from sonopaint.models.tokenizer import find_clip_tokenizer, load_tokenizer

    if not model:
        return find_clip_tokenizer(Path())
    path = find_model(model)
    if (path / "tokenizer" / "vocab.json").is_file():
        return load_tokenizer(path / "tokenizer")
    return find_clip_tokenizer(path.parent)


def count_tokens(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Tokens of each text, start and end included; more than 77 are cut off in training."""
    import logging

    noisy = logging.getLogger("transformers.tokenization_utils_base")
    level = noisy.level
    noisy.setLevel(logging.ERROR)  # it warns of long texts itself, about a model that is not there
    try:
        return [len(ids) for ids in tokenizer(list(texts), truncation=False).input_ids] if texts else []
    finally:
        noisy.setLevel(level)
