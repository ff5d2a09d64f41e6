"""One-step models in the engine: known by their header, one call for a sound, a few for edits."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sonoconvert.checkpoints.lora import save_lora
from sonoconvert.checkpoints.nouns import LoraModule
from sonoconvert.edits.region import Box, Region
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonopaint.cli import main
from sonopaint.models.denoiser import Denoiser
from sonopaint.models.loading import load_model
from sonopaint.models.lora import apply_loras, remove_loras
from sonopaint.models.one_step import ONE_STEP_KEY
from sonopaint.models.schedule import one_step_sigma
from sonopaint.models.students import with_student
from sonopaint.samplers.one_step import sample_one_step
from sonopaint.tasks import PaintSettings, extend, generate, inpaint, interpolate, loop, vary

STUDENT = {ONE_STEP_KEY: json.dumps({"timestep": 999})}
BARK = PaintSettings("a dog barking", seed=4, iterations=1)


@pytest.fixture(scope="module")
def student_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as if it had been distilled: only its header says so."""
    folder = tmp_path_factory.mktemp("students") / "tiny-one-step"
    shutil.copytree(tiny_folder, folder)
    save_file(load_file(folder / "unet.safetensors"), folder / "unet.safetensors", metadata=STUDENT)
    return folder


@pytest.fixture(scope="module")
def student(student_folder: Path) -> Any:
    return load_model(student_folder, device="cpu")


@pytest.fixture(scope="module")
def lora(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student as a LoRA on the tiny model."""
    name = "mid_block.attentions.0.proj_in"
    rows, columns = tiny.unet.get_submodule(name).weight.shape[:2]
    generator = torch.Generator().manual_seed(0)
    down, up = torch.randn(2, columns, generator=generator), torch.randn(rows, 2, generator=generator)
    path = tmp_path_factory.mktemp("loras") / "student.safetensors"
    if tiny.unet.get_submodule(name).weight.ndim == 4:
        down, up = down[..., None, None], up[..., None, None]
    save_lora(path, {f"unet.{name}": LoraModule(down, up, 2.0)}, metadata=STUDENT)
    return path


@pytest.fixture
def calls(student: Any) -> Iterator[list[tuple[int, float]]]:
    """(batch, timestep) of each call of the student's U-Net."""
    found: list[tuple[int, float]] = []
    hook = student.unet.register_forward_pre_hook(
        lambda module, args: found.append((len(args[0]), round(float(args[1]), 3)))
    )
    yield found
    hook.remove()


def test_a_sound_takes_one_call(student: Any, calls: list[tuple[int, float]]) -> None:
    (result,) = generate(student, BARK)
    assert calls == [(1, 999.0)]  # not doubled by guidance
    expected = {"sampler": "one_step", "steps": 1, "guidance_scale": 1.0, "one_step": 999}
    assert expected.items() <= result.settings.items() and "ignored" not in result.settings
    again = generate(student, PaintSettings.from_dict(result.settings))[0]
    assert torch.equal(again.clip.waveform, result.clip.waveform)
    variations = generate(student, BARK, batch=3)
    assert len(calls) == 5 and torch.equal(variations[0].clip.waveform, result.clip.waveform)
    assert not torch.equal(variations[1].clip.waveform, variations[2].clip.waveform)


def test_it_is_the_samplers_own_function(student: Any) -> None:
    """What generate paints is sample_one_step of the seed's noise, decoded."""
    from sonopaint.models.prompt import encode_prompt
    from sonopaint.painters.latents import decode_latents, seeded_noise

    pixels = generate(student, BARK)[0].picture.pixels
    denoise = Denoiser(student, encode_prompt(student, ["a dog barking", ""])[:1])
    with torch.no_grad():
        x0 = sample_one_step(
            denoise, seeded_noise(4)((1, 4, 16, 40)), one_step_sigma(student.alphas_cumprod, 999)
        )
    image = ((decode_latents(student, x0)[0] + 1) * 127.5).clamp(0, 255).mean(dim=0)
    np.testing.assert_array_equal(pixels[..., 0], np.rint(image.numpy()).astype(np.uint8))


def test_what_students_make_nothing_of_is_told(student: Any, caplog: pytest.LogCaptureFixture) -> None:
    asked = replace(BARK, guidance_scale=7.5, sampler="euler", steps=30, negative_prompt="rain")
    with caplog.at_level(logging.WARNING):
        (result,) = generate(student, asked, seconds=0.5)
    ignored = {"guidance_scale": 7.5, "sampler": "euler", "steps": 30, "negative_prompt": "rain"}
    assert result.settings["ignored"] == ignored and result.settings["steps"] == 8
    [record] = [r for r in caplog.records if "guidance" in r.message]
    assert "7.5" in record.message and "euler" in record.message
    with pytest.raises(SonopaintError, match="no sampler 'magic'"):
        generate(student, replace(BARK, sampler="magic"))


def test_many_step_models_refuse_the_sampler(tiny: Any) -> None:
    with pytest.raises(SonopaintError, match="tiny needs many steps.*one-step model or LoRA"):
        generate(tiny, replace(BARK, sampler="one_step"))


def test_repainting_takes_one_call_where_windows_begin_with_the_event(
    student: Any, calls: list[tuple[int, float]], make_clip: Callable[..., Clip]
) -> None:
    clip = make_clip(3.0)
    (inpainted,) = inpaint(student, clip, Region((Box(1.0, 1.5),), feather_s=0.02), BARK)
    assert {at for _, at in calls} == {999.0} and inpainted.settings["steps"] == 1
    changed = (clip.waveform != inpainted.clip.waveform)[0].nonzero()
    assert changed.min() >= round(0.98 * 44_100) and changed.max() < round(1.52 * 44_100)
    (longer,) = extend(student, clip, 0.5, 0.0, BARK)
    assert longer.settings["steps"] == 1
    assert torch.equal(longer.clip.waveform[:, 22_050:], clip.waveform)
    assert extend(student, clip, 0.0, 5.5, BARK)[0].settings["steps"] == 4  # several windows must agree


def test_edits_take_a_few_calls_and_keep_what_is_kept(
    student: Any,
    calls: list[tuple[int, float]],
    make_clip: Callable[..., Clip],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is kept is seen in a few calls: of models that know events anywhere in their pictures."""
    monkeypatch.delitem(student.defaults, "event_lead_s")
    clip = make_clip(3.0)
    (inpainted,) = inpaint(student, clip, Region((Box(1.0, 1.5),), feather_s=0.02), BARK)
    assert [at for _, at in calls] == [999.0, 749.0, 499.0, 249.0] and inpainted.settings["steps"] == 4
    changed = (clip.waveform != inpainted.clip.waveform)[0].nonzero()
    assert changed.min() >= round(0.98 * 44_100) and changed.max() < round(1.52 * 44_100)
    calls.clear()
    (varied,) = vary(student, clip, replace(BARK, strength=0.5))
    assert [at for _, at in calls] == [499.0, 249.0]
    source = clip.waveform
    assert varied.clip.waveform.shape == source.shape
    calls.clear()
    vary(student, clip, replace(BARK, strength=0.05, steps=1))
    assert [at for _, at in calls] == [49.0]  # one call, from close by
    (longer,) = extend(student, clip, 0.5, 0.0, BARK)
    assert torch.equal(longer.clip.waveform[:, 22_050:], source) and longer.settings["steps"] == 4
    (closed,) = loop(student, clip, BARK, seam_s=0.4)
    assert closed.clip.waveform.shape == source.shape and closed.settings["sampler"] == "one_step"


def test_loops_long_sounds_and_interpolations(student: Any, calls: list[tuple[int, float]]) -> None:
    (ring,) = loop(student, None, BARK, seconds=2.048)
    pixels = ring.picture.pixels[..., 0].astype(float)
    steps = np.abs(np.diff(pixels, axis=1)).mean(axis=0)
    assert len(calls) == 1 and np.abs(pixels[:, 0] - pixels[:, -1]).mean() < 2.5 * np.median(steps)
    (long,) = generate(student, BARK, seconds=8.0)
    assert long.settings["steps"] == 4  # so that its windows agree
    assert generate(student, replace(BARK, steps=1), seconds=8.0)[0].settings["steps"] == 1
    calls.clear()
    way = interpolate(student, BARK, replace(BARK, prompt="rain", seed=9), 2, seconds=1.0)
    assert len(calls) == 2 and way[0].settings["sampler"] == "one_step"


def test_loras_make_students_and_unmake_them(tiny_folder: Path, lora: Path) -> None:
    model = load_model(tiny_folder, device="cpu", loras=[(lora, 1.0)])
    assert model.one_step == 999
    assert generate(model, BARK, seconds=0.3)[0].settings["sampler"] == "one_step"
    remove_loras(model)
    assert model.one_step is None
    apply_loras(model, [(lora, 0.0)])
    assert model.one_step is None  # at weight 0 it changes nothing
    with pytest.raises(SonopaintError, match="tiny with student needs many steps"):
        generate(model, replace(BARK, sampler="one_step"))
    assert load_model(tiny_folder, device="cpu", one_step=399).one_step == 399
    with pytest.raises(SonopaintError, match="timestep 1000"):
        load_model(tiny_folder, device="cpu", one_step=1000)


def test_students_of_an_earlier_timestep_and_of_v(tiny_folder: Path, diffusers_folder: Path) -> None:
    """DMD2's one-step students of SD XL were distilled at 399; the network sees the noise itself."""
    for folder, prediction in ((tiny_folder, "epsilon"), (diffusers_folder, "v_prediction")):
        model = load_model(folder, device="cpu", one_step=399)
        assert model.prediction_type == prediction
        seen: list[tuple[torch.Tensor, float]] = []
        model.unet.register_forward_pre_hook(lambda m, a, seen=seen: seen.append((a[0], float(a[1]))))
        generate(model, BARK, seconds=0.5)
        [(x, at)] = seen
        assert at == pytest.approx(399, abs=1e-3) and float(x.std()) == pytest.approx(1.0, abs=0.1)


def test_the_student_beside_a_model(
    tiny_folder: Path, student_folder: Path, lora: Path, tmp_path: Path
) -> None:
    model = tmp_path / "mine"
    shutil.copytree(tiny_folder, model)
    with pytest.raises(SonopaintError, match="mine needs many steps"):
        with_student(model)
    assert with_student(model, [(lora, 0.8)]) == (model, [(lora, 0.8)])
    assert with_student(student_folder) == (student_folder, [])
    beside = tmp_path / "mine-one-step"
    beside.mkdir()
    shutil.copy(lora, beside / "mine-one-step.safetensors")
    path, loras = with_student(model)
    assert path == model and loras == [(beside / "mine-one-step.safetensors", 1.0)]
    shutil.rmtree(beside)
    shutil.copytree(student_folder, beside)
    assert with_student(model) == (beside, [])


def test_the_command_line(
    tiny_folder: Path, lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    short = ["--seconds", "0.3", "--iterations", "1", "--quiet", "--device", "cpu"]
    shutil.copytree(tiny_folder, tmp_path / "mine")
    own = ["--model", str(tmp_path / "mine")]
    assert main(["generate", "rain", "--one-step", *own, *short]) == 2
    assert "one-step model or LoRA" in capsys.readouterr().err
    (tmp_path / "mine-one-step").mkdir()
    shutil.copy(lora, tmp_path / "mine-one-step" / "student.safetensors")
    assert main(["generate", "rain", "--one-step", "--count", "2", "-o", "r.wav", *own, *short]) == 0
    made = read_clip("r-1.wav")
    assert made.settings["loras"] == [["student", 1.0]] and made.settings["steps"] == 1
    assert main(["generate", "--like", "r-1.wav", "-o", "again.wav", *own, *short]) == 0
    assert torch.equal(read_clip("again.wav").waveform, made.waveform)
    assert main(["generate", "rain", "--timestep", "999", "-o", "told.wav", *own, *short]) == 0
    assert read_clip("told.wav").settings["one_step"] == 999
    write_clip(made, tmp_path / "in.wav")
    edit = ["--strength", "0.5", "--iterations", "1", "--quiet", "--one-step", *own, "-o", "v.wav"]
    assert main(["vary", "in.wav", "rain", *edit]) == 0
    assert read_clip("v.wav").settings["steps"] == 4
