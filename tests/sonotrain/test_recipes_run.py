"""Every sweep's recipe once, from the sounds to the table, at the smallest size."""

from __future__ import annotations

from pathlib import Path

import pytest

from sonotrain.files.json_files import read_json
from sonotrain.recipes.sweep import PROMPTS, RECIPES, run_sweep

SMALL = {
    "steps": 2, "batch": 2, "variants": 1, "preserve": 0.0, "rank": 2, "targets": "attention",
    "validate_every": 1, "preview_every": 2, "preview_images": 2, "preview_steps": 1, "tensorboard": False,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_runs_to_its_table(name: str, tmp_path: Path, tiny_base: Path) -> None:
    recipe = RECIPES[name]
    assert run_sweep(name, tmp_path, {**SMALL, "model": str(tiny_base)}, clips=4, device="cpu")
    table = (tmp_path / "sweep.md").read_text(encoding="utf-8")
    results = read_json(tmp_path / "sweep.json")
    assert [*results] == [variation.name for variation in recipe.variations]
    assert all(f"| {run} | " in table for run in results)
    assert all(found["status"] == "finished" and found["steps"] == 2 for found in results.values())
    # Two pictures of each prompt, each from noise of its own.
    painted = sorted((tmp_path / recipe.variations[0].name / "previews").glob("step-00000002/*-with.png"))
    prompts = read_json(tmp_path / recipe.variations[0].name / "config.json")["prompts"]
    assert len(painted) == len(prompts) == 2 * len(set(prompts))
    assert painted[0].read_bytes() != painted[1].read_bytes()
    if name == "audiocaps":
        assert tuple(dict.fromkeys(prompts)) == PROMPTS
