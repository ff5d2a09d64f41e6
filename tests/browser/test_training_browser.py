"""The pages that train, in a real Chromium, with a stand-in for the trainer's process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(sys.platform == "win32", reason="starts a shell script"),
]
TRAINER = Path(__file__).with_name("stand_in_trainer.py")


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, studio: str) -> Path:
    """The runs' folder; runs are the stand-in's, which makes a student of Studio's tiny model."""
    from sonoconvert.checkpoints.lora import save_lora
    from sonoconvert.checkpoints.nouns import LoraModule
    from sonopaint.models.folders import user_folder
    from sonopaint.models.loading import load_model
    from sonopaint.models.one_step import ONE_STEP_KEY
    from sonotrain.training import runs

    name = "mid_block.attentions.0.proj_in"
    weight = load_model(user_folder() / "tiny", device="cpu").unet.get_submodule(name).weight
    tail = [1] * (weight.ndim - 2)
    module = LoraModule(torch.ones(2, weight.shape[1], *tail), torch.ones(weight.shape[0], 2, *tail) / 9, 2.0)
    about = {"class": "bell", "token": "prt", "prompt": "a prt bell"}
    header = {ONE_STEP_KEY: json.dumps({"timestep": 999}), "sonopaint.subject": json.dumps(about)}
    save_lora(tmp_path / "made.safetensors", {f"unet.{name}": module}, metadata=header)

    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{TRAINER}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    real = runs.start
    monkeypatch.setattr(runs, "start", lambda *given, **more: real(*given, python=str(python), **more))
    monkeypatch.setenv("STAND_IN_LORA", str(tmp_path / "made.safetensors"))
    monkeypatch.setenv("SONOPAINT_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def status(page: Any, prefix: str, words: str) -> None:
    page.wait_for_function(f"document.querySelector('#{prefix}-status').innerText.includes('{words}')")


def test_train_a_lora_stop_and_go_on(open_studio: Any, trainer: Path) -> None:
    page = open_studio()
    page.get_by_role("tab", name="Train").click()
    page.click("#train-go")
    page.wait_for_selector("#train-told .sp-error")
    assert "which dataset" in page.locator("#train-told").inner_text()
    page.fill("#train-dataset input", "/my/sounds")
    page.locator("#train-dataset input").press("Enter")
    page.fill("#train-trigger textarea, #train-trigger input", "zorblat")
    page.click("#train-go")
    status(page, "train", "Training: step")
    page.wait_for_selector("#train-previews img")
    page.wait_for_selector("#train-curves svg")
    arguments = json.loads((trainer / "zorblat" / "config.json").read_text())["arguments"]
    assert "--dataset=/my/sounds" in arguments and "--trigger=zorblat" in arguments
    page.click("#train-stop")
    status(page, "train", "Stopped; everything is saved")
    page.click("#train-resume")
    status(page, "train", "Finished at step 40 of 40")
    page.click("#train-add")
    page.wait_for_function("document.querySelector('#train-told').innerText.includes('Added zorblat')")


def test_from_five_clips_to_variations(open_studio: Any, trainer: Path, tmp_path: Path) -> None:
    page = open_studio()
    page.get_by_role("tab", name="Subject").click()
    page.click("#subject-go")
    page.wait_for_selector("#subject-told .sp-error")
    assert "Drop a few clips" in page.locator("#subject-told").inner_text()
    clips = []
    for number in range(5):
        clips.append(tmp_path / f"bell {number}.wav")
        soundfile.write(clips[-1], np.sin(np.arange(8000) / (3 + number)) / 2, 16_000)
    page.set_input_files("#subject-drop input[multiple]", clips)
    page.wait_for_function("document.querySelectorAll('#subject-clips li').length === 5")
    page.click("#subject-go")
    page.wait_for_function("document.querySelector('#subject-told').innerText.includes('Say what it is')")
    page.fill("#subject-class textarea, #subject-class input", "bell")
    page.click("#subject-go")
    status(page, "subject", "Training: step")
    arguments = json.loads((trainer / "bell" / "config.json").read_text())["arguments"]
    assert "--class=bell" in arguments and f"--clips={trainer / 'bell' / 'clips'}" in arguments
    assert len(list((trainer / "bell" / "clips").glob("*.wav"))) == 5
    status(page, "subject", "Finished")
    page.click("#subject-variations")
    page.wait_for_function("document.querySelector('#prompt textarea').value === 'a prt bell'")
    page.wait_for_selector("#generate-go:visible")
    page.fill("#seconds input", "1")
    page.click("#generate-go")
    page.wait_for_function("document.querySelectorAll('#results .sp-card').length === 4")
    page.wait_for_function("document.querySelectorAll('#results audio')[3].duration > 0.9")
