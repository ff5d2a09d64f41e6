"""LoRAs extracted, added, cut and merged: exact where they can be, the best of their rank where not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sonoconvert.checkpoints.files import stored
from sonoconvert.checkpoints.lora_math import cut, extract, merge, merge_into
from sonoconvert.checkpoints.nouns import LoraModule, ModelFiles
from sonoconvert.cli import main
from sonoconvert.errors import SonopaintError

LINEAR = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
CONV = "mid_block.resnets.0.conv1"
FC = "text_model.encoder.layers.0.mlp.fc1"
SHAPES = {"unet." + LINEAR: (12, 10), "unet." + CONV: (9, 7, 3, 3), "text_encoder." + FC: (11, 8)}


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def model(values: dict[str, torch.Tensor], **more: torch.Tensor) -> ModelFiles:
    parts: dict[str, Any] = {"unet": {}, "vae": {}, "text_encoder": {}}
    for name, value in values.items():
        part, _, module = name.partition(".")
        parts[part][f"{module}.weight"] = stored(value)
    parts["unet"] |= {name.replace("__", "."): stored(value) for name, value in more.items()}
    return ModelFiles(parts, {}, {"unet": {}}, {part: {} for part in parts}, {}, "single")


def values_of(files: ModelFiles) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name.removesuffix('.weight')}": tensor.load()
        for part, tensors in files.parts.items()
        for name, tensor in tensors.items()
    }


def lora(seed: int, rank: int = 2, alpha: float = 3.0) -> dict[str, LoraModule]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: LoraModule(
            torch.randn(rank, *shape[1:], generator=generator),
            torch.randn(shape[0], rank, *[1] * (len(shape) - 2), generator=generator),
            alpha,
        )
        for name, shape in SHAPES.items()
    }


def change(modules: dict[str, LoraModule]) -> dict[str, torch.Tensor]:
    return {name: module.change(torch.zeros(SHAPES[name])) for name, module in modules.items()}


def test_a_merged_lora_is_found_again_in_the_difference() -> None:
    base, added = model(weights()), lora(1, rank=2)
    found = extract(base, merge_into(base, [(added, 0.7)]), rank=4)
    assert found.kept == pytest.approx(1, abs=1e-9) and found.left_out == []
    for name, delta in change(found.modules).items():
        torch.testing.assert_close(delta, 0.7 * change(added)[name], atol=1e-5, rtol=1e-4)
    exact = extract(base, merge_into(base, [(added, 0.7)]), energy=1 - 1e-9)
    assert {module.rank for module in exact.modules.values()} == {2}  # no more than is there


@pytest.mark.parametrize("rank", [1, 3])
def test_the_extract_is_the_best_of_its_rank(rank: int) -> None:
    before, after = weights(0), weights(1)
    found = extract(model(before), model(after), rank=rank)
    lost = total = 0.0
    for name, delta in change(found.modules).items():
        difference = (after[name] - before[name]).flatten(1)
        values = torch.linalg.svdvals(difference)
        error = (difference - delta.flatten(1)).norm()
        torch.testing.assert_close(error, values[rank:].norm(), atol=1e-4, rtol=1e-4)
        lost, total = lost + error.item() ** 2, total + difference.norm().item() ** 2
        assert found.modules[name].rank == rank and found.modules[name].alpha == rank
    assert found.kept == pytest.approx(1 - lost / total, abs=1e-4)


@pytest.mark.parametrize("energy", [0.5, 0.9])
def test_energy_chooses_the_smallest_rank_that_keeps_it(energy: float) -> None:
    before, after = weights(0), weights(1)
    found = extract(model(before), model(after), energy=energy)
    for name, module in found.modules.items():
        share = torch.linalg.svdvals((after[name] - before[name]).flatten(1)).square().cumsum(0)
        share = share / share[-1]
        assert share[module.rank - 1] >= energy and (module.rank == 1 or share[module.rank - 2] < energy)


def test_what_no_lora_can_hold_is_listed() -> None:
    before = model(weights(), conv_norm_out__bias=torch.zeros(4))
    after = model(weights(1), conv_norm_out__bias=torch.ones(4))
    assert extract(before, after).left_out == ["unet.conv_norm_out.bias"]
    assert all(name.startswith("unet.") for name in extract(before, after, text=False).modules)


def test_models_that_can_not_be_compared_are_refused() -> None:
    base = model(weights())
    with pytest.raises(SonopaintError, match="the same weights"):
        extract(base, model(weights()))
    with pytest.raises(SonopaintError, match="only one has unet.|only one has"):
        extract(base, model(weights(), extra__bias=torch.ones(1)))
    other = weights() | {"unet." + LINEAR: torch.zeros(12, 9)}
    with pytest.raises(SonopaintError, match="different kinds"):
        extract(base, model(other))
    broken = weights() | {"unet." + LINEAR: torch.full((12, 10), float("nan"))}
    with pytest.raises(SonopaintError, match="no numbers"):
        extract(base, model(broken))
    for options in ({"rank": 0}, {"energy": 0.0}, {"energy": 1.5}):
        with pytest.raises(SonopaintError):
            extract(base, model(weights(1)), **options)


def test_the_sum_of_loras_is_exact_and_ranks_add_up() -> None:
    first, second = lora(1, rank=2, alpha=3), lora(2, rank=5, alpha=1)
    del second["text_encoder." + FC]
    total = merge([(first, 0.5), (second, -1.5)])
    assert {name: module.rank for name, module in total.items()} == {
        "unet." + LINEAR: 7,
        "unet." + CONV: 7,
        "text_encoder." + FC: 2,
    }
    one, two = change(first), change(second)
    for name, delta in change(total).items():
        expected = 0.5 * one[name] - 1.5 * two.get(name, torch.zeros(()))
        torch.testing.assert_close(delta, expected, atol=2e-5, rtol=1e-5)


def test_scaling_changes_only_alpha() -> None:
    original = lora(1)
    scaled = merge([(original, 0.25)])
    for name, module in scaled.items():
        assert module.down is original[name].down and module.up is original[name].up
        assert module.alpha == 0.75


def test_a_sum_that_is_cut_is_the_best_of_its_rank() -> None:
    total = merge([(lora(1, rank=4), 1.0), (lora(2, rank=4), 1.0)])
    for name, module in total.items():
        full = module.change(torch.zeros(SHAPES[name])).flatten(1)
        small = cut(module, 3)
        error = (full - small.change(torch.zeros(SHAPES[name])).flatten(1)).norm()
        torch.testing.assert_close(error, torch.linalg.svdvals(full)[3:].norm(), atol=1e-3, rtol=1e-3)
        assert small.rank == 3 and small.down.shape[1:] == module.down.shape[1:]
    assert {module.rank for module in merge([(total, 1.0)], rank=3).values()} == {3}


def test_merging_into_a_model_is_the_stated_sum_and_touches_nothing_else() -> None:
    values, added = weights(), lora(1)
    del added["text_encoder." + FC]
    merged = values_of(merge_into(model(values), [(added, 0.5), (lora(2), 2.0)]))
    for name, value in values.items():
        expected = value + 2.0 * change(lora(2))[name]
        if name in added:
            expected = expected + 0.5 * change(added)[name]
        torch.testing.assert_close(merged[name], expected, atol=2e-5, rtol=1e-5)
    untouched = values_of(merge_into(model(values), [({"unet." + LINEAR: added["unet." + LINEAR]}, 1.0)]))
    assert torch.equal(untouched["unet." + CONV], values["unet." + CONV])


def test_loras_of_other_models_are_refused() -> None:
    added = lora(1)
    with pytest.raises(SonopaintError, match="another model.*12×10.*12×6"):
        merge_into(model(weights() | {"unet." + LINEAR: torch.zeros(12, 6)}), [(added, 1.0)])
    values = weights()
    del values["unet." + CONV]
    with pytest.raises(SonopaintError, match="another model: this one has no unet.mid_block.resnets"):
        merge_into(model(values), [(added, 1.0)])
    other = {name: LoraModule(m.down[:, :5], m.up, 1.0) for name, m in added.items()}
    with pytest.raises(SonopaintError, match="different models"):
        merge([(added, 1.0), (other, 1.0)])


def test_dora_is_merged_into_models_but_not_added(tmp_path: Path) -> None:
    name = "unet." + LINEAR
    module = LoraModule(torch.randn(2, 10), torch.randn(12, 2), 2.0, torch.ones(12, 1))
    with pytest.raises(SonopaintError, match="DoRA"):
        merge([({name: module}, 1.0), (lora(1), 1.0)])
    merged = values_of(merge_into(model(weights()), [({name: module}, 1.0)]))
    torch.testing.assert_close(merged[name].norm(dim=1), torch.ones(12))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_lora_can_not_be_cut(tmp_path: Path, capsys: Any, value: float) -> None:
    down = torch.randn(4, 32)
    down[1, 2] = value
    name = "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": torch.randn(32, 4)}, source)
    assert main(["lora", str(source), str(target), "--rank", "2"]) == 2
    said = capsys.readouterr().err
    assert "is broken" in said and "NaN" in said and "Traceback" not in said
    assert not target.exists()


def test_names_out_of_files_can_not_steer_a_terminal(tmp_path: Path, capsys: Any) -> None:
    name = "\x1b]0;owned\x07\x1b[2J\u202eevil\ud800"
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    header = json.dumps({name: entry, "__metadata__": {name: name, "modelspec.title": name}})
    data = len(header).to_bytes(8, "little") + header.encode() + bytes(4)
    whole, cut_off, moved = (tmp_path / f"{n}.safetensors" for n in "xyz")
    whole.write_bytes(data)
    cut_off.write_bytes(data[:-1])
    moved.write_bytes(data.replace(b"[0, 4]", b"[1, 5]"))
    lora = ["lora", whole, tmp_path / "o.safetensors"]
    convert = ["checkpoint", whole, tmp_path / "folder"]
    for command in (["info", whole], ["info", cut_off], ["info", moved], lora, convert):
        main([str(word) for word in command])
        printed = "".join(capsys.readouterr())
        assert printed and not set(printed) & set("\x1b\x07\u202e\ud800"), command
