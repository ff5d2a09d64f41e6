"""Loading models: SD 1.5 layouts and Mini, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import get_format
from sonopaint.models.info import describe, find_model, list_models
from sonopaint.models.loading import load_model
from sonopaint.models.mini import build_mini, load_mini, mini_config, save_mini
from sonopaint.models.tokenizer import load_tokenizer, train_tokenizer

FAKE = {
    "model.diffusion_model.input_blocks.0.0.weight": (32, 4, 3, 3),
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (32, 768),
    "first_stage_model.encoder.conv_in.weight": (2, 2),
    "cond_stage_model.transformer.text_model.final_layer_norm.weight": (2,),
}


def same_weights(module, other) -> bool:
    first, second = module.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_names_agree_with_diffusers_own_conversion(parts, checkpoint):
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    unet, vae, _, _ = parts
    tensors = load_file(checkpoint)
    converted = convert_ldm_unet_checkpoint(dict(tensors), unet.config)
    assert converted.keys() == unet.state_dict().keys()
    assert all(torch.equal(value, converted[key]) for key, value in unet.state_dict().items())
    converted = convert_ldm_vae_checkpoint(dict(tensors), vae.config)
    assert converted.keys() == vae.state_dict().keys()


def test_a_single_file_loads_like_its_parts(parts, checkpoint):
    model = load_model(checkpoint)
    for ours, original in zip((model.unet, model.vae, model.text_encoder), parts, strict=False):
        assert same_weights(ours, original)
        assert not ours.training and not any(p.requires_grad for p in ours.parameters())
    assert model.format == get_format("riffusion-v1")
    assert (model.name, model.prediction_type) == ("riffusion-model-v1", "epsilon")
    assert (model.latent_factor, model.vae_scale) == (8, 0.18215)
    assert model.alphas_cumprod.shape == (1000,) and len(model.hash) == 10
    x, text = torch.randn(1, 4, 16, 16), torch.randn(1, 77, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.unet(x, 5, text).sample, parts[0](x, 5, text).sample)
        ids = torch.arange(77)[None]
        torch.testing.assert_close(model.text_encoder(ids).last_hidden_state, parts[2](ids).last_hidden_state)


def test_half_precision_and_prefixless_text_encoders(parts, checkpoint, tmp_path):
    tensors = load_file(str(checkpoint))
    old = {key.replace(".transformer.text_model.", ".transformer."): value for key, value in tensors.items()}
    save_file({k: v.half() for k, v in old.items()}, str(tmp_path / "old.safetensors"))
    shutil.copytree(parts[3], tmp_path / "tokenizer")
    model = load_model(tmp_path / "old.safetensors", dtype=torch.bfloat16)
    assert {p.dtype for p in model.unet.parameters()} == {torch.bfloat16}
    assert model.dtype == torch.bfloat16


def test_a_diffusers_folder_loads_like_its_parts(parts, diffusers_folder):
    model = load_model(diffusers_folder)
    for ours, original in zip((model.unet, model.vae, model.text_encoder), parts, strict=False):
        assert same_weights(ours, original)
    assert model.prediction_type == "v_prediction"
    assert model.format.name == "perkins-10s"


def test_early_diffusers_vaes_load(parts, diffusers_folder, tmp_path):
    folder = shutil.copytree(diffusers_folder, tmp_path / "early")
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    early = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(str(file))
    for new, old in early.items():
        tensors = {
            key.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): v for key, v in tensors.items()
        }
    save_file(tensors, str(file))
    assert same_weights(load_model(folder).vae, parts[1])


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("unet/config.json", {"in_channels": 9}, "9 input channels"),
        ("unet/config.json", {"cross_attention_dim": 1024}, "width 1024"),
        ("unet/config.json", {"block_out_channels": [64, 64, 64, 64]}, "another shape"),
        ("unet/config.json", {"block_out_channels": [64]}, "describes no SD 1.5 model"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "predicts 'flow'"),
    ],
)
def test_folders_whose_configuration_lies_are_refused(diffusers_folder, tmp_path, file, values, words):
    folder = shutil.copytree(diffusers_folder, tmp_path / "copy")
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    refused(folder, words)


def test_incomplete_folders_are_refused(diffusers_folder, tmp_path):
    folder = shutil.copytree(diffusers_folder, tmp_path / "copy")
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    refused(folder, "pickle")
    weights.with_suffix(".bin").unlink()
    refused(folder, "holds no diffusion_pytorch_model.safetensors")
    (folder / "unet" / "config.json").write_text("{")
    refused(folder, "pickle|can't be read|holds no")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no model")


def refused(path, words: str, **options) -> None:
    with pytest.raises(SonopaintError, match=words) as caught:
        load_model(path, **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def write_fake(folder: Path, shapes: dict, metadata=None, name: str = "thing.safetensors") -> Path:
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, str(folder / name), metadata)
    return folder / name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"conditioner.embedders.0.x": (1,)}, "SDXL"),
        ({"model.diffusion_model.label_emb.0.0.weight": (2, 2)}, "SDXL"),
        ({"cond_stage_model.model.ln_final.weight": (1,)}, "Stable Diffusion 2"),
        ({list(FAKE)[1]: (32, 1024)}, "Stable Diffusion 2"),
        ({list(FAKE)[0]: (32, 9, 3, 3)}, "inpainting"),
        ({list(FAKE)[0]: (32, 8, 3, 3)}, "pix2pix"),
        ({list(FAKE)[0]: (32, 5, 3, 3)}, "5 channels"),
        ({list(FAKE)[0]: None}, "no Stable Diffusion U-Net"),
        ({list(FAKE)[2]: None}, "no VAE"),
        ({list(FAKE)[3]: None}, "no text encoder"),
        ({"control_model.x": (1,)}, "ControlNet"),
        ({"model.diffusion_model.joint_blocks.0.x": (1,)}, "Flux or SD 3"),
        ({"lora_unet_x.lora_down.weight": (1, 1)}, "is a LoRA"),
        ({}, "layout of Stable Diffusion 1.5"),
    ],
)
def test_what_is_not_stable_diffusion_1_is_refused_by_name(parts, tmp_path, change, words):
    shutil.copytree(parts[3], tmp_path / "tokenizer")
    shapes = {key: shape for key, shape in {**FAKE, **change}.items() if shape is not None}
    refused(write_fake(tmp_path, shapes), words)


@pytest.mark.parametrize("name", ["x.ckpt", "x.pt", "x.bin", "x.pth"])
def test_pickles_are_never_opened(tmp_path, name):
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch /tmp/pwned'\ntR.")
    refused(tmp_path / name, "is a pickle.*convert it")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "truncated"),
        (b"\x08", "truncated"),
        (struct.pack("<Q", 1 << 62) + b"{}", "truncated"),
        (struct.pack("<Q", 4) + b"{{{{", "damaged header"),
        (struct.pack("<Q", 2) + b"{}", "no tensors"),
        (struct.pack("<Q", 2) + b"[]", "damaged header"),
        (struct.pack("<Q", 12) + b'{"a": "shape' + b'"}', "damaged header"),
        (b"PK\x03\x04" + b"\x00" * 100, "no tensors|truncated|damaged"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, words):
    (tmp_path / "x.safetensors").write_bytes(content)
    refused(tmp_path / "x.safetensors", words)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_truncated_checkpoints_are_refused(checkpoint, tmp_path, share):
    data = checkpoint.read_bytes()
    (tmp_path / "x.safetensors").write_bytes(data[: int(len(data) * share)])
    refused(tmp_path / "x.safetensors", "truncated")


def test_headers_that_lie_are_refused(few_parts, few_checkpoint, tmp_path):
    shutil.copytree(few_parts[3], tmp_path / "tokenizer")
    file = tmp_path / "lying.safetensors"
    tensors = load_file(str(few_checkpoint))
    for metadata, words in (
        ({"sonopaint.format": "{"}, "unreadable sonopaint.format"),
        ({"sonopaint.format": '"no such"'}, "no such"),
        ({"modelspec.prediction_type": "flow"}, "predicts 'flow'"),
    ):
        save_file(tensors, str(file), metadata)
        refused(file, words)
    key = "model.diffusion_model.input_blocks.3.0.in_layers.2.weight"
    save_file(tensors | {key: torch.zeros(64, 32, 1, 1)}, str(file))
    refused(file, "another shape")
    save_file({k: v for k, v in tensors.items() if k != key}, str(file))
    refused(file, "tensor .*conv1.weight")


def test_missing_models_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SONOPAINT_MODELS", str(tmp_path))
    refused("no-such-thing", "There is no model 'no-such-thing'; give a path or one of")
    refused(tmp_path / "x" / "y.safetensors", "There is no model .*y.safetensors; check the path")
    (tmp_path / "notes.txt").write_text("hello")
    refused(tmp_path / "notes.txt", "not a .safetensors file")


@pytest.mark.parametrize(
    ("name", "metadata", "given", "expected"),
    [
        ("anything", None, None, "riffusion-v1"),
        ("my_perkins_v2", None, None, "perkins-10s"),
        ("horns_perkins-10s-db", None, None, "perkins-10s-db"),
        ("riffusion-v1-stereo", None, None, "riffusion-v1-stereo"),
        ("Riffusion", {"sonopaint.format": '"perkins-10s"'}, None, "perkins-10s"),
        ("Riffusion", {"sonopaint.format": '"perkins-10s"'}, "sonopaint-mini", "sonopaint-mini"),
    ],
)
def test_the_format_is_told_then_read_then_guessed(few_checkpoint, name, metadata, given, expected):
    file = few_checkpoint.parent / f"{name}.safetensors"
    save_file(load_file(str(few_checkpoint)), str(file), metadata)
    try:
        assert load_model(file, format=given).format == get_format(expected)
        if given is None:
            assert describe(file).format == get_format(expected)
    finally:
        file.unlink()


def test_a_file_that_only_names_perkins_10s_gets_a_note(few_checkpoint, tmp_path, caplog):
    """The name once meant decibels, loud in white; a header with all values is read as what it says."""
    before = get_format("perkins-10s-db").to_dict() | {"name": "perkins-10s"}
    for value, expected in (("perkins-10s", "perkins-10s"), (before, "perkins-10s-db")):
        caplog.clear()
        file = tmp_path / f"{expected}.safetensors"
        save_file(load_file(str(few_checkpoint)), str(file), {"sonopaint.format": json.dumps(value)})
        assert describe(file).format == get_format(expected)
        assert ("name the format perkins-10s-db" in caplog.text) == (value == "perkins-10s")


@pytest.fixture(scope="module")
def mini_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mini")
    size = train_tokenizer(["a dog barks"] * 3, folder / "tok", 530)
    torch.manual_seed(0)
    models = build_mini(mini_config(size, 0.7))
    metadata = {"sonopaint.steps": "3"}
    save_mini(folder / "mini", *models, load_tokenizer(folder / "tok"), metadata, defaults={"steps": 4})
    return folder / "mini", models


def test_mini_comes_back_from_its_folder(mini_folder):
    folder, models = mini_folder
    unet, vae, text_encoder, tokenizer, config = load_mini(folder)
    for ours, original in zip((unet, vae, text_encoder), models, strict=True):
        for key, value in original.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[key], value.half().float())
    assert config["defaults"]["steps"] == 4 and config["vae"]["scaling_factor"] == 0.7
    assert config["text_encoder"]["vocab_size"] == len(tokenizer)
    assert sum(f.stat().st_size for f in folder.glob("*.safetensors")) < 60e6

    model = load_model(folder, dtype=torch.float32)
    assert model.format == get_format("sonopaint-mini")
    assert (model.latent_factor, model.vae_scale, model.defaults["steps"]) == (8, 0.7, 4)
    x = torch.randn(1, 4, 16, 40)
    with torch.no_grad():
        text = model.text_encoder(torch.zeros(1, 77, dtype=torch.long)).last_hidden_state
        assert model.unet(x, 10, text).sample.shape == x.shape
        assert model.vae.decode(x).sample.shape == (1, 3, 128, 320)


def test_minis_headers_say_what_they_are(mini_folder):
    folder, _ = mini_folder
    for part in ("unet", "vae", "text_encoder"):
        info = describe(folder).metadata if part == "unet" else None
        from sonoconvert.checkpoints.files import read_header

        shapes, metadata = read_header(folder / f"{part}.safetensors")
        assert info is None or info == metadata
        assert get_format(json.loads(metadata["sonopaint.format"])) == get_format("sonopaint-mini")
        assert metadata["modelspec.hash_sha256"].startswith("0x") and metadata["sonopaint.steps"] == "3"
        assert metadata["modelspec.license"] and metadata["modelspec.architecture"] == "sonopaint-mini"
        assert part != "text_encoder" or all(key.startswith("text_model.") for key in shapes)


def test_a_mini_is_not_overwritten_unless_forced(mini_folder):
    folder, models = mini_folder
    tokenizer = load_tokenizer(folder / "tokenizer")
    before = (folder / "unet.safetensors").stat().st_mtime_ns
    with pytest.raises(SonopaintError, match="already holds a model"):
        save_mini(folder, *models, tokenizer)
    assert (folder / "unet.safetensors").stat().st_mtime_ns == before
    assert not [name for name in os.listdir(folder) if name.startswith(".")]


def test_a_mini_with_the_wrong_parts_is_refused(mini_folder, tmp_path):
    folder = shutil.copytree(mini_folder[0], tmp_path / "mini")
    shutil.copy(folder / "vae.safetensors", folder / "unet.safetensors")
    refused(folder, "does not fit")
    (folder / "unet.safetensors").unlink()
    refused(folder, "no file")
    (folder / "config.json").write_text("{}")
    refused(folder, "no readable Mini|no file")


def test_a_file_is_described_from_memory_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sonopaint.models import info

    read, path = [], tmp_path / "horn.safetensors"
    read_header = info.read_header
    monkeypatch.setattr(info, "read_header", lambda path: read.append(path) or read_header(path))
    lora = {"lora_unet_x.lora_down.weight": torch.zeros(1, 1)}
    save_file(lora, path, metadata={"note": "first"})
    describe(path).metadata["note"] = "changed by who asked"
    assert describe(path).metadata == {"note": "first"} and describe(path).kind == "lora"
    assert read == [path]
    save_file(lora, tmp_path / "new", metadata={"note": "other"})
    os.replace(tmp_path / "new", path)
    assert describe(path).metadata == {"note": "other"} and len(read) == 2
    path.unlink()
    with pytest.raises(SonopaintError, match="horn"):
        describe(path)


def test_models_are_listed_without_reading_weights(
    mini_folder, checkpoint, diffusers_folder, tmp_path, monkeypatch, caplog
):
    from sonopaint.models import info

    monkeypatch.setenv("SONOPAINT_MODELS", str(tmp_path / "mine"))
    monkeypatch.setattr(info, "shipped_folder", lambda: mini_folder[0].parent)
    (tmp_path / "mine" / "lora").mkdir(parents=True)
    shutil.copy(checkpoint, tmp_path / "mine" / "checkpoint.safetensors")
    shutil.copytree(diffusers_folder, tmp_path / "mine" / "folder")
    write_fake(tmp_path / "mine" / "lora", {"lora_unet_x.lora_down.weight": (1, 1)}, name="horn.safetensors")
    (tmp_path / "mine" / "broken.safetensors").write_bytes(b"")
    found = [(m.name, m.kind, m.format.name if m.format else None, m.shipped) for m in list_models()]
    assert found == [
        ("mini", "mini", "sonopaint-mini", True),
        ("checkpoint", "checkpoint", "riffusion-v1", False),
        ("folder", "diffusers", "riffusion-v1", False),
        ("horn", "lora", None, False),
    ]
    assert "broken.safetensors" in caplog.text
    assert load_model("mini").path == mini_folder[0]
    refused("horn", "is a LoRA")


def test_a_lora_can_come_with_the_model(few_checkpoint, tmp_path):
    name = "lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k"
    tensors = {f"{name}.lora_up.weight": torch.ones(32, 2), f"{name}.lora_down.weight": torch.ones(2, 64)}
    save_file(tensors, str(tmp_path / "horn.safetensors"))
    model = load_model(few_checkpoint, loras=[(tmp_path / "horn.safetensors", 0.5)])
    assert model.loras == [("horn", 0.5)]
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    weight, plain = (m.unet.get_submodule(layer).weight for m in (model, load_model(few_checkpoint)))
    torch.testing.assert_close(weight, plain + 1)


def test_a_shipped_name_is_not_shadowed_by_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini").mkdir()
    assert find_model("mini") != Path("mini") and (find_model("mini") / "config.json").is_file()
    assert find_model("./mini").resolve() == tmp_path / "mini"


def test_a_path_is_found_without_reading_other_models(tiny_folder, monkeypatch):
    from sonopaint.models import info

    monkeypatch.setattr(info, "list_models", lambda: pytest.fail("every model's header was read"))
    assert find_model(tiny_folder) == find_model(str(tiny_folder)) == tiny_folder
    with pytest.raises(SonopaintError, match="There is no model"):
        find_model(tiny_folder / "none")


def test_a_broken_config_or_tokenizer_of_mini_is_one_sentence(tiny_folder, tmp_path):
    """Every key of config.json, missing or odd: refused, and not by running out of memory."""
    from sonoconvert.checkpoints.layouts import open_model

    folder, tokenizer = tmp_path / "mini", load_tokenizer(tiny_folder / "tokenizer")
    config = mini_config(len(tokenizer))  # it is built some hundred times, so of few layers
    config["unet"] |= {
        "block_out_channels": [32, 32],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    }
    config["unet"] |= {"up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"]}
    config["vae"] |= {"block_out_channels": [16], "down_block_types": ["DownEncoderBlock2D"]}
    config["vae"] |= {"up_block_types": ["UpDecoderBlock2D"]}
    config["text_encoder"] |= {"num_hidden_layers": 1}
    save_mini(folder, *build_mini(config), tokenizer)
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    parts = {key: part for key, part in config.items() if isinstance(part, dict)}
    places = [(key,) for key in config] + [(key, name) for key, part in parts.items() for name in part]
    refused_ = 0
    for place in places:
        for odd in ("missing", None, [], 10**12) if len(place) == 1 else ("missing", 10**12):
            changed = json.loads(json.dumps(config))
            inner = changed if len(place) == 1 else changed[place[0]]
            if odd == "missing":
                del inner[place[-1]]
            else:
                inner[place[-1]] = odd
            file.write_text(json.dumps(changed), encoding="utf-8")
            for read in (lambda: load_model(folder), lambda: open_model(folder)):
                try:
                    read()
                except SonopaintError as error:
                    refused_ += 1
                    assert "\n" not in str(error).strip(), (place, odd)
    assert refused_ > len(places)
    file.write_text(json.dumps(config), encoding="utf-8")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        whole = (folder / "tokenizer" / name).read_bytes()
        for odd in (b"", b"{", b"[]", b"\xff\xfe\x00", b"{" + b'"a":' * 3):
            (folder / "tokenizer" / name).write_bytes(odd)
            try:
                load_model(folder)
            except SonopaintError as error:
                assert "\n" not in str(error)
        (folder / "tokenizer" / name).write_bytes(whole)
    assert load_model(folder).name == "mini"
