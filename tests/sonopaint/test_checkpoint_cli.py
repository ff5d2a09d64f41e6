"""`sonoconvert checkpoint | lora | lora-extract | lora-merge` on whole small models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sonoconvert.checkpoints.files import read_stored
from sonoconvert.checkpoints.lora import load_lora, save_lora
from sonoconvert.checkpoints.nouns import LoraModule
from sonoconvert.cli import main
from sonopaint.models.loading import load_model

Q = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


def sonoconvert(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


def a_lora(path: Path, parts: Any, scale: float = 1.0) -> Path:
    weight = parts[0].get_submodule(Q.removeprefix("unet.")).weight
    torch.manual_seed(5)
    module = LoraModule(torch.randn(2, weight.shape[1]) * scale, torch.randn(weight.shape[0], 2), 4.0)
    save_lora(path, {Q: module}, metadata={"ss_output_name": "horn"}, dtype=torch.float32)
    return path


def test_a_ckpt_becomes_safetensors_and_says_what_was_left_out(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = load_file(checkpoint)
    torch.save({"state_dict": tensors, "epoch": 3, "optimizer_states": []}, tmp_path / "old.ckpt")
    out = tmp_path / "new.safetensors"
    assert sonoconvert("checkpoint", tmp_path / "old.ckpt", out) == 0
    said = capsys.readouterr().out
    assert "left out: epoch, optimizer_states" in said
    new = load_file(out)
    assert new.keys() == tensors.keys() and all(torch.equal(new[n], t) for n, t in tensors.items())
    assert sonoconvert("checkpoint", tmp_path / "old.ckpt", out) == 2
    assert "already exists" in capsys.readouterr().err


def test_folders_files_pruning_and_header_entries(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sonoconvert("checkpoint", checkpoint, tmp_path / "folder") == 0
    said = capsys.readouterr().out
    assert "a diffusers folder" in said and "1 other tensors (alphas_cumprod): kept in extra" in said
    small = tmp_path / "small.safetensors"
    entries = ["--set", "modelspec.title=Horns", "--set", "sonopaint.format=perkins-10s"]
    assert sonoconvert("checkpoint", tmp_path / "folder", small, "--prune", "--dtype", "fp16", *entries) == 0
    assert "left out" in capsys.readouterr().out
    tensors, header = read_stored(small)
    assert header["modelspec.title"] == "Horns" and header["modelspec.architecture"] == "stable-diffusion-v1"
    assert {t.dtype for t in tensors.values()} == {torch.float16} and "alphas_cumprod" not in tensors
    assert load_model(small, device="cpu").format.name == "perkins-10s"
    for bad in ("title=x", "modelspec.colour=red", "sonopaint.format=nothing"):
        assert sonoconvert("checkpoint", checkpoint, tmp_path / "x", "--set", bad) == 2


def test_an_old_bin_of_diffusers_becomes_a_lora_that_says_its_format(
    checkpoint: Path, parts: Any, tmp_path: Path
) -> None:
    """The command in docs/checkpoints.md, on the layout of 2023's training scripts."""
    module = load_lora(a_lora(tmp_path / "new.safetensors", parts))[0][Q]
    name = Q.removeprefix("unet.").replace("attn1.to_q", "attn1.processor.to_q_lora")
    old, made = tmp_path / "pytorch_lora_weights.bin", tmp_path / "horns.safetensors"
    torch.save({f"{name}.down.weight": module.down, f"{name}.up.weight": module.up}, old)
    assert sonoconvert("lora", old, made, "--set", "sonopaint.format=perkins-10s") == 0
    assert torch.equal(load_lora(made)[0][Q].up, module.up)
    assert load_model(checkpoint, device="cpu", loras=[(made, 1.0)]).format.name == "perkins-10s"


def test_loras_go_round_and_are_checked_against_their_model(
    checkpoint: Path, repository: Path, parts: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = a_lora(tmp_path / "horn.safetensors", parts)
    assert sonoconvert("lora", source, tmp_path / "peft", "--to", "peft") == 0
    assert sonoconvert("lora", tmp_path / "peft", tmp_path / "d.safetensors", "--to", "diffusers") == 0
    options = ("--names", "ldm", "--base", checkpoint)
    assert sonoconvert("lora", tmp_path / "d.safetensors", tmp_path / "k.safetensors", *options) == 0
    assert "lora_unet_middle_block_1_" in next(iter(load_file(tmp_path / "k.safetensors")))
    first, last = load_lora(source)[0][Q], load_lora(tmp_path / "k.safetensors")[0][Q]
    assert torch.equal(first.up, last.up) and torch.equal(first.down, last.down) and last.alpha == 4
    assert load_lora(tmp_path / "k.safetensors")[1]["ss_output_name"] == "horn"
    capsys.readouterr()
    assert sonoconvert("lora", source, tmp_path / "x.safetensors", "--base", repository / "weights/mini") == 2
    error = capsys.readouterr().err
    assert "another model" in error and error.count("\n") == 1 and not (tmp_path / "x.safetensors").exists()


def test_unknown_names_stop_unless_they_are_skipped(
    parts: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = a_lora(tmp_path / "horn.safetensors", parts)
    strange = {"lora_unet_img_in.lora_up.weight": torch.zeros(2, 2), "lora_unet_img_in.alpha": torch.ones(1)}
    save_file(load_file(source) | strange, tmp_path / "odd.safetensors")
    out = tmp_path / "out.safetensors"
    assert sonoconvert("lora", tmp_path / "odd.safetensors", out) == 2
    assert "lora_unet_img_in" in capsys.readouterr().err and not out.exists()
    assert sonoconvert("lora", tmp_path / "odd.safetensors", out, "--skip-unknown") == 0
    assert "left out: lora_unet_img_in" in capsys.readouterr().err


def test_extract_merge_and_merge_into_belong_together(
    checkpoint: Path, parts: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = a_lora(tmp_path / "horn.safetensors", parts)
    tuned = tmp_path / "tuned.safetensors"
    assert sonoconvert("lora-merge", f"{source}:0.5", "--into", checkpoint, "-o", tuned) == 0
    assert read_stored(tuned)[1]["modelspec.merged_from"] == "horn:0.5"
    before, after = load_file(checkpoint), load_file(tuned)
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["model.diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q.weight"]
    ours = load_model(checkpoint, device="cpu", loras=[(source, 0.5)])
    weight = ours.unet.get_submodule(Q.removeprefix("unet.")).weight
    torch.testing.assert_close(after[changed[0]], weight)

    found = tmp_path / "found.safetensors"
    assert sonoconvert("lora-extract", checkpoint, tuned, found, "--rank", "8", "--dtype", "fp32") == 0
    assert "keeps 100.00%" in capsys.readouterr().out
    expected = 0.5 * load_lora(source)[0][Q].change(torch.zeros_like(weight))
    torch.testing.assert_close(
        load_lora(found)[0][Q].change(torch.zeros_like(weight)), expected, atol=1e-4, rtol=1e-3
    )

    both = tmp_path / "both.safetensors"
    assert sonoconvert("lora-merge", f"{source}:0.5", found, "-o", both, "--rank", "2") == 0
    module = load_lora(both)[0][Q]
    assert module.rank == 2
    torch.testing.assert_close(module.change(torch.zeros_like(weight)), 2 * expected, atol=1e-3, rtol=1e-3)


def test_a_full_disk_is_said_and_leaves_nothing(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:  # a limit on files stands for the disk's end: both are an OSError in the middle of a write
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
        codes = [
            sonoconvert("checkpoint", checkpoint, tmp_path / "x.safetensors"),
            sonoconvert("checkpoint", checkpoint, tmp_path / "folder"),
        ]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    error = capsys.readouterr().err
    assert codes == [2, 2] and "could not be written" in error and error.count("\n") == 2
    assert os.listdir(tmp_path) == []


def test_folders_that_can_not_be_written_to_are_said(
    parts: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = a_lora(tmp_path / "horn.safetensors", parts)
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file" / "x.safetensors", tmp_path / "file" / "x"):
        to = "kohya" if out.suffix else "peft"
        assert sonoconvert("lora", source, out, "--to", to) == 2
        assert capsys.readouterr().err.count("\n") == 1
