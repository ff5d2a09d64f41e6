"""One step in Studio: offered where there is a student, and used with what the page says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
from safetensors.torch import load_file, save_file

from sonopaint.models.one_step import ONE_STEP_KEY

STUDENT = {ONE_STEP_KEY: json.dumps({"timestep": 999})}
KNOBS = (7, False, 1, 1.0, "one_step")  # seed, new each time, steps, guidance, sampler
NONE = ("", "", "", 1.0, 1.0, 1.0)  # of the model bar: no LoRAs


@pytest.fixture
def student(models_folder: Path) -> Path:
    """The tiny model's student beside it."""
    folder = models_folder / "tiny-one-step"
    shutil.copytree(models_folder / "tiny", folder)
    save_file(load_file(folder / "unet.safetensors"), folder / "unet.safetensors", metadata=STUDENT)
    return folder


def generate(context: Any, model: Path, **changed: Any) -> tuple[Any, ...]:
    from sonopaint_studio.generate_tab import GenerateTab

    fields = {"prompt": "a dog barking", "negative": "", "seconds": 1.0, "batch": 2}
    fields |= {"level": "full", "lufs": -23} | changed
    request = SimpleNamespace(session_hash="a")
    *_, last = GenerateTab(context).generate(request, str(model), *NONE, *fields.values(), *KNOBS, "", True)
    return last


def test_one_step_takes_the_student_beside_the_model(
    context: Any, models_folder: Path, student: Path
) -> None:
    status, results, *_ = generate(context, models_folder / "tiny")
    assert "Done" in status and len(results["cards"]) == 2
    from sonopaint_studio.sounds import read_settings

    settings = read_settings(Path(results["cards"][0]["downloads"]["WAV"]))
    assert settings["model"] == "tiny-one-step" and settings["steps"] == 1 and "ignored" not in settings
    long = generate(context, student, seconds=8.0, batch=1)[1]["cards"][0]
    path = Path(long["downloads"]["WAV"])
    assert soundfile.info(path).duration == 8.0 and read_settings(path)["steps"] == 4


def test_without_a_student_it_says_what_to_do(context: Any, models_folder: Path) -> None:
    assert "one-step model or LoRA" in generate(context, models_folder / "tiny")[0]


def test_the_controls_follow(context: Any, models_folder: Path, student: Path) -> None:
    from sonopaint_studio.context import Chosen
    from sonopaint_studio.following import fitting

    store = context.store
    base, distilled = Chosen(str(models_folder / "tiny"), ()), Chosen(str(student), ())
    steps, guidance, sampler, box = fitting(store, base, None, 4)
    assert (steps, sampler) == (2, "dpmpp_2m") and box["visible"] and box["interactive"] and not box["value"]
    steps, guidance, sampler, box = fitting(store, distilled, None, 4)
    assert (steps, guidance, sampler) == (4, 1.0, "one_step") and box["value"] and not box["interactive"]
    kept = fitting(store, base, "one_step", 1)  # another LoRA on a base with a student: nothing changes
    assert all("value" not in update for update in kept[:3]) and kept[3]["value"]
    shutil.rmtree(student)
    assert fitting(store, base, "one_step", 1)[2] == "dpmpp_2m"
    assert not fitting(store, base, None, 1)[3]["visible"]


def test_a_subject_brings_its_prompt(context: Any, models_folder: Path) -> None:
    import torch

    from sonopaint_studio.context import Chosen
    from sonopaint_studio.following import subject_prompt

    path = models_folder / "bell.safetensors"
    about = {"class": "bell", "token": "prt", "prompt": "a prt bell"}
    name = "lora_unet_mid_block_attentions_0_proj_in"
    tensors = {f"{name}.lora_{k}.weight": torch.zeros(2, 2) for k in ("up", "down")}
    save_file(tensors, path, metadata={**STUDENT, "sonopaint.subject": json.dumps(about)})
    chosen = Chosen(str(models_folder / "tiny"), ((str(path), 1.0),))
    assert subject_prompt(context.store, chosen) == "a prt bell"
    assert context.store.is_student(chosen.model, chosen.loras)
    assert not context.store.is_student(chosen.model, ((str(path), 0.0),))
