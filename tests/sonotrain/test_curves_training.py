"""Training the adapter for curves: data with curves, what it learns, what it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sonotrain.data.corpus import Corpus, build_corpus
from sonotrain.files.json_files import read_json
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
