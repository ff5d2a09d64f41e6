"""A tiny base model with random weights and a tiny dataset, for LoRA training in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

TRIGGER = "zorblat"


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Mini of some ten thousand random weights, saved as the shipped one is."""
    from sonopaint.models.mini import build_mini, mini_config, save_mini
    from sonopaint.models.tokenizer import load_tokenizer, train_tokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny"
    size = train_tokenizer(["a dog barking in the rain", "a train horn", TRIGGER], folder / "tokenizer", 600)
    config: dict[str, Any] = mini_config(vocab_size=size)
    config["unet"] |= {"block_out_channels": [16, 16, 32], "norm_num_groups": 8, "cross_attention_dim": 32}
    config["unet"] |= {"attention_head_dim": 2}
    config["vae"] |= {"block_out_channels": [8, 8, 8, 8], "norm_num_groups": 4}
    config["text_encoder"] |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    torch.manual_seed(0)
    parts = build_mini(config)
    defaults = {"steps": 2, "guidance_scale": 3.0}
    save_mini(folder, *parts, load_tokenizer(folder / "tokenizer"), {}, defaults=defaults, force=True)
    return folder


@pytest.fixture(scope="session")
def make_dataset(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`make_dataset(train, validation, columns)`: decaying tones in a dataset's layout."""
    from sonoconvert.conversion.convert import encode
    from sonoconvert.files.clip import Clip, write_clip
    from sonoconvert.pictures.format import get_format
    from sonoconvert.pictures.picture import Picture, save_picture

    fmt = get_format("sonopaint-mini")

    def make(train: int = 6, validation: int = 2, columns: int = 320) -> Path:
        folder = tmp_path_factory.mktemp("dataset")
        time = torch.arange(fmt.width * fmt.hop_length) / fmt.sample_rate
        for split, count in (("train", train), ("validation", validation)):
            (folder / split).mkdir()
            lines = []
            for number in range(count):
                waveform = torch.sin(6.283 * (300 + 150 * number) * time) * torch.exp(-2 * time)
                waveform[columns * fmt.hop_length :] = 0
                clip = Clip(waveform[None], fmt.sample_rate)
                picture = encode(clip, fmt)
                picture = Picture(picture.pixels[:, : fmt.width].copy(), fmt, picture.peak)
                save_picture(picture, folder / split / f"{number}.png")
                write_clip(clip, folder / split / f"{number}.flac")
                line = {"file_name": f"{number}.png", "audio": f"{number}.flac", "columns": columns}
                lines.append(
                    line | {"text": f"{TRIGGER}, a train horn", "label": "tone", "source": f"{number}.wav"}
                )
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (folder / split / "metadata.jsonl").write_text(text, encoding="utf-8")
        about = {"version": 1, "format": fmt.to_dict(), "trigger": TRIGGER}
        (folder / "dataset.json").write_text(json.dumps(about), encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_sounds(make_dataset: Callable[..., Path]) -> Path:
    """Six training and two validation clips."""
    return make_dataset()
