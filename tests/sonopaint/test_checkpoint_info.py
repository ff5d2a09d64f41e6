"""`sonoconvert info` on models and LoRAs: what, for what, where it loads, how strong, made from what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sonoconvert.checkpoints.layouts import open_model, save_model
from sonoconvert.checkpoints.lora import save_lora
from sonoconvert.checkpoints.nouns import LoraModule
from sonoconvert.cli import main
from sonoconvert.files.info import describe, facts

K = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
TEXT = "text_encoder.text_model.encoder.layers.0.mlp.fc1"


def a_lora(path: Path, width: int = 768, *, text: bool = True, dora: bool = False, **options) -> Path:
    modules = {
        K: LoraModule(torch.zeros(8, width), torch.zeros(320, 8), 4.0, torch.ones(320, 1) if dora else None)
    }
    if text:
        modules[TEXT] = LoraModule(torch.zeros(8, 32), torch.zeros(64, 8), 4.0)
    save_lora(path, modules, **options)
    return path


def test_a_lora_is_explained(tmp_path: Path) -> None:
    metadata = {
        "modelspec.license": "CC0",
        "modelspec.trigger_phrase": "zorblax",
        "ss_sd_model_name": "riffusion.ckpt",
        "ss_num_train_images": "20",
        "sonopaint.format": '{"name": "perkins-10s"}',
    }
    said = describe(a_lora(tmp_path / "horn.safetensors", metadata=metadata))
    lines = said.splitlines()
    assert lines[0].endswith("a LoRA in kohya format, rank 8, for Stable Diffusion 1.x")
    assert lines[1] == "  loads in: AUTOMATIC1111, Forge, ComfyUI, diffusers, Sonopaint"
    for words in (
        "strength: 1 is how it was trained",
        "trigger: zorblax",
        "made from: trained on riffusion.ckpt, 20 examples",
        "licence: CC0",
        "format: perkins-10s",
        "scale 0.5, which hosts apply by themselves",
    ):
        assert words in said
    known = facts(tmp_path / "horn.safetensors")
    assert known["base"] == "Stable Diffusion 1.x" and known["metadata"]["modelspec.license"] == "CC0"


@pytest.mark.parametrize(
    ("width", "options", "words"),
    [
        (1024, {}, "for Stable Diffusion 2.x"),
        (2048, {}, "for SDXL"),
        (256, {}, "for Sonopaint Mini\n  loads in: Sonopaint"),
        (768, {"text": False}, "changes the U-Net only"),
        (768, {"dora": True}, "rank 8, with DoRA"),
        (768, {"to": "diffusers"}, "diffusers format.*\n  loads in: diffusers, Sonopaint"),
        (768, {"to": "diffusers"}, "WebUI and ComfyUI need it in kohya format"),
    ],
)
def test_where_a_lora_belongs(tmp_path: Path, width: int, options: dict, words: str) -> None:
    import re

    assert re.search(words, describe(a_lora(tmp_path / "x.safetensors", width, **options)))


def test_folders_of_pefts_are_one_lora(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_lora(tmp_path / "both", to="peft")
    a_lora(tmp_path / "one", text=False, to="peft")
    assert main(["info", str(tmp_path / "both"), str(tmp_path / "one"), "--json"]) == 0
    both, one = json.loads(capsys.readouterr().out)
    assert both["what"] == one["what"] == "a LoRA in PEFT format, rank 8"
    assert both["loads_in"] == ["PEFT", "Sonopaint"] and "changes the U-Net only" in one["notes"]


def test_models_are_explained(
    checkpoint: Path, diffusers_folder: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    assert "Stable Diffusion 1's layout, smaller: 32 channels" in describe(checkpoint)
    assert "a model in a diffusers folder" in describe(diffusers_folder)
    said = describe(tiny_folder)
    assert (
        "Sonopaint Mini in its own folder" in said
        and "loads in: Sonopaint" in said
        and "licence: MIT" in said
    )
    save_model(open_model(tiny_folder), tmp_path / "mini.safetensors", to="single")
    assert "Sonopaint Mini in a single file" in describe(tmp_path / "mini.safetensors")


def test_other_networks_and_pickles_are_named(checkpoint: Path, tmp_path: Path) -> None:
    tensors = load_file(checkpoint)
    torch.save({"state_dict": tensors, "epoch": 1}, tmp_path / "old.ckpt")
    said = describe(tmp_path / "old.ckpt")
    assert "as a pickle" in said and "sonoconvert checkpoint old.ckpt old.safetensors" in said
    assert "loads in" not in said and "beside the weights: epoch" in said
    save_file(tensors | {"conditioner.embedders.0.x": torch.ones(1)}, tmp_path / "xl.safetensors")
    assert "not SD 1.5: it is an SDXL model" in describe(tmp_path / "xl.safetensors")
    save_file({"whatever": torch.ones(2)}, tmp_path / "x.safetensors")
    assert "weights of an unknown network" in describe(tmp_path / "x.safetensors")
    torch.save({"string_to_param": {"*": torch.ones(2, 768)}}, tmp_path / "word.pt")
    assert "a textual inversion" in describe(tmp_path / "word.pt")


def test_headers_can_not_forge_lines(tmp_path: Path) -> None:
    metadata = {
        "modelspec.license": "MIT\n  loads in: everywhere \x1b[2J",
        "sonopaint.format": "[[",
        "x": "y",
    }
    said = describe(a_lora(tmp_path / "x.safetensors", metadata=metadata))
    assert "\n  loads in: everywhere" not in said and "\x1b" not in said
