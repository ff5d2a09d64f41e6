"""Training analysers: draws and splits, the cache of metrics, the four losses, a run and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sonoconvert.descriptors.scattering import Scattering
from sonoconvert.errors import SonopaintError
from sonopaint.match.analyser import load_analyser
from sonopaint.match.synths import get_synth
from sonotrain.trainers.match.draws import TEST, TRAIN, UNUSED, VALIDATION, drawn
from sonotrain.trainers.match.losses import LOSSES, damped, parameter_loss, pnp_loss
from sonotrain.trainers.match.metrics import Plan, known
from sonotrain.trainers.match.train import MatchTrainer, export_analyser
from sonotrain.training.loop import Budget
from sonotrain.training.run import train

SMALL: dict[str, Any] = {
    "synths": ("arpeggio",), "grid": 3, "width": 0.2, "depth": 0.3, "batch": 4, "warmup": 2, "threads": 1,
    "checkpoint_minutes": 100.0, "preview_minutes": 1000.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("metrics")


def test_the_documents_grid_and_splits() -> None:
    draws = drawn(3, 30, 0, 0, 0)
    counts = {use: len(draws.of(use)) for use in (TRAIN, VALIDATION, TEST, UNUSED)}
    assert counts[VALIDATION] == 14**3 and counts[UNUSED] == 0
    assert counts[TRAIN] / counts[TEST] == pytest.approx(8, rel=0.02)
    assert sum(counts.values()) == 27_000
    cells = (draws.places * 30).long()
    assert len(cells.unique(dim=0)) == 27_000  # one in each cell
    central = ((cells >= 8) & (cells < 22)).all(1)
    assert torch.equal(central, draws.use == VALIDATION)
    with pytest.raises(SonopaintError, match="cells"):
        drawn(6, 30, 0, 0, 0)


def test_spread_out_draws_hold_their_centre_out_too() -> None:
    draws = drawn(6, 0, 512, 256, 1)
    assert len(draws.places) == 768 and draws.measured == 512
    assert 0.05 < len(draws.of(VALIDATION)) / 512 < 0.15
    assert bool((draws.of(TRAIN) >= 512).any()) and bool((draws.of(TEST) < 512).all())


def test_metrics_are_computed_once_and_a_broken_off_cache_goes_on(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sonotrain.trainers.match.metrics.CHUNK", 4)
    plan = Plan("arpeggio", 0, 6, 4, 0, "secant", Scattering(q=6, pool=4))
    found = known(plan, cache)
    assert found.heard.shape == (10, 96, 128) and found.metric.shape == (6, 3, 3)
    assert torch.allclose(found.metric, found.metric.mT)
    assert bool((torch.linalg.eigvalsh(found.metric) > -1e-3).all())
    last = sorted((cache / plan.key()).iterdir())[-1]
    last.unlink()
    again = known(plan, cache)
    assert torch.equal(again.metric, found.metric) and torch.equal(again.heard, found.heard)

    def refuse(*_: Any) -> None:
        raise AssertionError("what is in the cache was computed again")

    monkeypatch.setattr("sonotrain.trainers.match.metrics._compute", refuse)
    known(plan, cache)
    other = Plan("arpeggio", 0, 6, 4, 0, "derivative", Scattering(q=6, pool=4))
    assert other.key() != plan.key()


def test_the_losses_on_paper() -> None:
    error = torch.tensor([[1.0, 2.0]])
    metric = torch.tensor([[[3.0, 1.0], [1.0, 2.0]]])
    assert parameter_loss(error).item() == 5
    assert pnp_loss(error, metric).item() == 3 + 2 * 2 + 4 * 2
    assert torch.equal(damped(metric, metric[0], 1.0), 2 * metric)
    assert torch.allclose(damped(metric, metric[0], 0.0), metric, atol=1e-7)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("raw", [False, True])
def test_every_loss_trains(cache: Path, tmp_path: Path, loss: str, raw: bool) -> None:
    given = SMALL | {"cache": str(cache), "loss": loss, "raw": raw}
    assert train(MatchTrainer, tmp_path / "run", given, Budget(steps=2), device="cpu")


def test_a_run_goes_on_and_its_file_matches(cache: Path, tmp_path: Path) -> None:
    given = SMALL | {"cache": str(cache)}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(MatchTrainer, whole, given, Budget(steps=6), device="cpu")
    train(MatchTrainer, parts, given, Budget(steps=3), device="cpu")
    train(MatchTrainer, parts, {}, Budget(steps=6), device="cpu", resume=True)
    one = load_analyser(export_analyser(whole, tmp_path / "a"))
    other = load_analyser(export_analyser(parts, tmp_path / "b"))
    sound = get_synth("arpeggio").render(torch.tensor([[700.0, 8.0, 1.0]]))[0]
    assert one.synths == ("arpeggio",)
    places = one.listen(sound)[0]["arpeggio"]
    assert bool(((places >= 0) & (places <= 1)).all())
    assert other.listen(sound)[0]["arpeggio"].shape == (3,)
    with pytest.raises(SonopaintError, match="exists"):
        export_analyser(whole, tmp_path / "a")


def test_a_spectral_loss_of_several_synths_is_refused(tmp_path: Path) -> None:
    given = SMALL | {"synths": ("bell", "kick"), "loss": "spectral", "grid": 0}
    with pytest.raises(SonopaintError, match="learns one synthesiser"):
        train(MatchTrainer, tmp_path / "run", given, Budget(steps=1), device="cpu")


def test_the_table_of_losses(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sonotrain.evaluation.match.table import as_markdown, run_table

    monkeypatch.setattr("sonotrain.evaluation.match.table.COUNT", 8)  # draws beside which the rows stand
    given = SMALL | {"cache": str(cache)}
    table = run_table(tmp_path, given, steps=2, inits=1, refine_steps=1)
    rows = table["rows"]
    assert {"p", "pnp", "reg", "spectral", "p, refined", "reg, refined"} <= set(rows)
    for name in ("p", "reg"):
        assert rows[f"{name}, refined"]["jtfs"][0] < rows[name]["jtfs"][0]
    # A step of the spectral loss makes and describes sounds; one of PNP only multiplies.
    costs = table["step_seconds"]
    assert costs["spectral"] > 3 * costs["p"]
    assert rows["spectral"]["steps"] == 1 and rows["p"]["steps"] == 2
    assert len(as_markdown(table).splitlines()) == len(rows) + 2
