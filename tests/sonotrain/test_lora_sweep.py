"""Sweeps: every variation once, an explosion as a result, a table; called again they do nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sonoconvert.errors import SonopaintError
from sonotrain.files.json_files import read_json, write_json
from sonotrain.recipes import sweep
from sonotrain.training.run_folder import RunFolder

BOTH = "beta2-0.99-weight-decay-"


def test_a_sweep_goes_on_where_it_stopped_and_ends_with_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, dict[str, Any], bool]] = []

    def train(_: Any, out: Path, given: dict[str, Any], *_more: Any, device: str, resume: bool) -> bool:
        seen.append((out.name, given, resume))
        with RunFolder(out, resume=resume) as run:
            write_json(run.path / "config.json", {"command": "lora"})
            if out.name == BOTH + "0.03" and len(seen) == 2:
                return False  # stopped by the user
            if out.name == BOTH + "0.003":
                raise SonopaintError("Training has exploded at step 3: lower --learning-rate.")
            for step in (0, 5, 10):
                run.log(step=step, validation_loss=0.5 - 0.01 * step - 0.001 * len(seen))
            write_json(run.path / "lora.json", {"steps": 10, "seconds": 65.0, "validation_loss": 0.4})
        return True

    monkeypatch.setattr("sonotrain.training.run.train", train)
    monkeypatch.setattr(sweep, "_dataset", lambda *_: tmp_path / "data")
    out = tmp_path / "sweep"
    assert not sweep.run_sweep("adam", out, {"steps": 10})
    assert not (out / "sweep.md").exists()
    assert sweep.run_sweep("adam", out, {"steps": 10})
    names = [name for name, _, _ in seen]
    assert names == ["default", BOTH + "0.03", BOTH + "0.03", BOTH + "0.003"]
    assert [resume for _, _, resume in seen] == [False, False, True, False]
    assert seen[0][1]["steps"] == 10 and seen[1][1]["beta2"] == 0.99 and "beta2" not in seen[0][1]
    assert seen[0][1]["cache"] == seen[1][1]["cache"]  # clips are encoded once
    table = (out / "sweep.md").read_text(encoding="utf-8").splitlines()
    assert len([line for line in table if line.startswith("| ")]) == 4
    assert "exploded" in table[-3] and BOTH + "0.03 " in table[6] and "1:05" in table[6]
    assert read_json(out / "sweep.json")[BOTH + "0.003"]["status"] == "exploded"
    assert (out / "sweep.png").is_file()
    assert sweep.run_sweep("adam", out, {"steps": 10}) and len(seen) == 4
    with pytest.raises(SonopaintError, match="another sweep"):
        sweep.run_sweep("adam", out, {"steps": 20})


def test_the_signifier_is_put_into_the_captions(tmp_path: Path, tiny_base: Path) -> None:
    from sonotrain.data.dataset import load_dataset

    recipe = sweep.Recipe("", ("glass_break",), ())
    given = {"model": str(tiny_base)}
    texts = []
    for variation in (sweep.Variation("without"), sweep.Variation("with", signifier=sweep.SIGNIFIER)):
        folder = sweep._dataset(recipe, variation, given, tmp_path, clips=4)
        texts.append({example.text for example in load_dataset(folder).train})
    assert texts == [{"glass break"}, {"a spectrogram of glass break"}]
    with pytest.raises(SonopaintError, match="no recipe"):
        sweep.run_sweep("nonsense", tmp_path / "x", {})


def test_the_reports_recipes_keep_a_tenth_each_and_paint_its_prompts(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Perkins 2023, section 4: 80/10/10, AudioCaps at 5e-4 and 7e-4 with a fifth of warm-up, 75 epochs."""
    from sonotrain.data.dataset import load_dataset

    options: dict[str, dict[str, Any]] = {}

    def train(_: Any, out: Path, given: dict[str, Any], *_more: Any, **how: Any) -> bool:
        options[out.name] = given
        return False

    monkeypatch.setattr("sonotrain.training.run.train", train)
    given = {"model": str(tiny_base)}
    for name, rates in (("five-classes", [1e-3, 1e-4, 1e-5, 1e-6]), ("audiocaps", [5e-4, 7e-4])):
        recipe = sweep.RECIPES[name]
        assert [one.options["learning_rate"] for one in recipe.variations] == rates
        sweep.run_sweep(name, tmp_path / name, given, clips=4)
        splits = load_dataset(tmp_path / name / "dataset").splits
        assert all(splits.values()) and sum(map(len, splits.values())) == 20, name
    made = options["learning-rate-0.0005"]
    assert (made["epochs"], made["warmup"]) == (75, 0.2)
    assert len(made["preview_prompts"]) == 11 and "A train horn" in made["preview_prompts"]
    sweep.run_sweep(
        "audiocaps",
        tmp_path / "own",
        {**given, "warmup": 0.1, "dataset": str(tmp_path / "audiocaps/dataset")},
    )
    assert options["learning-rate-0.0005"]["warmup"] == 0.1  # what somebody says goes first
