"""Whole models from one layout to another and back: bit for bit, and they paint the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sonoconvert.checkpoints.files import read_stored, read_tensors
from sonoconvert.checkpoints.layouts import CONFIG_KEY, EXTRA, open_model, save_model
from sonoconvert.errors import SonopaintError
from sonopaint.models.loading import load_model


def convert(source: Path, target: Path, to: str, **options: Any) -> Path:
    save_model(open_model(source), target, to=to, **options)
    return target


def same_file(left: Path, right: Path) -> None:
    first, second = load_file(left), load_file(right)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype and torch.equal(tensor, second[name]), name


@torch.no_grad()
def painted(path: Path) -> torch.Tensor:
    model = load_model(path, device="cpu")
    torch.manual_seed(0)
    text = model.text_encoder(torch.arange(77)[None] % 500).last_hidden_state
    latents = model.unet(torch.randn(1, 4, 16, 16), 7, text).sample
    return model.vae.decode(latents / model.vae_scale).sample


def test_single_file_to_folder_and_back_is_bit_exact(checkpoint: Path, tmp_path: Path) -> None:
    tensors = load_file(checkpoint)
    position = "cond_stage_model.transformer.text_model.embeddings.position_ids"
    tensors |= {"model_ema.decay": torch.tensor(0.9), position: torch.arange(77)[None]}
    odd = "first_stage_model.encoder.something.weight"
    tensors[odd] = torch.ones(3)
    metadata = {"modelspec.title": "Horns", "sonopaint.format": '"perkins-10s"'}
    save_file(tensors, tmp_path / "a.safetensors", metadata)
    folder = convert(tmp_path / "a.safetensors", tmp_path / "folder", "diffusers")
    assert set(load_file(folder / EXTRA)) == {"alphas_cumprod", "model_ema.decay", odd}
    back = convert(folder, tmp_path / "b.safetensors", "single")
    same_file(tmp_path / "a.safetensors", back)
    assert metadata.items() <= read_stored(back)[1].items()


def test_folders_are_what_diffusers_itself_loads(checkpoint: Path, parts: Any, tmp_path: Path) -> None:
    from diffusers import AutoencoderKL, UNet2DConditionModel

    folder = convert(checkpoint, tmp_path / "folder", "diffusers")
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", local_files_only=True)
    vae = AutoencoderKL.from_pretrained(folder / "vae", local_files_only=True)
    for ours, original in ((unet, parts[0]), (vae, parts[1])):
        assert all(torch.equal(value, ours.state_dict()[key]) for key, value in original.state_dict().items())
    index = json.loads((folder / "model_index.json").read_text())
    assert index["unet"] == ["diffusers", "UNet2DConditionModel"]
    assert (folder / "tokenizer" / "vocab.json").is_file()  # it lay beside the checkpoint
    torch.testing.assert_close(painted(folder), painted(checkpoint), atol=0, rtol=0)


def test_folder_to_single_file_and_back_is_bit_exact(diffusers_folder: Path, tmp_path: Path) -> None:
    single = convert(diffusers_folder, tmp_path / "one.safetensors", "single")
    assert load_model_prediction(single) == "v_prediction"
    back = convert(single, tmp_path / "back", "diffusers")
    for file in diffusers_folder.rglob("*.safetensors"):
        same_file(file, back / file.relative_to(diffusers_folder))
    scheduler = json.loads((back / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == "v_prediction"


def load_model_prediction(path: Path) -> str:
    return load_model(path, device="cpu").prediction_type


def test_early_and_pickled_parts_are_read(diffusers_folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(diffusers_folder, tmp_path / "early")
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    early = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(file)
    for new, old in early.items():
        tensors = {n.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): t for n, t in tensors.items()}
    file.unlink()
    torch.save(tensors, file.with_suffix(".bin"))
    single = convert(folder, tmp_path / "one.safetensors", "single")
    expected = {n: t for n, t in load_file(checkpoint).items() if n != "alphas_cumprod"}
    got = load_file(single)
    assert expected.keys() == got.keys() and all(torch.equal(t, got[n]) for n, t in expected.items())


def test_mini_as_one_file_loads_and_comes_back_byte_for_byte(tiny_folder: Path, tmp_path: Path) -> None:
    single = convert(tiny_folder, tmp_path / "mini.safetensors", "single")
    with safe_open(single, "pt") as file:
        header = file.metadata()
    assert CONFIG_KEY in header and header["modelspec.title"] == "Sonopaint Mini"
    torch.testing.assert_close(painted(single), painted(tiny_folder), atol=0, rtol=0)
    model = load_model(single, device="cpu")
    assert model.format.name == "sonopaint-mini" and model.defaults["steps"] == 2
    assert len(model.tokenizer) == model.text_encoder.config.vocab_size
    back = convert(single, tmp_path / "mini", "mini")
    for file in sorted(p for p in tiny_folder.rglob("*") if p.is_file()):
        other = back / file.relative_to(tiny_folder)
        if file.suffix == ".safetensors":
            same_file(file, other)
            assert read_stored(file)[1] == read_stored(other)[1]
        else:
            assert file.read_bytes() == other.read_bytes(), file


def test_mini_as_a_diffusers_folder_paints_the_same_and_comes_back(tiny_folder: Path, tmp_path: Path) -> None:
    folder = convert(tiny_folder, tmp_path / "folder", "diffusers")
    torch.testing.assert_close(painted(folder), painted(tiny_folder), atol=0, rtol=0)
    back = convert(folder, tmp_path / "mini", "mini")
    assert (back / "config.json").read_bytes() == (tiny_folder / "config.json").read_bytes()
    for part in ("unet", "vae", "text_encoder"):
        same_file(tiny_folder / f"{part}.safetensors", back / f"{part}.safetensors")


@pytest.mark.parametrize("channels", [[16, 32, 32, 48], [32, 32, 32, 32]])
def test_mini_for_the_webui_paints_the_same_in_32_groups(
    tiny_folder: Path, tmp_path: Path, channels: list[int]
) -> None:
    from sonopaint.models.mini import build_mini, save_mini

    source = tmp_path / "source"
    shutil.copytree(tiny_folder, source)
    given = load_model(source, device="cpu")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config["vae"]["block_out_channels"] = channels
    torch.manual_seed(1)
    vae = build_mini(config)[1]
    for parameter in vae.parameters():  # norms that have learnt nothing would hide a wrong one
        torch.nn.init.normal_(parameter, std=0.2)
    save_mini(source, given.unet, vae, given.text_encoder, given.tokenizer, {}, force=True)
    made = convert(source, tmp_path / "webui" / "mini.safetensors", "webui")
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    for work in (
        painted,
        lambda path: load_model(path, device="cpu").vae.encode(image).latent_dist.mean.detach(),
    ):
        same, wide = work(source), work(made)
        assert (same - wide).norm() < 2e-3 * same.norm()  # half precision's rounding of √2 · to_q
    told = json.loads(made.with_suffix(".yaml").read_text(encoding="utf-8"))["model"]["params"]
    sizes = told["first_stage_config"]["params"]["ddconfig"]
    shapes = {name: tuple(tensor.shape) for name, tensor in load_file(made).items()}
    for level, times in enumerate(sizes["ch_mult"]):
        width = shapes[f"first_stage_model.encoder.down.{level}.block.0.conv2.weight"][0]
        assert width == sizes["ch"] * times and width % 32 == 0
    assert (
        told["unet_config"]["params"] | {"channel_mult": [1, 1, 2], "attention_resolutions": [2, 4]}
        == (told["unet_config"]["params"])
    )
    words = Path(told["cond_stage_config"]["params"]["version"])
    assert words.is_absolute() and {path.name for path in words.iterdir()} >= {"config.json", "vocab.json"}


def test_only_mini_has_a_form_for_the_webui_and_nothing_is_replaced(
    checkpoint: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SonopaintError, match="Only Sonopaint Mini"):
        convert(checkpoint, tmp_path / "a.safetensors", "webui")
    (tmp_path / "b.yaml").write_text("mine")
    with pytest.raises(SonopaintError, match="already exists"):
        convert(tiny_folder, tmp_path / "b.safetensors", "webui")
    assert (tmp_path / "b.yaml").read_text() == "mine" and not (tmp_path / "b.safetensors").exists()


def test_pruning_and_types(checkpoint: Path, tmp_path: Path) -> None:
    half = convert(checkpoint, tmp_path / "half.safetensors", "single", prune=True, dtype=torch.float16)
    tensors, expected = load_file(half), load_file(checkpoint)
    assert "alphas_cumprod" not in tensors and len(tensors) == len(expected) - 1
    assert all(torch.equal(tensor, expected[name].half()) for name, tensor in tensors.items())


def broken(checkpoint: Path, path: Path, name: str, value: float) -> Path:
    tensors = load_file(checkpoint)
    tensors[name] = tensors[name].clone()
    tensors[name].view(-1)[3] = value
    save_file(tensors, path)
    return path


def test_broken_weights_are_refused_unless_allowed(checkpoint: Path, tmp_path: Path) -> None:
    name = "model.diffusion_model.input_blocks.4.0.in_layers.2.weight"
    path = broken(checkpoint, tmp_path / "nan.safetensors", name, float("nan"))
    with pytest.raises(SonopaintError, match=r"broken: down_blocks.*conv1.weight holds infinite"):
        convert(path, tmp_path / "folder", "diffusers")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["nan.safetensors"]
    convert(path, tmp_path / "folder", "diffusers", allow_nan=True)


def test_interrupted_conversions_leave_nothing(checkpoint: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def progress(share: float) -> None:
        if share > 0.5:
            raise Stop

    for to, name in (("single", "x.safetensors"), ("diffusers", "folder")):
        with pytest.raises(Stop):
            convert(checkpoint, tmp_path / name, to, progress=progress)
    assert not list(tmp_path.iterdir())


def test_nothing_is_replaced_unless_forced(checkpoint: Path, tmp_path: Path) -> None:
    folder = convert(checkpoint, tmp_path / "folder", "diffusers")
    (folder / "mark").write_text("mine")
    with pytest.raises(SonopaintError, match="already exists"):
        convert(checkpoint, folder, "diffusers")
    convert(checkpoint, folder, "diffusers", force=True)
    assert not (folder / "mark").exists() and [p.name for p in tmp_path.iterdir()] == ["folder"]
    (tmp_path / "mine").mkdir()
    with pytest.raises(SonopaintError, match="no model's folder"):
        convert(checkpoint, tmp_path / "mine", "diffusers", force=True)


@pytest.mark.parametrize(
    ("source", "to", "words"),
    [
        ("lora.safetensors", "diffusers", "no complete Stable Diffusion 1 checkpoint"),
        ("nowhere", "diffusers", "no file or folder"),
        ("empty", "single", "holds no model"),
        ("checkpoint", "mini", "Only a Sonopaint Mini"),
        ("checkpoint", "gguf", "no layout 'gguf'"),
        ("checkpoint", "single", "has to end in .safetensors"),
        ("wide", "diffusers", "width 1024"),
    ],
)
def test_what_can_not_be_converted_is_said(
    checkpoint: Path, diffusers_folder: Path, tmp_path: Path, source: str, to: str, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    save_file({"lora_unet_x.lora_up.weight": torch.zeros(2, 2)}, tmp_path / "lora.safetensors")
    wide = shutil.copytree(diffusers_folder, tmp_path / "wide")
    config = json.loads((wide / "unet" / "config.json").read_text()) | {"cross_attention_dim": 1024}
    (wide / "unet" / "config.json").write_text(json.dumps(config))
    path = checkpoint if source == "checkpoint" else tmp_path / source
    with pytest.raises(SonopaintError, match=words) as caught:
        convert(path, tmp_path / "out", to)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [{"layers_per_block": 10**12}, {"block_out_channels": [1e9]}, {"down_block_types": [None] * 3}],
)
def test_configurations_that_lie_are_refused_at_once(tiny_folder: Path, tmp_path: Path, change: dict) -> None:
    single = convert(tiny_folder, tmp_path / "mini.safetensors", "single")
    tensors, header = load_file(single), read_stored(single)[1]
    config = json.loads(header[CONFIG_KEY])
    config["unet"] |= change
    save_file(tensors, tmp_path / "lie.safetensors", header | {CONFIG_KEY: json.dumps(config)})
    with pytest.raises(SonopaintError, match="does not have the layout"):
        open_model(tmp_path / "lie.safetensors")
    with pytest.raises(SonopaintError, match="does not have the layout"):
        load_model(tmp_path / "lie.safetensors", device="cpu")


def test_tensors_are_read_one_at_a_time(checkpoint: Path) -> None:
    tensors, _ = read_stored(checkpoint)
    assert all(isinstance(t.shape, tuple) for t in tensors.values())
    loaded = read_tensors(checkpoint, dtype=None)
    assert all(torch.equal(t.load(), loaded[n]) for n, t in tensors.items())
