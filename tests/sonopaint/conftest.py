"""Tiny models with random weights in Mini's, SD 1's and diffusers' layouts, and clips to edit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sonoconvert.files.clip import Clip

VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
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
    config["vae"] |= {"block_out_channels": [16, 16, 16, 16]}
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
def build_wave() -> Callable[[str], Any]:
    """`build_wave(pipeline)`: one of diffusers' audio pipelines with a few thousand random weights."""
    import importlib.util

    path = Path(__file__).with_name("wave_models.py")
    spec = importlib.util.spec_from_file_location("wave_models", path)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded.build


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


def sd1_parts(folder: Path, **unet: Any) -> tuple[Any, Any, Any, Path]:
    """(unet, vae, text encoder, tokenizer folder): SD 1's layout in miniature; `unet`: of its config."""
    from sonopaint.models.mini import build_mini, mini_config
    from sonopaint.models.tokenizer import train_tokenizer

    size = train_tokenizer(["a dog barks", "rain"] * 3, folder / "tokenizer", 540)
    config = mini_config(size)
    config["unet"] |= {"cross_attention_dim": 64, "attention_head_dim": 8, **unet}
    config["vae"] |= {
        "block_out_channels": [32, 32, 64, 64],
        "layers_per_block": config["unet"]["layers_per_block"],
        "scaling_factor": 0.18215,
    }
    config["text_encoder"] |= {"hidden_size": 64, "num_attention_heads": 1, "projection_dim": 64}
    torch.manual_seed(0)
    return *build_mini(config), folder / "tokenizer"


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Any, Path]:
    """SD 1's layout with its four levels."""
    return sd1_parts(
        tmp_path_factory.mktemp("parts"),
        block_out_channels=[32, 64, 64, 64],
        layers_per_block=2,
        down_block_types=["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    )


@pytest.fixture(scope="session")
def few_parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Any, Path]:
    """SD 1's layout with the fewest layers, for what does not hang on them: quicker to load."""
    return sd1_parts(
        tmp_path_factory.mktemp("few"),
        block_out_channels=[32, 32],
        layers_per_block=1,
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
    )


def ldm_tensors(unet: Any, vae: Any, text_encoder: Any) -> dict[str, torch.Tensor]:
    """A single-file checkpoint's tensors, named from scratch."""
    from sonoconvert.checkpoints import ldm
    from sonopaint.models.mini import stored_state_dict

    tensors = {}
    names = ldm.unet_ldm_names(unet.config, {key.rpartition(".")[0] for key in unet.state_dict()})
    for key, value in unet.state_dict().items():
        module, _, kind = key.rpartition(".")
        tensors[f"model.diffusion_model.{names[module]}.{kind}"] = value
    for key, value in vae.state_dict().items():
        p = key.split(".")
        if p[1] == "down_blocks":
            p[1:4] = ["down", p[2], {"resnets": "block", "downsamplers": "downsample"}[p[3]]]
        elif p[1] == "up_blocks":
            p[1:4] = ["up", str(3 - int(p[2])), {"resnets": "block", "upsamplers": "upsample"}[p[3]]]
        elif p[1] == "mid_block" and p[2] == "attentions":
            name = VAE_ATTENTION[".".join(p[4:-1])]
            value = value[..., None, None] if name != "norm" and p[-1] == "weight" else value
            p[1:-1] = ["mid", "attn_1", name]
        elif p[1] == "mid_block":
            p[1:4] = ["mid", f"block_{int(p[3]) + 1}"]
        if len(p) > 4 and p[3] in ("downsample", "upsample"):
            del p[4]
        name = ".".join(p).replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        tensors[f"first_stage_model.{name}"] = value
    for key, value in stored_state_dict(text_encoder).items():
        tensors[f"cond_stage_model.transformer.{key}"] = value
    tensors["alphas_cumprod"] = torch.zeros(1000)
    return {key: value.contiguous() for key, value in tensors.items()}


def as_checkpoint(parts: tuple[Any, Any, Any, Path], folder: Path) -> Path:
    """A single-file checkpoint of `parts`, with its tokenizer beside it."""
    save_file(ldm_tensors(*parts[:3]), str(folder / "riffusion-model-v1.safetensors"))
    shutil.copytree(parts[3], folder / "tokenizer")
    return folder / "riffusion-model-v1.safetensors"


@pytest.fixture(scope="session")
def checkpoint(parts: tuple[Any, Any, Any, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_checkpoint(parts, tmp_path_factory.mktemp("single"))


@pytest.fixture(scope="session")
def few_checkpoint(few_parts: tuple[Any, Any, Any, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_checkpoint(few_parts, tmp_path_factory.mktemp("few-single"))


def as_folder(parts: tuple[Any, Any, Any, Path], folder: Path) -> Path:
    """`parts` as diffusers saves them."""
    from sonopaint.models.mini import stored_state_dict

    unet, vae, text_encoder, tokenizer = parts
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    (folder / "text_encoder").mkdir()
    save_file(stored_state_dict(text_encoder), str(folder / "text_encoder" / "model.safetensors"))
    text_encoder.config.save_pretrained(folder / "text_encoder")
    shutil.copytree(tokenizer, folder / "tokenizer")
    (folder / "scheduler").mkdir()
    scheduler = {"prediction_type": "v_prediction", "beta_start": 0.00085, "beta_end": 0.012}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    return folder


@pytest.fixture(scope="session")
def diffusers_folder(parts: tuple[Any, Any, Any, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_folder(parts, tmp_path_factory.mktemp("folders") / "perkins-sounds")


@pytest.fixture(scope="session")
def few_folder(few_parts: tuple[Any, Any, Any, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_folder(few_parts, tmp_path_factory.mktemp("few-folders") / "perkins-sounds")
