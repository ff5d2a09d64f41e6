"""Subject runs on a tiny model: what comes out, resuming exactly, what to expect of odd clips, refusals."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from sonoconvert.checkpoints.files import read_header
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, write_clip
from sonotrain.cli import main
from sonotrain.files.json_files import read_json
from sonotrain.trainers.subject.data import check_clips, prompts_of
from sonotrain.trainers.subject.methods import UniDad
from sonotrain.trainers.subject.options import METHODS, ONE_STEP, SubjectOptions, resolve
from sonotrain.trainers.subject.trainer import SubjectTrainer
from sonotrain.training import run_view, runs
from sonotrain.training.run import train
from sonotrain.training.run_folder import load_final


@pytest.fixture(scope="module")
def given(tiny_base: Path, make_dataset: Callable[..., Path], student: Path) -> dict[str, Any]:
    """Options for a run of a second or two, on four clips."""
    return {
        "clips": str(make_dataset(4, 1)), "noun": "train horn", "model": str(tiny_base),
        "student": str(student), "steps": 6, "ratio": 2, "rank": 2, "targets": "attention",
        "prior_clips": 2, "adapt_steps": 3, "checkpoint_every": 99, "preview_every": 0, "watch_every": 0,
        "log_every": 1, "variants": 1, "ema": 0.0,
    }  # fmt: skip


@pytest.fixture(autouse=True)
def few_seen(rough: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two variations are looked at, and nobody hears them."""
    monkeypatch.setattr("sonotrain.trainers.subject.trainer.SEEDS", 2)


WATCHED = {"checkpoint_every": 2, "watch_every": 2, "variants": 2}


def weights_of(file: Path) -> dict[str, torch.Tensor]:
    with safe_open(file, framework="pt") as opened:
        return {key: opened.get_tensor(key) for key in opened.keys()}


def test_a_run_leaves_one_lora_with_distillation_and_subject(
    tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sonopaint.models.loading import load_model

    made: list[UniDad] = []
    init = UniDad.__init__
    monkeypatch.setattr(UniDad, "__init__", lambda self, *a, **k: (init(self, *a, **k), made.append(self))[0])
    more = {"learning_rate": 0.02, "preview_every": 3, "preview_prompts": ("a prt train horn",)}
    assert train(SubjectTrainer, tmp_path / "horn", given | more | {"licence": "CC0-1.0"}, device="cpu")
    networks = made[0].shared.networks
    x = torch.randn(2, 4, 16, 40, generator=torch.Generator().manual_seed(0))
    text, steps = torch.randn(2, 77, 32, generator=torch.Generator().manual_seed(1)), torch.tensor([999, 999])
    with torch.no_grad():
        trained = networks.noise("student", x, steps, text)
        distilled = networks.noise("reference", x, steps, text)
        loaded = load_model(given["model"], device="cpu", loras=[(tmp_path / "horn/horn.safetensors", 1.0)])
        used = loaded.unet(x, steps, text).sample
    change = (trained - distilled).abs().max()
    assert change > 0.001 and (used - trained).abs().max() < 0.02 * change + 2e-4  # fp16 weights
    assert loaded.one_step == 999

    with safe_open(tmp_path / "horn/horn.safetensors", framework="pt") as file:
        header = file.metadata()
    subject = json.loads(header["sonopaint.subject"])
    assert subject["class"] == "train horn" and subject["token"] == "prt" and subject["clips"] == 4
    assert subject["prompt"] == "a prt train horn" == header["modelspec.trigger_phrase"]
    assert json.loads(header["sonopaint.one_step"]) == {"timestep": 999}
    assert json.loads(header["sonopaint.format"])["name"] == "sonopaint-mini"
    assert header["ss_base_model_version"] == "sonopaint_mini" and header["modelspec.license"] == "CC0-1.0"
    assert not any(str(tmp_path.parent) in value for value in header.values())  # nobody's folders
    last = tmp_path / "horn/previews/step-00000006"
    assert {"sheet.png", "0-with.png", "0-with.wav", "0-without.wav"} <= {p.name for p in last.iterdir()}
    assert (last / "0-with.png").read_bytes() != (last / "0-without.png").read_bytes()
    assert "a prt train horn" in (tmp_path / "horn/README.md").read_text(encoding="utf-8")
    assert read_json(tmp_path / "horn/state.json")["phase"] == "finished"


def test_db_dmd2_on_a_target_that_is_given_leaves_all_of_it_in_the_file(
    tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sonopaint.models.loading import load_model

    made: list[UniDad] = []
    init = UniDad.__init__
    monkeypatch.setattr(UniDad, "__init__", lambda self, *a, **k: (init(self, *a, **k), made.append(self))[0])
    rate = {"learning_rate": 0.02}
    assert train(SubjectTrainer, tmp_path / "known", given | rate | {"method": "lora"}, device="cpu")
    more = {"method": "db-dmd2", "target": str(tmp_path / "known/known.safetensors")}
    assert train(SubjectTrainer, tmp_path / "horn", given | rate | more, device="cpu")
    assert read_json(tmp_path / "horn/subject.json")["steps"] == given["steps"]  # nothing to adapt
    networks = made[0].shared.networks
    x = torch.randn(2, 4, 16, 40, generator=torch.Generator().manual_seed(0))
    text, steps = torch.randn(2, 77, 32, generator=torch.Generator().manual_seed(1)), torch.tensor([999, 999])
    with torch.no_grad():
        trained = networks.noise("student", x, steps, text)
        distilled = networks.noise("reference", x, steps, text)
        loaded = load_model(given["model"], device="cpu", loras=[(tmp_path / "horn/horn.safetensors", 1.0)])
        used = loaded.unet(x, steps, text).sample
    change = (trained - distilled).abs().max()
    assert change > 0.001 and (used - trained).abs().max() < 0.02 * change + 2e-4  # fp16 weights


def values_alive() -> int:
    """Numbers in all tensors that Python still holds, each storage once."""
    gc.collect()
    found = [o for o in gc.get_objects() if issubclass(type(o), torch.Tensor)]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() // 4 for t in found}.values())


@pytest.mark.parametrize("mode", ["adapters", "full"])
def test_adapters_hold_one_base_and_neither_vae_nor_text_encoder(
    tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    from sonopaint.models.loading import load_model

    unet = sum(p.numel() for p in load_model(given["model"], device="cpu").unet.parameters())
    alive, learnt, step = [], [], UniDad.step

    def counting(self: UniDad, number: int) -> dict[str, Any]:
        networks = self.shared.networks
        told = step(self, number)
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        learnt.append(
            sum(p.numel() for role in ("student", "fake", "target") for p in networks.trained(role))
        )
        alive.append(values_alive())
        return told

    monkeypatch.setattr(UniDad, "step", counting)
    before = values_alive()
    more = {"steps": 2, "mode": mode}
    assert train(SubjectTrainer, tmp_path / "run", given | more, device="cpu")
    held = alive[-1] - before - 3 * learnt[-1]  # what learns, and both of Adam's moments
    assert learnt[-1] < 0.2 * unet if mode == "adapters" else learnt[-1] == 3 * unet
    assert 0 < held < 1.15 * unet


def test_a_smaller_rank_of_the_file_says_what_it_keeps(tmp_path: Path, given: dict[str, Any]) -> None:
    options = given | {"steps": 2, "learning_rate": 0.02}
    kept, sizes = [], []
    for rank in (0, 3, 1):
        assert train(SubjectTrainer, tmp_path / str(rank), options | {"file_rank": rank}, device="cpu")
        result = read_json(tmp_path / str(rank) / "subject.json")
        kept.append(result["kept"]), sizes.append(result["bytes"])
    assert kept[0] == 1.0 > kept[1] > kept[2] > 0.3 and sizes[0] > sizes[1] > sizes[2]


def test_a_file_without_the_student_takes_the_one_beside_the_model(
    tmp_path: Path, given: dict[str, Any], tiny_base: Path, student: Path
) -> None:
    """What it paints is what the whole file paints."""
    from sonopaint.models.loading import load_model
    from sonopaint.models.one_step import student_timestep

    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    (tmp_path / "base-one-step").mkdir()
    shutil.copy(student, tmp_path / "base-one-step" / student.name)
    options = given | {"model": str(base), "student": "", "learning_rate": 0.02, "steps": 3}
    unets, sizes = [], []
    for name, without in (("whole", False), ("small", True)):
        assert train(SubjectTrainer, tmp_path / name, options | {"without_student": without}, device="cpu")
        file = tmp_path / name / f"{name}.safetensors"
        loaded = load_model(base, device="cpu", loras=[(file, 1.0)])
        assert loaded.one_step == 999
        unets.append(loaded.unet.state_dict()), sizes.append(file.stat().st_size)
    assert sizes[1] < sizes[0]
    for key, weight in unets[0].items():
        assert torch.allclose(weight, unets[1][key], atol=2e-3), key
    assert load_model(base, device="cpu", loras=[(file, 0.0)]).one_step is None  # off
    header = read_header(file)[1]
    with pytest.raises(SonopaintError, match="load the LoRA tiny-one-step as well"):
        student_timestep({file.name: header})
    with pytest.raises(SonopaintError, match="load the LoRA tiny-one-step as well"):
        load_model(tiny_base, device="cpu", loras=[(file, 1.0)])  # no student lies beside this one


@pytest.mark.parametrize("mode", ["adapters", "full"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_in_either_mode(
    method: str, mode: str, tmp_path: Path, given: dict[str, Any], tiny_base: Path
) -> None:
    from sonopaint.models.loading import load_model

    words = ["subject", given["clips"], "--class", "a train horn", "--out", str(tmp_path / "run")]
    for name in ("model", "student", "ratio", "rank", "targets", "prior_clips", "adapt_steps", "variants"):
        words += [f"--{name.replace('_', '-')}", str(given[name])]
    words += ["--steps", "2", "--method", method, "--mode", mode, "--preview-every", "0"]
    words += ["--watch-every", "0", "--checkpoint-every", "99"]
    if method == "lora" and mode == "full":
        assert main(words) == 2
        return
    assert main(words) == 0
    loaded = load_model(tiny_base, device="cpu", loras=[(tmp_path / "run/run.safetensors", 1.0)])
    assert loaded.one_step == (999 if method in ONE_STEP else None)
    if mode == "full":
        whole = load_model(tmp_path / "run/run", device="cpu")
        assert whole.one_step == loaded.one_step


@pytest.mark.parametrize(
    ("more", "crash"), [({"mode": "full", "ema": 0.9, "steps": 4}, 3), ({"method": "db-dmd2", "steps": 3}, 5)]
)
def test_a_run_that_broke_off_goes_on_exactly(
    more: dict[str, Any], crash: int, tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = given | WATCHED | more
    assert train(SubjectTrainer, tmp_path / "whole", options, device="cpu")
    with monkeypatch.context() as patch:
        batch = UniDad.batch

        def failing(self: UniDad, number: int) -> Any:
            if number == crash:
                raise ConnectionAbortedError
            return batch(self, number)

        patch.setattr(UniDad, "batch", failing)
        with pytest.raises(ConnectionAbortedError):
            train(SubjectTrainer, tmp_path / "broken", options, device="cpu")
    assert not (tmp_path / "broken" / "broken.safetensors").exists()
    assert train(
        SubjectTrainer, tmp_path / "broken", {}, device="cpu", resume=True
    )  # its options are in config.json
    ones, others = (load_final(tmp_path / name)[0] for name in ("whole", "broken"))
    for part in ("student", "fake", "heads"):
        for name, value in ones[part].items():
            assert torch.equal(value, others[part][name]), (part, name)
    one, other = (weights_of(tmp_path / name / f"{name}.safetensors") for name in ("whole", "broken"))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_a_killed_run_goes_on_exactly(tmp_path: Path, given: dict[str, Any]) -> None:
    options = given | {"steps": 60, "checkpoint_every": 1}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "sonotrain", "subject", "--out", str(tmp_path / "killed"), *words]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while not (tmp_path / "killed/checkpoints/step-00000005.sha256").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert train(SubjectTrainer, tmp_path / "killed", {}, device="cpu", resume=True)
    assert train(SubjectTrainer, tmp_path / "whole", options, device="cpu")
    one, other = (weights_of(tmp_path / name / f"{name}.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_collapsed_run_ends_with_its_best_state_and_says_so(
    tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sonotrain.trainers.subject import watch

    told = iter([1.0, 1.0, 0.05, 0.05, 0.05, 0.05])
    monkeypatch.setattr(watch, "spread", lambda latents: next(told))
    options = given | WATCHED | {"steps": 40, "learning_rate": 0.02}
    assert train(SubjectTrainer, tmp_path / "run", options, device="cpu")
    result = read_json(tmp_path / "run/subject.json")
    assert result["steps"] == 8 and "step 2, before that, is kept." in result["note"]
    assert result["note"] in (tmp_path / "run/README.md").read_text(encoding="utf-8")
    assert read_json(tmp_path / "run/state.json")["notes"] == [result["note"]]
    kept = load_final(tmp_path / "run")[0]["watch"]["best"]
    ups = [t for key, t in weights_of(tmp_path / "run/run.safetensors").items() if key.endswith("up.weight")]
    assert any(torch.equal(up[:, -2:], best.half()) for up in ups for best in kept if best.shape[1] == 2)


def test_pictures_are_a_subject_too(tmp_path: Path, given: dict[str, Any]) -> None:
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, (60 + 40 * number, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    assert train(SubjectTrainer, tmp_path / "run", given | {"clips": str(folder), "steps": 2}, device="cpu")
    assert read_json(tmp_path / "run/config.json")["clips"] == ["0.png", "1.png", "2.png", "3.png"]


def tone(folder: Path, name: str, hertz: float, level: float = 0.5, seconds: float = 1.0) -> None:
    time = torch.arange(int(32000 * seconds)) / 32000
    clip = Clip(level * torch.sin(6.283 * hertz * time)[None] * torch.exp(-3 * time), 32000)
    write_clip(clip, folder / name)


def test_what_to_expect_of_one_many_or_equal_clips_is_said() -> None:
    varied = torch.randn(50, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    expected = {1: "Only 1 clip ", 2: "Only 2 clips", 5: "", 50: "50 clips are more"}
    for count, words in expected.items():
        notes = check_clips(["x"] * count, varied[:count])
        assert words in notes[0] if words else not notes
    [note] = check_clips(["x"] * 5, varied[:1] + 0.001 * varied[:5])
    assert "all but the same sound" in note


def line_of(options: dict[str, Any]) -> list[str]:
    """Options as words of the command line."""
    return runs.flags({"class" if name == "noun" else name: value for name, value in options.items()})


@pytest.mark.parametrize(
    ("count", "words"), [(1, "Only 1 clip"), (2, "Only 2 clips"), (50, "50 clips are more")]
)
def test_one_two_or_fifty_clips_work_and_every_page_says_what_to_expect(
    tmp_path: Path, given: dict[str, Any], count: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "clips").mkdir()
    for number in range(count):
        tone(tmp_path / "clips", f"{number:02d}.wav", 300 + 40 * number, seconds=0.3)
    line = line_of(given | {"clips": tmp_path / "clips", "steps": 2})
    assert main(["subject", "--out", str(tmp_path / "run"), "--device", "cpu", *line]) == 0
    assert words in caplog.text
    assert len(read_json(tmp_path / "run/config.json")["clips"]) == count
    assert words in run_view.sentence_of(runs.read(tmp_path / "run"))


def test_bad_input_is_one_sentence(
    tmp_path: Path, given: dict[str, Any], tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent, empty = tmp_path / "silent", tmp_path / "empty"
    silent.mkdir(), empty.mkdir()
    for number in range(3):
        tone(silent, f"{number}.wav", 300 + 50 * number, level=0.0005)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"noun": ""}, "--class"),
        ({"token": "dog"}, "--token, such as prt"),
        ({"token": "horn"}, "means something"),
        ({"token": "two words"}, "not one word"),
        ({"clips": str(tmp_path / "none")}, "no folder"),
        ({"clips": str(silent)}, "silent"),
        ({"clips": str(empty)}, "no sounds"),
        ({"student": ""}, "one-step student"),
        ({"student": str(tiny_base)}, "same weights"),
        ({"student": str(silent)}, "holds no weights"),
        ({"alpha": 1.5}, "--alpha is 1.5"),
        ({"method": "lora", "mode": "full"}, "adapters"),
    ]
    for number, (change, words) in enumerate(cases):
        line = line_of(given | change)
        assert main(["subject", "--out", str(tmp_path / f"run{number}"), "--device", "cpu", *line]) == 2
        told = capsys.readouterr().err.splitlines()[-1]
        assert words in told and told.startswith("sonotrain: ") and told.endswith("."), change
    with pytest.raises(SonopaintError, match="method is 'magic'; it must be one of uni-dad"):
        train(SubjectTrainer, tmp_path / "run", given | {"method": "magic"}, device="cpu")


def test_a_student_without_a_header_needs_its_timestep(tmp_path: Path, given: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    plain = tmp_path / "plain.safetensors"
    with safe_open(given["student"], framework="pt") as file:
        header = {k: v for k, v in file.metadata().items() if k != "sonopaint.one_step"}
    save_file(weights_of(Path(given["student"])), plain, metadata=header)
    with pytest.raises(SonopaintError, match="needs many steps"):
        train(SubjectTrainer, tmp_path / "a", given | {"student": str(plain)}, device="cpu")
    more = {"student": str(tmp_path), "timestep": 700, "steps": 2}  # the folder that it lies in
    assert train(SubjectTrainer, tmp_path / "b", given | more, device="cpu")
    with safe_open(tmp_path / "b/b.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["sonopaint.one_step"]) == {"timestep": 700}


def test_a_resumed_run_says_which_options_changed(tmp_path: Path, given: dict[str, Any]) -> None:
    assert train(SubjectTrainer, tmp_path / "run", given | {"steps": 2}, device="cpu")
    with pytest.raises(SonopaintError, match=r"alpha \(0\.75 → 0\.5\)"):
        train(SubjectTrainer, tmp_path / "run", {"alpha": 0.5}, device="cpu", resume=True)


def test_prompts_have_the_right_articles() -> None:
    assert prompts_of(SubjectOptions(noun="an owl")) == ("a prt owl", "an owl")
    assert prompts_of(SubjectOptions(noun="dog bark", token="zqv")) == ("a zqv dog bark", "a dog bark")


def test_options_suit_the_base_model_and_given_ones_win() -> None:
    paper = resolve({"noun": "x", "mode": "full"}, mini=False)
    assert (paper.learning_rate, paper.ratio, paper.steps, paper.guidance) == (5e-6, 10, 5000, 7.5)
    assert (paper.alpha, paper.lambda_critic, paper.lambda_student, paper.clip_norm) == (
        0.75,
        0.01,
        0.001,
        10.0,
    )
    assert (paper.gan, paper.normaliser, paper.source_prompt, paper.warmup) == (
        "hinge",
        "teacher",
        "prior",
        500,
    )
    mini = resolve({"noun": "x", "ratio": 7, "method": "dreambooth"}, mini=True)
    assert mini.ratio == 7 and mini.steps < paper.steps and mini.learning_rate > paper.learning_rate


def test_weights_of_the_target_teacher_are_trained_and_benched_with_one_command(
    tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sonotrain.evaluation.subject.run import SubjectBenchOptions
    from sonotrain.recipes.alpha import run_alpha

    (tmp_path / "horn").mkdir()
    for number in range(2):
        tone(tmp_path / "horn", f"{number}.wav", 300 + 200 * number)
    facts = {"noun": "train horn", "model": given["model"], "smoke": True, "cache": str(tmp_path / "heard")}
    request = SubjectBenchOptions(str(tmp_path / "horn"), out=str(tmp_path / "out"), device="cpu", **facts)
    names = ("student", "ratio", "rank", "targets", "preview_every")
    options = {name: given[name] for name in names} | {"steps": 1, "variants": 1, "watch_every": 0}
    assert run_alpha(request, (1.0, 0.0), options)
    results = read_json(tmp_path / "out/results.json")
    assert list(results["average"]) == ["alpha-0", "alpha-1"] and (tmp_path / "out/alpha.png").is_file()
    for value in (0, 1):
        config = read_json(tmp_path / f"out/alpha-{value}/horn/config.json")
        assert config["options"]["alpha"] == value
    monkeypatch.setattr("sonotrain.training.run.train", lambda *_, **__: pytest.fail("trained twice"))
    assert run_alpha(request, (0.0, 1.0), options)
    with pytest.raises(SonopaintError, match=r"from 0 to 1, not 1\.5"):
        run_alpha(request, (1.5,), options)
