"""The whole recipe, once, tiny."""

from __future__ import annotations

from pathlib import Path

import pytest

from sonotrain.cli import main


@pytest.mark.slow
def test_smoke_preset_makes_a_judged_model_and_goes_on(tmp_path: Path) -> None:
    words = ["base", "all", "--preset", "smoke", "--out", str(tmp_path), "--device", "cpu"]
    assert main(words) == 0
    card = (tmp_path / "mini" / "README.md").read_text(encoding="utf-8")
    assert "| rain |" in card
    assert (tmp_path / "evaluation" / "confusion.png").stat().st_size > 1000
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert main(words) == 0  # everything is there: nothing is made again
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
