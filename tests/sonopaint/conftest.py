"""A tiny model with random weights, in Mini's format, and clips to edit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sonoconvert.clip import Clip

CAPTIONS = ["a dog barking in the rain", "a train horn", "footsteps on gravel", "a distant siren"]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Mini of a few hundred thousand random weights, saved as the shipped one is."""
    from sonopaint.models.mini import build_mini, mini_config, save_mini
    from sonopaint.models.tokenizer import load_tokenizer, train_tokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny"
    size = train_tokenizer(CAPTIONS, folder / "tokenizer", 600)
    config: dict[str, Any] = mini_config(vocab_size=size)
    config["unet"] |= {"block_out_channels": [32, 32, 64], "cross_attention_dim": 64}
    config["vae"] |= {"block_out_channels": [32, 32, 32, 32]}
    config["text_encoder"] |= {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
    torch.manual_seed(0)
    parts = build_mini(config)
    defaults = {"steps": 2, "guidance_scale": 3.0}
    save_mini(folder, *parts, load_tokenizer(folder / "tokenizer"), {}, defaults=defaults, force=True)
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Any:
    from sonopaint.models.loading import load_model

    return load_model(tiny_folder, device="cpu")


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Clip]:
    """`make_clip(seconds, rate, channels)`: a chord with a little noise, different in each channel."""

    def make(seconds: float = 3.0, rate: int = 44_100, channels: int = 1) -> Clip:
        rng = np.random.default_rng(7)
        time = np.arange(round(seconds * rate)) / rate
        rows = [
            0.2 * np.sin(2 * np.pi * 220 * (1 + channel / 3) * time)
            + 0.1 * np.sin(2 * np.pi * 1330 * time)
            + 0.01 * rng.standard_normal(len(time))
            for channel in range(channels)
        ]
        return Clip(torch.from_numpy(np.stack(rows).astype(np.float32)), rate)

    return make
