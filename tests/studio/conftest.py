"""A Studio without a browser: a tiny random Mini, a context of its own, requests of several tabs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("gradio")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder that holds a Mini with the smallest possible random weights."""
    import torch

    from sonopaint.models.mini import build_mini, mini_config, save_mini
    from sonopaint.models.tokenizer import load_tokenizer, train_tokenizer

    folder = tmp_path_factory.mktemp("studio-models")
    words = tmp_path_factory.mktemp("words")
    config = mini_config(train_tokenizer(["a dog barking in the rain"], words, 560))
    config["unet"]["block_out_channels"] = [32, 32, 32]
    config["vae"]["block_out_channels"] = [32, 32, 32, 32]
    config["text_encoder"]["num_hidden_layers"] = 1
    torch.manual_seed(0)
    save_mini(folder / "tiny", *build_mini(config), load_tokenizer(words), defaults={"steps": 2})
    return folder


@pytest.fixture
def models_folder(tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh models folder with the tiny Mini in it, and no shipped models."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "tiny").symlink_to(tiny_models / "tiny")
    monkeypatch.setenv("SONOPAINT_MODELS", str(folder))
    monkeypatch.setattr("sonopaint.models.info.shipped_folder", lambda: tmp_path / "none")
    return folder


@pytest.fixture
def context(models_folder: Path, tmp_path: Path) -> Iterator[Any]:
    """One Studio's shared state with folders that go after the test."""
    from sonopaint_studio.context import Context
    from sonopaint_studio.library import Library
    from sonopaint_studio.session import Sessions

    made = Context(sessions=Sessions(tmp_path / "studio"), library=Library(tmp_path / "library"))
    yield made
    made.close()


@pytest.fixture
def tab() -> Callable[[str], Any]:
    """`tab("a")` is a request of the browser tab called a."""
    return lambda name="a": SimpleNamespace(session_hash=name)


@pytest.fixture
def upload(context: Any) -> Callable[..., Any]:
    """`upload(name, bytes)` puts a file where browsers' uploads land and returns the event of it."""

    def put(name: str, content: bytes | Path) -> Any:
        folder = context.sessions.uploads / f"{len(list(context.sessions.uploads.iterdir())):04d}"
        folder.mkdir()
        path = folder / Path(name.replace("\\", "/")).name
        path.write_bytes(content.read_bytes() if isinstance(content, Path) else content)
        return SimpleNamespace(path=str(path), name=name)

    return put


@pytest.fixture
def chirp(tmp_path: Path) -> Path:
    """A 2.5 s stereo recording of 16 bits at 22.05 kHz: a rising tone in noise."""
    rate = 22_050
    t = np.arange(int(2.5 * rate)) / rate
    rng = np.random.default_rng(7)
    tone = 0.4 * np.sin(2 * np.pi * (300 * t + 400 * t**2))
    samples = tone[:, None] * [1.0, 0.6] + 0.01 * rng.standard_normal((len(t), 2))
    soundfile.write(tmp_path / "chirp.wav", samples, rate, subtype="PCM_16")
    return tmp_path / "chirp.wav"
