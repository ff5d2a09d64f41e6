"""kohya LoRAs: what they change, that they leave again, and which are refused."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from sonoconvert.checkpoints.lora_names import from_kohya
from sonoconvert.errors import SonopaintError
from sonopaint.models.lora import apply_loras, find_lora, remove_loras
from sonopaint.models.mini import build_mini, mini_config

ATTENTION = "down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
RESNET = "mid_block_resnets_0_conv1"


def small_config() -> dict:
    config = mini_config(600)
    config["unet"] |= {"block_out_channels": [32, 64, 96], "cross_attention_dim": 32}
    config["vae"] |= {"block_out_channels": [32, 32, 32, 32]}
    config["text_encoder"] |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    return config


@pytest.fixture(scope="module")
def base():
    torch.manual_seed(0)
    unet, _, text_encoder = build_mini(small_config())
    return unet, text_encoder


@pytest.fixture
def model(base):
    unet, text_encoder = base
    before = [{k: v.clone() for k, v in part.state_dict().items()} for part in base]
    yield SimpleNamespace(unet=unet, text_encoder=text_encoder, loras=[], lora_backup={})
    for part, state in zip(base, before, strict=True):
        part.load_state_dict(state)


def snapshot(model) -> dict[str, torch.Tensor]:
    parts = {"unet": model.unet, "text": model.text_encoder}
    return {f"{n}.{k}": v.clone() for n, part in parts.items() for k, v in part.state_dict().items()}


def changed(model, before) -> list[str]:
    return [key for key, value in snapshot(model).items() if not torch.equal(value, before[key])]


def factors(name: str, up, down, alpha: float | None = None) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(len(name))
    tensors = {
        f"{name}.lora_up.weight": torch.randn(*up, generator=generator),
        f"{name}.lora_down.weight": torch.randn(*down, generator=generator),
    }
    if alpha is not None:
        tensors[f"{name}.alpha"] = torch.tensor(float(alpha))
    return tensors


def write(folder, tensors, name="some.safetensors", metadata=None):
    path = folder / name
    save_file(tensors, str(path), metadata)
    return path


def test_a_linear_lora_is_added_with_alpha_over_rank_and_weight(model, tmp_path):
    tensors = factors("lora_unet_" + ATTENTION, (64, 4), (4, 32), alpha=2)
    before = snapshot(model)
    apply_loras(model, [(write(tmp_path, tensors), 0.5)])
    target = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    up, down, _ = tensors.values()
    assert changed(model, before) == [target]
    torch.testing.assert_close(snapshot(model)[target], before[target] + 0.5 * (2 / 4) * up @ down)
    assert model.loras == [("some", 0.5)]


def test_a_missing_alpha_counts_as_the_rank(model, tmp_path):
    tensors = factors("lora_unet_" + ATTENTION, (64, 4), (4, 32))
    before = snapshot(model)
    apply_loras(model, [(write(tmp_path, tensors), 1.0)])
    (target,) = changed(model, before)
    up, down = tensors.values()
    torch.testing.assert_close(snapshot(model)[target], before[target] + up @ down)


@pytest.mark.parametrize(
    ("module", "up", "down"),
    [
        (RESNET, (96, 3, 1, 1), (3, 96, 3, 3)),
        ("down_blocks_1_attentions_0_proj_in", (64, 3, 1, 1), (3, 64, 1, 1)),
        ("down_blocks_1_attentions_0_proj_in", (64, 3), (3, 64)),
        ("up_blocks_0_upsamplers_0_conv", (96, 3, 1, 1), (3, 96, 3, 3)),
    ],
)
def test_convolutions_do_what_the_two_factors_do_one_after_the_other(model, tmp_path, module, up, down):
    tensors = factors("lora_unet_" + module, up, down, alpha=3)
    before = snapshot(model)
    apply_loras(model, [(write(tmp_path, tensors), 1.0)])
    (target,) = changed(model, before)
    delta = snapshot(model)[target] - before[target]
    x = torch.randn(1, down[1], 8, 8, generator=torch.Generator().manual_seed(1))
    upper, lower, _ = (t if t.ndim != 2 else t[..., None, None] for t in tensors.values())
    padding = lower.shape[-1] // 2
    one_by_one = torch.nn.functional.conv2d(torch.nn.functional.conv2d(x, lower, padding=padding), upper)
    torch.testing.assert_close(
        torch.nn.functional.conv2d(x, delta, padding=padding), one_by_one, atol=1e-2, rtol=1e-3
    )


@pytest.mark.parametrize(
    ("name", "same"),
    [
        # One ResNet per level: input blocks 1 (level 0), 2 (down), 3 (level 1), 4 (down), 5 (level 2).
        ("input_blocks_3_1_transformer_blocks_0_attn2_to_k", ATTENTION),
        ("input_blocks_5_1_proj_in", "down_blocks_2_attentions_0_proj_in"),
        ("input_blocks_2_0_op", "down_blocks_0_downsamplers_0_conv"),
        ("input_blocks_3_0_in_layers_2", "down_blocks_1_resnets_0_conv1"),
        ("middle_block_0_in_layers_2", RESNET),
        ("middle_block_1_transformer_blocks_0_ff_net_0_proj", None),
        ("output_blocks_1_1_transformer_blocks_0_attn1_to_out_0", None),
        ("output_blocks_1_2_conv", "up_blocks_0_upsamplers_0_conv"),
        ("out_2", "conv_out"),
        ("time_embed_0", "time_embedding_linear_1"),
    ],
)
def test_both_spellings_of_the_unet_reach_the_same_module(model, name, same):
    keys = [f"lora_unet_{name}", f"lora_unet_{same or name}"]
    found, unknown = from_kohya(keys, {}, model.unet.config)
    assert not unknown and found[keys[0]] == found[keys[1]]
    assert model.unet.get_submodule(found[keys[0]].removeprefix("unet.")).weight.ndim in (2, 4)


def test_the_text_encoder_is_reached(model, tmp_path):
    name = "lora_te_text_model_encoder_layers_1_self_attn_q_proj"
    before = snapshot(model)
    apply_loras(model, [(write(tmp_path, factors(name, (32, 2), (2, 32))), 1.0)])
    (target,) = changed(model, before)
    assert target.endswith("encoder.layers.1.self_attn.q_proj.weight")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_several_loras_add_up_and_taking_them_out_is_bit_exact(tmp_path, dtype):
    torch.manual_seed(1)
    unet, _, text_encoder = build_mini(small_config())
    model = SimpleNamespace(
        unet=unet.to(dtype), text_encoder=text_encoder.to(dtype), loras=[], lora_backup={}
    )
    before = snapshot(model)
    one = write(tmp_path, factors("lora_unet_" + ATTENTION, (64, 4), (4, 32)), "one.safetensors")
    both = {
        **factors("lora_unet_" + ATTENTION, (64, 2), (2, 32), alpha=1),
        **factors("lora_unet_" + RESNET, (96, 3, 1, 1), (3, 96, 3, 3)),
    }
    two = write(tmp_path, both, "two.safetensors")
    apply_loras(model, [(one, 0.7), (two, -0.4)])
    assert len(changed(model, before)) == 2
    together = snapshot(model)
    apply_loras(model, [(two, -0.4), (one, 0.7)])  # replaces, does not pile up
    for key, value in snapshot(model).items():
        torch.testing.assert_close(value, together[key])
    remove_loras(model)
    assert changed(model, before) == [] and model.loras == [] and model.lora_backup == {}
    apply_loras(model, [(one, 1.0)])
    apply_loras(model, [])
    assert changed(model, before) == []


def test_unknown_keys_are_named_in_a_warning(model, tmp_path, caplog):
    tensors = {
        **factors("lora_unet_" + ATTENTION, (64, 4), (4, 32)),
        **factors("lora_unet_nowhere_to_k", (64, 4), (4, 32)),
        **factors("lora_unet_" + RESNET, (96, 3, 1, 1), (3, 96, 1, 1)),
        f"lora_unet_{RESNET}.lora_mid.weight": torch.zeros(3, 3, 3, 3),
    }
    with caplog.at_level(logging.WARNING):
        apply_loras(model, [(write(tmp_path, tensors), 1.0)])
    assert "2 names fit nothing" in caplog.text
    assert "lora_unet_nowhere_to_k" in caplog.text and RESNET in caplog.text


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (factors("lora_unet_" + ATTENTION, (64, 4), (4, 768)), "made for another model.*64×768.*64×32"),
        (factors("lora_unet_" + ATTENTION, (320, 4), (4, 32)), "made for another model"),
        (factors("lora_unet_down_blocks_7_attn", (4, 4), (4, 4)), "made for another model"),
        (factors("lora_te2_text_model_encoder_layers_0_mlp_fc1", (4, 4), (4, 4)), "SDXL"),
        ({"unet.down_blocks.0.to_q.lora_A.weight": torch.zeros(2, 2)}, "kohya's format"),
        ({"model.diffusion_model.out.2.weight": torch.zeros(2, 2)}, "kohya's format"),
        ({f"lora_unet_{ATTENTION}.hada_w1_a": torch.zeros(2, 2)}, "another kind than LoRA"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence_and_changes_nothing(model, tmp_path, tensors, words):
    good = write(tmp_path, factors("lora_unet_" + RESNET, (96, 3, 1, 1), (3, 96, 3, 3)), "good.safetensors")
    bad = write(tmp_path, tensors, "bad.safetensors")
    before = snapshot(model)
    with pytest.raises(SonopaintError, match=words) as caught:
        apply_loras(model, [(good, 1.0), (bad, 1.0)])
    assert "bad.safetensors" in str(caught.value) and "\n" not in str(caught.value)
    assert changed(model, before) == [] and model.loras == []


def test_missing_truncated_and_pickled_files_are_refused(model, tmp_path, monkeypatch):
    monkeypatch.setenv("SONOPAINT_MODELS", str(tmp_path / "models"))
    with pytest.raises(SonopaintError, match="no file"):
        apply_loras(model, [("nothing", 1.0)])
    (tmp_path / "x.pt").write_bytes(b"\x80\x02}.")
    with pytest.raises(SonopaintError, match="pickle"):
        apply_loras(model, [(tmp_path / "x.pt", 1.0)])
    path = write(tmp_path, factors("lora_unet_" + ATTENTION, (64, 4), (4, 32)))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SonopaintError, match="truncated"):
        apply_loras(model, [(path, 1.0)])


def test_loras_are_found_by_name_in_the_models_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SONOPAINT_MODELS", str(tmp_path))
    (tmp_path / "lora").mkdir()
    path = write(tmp_path / "lora", factors("lora_unet_x", (2, 2), (2, 2)), "horn.safetensors")
    assert find_lora("horn") == path == find_lora("horn.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("which", ["lora_up.weight", "lora_down.weight"])
def test_a_broken_lora_is_said_before_painting(model, tmp_path, value, which):
    before = snapshot(model)
    tensors = factors(f"lora_unet_{ATTENTION}", (64, 2), (2, 32), 2.0)
    tensors[f"lora_unet_{ATTENTION}.{which}"][0, 0] = value
    save_file(tensors, tmp_path / "horn.safetensors")
    with pytest.raises(SonopaintError, match="^The LoRA horn.safetensors is broken: .*NaN"):
        apply_loras(model, [(tmp_path / "horn.safetensors", 1.0)])
    assert changed(model, before) == [] and model.loras == []


@pytest.mark.parametrize("extra", ["diff_b", "bias", "mystery.weight", "on_input"])
def test_parts_beside_the_factors_are_named_and_the_factors_used(model, tmp_path, caplog, extra):
    name = f"lora_unet_{ATTENTION}"
    plain = factors(name, (64, 2), (2, 32), 2.0)
    save_file(plain, tmp_path / "plain.safetensors")
    save_file(plain | {f"{name}.{extra}": torch.ones(64)}, tmp_path / "more.safetensors")
    apply_loras(model, [(tmp_path / "plain.safetensors", 1.0)])
    wanted = snapshot(model)
    apply_loras(model, [(tmp_path / "more.safetensors", 1.0)])
    assert changed(model, wanted) == []
    assert f"{name}.{extra}" in caplog.text


def test_parts_that_change_the_factors_are_not_left_out(model, tmp_path):
    name = f"lora_unet_{RESNET}"
    tensors = factors(name, (96, 2, 1, 1), (2, 2, 1, 1)) | {f"{name}.lora_mid.weight": torch.ones(2, 2, 3, 3)}
    save_file(tensors, tmp_path / "core.safetensors")
    with pytest.raises(SonopaintError, match="another kind than LoRA: lora_mid"):
        apply_loras(model, [(tmp_path / "core.safetensors", 1.0)])


@pytest.mark.parametrize("name", ["horn [v2]", "horn*", "horn?", "[a-z]", "horn.v1.5", "hörn – 2"])
def test_loras_with_odd_names_are_found_by_them(tmp_path, monkeypatch, name):
    monkeypatch.setenv("SONOPAINT_MODELS", str(tmp_path))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / f"{name}.safetensors").touch()
    (tmp_path / "a horn v.safetensors").touch()
    assert find_lora(name) == find_lora(f"{name}.safetensors") == tmp_path / "sub" / f"{name}.safetensors"


FAMILIES = {
    "LoHa": {"hada_w1_a": (128, 4), "hada_w1_b": (4, 128), "hada_w2_a": (128, 4), "hada_w2_b": (4, 128)},
    "LoKr": {"lokr_w1": (8, 8), "lokr_w2_a": (16, 4), "lokr_w2_b": (4, 16), "alpha": ()},
    "OFT": {"oft_blocks": (4, 8, 8), "alpha": ()},
    "(IA)³": {"weight": (128,), "on_input": ()},
    "GLoRA": {"a1.weight": (4, 128), "a2.weight": (128, 4), "b1.weight": (4, 128), "b2.weight": (128, 4)},
    "norms": {"w_norm": (128,), "b_norm": (128,)},
    "whole differences": {"diff": (128, 128), "diff_b": (128,)},
    "Tucker's core": {
        "lora_down.weight": (4, 128, 1, 1), "lora_up.weight": (128, 4, 1, 1), "lora_mid.weight": (4, 4, 3, 3),
    },
}  # fmt: skip


def test_a_loha_for_mini_loads_nowhere(tmp_path):
    from sonoconvert.checkpoints.explain import explain

    name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_k"
    path = tmp_path / "x.safetensors"
    save_file({f"{name}.{part}": torch.ones(shape) for part, shape in FAMILIES["LoHa"].items()}, path)
    facts = explain(path)
    assert (facts["base"], facts["loads_in"]) == ("Sonopaint Mini", []) and "LoHa" in facts["what"]


@pytest.mark.parametrize("family", FAMILIES)
def test_info_says_of_every_family_whether_it_loads_here(model, tmp_path, family):
    """As `--lora` does: what is refused there is not said to load in Sonopaint."""
    from sonoconvert.checkpoints.explain import explain, in_words

    name, path = f"lora_unet_{ATTENTION}", tmp_path / "x.safetensors"
    save_file({f"{name}.{part}": torch.ones(shape) for part, shape in FAMILIES[family].items()}, path)
    facts = explain(path)
    assert "Sonopaint" not in facts["loads_in"] and family in facts["what"], in_words(facts)
    assert "ComfyUI" in facts["loads_in"]
    with pytest.raises(SonopaintError):
        apply_loras(model, [(path, 1.0)])
    both = {f"lora_unet_{RESNET}.{part}": torch.ones(shape) for part, shape in FAMILIES[family].items()}
    save_file(both | factors(name, (64, 2), (2, 32), 2.0), path)
    assert "Sonopaint" in explain(path)["loads_in"] and family in explain(path)["what"]
    apply_loras(model, [(path, 1.0)])
