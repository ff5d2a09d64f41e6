"""Training the adapter for curves: data with curves, what it learns, what it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sonoconvert.errors import SonopaintError
from sonotrain.data.corpus import Corpus, build_corpus
from sonotrain.files.json_files import read_json, write_json
from sonotrain.trainers.curves.data import corpus_curves, row
from sonotrain.trainers.curves.train import export_curves


def test_a_corpus_gets_the_curves_of_its_own_sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sonotrain.data.corpus.BATCH_CLIPS", 4)
    monkeypatch.setattr("sonotrain.trainers.curves.data.BATCH_CLIPS", 4)
    build_corpus(tmp_path, 6, seed=3, workers=1, content="singles")
    corpus = Corpus(tmp_path)
    curves = corpus_curves(corpus)
    assert {name: tuple(rows.shape) for name, rows in curves.items()} == dict.fromkeys(
        ("loudness", "pitch", "brightness", "onsets"), (6, 320)
    )
    painted = corpus.levels.float().pow(2).mean(1)  # where the picture is bright the sound is loud
    for clip in range(6):
        loud = row(curves, clip, 62.5).values["loudness"]
        if np.ptp(loud) > 20:
            assert np.corrcoef(loud, painted[clip].sqrt().numpy())[0, 1] > 0.8
    (tmp_path / "corpus.json").unlink()
    assert torch.equal(
        corpus_curves(Corpus(tmp_path))["loudness"], curves["loudness"]
    )  # kept, not made again


def test_few_clips_of_a_corpus_have_the_curves_that_they_have_among_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sonotrain.data.corpus.BATCH_CLIPS", 4)
    monkeypatch.setattr("sonotrain.trainers.curves.data.BATCH_CLIPS", 4)
    build_corpus(tmp_path, 4, seed=3, workers=1, content="singles")
    few = corpus_curves(Corpus(tmp_path, 3))["loudness"]
    every = corpus_curves(Corpus(tmp_path))["loudness"]
    assert len(few) == 3 and len(every) == 4 and torch.equal(few, every[:3])
    kept = tmp_path / "curves" / "shard-00000.safetensors"
    kept.write_bytes(kept.read_bytes()[:-9])  # damaged: measured anew
    assert torch.equal(corpus_curves(Corpus(tmp_path))["loudness"], every)


def test_the_adapter_learns_and_the_model_stays_as_it_is(
    whole: Callable[[str], Path], tmp_path: Path
) -> None:
    from sonopaint.models.curves_file import load_adapter

    run = whole("curves")
    result = read_json(run / "curves.json")
    assert result["validation_mse"] < result["validation_mse_blind"]
    path = export_curves(run, tmp_path)
    one, other = load_adapter(path), load_adapter(run / result["file"])
    assert one.variant == "output" and one.channels == 8
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


def test_a_run_goes_on_from_an_adapter_and_keeps_a_share_of_it(
    whole: Callable[[str], Path], case: Callable[[str], Any], tmp_path: Path
) -> None:
    from sonopaint.models.curves_file import load_adapter

    first = export_curves(whole("curves"), tmp_path / "first")
    asked = {"start": str(first), "keep": 0.5, "seed": 4}
    assert case("curves").train(tmp_path / "more", asked)
    mixed = load_adapter(export_curves(tmp_path / "more", tmp_path / "out")).state_dict()
    alone = tmp_path / "more" / "config.json"
    config = read_json(alone)
    write_json(alone, config | {"options": config["options"] | {"keep": 0.0}})
    learnt = load_adapter(export_curves(tmp_path / "more", tmp_path / "learnt")).state_dict()
    before = load_adapter(first).state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in learnt.items())
    for name, value in mixed.items():
        torch.testing.assert_close(value, (before[name] + learnt[name]) / 2, atol=2e-3, rtol=2e-3)
    with pytest.raises(SonopaintError, match="a share of start"):
        case("curves").train(tmp_path / "no", {"keep": 0.5})
    with pytest.raises(SonopaintError, match="adapter output of 8 channels"):
        case("curves").train(tmp_path / "other", asked | {"channels": 16})


def test_a_corpus_of_hums_gets_the_pitch_that_it_was_bent_to(tmp_path: Path) -> None:
    """Half of it is held like a hum; of a chord the pitch is known, where none could be measured."""
    from sonotrain.data.corpus import sounds

    batch = sounds(40, 7, "sung")
    assert batch.pitch is not None and len(batch.kinds) == 40
    known = ~batch.pitch.isnan().any(1)
    assert known.any() and {batch.kinds[n] for n in known.nonzero().flatten().tolist()} == {("car_horn",)}
    assert not known[20:].any() and all(len(kinds) == 1 for kinds in batch.kinds[:20])
