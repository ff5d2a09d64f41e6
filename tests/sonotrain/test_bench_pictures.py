"""The bench of pictures: DINO, CLIP and LPIPS through transformers' own classes, with tiny random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

from sonoconvert.errors import SonopaintError
from sonotrain.cli import main
from sonotrain.evaluation.bench.nouns import Shot
from sonotrain.evaluation.subject import painting
from sonotrain.evaluation.subject.folders import find_subjects
from sonotrain.evaluation.subject.vision import Lpips, load_clip, load_dino, load_lpips, read_pictures


def picture(path: Path, seed: int, tint: float = 0.5) -> None:
    rng = np.random.default_rng(seed)
    small = rng.random((8, 10, 3)) * 0.4 + np.array([tint, 0.3, 1 - tint]) * 0.6
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((small * 255).astype(np.uint8)).resize((240, 200), Image.Resampling.BICUBIC).save(path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The four files that a user would have, small and untrained."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, ViTConfig, ViTModel

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("weights")
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    ViTModel(ViTConfig(**size, patch_size=32), add_pooling_layer=False).save_pretrained(root / "dino")
    words = ["<|startoftext|>", "<|endoftext|>", "a", "a</w>", "b", "b</w>"]
    (root / "clip").mkdir()
    (root / "clip" / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (root / "clip" / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer.from_pretrained(root / "clip").save_pretrained(root / "clip")
    text = {**size, "vocab_size": len(words), "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = CLIPConfig(text_config=text, vision_config={**size, "patch_size": 32}, projection_dim=16)
    CLIPModel(config).save_pretrained(root / "clip")
    features: dict[str, torch.Tensor] = {}
    linear: dict[str, torch.Tensor] = {}
    for index, (place, (inside, out, kernel, *_)) in enumerate(zip(Lpips.PLACES, Lpips.SIZES, strict=True)):
        features[f"features.{place}.weight"] = 0.05 * torch.randn(out, inside, kernel, kernel)
        features[f"features.{place}.bias"] = 0.05 * torch.randn(out)
        linear[f"lin{index}.model.1.weight"] = torch.rand(1, out, 1, 1)
    torch.save(features, root / "alexnet-owt-7be5be79.pth")
    save_file(linear, root / "lpips.safetensors")
    return {
        "dino": str(root / "dino"),
        "clip": str(root / "clip"),
        "alexnet": str(root / "alexnet-owt-7be5be79.pth"),
        "lpips": str(root / "lpips.safetensors"),
    }


def test_lpips_is_its_equation_and_a_distance(weights: dict[str, str], tmp_path: Path) -> None:
    network = load_lpips(weights["alexnet"], weights["lpips"])
    for number in range(2):
        picture(tmp_path / f"{number}.png", number)
    pair = read_pictures([tmp_path / "0.png", tmp_path / "1.png"])
    x = (pair * 2 - 1 - network.shift) / network.scale  # equation 1, written out
    expected = 0.0
    for layer, convolution in enumerate(network.convolutions):
        x = F.relu(convolution(F.max_pool2d(x, 3, 2) if layer in (1, 2) else x))
        unit = x / (x.norm(dim=1, keepdim=True) + 1e-10)
        difference = (unit[0] - unit[1]).square() * network.linear[layer][:, None, None]
        expected += difference.sum(0).mean().item()
    found = network.distances(pair, pair)
    assert found[0, 1].item() == pytest.approx(expected, rel=1e-4) and expected > 0
    assert found.diagonal().abs().max() < 1e-9 and torch.allclose(found, found.T)


def test_pictures_are_cropped_in_the_middle_and_networks_give_vectors(
    weights: dict[str, str], tmp_path: Path
) -> None:
    picture(tmp_path / "a.png", 1)
    made = read_pictures([tmp_path / "a.png"] * 2)
    assert made.shape == (2, 3, 224, 224) and 0 <= made.min() and made.max() <= 1
    dino, clip = load_dino(weights["dino"]), load_clip(weights["clip"])
    assert dino(made).shape == (2, 32) and clip(made).shape == (2, 16)
    assert clip.texts(["a b", "b"]).shape == (2, 16)
    (tmp_path / "broken.png").write_text("no picture")
    with pytest.raises(SonopaintError, match="broken.png can't be read as a picture"):
        read_pictures([tmp_path / "broken.png"])


def test_missing_weights_are_named(
    weights: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SONOPAINT_MODELS", str(tmp_path))
    for load, words in (
        (load_dino, "a DINO folder"),
        (load_clip, "a CLIP folder"),
        (load_lpips, "AlexNet's"),
    ):
        with pytest.raises(SonopaintError, match=f"{words}.* is not here: put it"):
            load()
    with pytest.raises(SonopaintError, match="has no lin0.model.1.weight"):
        load_lpips(weights["alexnet"], weights["alexnet"])


def test_dreambooths_layout_from_folders_to_a_table(
    weights: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, tint in (("dog6", 0.9), ("teapot", 0.1)):
        for number in range(4):
            picture(tmp_path / "dataset" / name / f"{number:02d}.jpg", number, tint)
    dog, teapot = find_subjects(tmp_path / "dataset")
    assert (dog.noun, teapot.noun) == ("dog", "teapot") and not dog.sounds
    assert dog.templates[12].text == "a {0} {1} wearing a rainbow scarf" != teapot.templates[12].text

    def painter(
        found: Any, sampling: Any, *, sounds: bool, device: Any
    ) -> tuple[Callable[[Shot, Path], None], int]:
        tints = {"dog6": 0.9, "teapot": 0.1}
        return lambda shot, file: picture(file, 50 * shot.number + shot.seed, tints[file.parts[-2]]), 100

    monkeypatch.setattr(painting, "painter", painter)
    command = ["bench", "subject", str(tmp_path / "dataset"), "--methods", "db=mini", "--prompts", "3", "21"]
    command += ["--seeds", "2", "--out", str(tmp_path / "out"), "--device", "cpu", "--cache", ""]
    assert main([*command, *(part for name, path in weights.items() for part in (f"--{name}", path))]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    cell = results["subjects"]["dog6"]["db"]
    assert cell["nfe"] == 100 and -1 <= cell["text"] <= 1 and 0 < cell["clip_i"] <= 1
    assert cell["intra"][0] > 0 and cell["inter"][0] > 0 and cell["copies"] is not None
    assert "| db | 100 |" in capsys.readouterr().out
    assert (tmp_path / "out" / "sheet-teapot.png").is_file()
