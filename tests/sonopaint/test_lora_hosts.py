"""The LoRA files that sonoconvert writes, loaded by those who read them: diffusers and PEFT."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sonoconvert.checkpoints.lora import save_lora
from sonoconvert.checkpoints.nouns import LoraModule
from sonopaint.models.lora import apply_loras
from sonopaint.models.mini import build_mini, mini_config

TOLERANCE = {"atol": 2e-5, "rtol": 1e-4}  # float32: the hosts add after the layer, we add to its weight


def small_config(levels: int = 2) -> dict:
    """SD 1's layout with `levels` ResNets on each of four levels, in miniature."""
    config = mini_config(600)
    config["unet"] |= {
        "block_out_channels": [32, 64, 64, 64],
        "layers_per_block": levels,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        "cross_attention_dim": 32,
    }
    config["vae"] |= {"block_out_channels": [32, 32, 32, 32]}
    config["text_encoder"] |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    return config


@cache
def _networks() -> tuple:
    torch.manual_seed(0)
    unet, _, text_encoder = build_mini(small_config())
    return unet, text_encoder


def networks() -> tuple:
    """(U-Net, text encoder), the same weights each time and nobody else's."""
    return deepcopy(_networks())


def some_modules(unet, text_encoder, *, dora: bool, conv: bool, alphas: bool = True) -> dict[str, LoraModule]:
    """A LoRA on attention, feed-forward and text; on convolutions too where `conv` is set."""
    generator = torch.Generator().manual_seed(1)
    wanted = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
    if conv:
        wanted += (
            "proj_in",
            "conv1",
            "conv2",
            "conv_shortcut",
            "time_emb_proj",
            "samplers.0.conv",
            "conv_in",
        )
    found = {}
    parts = (("unet.", unet, wanted), ("text_encoder.text_model.", text_encoder, ("_proj", "fc1", "fc2")))
    for part, network, endings in parts:
        for index, (name, layer) in enumerate(network.named_modules()):
            name = name.removeprefix("text_model.")
            if not name.endswith(endings) or not hasattr(layer, "weight"):
                continue
            rank, weight = 2 + index % 3, layer.weight.detach()
            tail = [1] * (weight.ndim - 2)
            scale = None
            if dora:
                scale = weight.flatten(1).norm(dim=1).reshape(-1, 1, *tail)
                scale = scale * (0.8 + 0.4 * torch.rand(scale.shape, generator=generator))
            found[part + name] = LoraModule(
                torch.randn(rank, *weight.shape[1:], generator=generator) / 8,
                torch.randn(weight.shape[0], rank, *tail, generator=generator) / 8,
                1.0 + index % 4 if alphas else 1.5,
                scale,
            )
    return found


INPUTS = (torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(2)), torch.arange(77)[None])


@torch.no_grad()
def outputs(unet, text_encoder) -> tuple[torch.Tensor, torch.Tensor]:
    text = text_encoder(INPUTS[1]).last_hidden_state
    return unet(INPUTS[0], 300, text).sample, text


def ours(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    unet, text_encoder = networks()
    model = SimpleNamespace(unet=unet, text_encoder=text_encoder, loras=[], lora_backup={})
    apply_loras(model, [(path, 1.0)])
    return outputs(unet, text_encoder)


def by_diffusers(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    from diffusers.loaders import StableDiffusionLoraLoaderMixin

    class Pipeline(StableDiffusionLoraLoaderMixin):
        hf_device_map = None
        components: dict = {}

    pipeline = Pipeline()
    pipeline.unet, pipeline.text_encoder = networks()
    pipeline.components = {"unet": pipeline.unet, "text_encoder": pipeline.text_encoder}
    pipeline.load_lora_weights(str(path.parent), weight_name=path.name)
    return outputs(pipeline.unet, pipeline.text_encoder)


def check(expected, got) -> None:
    plain = outputs(*networks())
    for index, name in enumerate(("U-Net", "text encoder")):
        assert (expected[index] - plain[index]).abs().max() > 0.05, f"the LoRA does nothing to the {name}"
        torch.testing.assert_close(got[index], expected[index], **TOLERANCE)


@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize(("to", "dora"), [("kohya", False), ("diffusers", False), ("diffusers", True)])
def test_diffusers_paints_with_our_files_as_we_do(tmp_path: Path, to: str, dora: bool, conv: bool) -> None:
    """Of kohya's files diffusers 0.42 ignores DoRA and alphas that differ from module to module."""
    path = tmp_path / "lora.safetensors"
    save_lora(
        path,
        some_modules(*networks(), dora=dora, conv=conv, alphas=to != "kohya"),
        to=to,
        dtype=torch.float32,
    )
    check(ours(path), by_diffusers(path))


@pytest.mark.parametrize("dora", [False, True])
def test_peft_paints_with_our_folders_as_we_do(tmp_path: Path, dora: bool) -> None:
    from peft import PeftModel

    modules = some_modules(*networks(), dora=dora, conv=True)
    save_lora(tmp_path / "lora", modules, to="peft", dtype=torch.float32)
    save_lora(tmp_path / "lora.safetensors", modules, dtype=torch.float32)
    unet, text_encoder = networks()
    PeftModel.from_pretrained(unet, str(tmp_path / "lora" / "unet"))  # changes the networks in place
    # transformers 5 took the level "text_model" away; files keep it.
    old = text_encoder if hasattr(text_encoder, "text_model") else torch.nn.Module()
    if old is not text_encoder:
        old.text_model = text_encoder
    PeftModel.from_pretrained(old, str(tmp_path / "lora" / "text_encoder"))
    check(ours(tmp_path / "lora.safetensors"), outputs(unet, text_encoder))
