"""`sonotrain base realism`: what is told apart, what is not, what is kept, what is said."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from sonoconvert.pictures.format import get_format
from sonopaint.models.grain import GrainNetwork, save_grain
from sonotrain.cli import main
from sonotrain.evaluation.base import realism
from sonotrain.evaluation.base.realism import judged, tell_apart


def test_blurred_clips_are_told_and_others_of_the_same_sort_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realism, "BATCH", 8)
    generator = torch.Generator().manual_seed(0)
    grains = torch.rand((4, 40, 32, 162), generator=generator)
    blurred = torch.nn.functional.avg_pool2d(grains, (1, 3), stride=1, padding=(0, 1))
    clips, soft = ((sounds * 255).to(torch.uint8)[..., 1:-1] for sounds in (grains, blurred))

    def told(real: torch.Tensor, other: torch.Tensor) -> dict[str, float]:
        both = torch.stack([real, other])
        return judged(tell_apart(both[:, :20], both[:, 20:], 30, seed=3))

    same, softer = told(clips[0], clips[1]), told(clips[0], soft[1])
    assert softer["accuracy"] > 0.95 and softer["d"] > 3
    assert same["low"] < 0.5 < same["high"] and abs(same["d"]) < 1
    few = clips[:2, :8]
    assert torch.equal(tell_apart(few, few, 1, seed=3), tell_apart(few, few, 1, seed=3)), "a seed decides"


def test_accuracy_is_that_of_both_sorts_alike_and_d_goes_on_where_it_is_full() -> None:
    real, made = torch.tensor([-1.0, -2.0, -1.0, 1.0]), torch.tensor([1.0, 2.0, -1.0, -1.0])
    found = judged(torch.stack([real, made]))
    assert found["accuracy"] == pytest.approx(5 / 8)
    assert 0 <= found["low"] < 5 / 8 < found["high"] <= 1
    near, far = (judged(torch.stack([real.abs() * -1, made.abs() + more])) for more in (0.0, 5.0))
    assert near["accuracy"] == far["accuracy"] == near["low"] == 1.0
    assert far["d"] == pytest.approx(near["d"] + 5 / near_spread(real, made))


def near_spread(real: torch.Tensor, made: torch.Tensor) -> float:
    return float(((real.abs().var() + made.abs().var()) / 2).sqrt())


def test_models_stand_beside_real_clips_and_later_runs_paint_only_what_is_new(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    painted: list[int] = []
    paint = realism.paint

    def counted(model: object, captions: list[str], **more: object) -> torch.Tensor:
        painted.append(len(captions))
        return paint(model, captions, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(realism, "paint", counted)
    monkeypatch.setattr(realism, "to_sound", partial(realism.to_sound, iterations=1))
    monkeypatch.setattr(realism, "BATCH", 4)
    words = ["base", "realism", "--model", str(tiny_base), "--out", str(tmp_path), "--kinds", "siren,owl"]
    words += ["--learning", "2", "--device", "cpu"]
    assert main([*words, "--per-kind", "2"]) == 0
    assert painted == [2, 2]  # two rounds of two kinds
    first = json.loads((tmp_path / "realism.json").read_text(encoding="utf-8"))
    sorts = [row["sort"] for row in first["rows"]]
    assert sorts == [
        realism.OTHERS, realism.DECODED, f"real, through {tiny_base}'s VAE", f"painted by {tiny_base}",
    ]  # fmt: skip
    assert first["clips"] == 4 and set(first["rows"][0]["by_kind"]) == {"siren", "owl"}
    assert first["rows"][3]["grain"] != first["grain_real"] and min(row["grain"] for row in first["rows"]) > 0
    assert main([*words, "--per-kind", "2"]) == 0
    again = json.loads((tmp_path / "realism.json").read_text(encoding="utf-8"))
    assert again == first and len(painted) == 2
    grainy = tmp_path / "grainy"
    shutil.copytree(tiny_base, grainy)
    save_grain(GrainNetwork(get_format("sonopaint-mini"), 4), grainy / "grain.safetensors", {})
    assert (
        main([str(grainy) if word == str(tiny_base) else word for word in words] + ["--per-kind", "2"]) == 0
    )
    assert painted == [2, 2, 2, 2]  # it paints otherwise
    assert main([*words, "--per-kind", "3", "--folds", "3"]) == 0
    assert len(painted) == 5  # one round more
    said = capsys.readouterr().out
    assert "6 clips of 2 kinds" in said and "| siren |" in said and f"| painted by {tiny_base} | " in said
    with Image.open(tmp_path / "realism.png") as sheet:
        assert sheet.width > 500
    assert main([*words, "--per-kind", "2", "--folds", "3"]) == 2
    assert "choose from 2 to --per-kind, 2" in capsys.readouterr().err
