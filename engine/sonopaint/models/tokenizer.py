"""CLIP-format BPE tokenizers: a plain ``vocab.json`` and ``merges.txt`` that every host reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

START, END = "<|startoftext|>", "<|endoftext|>"
MAX_LENGTH = 77
# CLIP's own splitting into words (Radford et al. 2021, simple_tokenizer.py).
WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
CONFIG = {
    "tokenizer_class": "CLIPTokenizer",
    "model_max_length": MAX_LENGTH,
    "bos_token": START,
    "eos_token": END,
    "unk_token": END,
    "pad_token": END,
    "do_lower_case": True,
}


def train_tokenizer(captions: Iterable[str], folder: str | Path, vocab_size: int = 4096) -> int:
    """Learn a byte-level BPE on `captions`, write it to `folder` and return the vocabulary's true size.

    The vocabulary is laid out as CLIP's: 256 bytes, 256 bytes that end a word (``</w>``), one token for each
    merge, start, end; so any text can be encoded. `vocab_size` is an upper bound (few captions give fewer
    merges) and at least 514. Existing files are replaced.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = [*alphabet, *(symbol + "</w>" for symbol in alphabet)]
    num_merges = vocab_size - len(base) - 2
    if num_merges < 0:
        raise ValueError(f"vocab_size {vocab_size} is below the {len(base) + 2} tokens that bytes need")

    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
        special_tokens=[START, END],
    )
    tokenizer.train_from_iterator(captions, trainer)
    merges = _merges(tokenizer)[:num_merges]
    tokens = dict.fromkeys([*base, *("".join(pair) for pair in merges), START, END])
    _write(Path(folder), {token: index for index, token in enumerate(tokens)}, merges)
    return len(tokens)


def save_tokenizer(tokenizer: Any, folder: str | Path) -> None:
    """Write a (fast) CLIP tokenizer of transformers as plain vocab.json and merges.txt."""
    vocab = dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))
    _write(Path(folder), vocab, _merges(tokenizer.backend_tokenizer))


def load_tokenizer(folder: str | Path) -> Any:
    """transformers' CLIP tokenizer from a folder with vocab.json and merges.txt; never asks a hub."""
    from transformers import CLIPTokenizerFast

    return CLIPTokenizerFast.from_pretrained(
        str(folder), local_files_only=True, model_max_length=MAX_LENGTH, pad_token=END
    )


def _merges(tokenizer: Any) -> list[tuple[str, str]]:
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    # Older `tokenizers` write "a b", newer ones ["a", "b"].
    return [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in merges]


def _write(folder: Path, vocab: dict[str, int], merges: list[tuple[str, str]]) -> None:
    from sonoconvert.files import atomic_path

    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "vocab.json": json.dumps(vocab, ensure_ascii=False),
        "merges.txt": "\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges)]) + "\n",
        "tokenizer_config.json": json.dumps(CONFIG, indent=2) + "\n",
    }
    for name, text in texts.items():
        with atomic_path(folder / name, force=True) as path:
            path.write_text(text, encoding="utf-8", newline="\n")
