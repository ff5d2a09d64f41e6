"""CLIP-format BPE tokenizers: a plain ``vocab.json`` and ``merges.txt`` that every host reads."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sonoconvert.errors import SonopaintError

CLIP_WORDS = Path(__file__).parent / "clip" / "bpe_simple_vocab_16e6.txt.gz"
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

    alphabet = _clip_alphabet()
    base = [*alphabet, *(symbol + "</w>" for symbol in alphabet)]
    num_merges = vocab_size - len(base) - 2
    if num_merges < 0:
        raise SonopaintError(f"A vocabulary of {vocab_size} is too small; bytes alone take {len(base) + 2}.")

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

    try:
        return CLIPTokenizerFast.from_pretrained(
            str(folder), local_files_only=True, model_max_length=MAX_LENGTH, pad_token=END
        )
    except Exception as error:  # noqa: BLE001 - the Rust library raises plain Exceptions
        raise SonopaintError(
            f"The tokenizer in {folder} can't be read ({str(error)[:100]}); get its files anew."
        ) from error


def tokenizer_of_header(path: Path, metadata: Mapping[str, str]) -> Any:
    """The tokenizer that a single-file Mini carries in its header (see sonoconvert.checkpoints.layouts)."""
    from sonoconvert.checkpoints.layouts import TOKENIZER_KEY

    try:
        texts = json.loads(metadata[TOKENIZER_KEY])
        with tempfile.TemporaryDirectory() as folder:
            for name in ("vocab.json", "merges.txt"):
                (Path(folder) / name).write_text(texts[name], encoding="utf-8", newline="\n")
            return load_tokenizer(folder)
    except (KeyError, TypeError, ValueError) as error:
        raise SonopaintError(f"{path.name} has a damaged tokenizer in its header; get it anew.") from error


def _merges(tokenizer: Any) -> list[tuple[str, str]]:
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    # Older `tokenizers` write "a b", newer ones ["a", "b"].
    return [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in merges]


def _write(folder: Path, vocab: dict[str, int], merges: list[tuple[str, str]]) -> None:
    from sonoconvert.files.atomic import write_text

    texts = {
        "vocab.json": json.dumps(vocab, ensure_ascii=False),
        "merges.txt": "\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges)]) + "\n",
        "tokenizer_config.json": json.dumps(CONFIG, indent=2) + "\n",
    }
    for name, text in texts.items():
        write_text(folder / name, text, force=True)


def find_clip_tokenizer(folder: Path) -> Any:
    """The tokenizer of CLIP ViT-L/14 for a single-file checkpoint in `folder`, which cannot hold its own.

    A vocab.json with its merges.txt in ``tokenizer/`` beside the checkpoint, beside it, or in the user's
    models folder goes first; otherwise CLIP's own word list, which is shipped with the package.
    """
    from sonopaint.models.folders import user_folder

    home = user_folder()
    for place in (folder / "tokenizer", folder, home / "tokenizer", home):
        if (place / "vocab.json").is_file() and (place / "merges.txt").is_file():
            return load_tokenizer(place)
    return _from_word_list(CLIP_WORDS)


def _from_word_list(path: Path) -> Any:
    """CLIP's tokenizer from OpenAI's list of merges (Radford et al. 2021): 48 894 merges, 49 408 tokens."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [(left, right) for left, right in (line.split() for line in lines if line)]
    alphabet = _clip_alphabet()
    tokens = [*alphabet, *(symbol + "</w>" for symbol in alphabet), *map("".join, merges), START, END]
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), {token: index for index, token in enumerate(tokens)}, merges)
        return load_tokenizer(folder)


def _clip_alphabet() -> list[str]:
    """Printable stand-ins for the 256 bytes, in CLIP's order: printable ones first, as themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (byte for byte in range(256) if byte not in printable)
    return [*map(chr, printable), *(chr(256 + index) for index, _ in enumerate(others))]
