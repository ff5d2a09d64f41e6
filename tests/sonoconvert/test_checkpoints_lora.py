"""LoRA files: from each format to each other and back, exactly; what is unknown is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sonoconvert.checkpoints import ldm
from sonoconvert.checkpoints.lora import load_lora, read_lora, save_lora
from sonoconvert.checkpoints.lora_names import CONFIG_KEY, dotted, is_known
from sonoconvert.checkpoints.nouns import LoraModule
from sonoconvert.errors import SonopaintError

ATTENTION = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
MODULES = {
    ATTENTION: ((64, 4), (4, 32)),
    ATTENTION.replace("attn2.to_k", "attn1.to_out.0"): ((64, 4), (4, 64)),
    ATTENTION.replace("attn2.to_k", "ff.net.0.proj"): ((512, 4), (4, 64)),
    ATTENTION.replace("attn2.to_k", "ff.net.2"): ((64, 2), (2, 256)),
    "unet.down_blocks.1.attentions.0.proj_in": ((64, 4, 1, 1), (4, 64, 1, 1)),
    "unet.mid_block.resnets.0.conv1": ((96, 8, 1, 1), (8, 96, 3, 3)),
    "unet.down_blocks.1.resnets.0.time_emb_proj": ((64, 4), (4, 128)),
    "unet.up_blocks.0.upsamplers.0.conv": ((96, 4, 1, 1), (4, 96, 3, 3)),
    "unet.conv_in": ((32, 4, 1, 1), (4, 4, 3, 3)),
    "unet.time_embedding.linear_1": ((128, 4), (4, 32)),
    "text_encoder.text_model.encoder.layers.1.self_attn.q_proj": ((32, 4), (4, 32)),
    "text_encoder.text_model.encoder.layers.1.self_attn.out_proj": ((32, 4), (4, 32)),
    "text_encoder.text_model.encoder.layers.0.mlp.fc1": ((64, 3), (3, 32)),
}
METADATA = {"ss_output_name": "horn", "sonopaint.trigger": "sks horn"}


def make(dora: bool = False, part: str = "") -> dict[str, LoraModule]:
    """Modules of every kind, with several ranks and alphas that differ from them."""
    generator = torch.Generator().manual_seed(3)
    result = {}
    for index, (name, (up, down)) in enumerate(MODULES.items()):
        if not name.startswith(part):
            continue
        scale = torch.rand(up[0], *[1] * (len(down) - 1), generator=generator).half() if dora else None
        result[name] = LoraModule(
            torch.randn(down, generator=generator).half(),
            torch.randn(up, generator=generator).half(),
            0.3 if index == 2 else 2.0 + index % 3,
            scale,
        )
    return result


def same(left: dict[str, LoraModule], right: dict[str, LoraModule]) -> None:
    assert left.keys() == right.keys()
    for name, module in left.items():
        other = right[name]
        assert torch.equal(module.down, other.down) and module.down.dtype == other.down.dtype
        assert torch.equal(module.up, other.up)
        assert module.alpha == pytest.approx(other.alpha, rel=1e-7)
        assert (module.dora_scale is None) == (other.dora_scale is None)
        assert module.dora_scale is None or torch.equal(module.dora_scale, other.dora_scale)


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("part", ["", "unet.", "text_encoder."])
@pytest.mark.parametrize("to", ["kohya", "diffusers", "peft"])
def test_every_format_gives_back_what_it_got(tmp_path: Path, to: str, part: str, dora: bool) -> None:
    modules = make(dora, part)
    path = tmp_path / ("folder" if to == "peft" else "lora.safetensors")
    save_lora(path, modules, to=to, metadata=METADATA)
    loaded, metadata = load_lora(path)
    same(loaded, modules)
    assert METADATA.items() <= metadata.items()


@pytest.mark.parametrize("dora", [False, True])
def test_once_round_all_formats_ends_in_the_same_bytes(tmp_path: Path, dora: bool) -> None:
    save_lora(tmp_path / "0.safetensors", make(dora), metadata=METADATA)
    first, metadata = load_lora(tmp_path / "0.safetensors")
    path = tmp_path / "0.safetensors"
    for step, to in enumerate(["peft", "diffusers", "kohya", "diffusers", "peft", "kohya"]):
        modules, header = load_lora(path)
        path = tmp_path / (f"step{step}" if to == "peft" else f"step{step}.safetensors")
        save_lora(path, modules, to=to, metadata=header, dtype=None)
    last, header = load_lora(path)
    same(last, first)
    assert header.items() >= metadata.items()
    before, after = load_file(tmp_path / "0.safetensors"), load_file(path)
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def test_kohya_files_have_hosts_keys_alpha_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    save_lora(path, make(), metadata={"modelspec.sai_model_spec": "1.0.1", "sshs_legacy_hash": "stale"})
    tensors = load_file(path)
    name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    assert tensors[f"{name}.alpha"].item() == make()[ATTENTION].alpha
    assert f"{name}.lora_down.weight" in tensors and f"{name}.lora_up.weight" in tensors
    assert "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha" in tensors
    assert sum(key.endswith(".alpha") for key in tensors) * 3 == len(tensors)
    with safe_open(path, "pt") as file:
        header = file.metadata()
    import hashlib

    data = path.read_bytes()
    digest = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
    assert header["sshs_model_hash"] == digest and header["modelspec.hash_sha256"] == "0x" + digest
    assert "sshs_legacy_hash" not in header and header["ss_network_alpha"] == "Dynamic"


@pytest.mark.parametrize("config", [ldm.SD1_LEVELS, ldm.MINI_LEVELS])
def test_ldm_spelling_comes_back_without_being_told_the_model(tmp_path: Path, config: dict) -> None:
    """Every module of both U-Nets: SD 1.5 with two ResNets a level and Mini with one."""
    modules = {}
    factors = LoraModule(torch.randn(2, 8), torch.randn(8, 2), 1.0)
    for block in ldm.unet_modules(config).values():
        inner = [""]
        if ".attentions." in block:
            inner = [".proj_in", ".transformer_blocks.0.attn2.to_v", ".transformer_blocks.0.ff.net.0.proj"]
        elif ".resnets." in block:
            inner = [".conv1", ".conv2", ".time_emb_proj"]
        modules |= {f"unet.{block}{name}": factors for name in inner if is_known(f"unet.{block}{name}")}
    assert len(modules) > 40
    path = tmp_path / "lora.safetensors"
    save_lora(path, modules, names="ldm", unet_config=config)
    keys = {key.partition(".")[0] for key in load_file(path)}
    assert not [key for key in keys if key.startswith(("lora_unet_down", "lora_unet_up", "lora_unet_mid_"))]
    assert load_lora(path)[0].keys() == modules.keys()
    assert load_lora(path, config)[0].keys() == modules.keys()
    _, metadata = load_lora(path)
    assert json.loads(metadata[CONFIG_KEY])["layers_per_block"] == config["layers_per_block"]
    bare = tmp_path / "bare.safetensors"  # as somebody else writes it: no word on the model
    save_file(load_file(path), bare)
    assert load_lora(bare)[0].keys() == modules.keys()


def test_ldm_spelling_needs_the_model(tmp_path: Path) -> None:
    with pytest.raises(SonopaintError, match="name the model"):
        save_lora(tmp_path / "x.safetensors", make(), names="ldm")
    with pytest.raises(SonopaintError, match="another model"):
        config = {**ldm.MINI_LEVELS, "down_block_types": ["DownBlock2D"] * 3}
        save_lora(tmp_path / "x.safetensors", make(), names="ldm", unet_config=config)
    assert not list(tmp_path.iterdir())


def test_a_missing_alpha_counts_as_the_rank(tmp_path: Path) -> None:
    name = "lora_unet_mid_block_attentions_0_proj_in"
    tensors = {
        f"{name}.lora_down.weight": torch.zeros(6, 4, 1, 1),
        f"{name}.lora_up.weight": torch.zeros(4, 6, 1, 1),
    }
    save_file(tensors, tmp_path / "x.safetensors")
    modules, _ = load_lora(tmp_path / "x.safetensors")
    assert modules["unet.mid_block.attentions.0.proj_in"].alpha == 6


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ("unet.{}.processor.to_k_lora.down.weight unet.{}.processor.to_k_lora.up.weight", "to_k"),
        ("unet.{}.processor.to_out_lora.down.weight unet.{}.processor.to_out_lora.up.weight", "to_out.0"),
        ("{}.to_v.lora_A.weight {}.to_v.lora_B.weight", "to_v"),
        ("base_model.model.{}.to_v.lora_A.x.weight base_model.model.{}.to_v.lora_B.x.weight", "to_v"),
        ("unet.{}.to_q.lora.down.weight unet.{}.to_q.lora.up.weight", "to_q"),
    ],
)
def test_other_peoples_spellings_are_read(tmp_path: Path, keys: str, name: str) -> None:
    attention = "mid_block.attentions.0.transformer_blocks.0.attn1"
    down, up = keys.format(attention, attention).split()
    save_file({down: torch.zeros(2, 4), up: torch.zeros(4, 2)}, tmp_path / "x.safetensors")
    assert list(load_lora(tmp_path / "x.safetensors")[0]) == [f"unet.{attention}.{name}"]


def test_early_text_encoder_names_are_read(tmp_path: Path) -> None:
    layer = "text_encoder.text_model.encoder.layers.0.self_attn"
    tensors = {
        f"{layer}.to_q_lora.down.weight": torch.zeros(2, 4),
        f"{layer}.to_q_lora.up.weight": torch.zeros(4, 2),
    }
    save_file(tensors, tmp_path / "x.safetensors")
    assert list(load_lora(tmp_path / "x.safetensors")[0]) == [f"{layer}.q_proj"]


def test_what_is_unknown_is_listed_and_never_dropped_silently(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_lora(path, make())
    strange = {
        "lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": torch.zeros(2, 4),
        "lora_unet_double_blocks_0_img_attn_proj.lora_up.weight": torch.zeros(4, 2),
        "lora_unet_conv_out.hada_w1_a": torch.zeros(2, 2),
        "lora_unet_mid_block_resnets_0_conv2.lora_down.weight": torch.zeros(2, 4, 3, 3),
    }
    save_file(load_file(path) | strange, path)
    with pytest.raises(SonopaintError, match="3 names that can't be used.*double_blocks"):
        load_lora(path)
    file = read_lora(path)
    same(file.modules, make())
    assert set(file.unknown) == {key.partition(".")[0] for key in strange}
    assert "hada_w1_a" in file.unknown["lora_unet_conv_out"]


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.zeros(2, 2)}, "SDXL"),
        ({"model.diffusion_model.out.2.weight": torch.zeros(2, 2)}, "no LoRA in kohya's format"),
        ({"lora_unet_conv_in.alpha": torch.zeros(3)}, "1 names that can't be used"),
    ],
)
def test_what_is_no_lora_is_refused(tmp_path: Path, tensors: dict, words: str) -> None:
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(SonopaintError, match=words) as caught:
        load_lora(tmp_path / "x.safetensors")
    assert "\n" not in str(caught.value)


def test_broken_configurations_of_peft_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "lora"
    save_lora(folder, make(part="unet."), to="peft")
    config = json.loads((folder / "adapter_config.json").read_text())
    for change, words in (
        ({"lora_alpha": "much"}, "has to be a number"),
        ({"alpha_pattern": {"(a+)+$": 1}}, "pattern .*can't be read"),
        ({"peft_type": "LOHA"}, "'LOHA'"),
    ):
        (folder / "adapter_config.json").write_text(json.dumps(config | change))
        with pytest.raises(SonopaintError, match=words):
            load_lora(folder)
    (folder / "adapter_config.json").unlink()
    with pytest.raises(SonopaintError, match="holds no adapter_config.json"):
        load_lora(folder)
    with pytest.raises(SonopaintError, match="holds no LoRA"):
        load_lora(tmp_path)


def test_alpha_follows_pefts_patterns_and_rslora(tmp_path: Path) -> None:
    folder = tmp_path / "lora"
    save_lora(folder, make(part="unet."), to="peft")
    config = json.loads((folder / "adapter_config.json").read_text())
    config |= {"lora_alpha": 8, "alpha_pattern": {"attn2.to_k": 6}, "use_rslora": True}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    modules, _ = load_lora(folder)
    assert modules[ATTENTION].alpha == pytest.approx(6 * 2)  # rank 4: alpha / √4 = (2 · alpha) / 4
    assert modules["unet.mid_block.resnets.0.conv1"].alpha == pytest.approx(8 * 8**0.5)


def test_nothing_is_overwritten_or_left_half_written(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_lora(path, make())
    before = path.read_bytes()
    with pytest.raises(SonopaintError, match="already exists"):
        save_lora(path, make(dora=True))
    assert path.read_bytes() == before
    broken = make()
    broken[ATTENTION].down[0, 0] = float("nan")
    with pytest.raises(SonopaintError, match="NaN"):
        save_lora(tmp_path / "y.safetensors", broken)
    with pytest.raises(SonopaintError, match="no format names"):
        save_lora(tmp_path / "y.safetensors", {"unet.nowhere": make()[ATTENTION]})
    with pytest.raises(SonopaintError, match="in a folder"):
        save_lora(tmp_path / "y.safetensors", make(), to="peft")
    with pytest.raises(SonopaintError, match="is empty"):
        save_lora(tmp_path / "y.safetensors", {})
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("text", ["{", "[]", '{"layers_per_block": 1000000000000}', "[" * 9999])
def test_headers_that_lie_about_the_model_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.safetensors"
    save_lora(path, make(part="unet."), names="ldm", unet_config=ldm.MINI_LEVELS)
    save_file(load_file(path), path, {CONFIG_KEY: text})
    with pytest.raises(SonopaintError, match="unreadable sonopaint.unet"):
        load_lora(path)
    with pytest.raises(SonopaintError, match="unreadable sonopaint.unet"):
        save_lora(tmp_path / "y.safetensors", make(), metadata={CONFIG_KEY: text})


def test_a_peft_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    broken = make()
    name = next(name for name in broken if name.startswith("text_encoder."))
    broken[name].up[0, 0] = float("inf")
    with pytest.raises(SonopaintError, match="broken"):
        save_lora(tmp_path / "folder", broken, to="peft")
    assert not list(tmp_path.iterdir())


def test_dora_on_inputs_stays_in_kohyas_format(tmp_path: Path) -> None:
    modules = {ATTENTION: LoraModule(torch.zeros(2, 6), torch.zeros(4, 2), 1.0, torch.ones(1, 6))}
    save_lora(tmp_path / "x.safetensors", modules)
    assert load_lora(tmp_path / "x.safetensors")[0][ATTENTION].dora_scale.shape == (1, 6)
    with pytest.raises(SonopaintError, match="magnitudes for its inputs"):
        save_lora(tmp_path / "folder", modules, to="peft")


@pytest.mark.parametrize("axis", [0, 1])
def test_dora_gives_the_sum_the_stored_norms(axis: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 4)
    norms = torch.rand(6, 1) + 0.5 if axis == 0 else torch.rand(1, 4) + 0.5
    module = LoraModule(torch.randn(2, 4), torch.randn(6, 2), 1.5, norms)
    total = weight + module.change(weight)
    torch.testing.assert_close(total.norm(dim=1 - axis), norms.flatten())
    plain = weight + LoraModule(module.down, module.up, 1.5).change(weight)
    torch.testing.assert_close(
        torch.nn.functional.normalize(total, dim=1 - axis), torch.nn.functional.normalize(plain, dim=1 - axis)
    )


def test_kohyas_flat_names_unfold_uniquely() -> None:
    for name in MODULES:
        bare = name.removeprefix("unet.").removeprefix("text_encoder.")
        assert dotted(bare.replace(".", "_")) == bare
    assert dotted("Über_blocks") is None
