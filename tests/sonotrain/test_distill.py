"""`sonotrain distill` from the command line, tiny: does it run, resume exactly, and leave usable files?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sonoconvert.checkpoints.files import read_header
from sonopaint.models.loading import load_model
from sonopaint.models.one_step import student_timestep
from sonotrain.cli import main
from sonotrain.trainers.distill.pairs import load_pairs
from sonotrain.trainers.distill.trainer import Distillation
from sonotrain.training.painting import paint

FEW = ["--batch", "1", "--ratio", "2", "--pairs", "2", "--pair-steps", "2", "--rank", "4", "--threads", "1"]
FEW += ["--learning-rate", "1e-3", "--lesson-rate", "1e-3"]  # so that six steps are more than rounding

Distill = Callable[..., int]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    assert main(["base", "corpus", "--out", str(folder), "--clips", "6", "--workers", "1"]) == 0
    return folder


@pytest.fixture(scope="module")
def distill(corpus: Path, tiny_base: Path) -> Callable[..., int]:
    """`distill(out, words …)`: the command, on a tiny model and corpus."""

    def run(out: Path, *more: str) -> int:
        return main([*words_of(corpus, tiny_base, out), *more])

    return run


def words_of(corpus: Path, model: Path, out: Path) -> list[str]:
    places = ["--corpus", str(corpus), "--model", str(model), "--out", str(out)]
    return ["distill", *places, *FEW, "--steps", "6", "--lessons", "0.5"]


@pytest.fixture(scope="module")
def whole(distill: Distill, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three lessons and three steps of distribution matching."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert distill(out) == 0
    return out


def test_the_files_say_that_they_paint_in_one_step(whole: Path, tiny_base: Path) -> None:
    for name in ("model/unet.safetensors", "lora.safetensors"):
        _, metadata = read_header(whole / name)
        assert student_timestep({name: metadata}) == 999
        assert json.loads(metadata["sonopaint.training"])["steps"] == 6
    base, student = (load_model(path).unet.state_dict() for path in (tiny_base, whole / "model"))
    changed = {name for name, tensor in student.items() if not torch.equal(tensor, base[name])}
    assert changed and all(name.endswith(".weight") and base[name].ndim in (2, 4) for name in changed)
    assert json.loads((whole / "distill.json").read_text())["lora_keeps"] > 0


def test_a_stopped_run_goes_on_exactly(
    distill: Distill, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Distillation.step

    def stopping(self: Distillation, number: int) -> dict[str, Any]:
        if number in (1, 4):
            (tmp_path / "run" / "stop").touch()
        return step(self, number)

    with monkeypatch.context() as patched:
        patched.setattr(Distillation, "step", stopping)
        assert distill(tmp_path / "run") == 130
        assert distill(tmp_path / "run", "--resume") == 130
    assert distill(tmp_path / "run", "--resume") == 0
    expected = load_file(whole / "model" / "unet.safetensors")
    for name, tensor in load_file(tmp_path / "run" / "model" / "unet.safetensors").items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("student", ["model", "lora.safetensors"])
def test_a_student_is_trained_on(
    distill: Distill, tiny_base: Path, whole: Path, tmp_path: Path, student: str
) -> None:
    more = ["--student", str(whole / student), "--steps", "1", "--lessons", "1", "--lesson-rate", "1e-9"]
    assert distill(tmp_path / "run", *more) == 0
    loras = [(whole / student, 1.0)] if student.endswith("safetensors") else []
    expected = load_model(tiny_base if loras else whole / student, loras=loras).unet.state_dict()
    base = load_model(tiny_base).unet.state_dict()
    made = load_model(tmp_path / "run" / "model").unet.state_dict()
    off, change = (
        sum((tensor - others[name]).square().sum().item() for name, tensor in expected.items())
        for others in (made, base)
    )
    assert off < 0.01 * change


@pytest.mark.slow
def test_a_killed_run_goes_on_exactly(
    distill: Distill, corpus: Path, tiny_base: Path, whole: Path, tmp_path: Path
) -> None:
    run, every = tmp_path / "run", ["--checkpoint-minutes", "0"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "sonotrain", *words_of(corpus, tiny_base, run), *every]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while not (run / "checkpoints/step-00000004.sha256").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert distill(run, *every, "--resume") == 0
    expected = load_file(whole / "model" / "unet.safetensors")
    for name, tensor in load_file(run / "model" / "unet.safetensors").items():
        assert torch.equal(tensor, expected[name]), name


def test_the_judge_paints_in_one_call(whole: Path, tiny_base: Path) -> None:
    model = load_model(tiny_base, loras=[(whole / "lora.safetensors", 1.0)])
    calls = []
    model.unet.register_forward_hook(lambda *_: calls.append(1))
    levels = paint(model, ["a dog barking", "rain"], seed=0)
    assert levels.shape == (2, 128, 320) and len(calls) == 1


def test_pairs_do_not_depend_on_who_made_them(whole: Path) -> None:
    noise, latents, captions = load_pairs(whole / "pairs", 2)
    assert noise.shape == latents.shape == (2, 4, 16, 40) and len(captions) == 2
    assert latents.float().std() > 0.3 and not torch.equal(latents[0], latents[1])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--corpus", ""], "--corpus"),
        (["--lessons", "1.5"], "1.5"),
        (["--pairs", "0"], "--pairs"),
        (["--timestep", "1000"], "999"),
        (["--batch", "0"], "--batch"),
    ],
)
def test_bad_input_is_one_sentence(
    distill: Distill, tmp_path: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distill(tmp_path / "run", *words) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
