"""Datasets on disk: what is read, what is refused, how captions change."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sonoconvert.conversion.convert import encode
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, write_clip
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.picture import save_picture
from sonotrain.data.dataset import is_dataset, load_dataset, set_captions, write_lines

FMT = get_format("sonopaint-mini")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two clips to train on and one to validate with."""
    root = tmp_path / "dataset"
    about = {"version": 1, "format": FMT.to_dict(), "trigger": "zorb", "options": {}, "splits": {}}
    root.mkdir()
    (root / "dataset.json").write_text(json.dumps(about), encoding="utf-8")
    clip = Clip(0.5 * torch.randn(1, FMT.width * FMT.hop_length).clamp(-1, 1), FMT.sample_rate)
    for split, names in {"train": ("aa-0", "bb-0"), "validation": ("cc-0",)}.items():
        lines = []
        (root / split).mkdir()
        for name in names:
            save_picture(encode(clip, FMT), root / split / f"{name}.png")
            write_clip(clip, root / split / f"{name}.flac")
            line = {
                "file_name": f"{name}.png",
                "audio": f"{name}.flac",
                "text": "zorb, a café",
                "label": None,
            }
            lines.append(line | {"source": f"{name}.wav", "start_s": 0.0, "columns": 100, "peak": 0.5})
        write_lines(root, split, lines)
    return root


def edit(dataset: Path, change: Callable[[dict[str, Any]], None], split: str = "train") -> None:
    path = dataset / split / "metadata.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    change(lines[0])
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")


def test_it_is_read_as_it_was_written(dataset: Path) -> None:
    found = load_dataset(dataset)
    assert is_dataset(dataset) and found.format == FMT and found.trigger == "zorb"
    assert [len(found.splits[s]) for s in ("train", "validation", "test")] == [2, 1, 0]
    one = found.train[0]
    assert (one.text, one.label, one.columns, one.source) == ("zorb, a café", None, 100, "aa-0.wav")
    assert one.picture.is_file() and one.audio.is_file() and one.more_texts == ()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("file_name", "../../secret.png", "not a file of this folder"),
        ("audio", "/etc/passwd", "not a file of this folder"),
        ("audio", "gone.flac", "lacks .*gone.flac"),
        ("columns", 321, "321 columns"),
        ("columns", "many", "columns"),
        ("text", None, "lacks file_name or text in line 1"),
        ("label", 7, "damaged line"),
    ],
)
def test_damaged_lines_are_refused_in_one_sentence(dataset: Path, key: str, value: Any, words: str) -> None:
    edit(dataset, lambda line: line.update({key: value}))
    with pytest.raises(SonopaintError, match=words) as refused:
        load_dataset(dataset)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ("{", "can't be read"),
        ("[]", "does not describe a dataset"),
        ('{"version": 2, "format": {}}', "newer Sonopaint"),
        ('{"version": 1, "format": {"name": "x"}}', "lacks 'sample_rate'"),
        ('{"format": {}}', "does not say its version"),
    ],
)
def test_damaged_descriptions_are_refused(dataset: Path, about: str, words: str) -> None:
    (dataset / "dataset.json").write_text(about, encoding="utf-8")
    with pytest.raises(SonopaintError, match=words):
        load_dataset(dataset)


def test_other_folders_are_no_datasets(tmp_path: Path, dataset: Path) -> None:
    with pytest.raises(SonopaintError, match="no dataset folder"):
        load_dataset(tmp_path / "nowhere")
    with pytest.raises(SonopaintError, match='make one with "sonotrain dataset'):
        load_dataset(tmp_path)
    (dataset / "train" / "metadata.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(SonopaintError, match="no clips to train on"):
        load_dataset(dataset)
    (dataset / "train" / "metadata.jsonl").write_text('{"a": ', encoding="utf-8")
    with pytest.raises(SonopaintError, match="damaged after line 0"):
        load_dataset(dataset)


def test_captions_change_and_nothing_else_does(dataset: Path) -> None:
    before = load_dataset(dataset)
    texts = {"train/bb-0.png": "zorb,  a\ndog ", "validation/cc-0.png": before.validation[0].text}
    assert set_captions(dataset, texts) == 1
    after = load_dataset(dataset)
    assert [e.text for e in after.train] == ["zorb, a café", "zorb, a dog"]
    assert after.validation == before.validation and after.train[0] == before.train[0]


def test_unknown_clips_change_nothing(dataset: Path) -> None:
    for name in ("train/zz-0.png", "../train/aa-0.png", "elsewhere/aa-0.png", "aa-0.png"):
        with pytest.raises(SonopaintError, match="has no clip"):
            set_captions(dataset, {"train/aa-0.png": "changed", name: "x"})
    assert {e.text for e in load_dataset(dataset).train} == {"zorb, a café"}


def test_a_failed_write_leaves_the_captions(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(SonopaintError, match="make room on the disk"):
        set_captions(dataset, {"train/aa-0.png": "changed"})
    monkeypatch.undo()
    assert {e.text for e in load_dataset(dataset).train} == {"zorb, a café"}
