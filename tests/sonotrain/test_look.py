"""`sonotrain base look` and `sweep`: what is compared, what is kept, what is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import get_format
from sonotrain.cli import main
from sonotrain.data import foley
from sonotrain.evaluation.base import sweep as sweeping
from sonotrain.evaluation.base.checks import Check, as_dicts, as_lines
from sonotrain.evaluation.base.look import ATTRIBUTES, more
from sonotrain.evaluation.base.pictures import grain, quiet
from sonotrain.evaluation.base.sweep import SamplerSetting, Sweep, calls, compare, settings_of
from sonotrain.evaluation.frechet import Reference
from sonotrain.evaluation.traits import Traits

FORMAT = get_format("sonopaint-mini")


def test_a_sweep_changes_one_thing_at_a_time_and_holds_the_default_once() -> None:
    plan = Sweep(samplers=("dpmpp_2m", "heun"), steps=(10, 20), guidances=(1.0, 4.0))
    own = {"sampler": "dpmpp_2m", "steps": 20, "guidance_scale": 4.0}
    found = settings_of(plan, own)
    assert found[0] == SamplerSetting(**own) and len(found) == len(set(found)) == 5
    assert SamplerSetting("dpmpp_2m", 20, 1.0) in found and SamplerSetting("heun", 10, 4.0) in found
    assert [calls(setting) for setting in found[:2]] == [40, 20]
    assert calls(SamplerSetting("heun", 10, 4.0)) == 38


def test_the_same_clips_differ_by_nothing_and_worse_ones_surely() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = ["rain", "siren"] * 20
    truth = torch.eye(2).repeat(20, 1)
    features = torch.randn(40, 6, generator=generator)
    worse = torch.randn(40, 6, generator=generator) + 2.0
    rows = compare(
        [(truth, features), (truth, features.clone()), (1 - truth, worse)],
        labels, ("rain", "siren"), Reference(torch.randn(60, 6, generator=generator)),
    )  # fmt: skip
    assert rows[0]["top1"] == 1.0 and rows[1]["frechet_more"] == rows[1]["frechet_more_error"] == 0.0
    assert rows[2]["top1_more"] == -1.0
    assert rows[2]["frechet_more"] > 3 * rows[2]["frechet_more_error"] > 0


def test_a_paired_difference_is_surer_than_the_figures() -> None:
    """Both settings fail on the same clips, but for two."""
    right = torch.arange(60) % 2 == 0
    better = right.clone()
    better[[1, 3]] = True
    logits = [torch.stack([one, ~one], 1).float() for one in (right, better)]
    features = torch.randn(60, 4, generator=torch.Generator().manual_seed(1))
    rows = compare([(one, features) for one in logits], ["a"] * 60, ("a", "b"), Reference(features))
    assert rows[1]["top1_more"] == pytest.approx(2 / 60)
    assert rows[1]["top1_more_error"] < 0.5 * rows[1]["top1_error"]


def test_a_sweep_goes_on_and_more_rounds_keep_the_first(
    tmp_path: Path,
    tiny_base: Path,
    rough: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    painted = []
    paint = sweeping.paint

    def counted(*arguments: object, **more: object) -> torch.Tensor:
        painted.append(more)
        return paint(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(sweeping, "paint", counted)
    words = ["base", "sweep", "--model", str(tiny_base), "--out", str(tmp_path), "--kinds", "siren,owl"]
    words += ["--samplers", "euler", "--steps", "2", "--guidances", "1", "--device", "cpu"]
    assert main([*words, "--per-kind", "1"]) == 0
    assert len(painted) == 3  # the model's own, guidance 1, euler
    first = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    assert first["clips"] == 2 and first["settings"][0]["diversity"] is None
    assert main([*words, "--per-kind", "2"]) == 0
    assert len(painted) == 6  # one round more, the first was kept
    assert main([*words, "--per-kind", "1"]) == 0
    again = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    assert len(painted) == 6 and again == first
    assert "| euler | 2 | 3 | 4 |" in capsys.readouterr().out
    with Image.open(tmp_path / "sweep.png") as image:
        assert image.width > 500
    with pytest.raises(SonopaintError, match="'plms' is no sampler"):
        sweeping.sweep(Sweep(model=str(tiny_base), samplers=("plms",)), tmp_path)


def test_a_look_shows_every_kind_with_axes_and_measures(tmp_path: Path, tiny_base: Path, rough: None) -> None:
    words = ["base", "look", "--model", str(tiny_base), "--out", str(tmp_path), "--kinds", "siren,dog_bark"]
    words += ["--per-kind", "2", "--reference", "2", "--sequences", "2", "--pairs", "1", "--mixtures", "2"]
    assert main([*words, "--device", "cpu"]) == 0
    found = json.loads((tmp_path / "look.json").read_text(encoding="utf-8"))
    assert set(found["kinds"]) == {"siren", "dog_bark"} and found["steps"] == 2
    assert found["kinds"]["siren"]["real"] == 1.0 and found["kinds"]["siren"]["apart_real"] > 0
    assert set(found["attributes"]) == {"high, not low", "repeated, not single", "close, not distant"}
    text = (tmp_path / "look.md").read_text(encoding="utf-8")
    assert "| dog bark |" in text and "Fréchet" in text and "two events at once" in text
    checks = {row["name"]: row for row in found["checks"]}
    among = checks["kinds heard though words that say nothing stand around them"]
    assert among["value"] < 0.9 and not among["passed"], "random weights know no kinds"
    assert "## What must stay" in text and "✗" in text
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > sheet.height  # two kinds beside each other, four cells each
    assert (tmp_path / "confusion.png").stat().st_size > 1000
    assert main([*words, "--seeds", "1"]) == 2


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_the_corpus_itself_obeys_the_attributes_that_are_asked_for(name: str) -> None:
    (low, high), _, kinds = ATTRIBUTES[name]
    for kind in kinds:
        traits = {f"{trait}-{end}" for trait in foley.KINDS[kind].traits for end in ("low", "high")}
        assert {low, high} - {""} <= traits | {"distant", "close", "hall"}


def test_more_needs_more_than_noise() -> None:
    nothing = torch.zeros(1)
    one = Traits(10.0, 0.5, 3, 2.0, nothing, nothing, nothing)
    two = Traits(10.05, 0.52, 4, 2.1, nothing, nothing, nothing)
    assert [more(two, one, name) for name in ("brightness", "fullness", "events", "rate")] == [
        False,
        False,
        True,
        False,
    ]


def test_grain_and_quiet_measure_what_they_say() -> None:
    noise = 0.6 + 0.1 * torch.rand(128, 320, generator=torch.Generator().manual_seed(0))
    assert grain(noise) == pytest.approx(80 * 0.1 / 3, rel=0.05)  # mean step of uniform noise
    assert grain(torch.full((128, 320), 0.7)) == 0.0
    ramp = torch.linspace(0, 1, 320).expand(128, 320)
    assert quiet(ramp) == pytest.approx(-80 + 80 * 0.1, abs=0.2)


def test_a_check_fails_outside_its_bounds() -> None:
    found = as_dicts([Check("one", 0.5, 0.3, 0.8), Check("two", 0.2, 0.3, 0.8)])
    assert [row["passed"] for row in found] == [True, False]
    assert as_lines(found)[-1] == "| two | 0.20 | 0.30 | 0.80 | ✗ |"
