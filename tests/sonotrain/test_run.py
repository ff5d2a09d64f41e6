"""One run for every trainer: broken off it goes on exactly, it refuses changes, it can be watched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sonoconvert.errors import SonopaintError
from sonotrain.files.json_files import read_json, write_json
from sonotrain.files.options import option
from sonotrain.training import run_view, runs
from sonotrain.training.compute import step_generator
from sonotrain.training.loop import Budget, EndEarly, Hook, cosine, warmed_up
from sonotrain.training.run import Run, Trainer, train
from sonotrain.training.run_folder import RunFolder, load_final, read_log

TRAINERS = ("vae", "grain", "text", "diffusion", "inpaint", "curves", "tune", "classifier", "vocoder")
TRAINERS += ("distill", "lora", "subject", "blend")


# --- a trainer of one's own ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ToyOptions:
    slope: float = option(3.0, "slope of the line that is learnt")
    learning_rate: float = option(0.3, "peak learning rate")
    warmup: int = option(5, "steps of warm-up")
    seed: int = option(0, "seed")
    wait: float = option(0.0, "seconds that a step takes", free=True)
    checkpoint_every: int = option(1, "steps between checkpoints", free=True)
    log_every: int = option(1, "steps between lines of the log", free=True)


class Toy(Trainer):
    command = "toy"
    Options = ToyOptions
    options: ToyOptions

    def prepare(self) -> None:
        torch.manual_seed(self.options.seed)
        self.line = torch.nn.Linear(1, 1)
        self.optimiser = torch.optim.Adam(self.line.parameters(), self.options.learning_rate)

    def parts(self) -> dict[str, Any]:
        return {"line": self.line, "optimiser": self.optimiser}

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser]

    def step(self, number: int) -> dict[str, torch.Tensor]:
        x = torch.randn(16, 1, generator=step_generator(self.options.seed, number))
        loss = (self.line(x) - self.options.slope * x).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        time.sleep(self.options.wait)
        return {"loss": loss}

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        return {"slope": self.line.weight.item()}


def toy(out: Path, more: Mapping[str, Any] | None = None, steps: int = 60, **how: Any) -> bool:
    return train(Toy, out, more or {}, Budget(steps=steps), device="cpu", **how)


def line_of(out: Path) -> list[float]:
    return [value.item() for value in load_final(out)[0]["line"].values()]


def test_a_toy_trainer_trains_is_killed_resumes_and_is_watched(tmp_path: Path) -> None:
    assert toy(tmp_path / "whole")
    assert read_json(tmp_path / "whole/toy.json")["slope"] == pytest.approx(3.0, abs=0.1)
    out = tmp_path / "killed"
    code = f"import sys, pathlib; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_run\n"
    code += f"test_run.toy(pathlib.Path({str(out)!r}), {{'wait': 0.05}})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    while not (out / "checkpoints/step-00000005.sha256").exists() and process.poll() is None:
        time.sleep(0.01)
    assert runs.read(out, process).running
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    state = runs.read(out)
    assert state.phase == "failed" and state.resumable and 5 <= state.step < 60 and state.total == 60
    assert train(Toy, out, {"wait": 0.0}, device="cpu", resume=True)  # its budget is in config.json
    assert line_of(out) == line_of(tmp_path / "whole")
    state = runs.read(out)
    assert run_view.sentence_of(state) == "Finished at step 60 of 60."
    assert "<svg" in run_view.curves_of(state) and "Training loss" in run_view.facts_of(state)


def test_a_stop_is_kept_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Toy.step

    def stopping(self: Toy, number: int) -> dict[str, torch.Tensor]:
        if number == 7:
            runs.stop(tmp_path / "run")
        return step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(Toy, "step", stopping)
        assert not toy(tmp_path / "run")
    state = runs.read(tmp_path / "run")
    assert (state.phase, state.step) == ("stopped", 8) and not (tmp_path / "run/toy.json").exists()
    assert toy(tmp_path / "run", resume=True) and toy(tmp_path / "whole")
    assert line_of(tmp_path / "run") == line_of(tmp_path / "whole")


def test_a_hook_may_end_a_run_early_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(number: int) -> dict[str, float]:
        raise EndEarly("It is good enough.")

    monkeypatch.setattr(Toy, "hooks", lambda self: [Hook(4, end)])
    assert toy(tmp_path)
    result = read_json(tmp_path / "toy.json")
    assert result["steps"] == 4 and result["note"] == "It is good enough."
    assert "It is good enough." in run_view.sentence_of(runs.read(tmp_path))


def test_every_checkpoint_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, save = [], RunFolder.save_checkpoint
    monkeypatch.setattr(
        RunFolder,
        "save_checkpoint",
        lambda self, step, state: (written.append(step), save(self, step, state))[1],
    )
    assert toy(tmp_path / "each", steps=3) and toy(tmp_path / "few", {"checkpoint_every": 2}, steps=3)
    assert written == [1, 2, 3, 2, 3]


def test_changed_facts_and_other_trainers_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert toy(tmp_path, steps=2)
    with pytest.raises(SonopaintError, match="already holds a run"):
        toy(tmp_path)
    prepare = Toy.prepare

    def other(self: Toy) -> None:
        prepare(self)
        self.facts["data"] = "other"

    config = read_json(tmp_path / "config.json")
    write_json(tmp_path / "config.json", config | {"data": "this"})
    with monkeypatch.context() as patch:
        patch.setattr(Toy, "prepare", other)
        with pytest.raises(SonopaintError, match="The dataset has changed since"):
            toy(tmp_path, resume=True)
    write_json(tmp_path / "config.json", config | {"command": "vae"})
    with pytest.raises(SonopaintError, match=r"another trainer \(vae\)"):
        toy(tmp_path, resume=True)
    write_json(tmp_path / "config.json", config | {"options": {"colour": 3}})
    with pytest.raises(SonopaintError, match="'colour', which is no option"):
        toy(tmp_path, resume=True)
    write_json(tmp_path / "config.json", {k: v for k, v in config.items() if k != "budget"})
    with pytest.raises(SonopaintError, match="give steps or minutes"):
        train(Toy, tmp_path, {}, device="cpu", resume=True)


# --- the rate -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("warmup", [0, 20, 50])
def test_warm_up_reaches_the_set_rate_and_the_cosine_follows(warmup: int) -> None:
    at = [warmed_up(cosine, step / 100, step, warmup, 2) for step in range(100)]
    assert max(at) == pytest.approx(1.0, abs=1e-12)
    if warmup:
        assert at[0] == pytest.approx(1 / warmup) and at[warmup - 1] == pytest.approx(1.0)
    assert at[warmup] == pytest.approx(1.0)
    assert at[(100 + warmup) // 2] == pytest.approx(0.51)  # half way down
    assert warmed_up(cosine, 1.0, 100, warmup, 2) == pytest.approx(0.02)
    assert all(later < sooner for sooner, later in zip(at[warmup:], at[warmup + 1 :], strict=False))


def test_runs_begun_before_keep_their_schedule(tmp_path: Path) -> None:
    """0.907 of the rate at 20 % warm-up, which never came nearer: so it was, and so such a run ends."""
    old = [warmed_up(cosine, step / 100, step, 20, 1) for step in range(100)]
    assert max(old) == pytest.approx(0.911, abs=0.005)
    assert toy(tmp_path, {"warmup": 20}, steps=30)
    config = read_json(tmp_path / "config.json")
    assert config["schedule"] == 2
    write_json(tmp_path / "config.json", {k: v for k, v in config.items() if k not in ("schedule", "budget")})
    assert toy(tmp_path, steps=60, resume=True)
    rates = {line["step"]: line["lr"] for line in read_log(tmp_path) if "lr" in line}
    assert rates[20] == pytest.approx(0.3, abs=1e-6)
    assert rates[31] == pytest.approx(0.3 * cosine(30 / 60), abs=1e-6)
    assert read_json(tmp_path / "config.json")["schedule"] == 1


@pytest.fixture
def small(tiny_mini: None, few_sounds: None) -> None:
    """Models and sounds as `case` has them."""


# --- all trainers -------------------------------------------------------------------------------------------


def tensors(value: Any, name: str = "") -> dict[str, torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return {name: value}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {k: v for key, inner in pairs for k, v in tensors(inner, f"{name}.{key}").items()}


@pytest.mark.parametrize("name", TRAINERS)
def test_a_run_that_broke_off_goes_on_exactly(
    name: str,
    case: Callable[[str], Any],
    whole: Callable[[str], Path],
    tmp_path: Path,
    small: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The newest checkpoint is damaged as well, so that the one before it must do."""
    chosen, expected, broken = case(name), whole(name), tmp_path / name
    step = chosen.kind.step

    def failing(self: Any, number: int) -> dict[str, torch.Tensor]:
        if number == chosen.crash:
            raise ConnectionAbortedError
        return step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(chosen.kind, "step", failing)
        with pytest.raises(ConnectionAbortedError):
            chosen.train(broken)
    assert not (broken / f"{chosen.kind.command}.json").exists()
    newest = max((broken / "checkpoints").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:-10])
    # a page says no options at all: they, and how long, are in config.json
    assert train(chosen.kind, broken, {}, device="cpu", resume=True)
    first, second = tensors(load_final(expected)[0]), tensors(load_final(broken)[0])
    assert first.keys() == second.keys() and len(first) > 10
    for key, tensor in first.items():
        assert torch.equal(tensor, second[key]), key
    if "file" in (result := read_json(expected / f"{name}.json")):
        ones, others = load_file(expected / result["file"]), load_file(broken / result["file"])
        assert ones.keys() == others.keys() and all(torch.equal(ones[key], others[key]) for key in ones)
    state = runs.read(broken)
    assert state.phase == "finished" and state.command == name and state.step == result["steps"]
    assert {"steps", "seconds", "peak_memory_mb"} <= result.keys()


@pytest.mark.parametrize("name", TRAINERS)
def test_a_run_refuses_changed_options_by_name(
    name: str, case: Callable[[str], Any], whole: Callable[[str], Path]
) -> None:
    before = (whole(name) / "config.json").read_bytes()
    with pytest.raises(SonopaintError, match=r"other options: seed \(0 → 9\); leave these away"):
        train(case(name).kind, whole(name), {"seed": 9, "threads": 1}, device="cpu", resume=True)
    assert (whole(name) / "config.json").read_bytes() == before


def test_a_command_line_says_so_too(
    case: Callable[[str], Any], whole: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from sonotrain.cli import main

    words = ["base", "vae", "--resume", "--batch", "5", "--seed", "9", "--out", str(whole("vae"))]
    assert main([*words, "--steps", "6", "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert "batch (2 → 5), seed (0 → 9)" in error and error.count("\n") == 1


def test_a_run_of_before_is_resumed(whole: Callable[[str], Path], tmp_path: Path, small: None) -> None:
    """config.json as trainers wrote it until 2026-11-28: neither budget nor schedule."""
    from sonotrain.trainers.mini.vae import VaeTrainer

    shutil.copytree(whole("vae"), tmp_path / "old")
    config = read_json(tmp_path / "old/config.json")
    kept = {key: config[key] for key in ("command", "options", "architecture")}
    (tmp_path / "old/config.json").write_text(json.dumps(kept), encoding="utf-8")
    assert train(VaeTrainer, tmp_path / "old", {}, Budget(steps=7), device="cpu", resume=True)
    assert read_json(tmp_path / "old/vae.json")["steps"] == 7


def test_trainers_are_prepared_without_a_loop(
    case: Callable[[str], Any], tmp_path: Path, small: None
) -> None:
    from sonotrain.training.run import Alone
    from sonotrain.training.run_folder import RunFolder

    with RunFolder(tmp_path) as folder:
        trainer = Run(folder, Alone()).prepare(case("vae").kind, case("vae").given)
        assert trainer.step(0)["l1"] > 0
