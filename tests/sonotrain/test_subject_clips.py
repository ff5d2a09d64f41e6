"""The corpus's subjects: outside what Mini was trained on, each one alike, no two clips the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sonoconvert.files.clip import read_clip
from sonotrain.cli import main
from sonotrain.data.foley import BASE_KINDS, synthesise
from sonotrain.data.foley.draw import Draw
from sonotrain.data.foley.subjects import SUBJECTS, subject_clips
from sonotrain.evaluation.embeddings import load_embedding
from sonotrain.evaluation.metrics import similarities


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_subject_lies_where_its_kind_was_never_drawn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = SUBJECTS[name]
    assert subject.kind in BASE_KINDS, "Mini must know the class"
    corpus: dict[str, tuple[float, float]] = {}
    trait = Draw.trait
    monkeypatch.setattr(
        Draw, "trait", lambda d, n, low, high: corpus.update({n: (low, high)}) or trait(d, n, low, high)
    )
    synthesise(subject.kind, 1, torch.Generator().manual_seed(0))
    assert set(corpus) == set(subject.ranges)
    low, high = subject.ranges["pitch"]
    assert high < 0.7 * corpus["pitch"][0] or low > 1.4 * corpus["pitch"][1]


@pytest.mark.parametrize("name", SUBJECTS)
def test_clips_of_a_subject_are_nearer_to_each_other_than_to_their_class(name: str) -> None:
    ours = subject_clips(name, 8)
    hear = load_embedding("classifier")
    mine = hear(ours).clip
    other = hear(synthesise(SUBJECTS[name].kind, 8, torch.Generator().manual_seed(9))[0]).clip
    among, beside = similarities(mine[:4], mine[4:]), similarities(mine[:4], other)
    assert among.min() > 0.85 and among.mean() > beside.mean() + 0.1
    normal = ours / ours.norm(dim=1, keepdim=True)
    assert (normal @ normal.T).fill_diagonal_(0).abs().max() < 0.9, "two clips are alike"


def test_the_seed_decides_the_clips_and_subjects_are_not_each_other() -> None:
    first, again, other = (subject_clips("timbale", 2, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert (
        set(SUBJECTS) == {"giant-dog", "timbale", "tiny-owl"}
        and len({s.kind for s in SUBJECTS.values()}) == 3
    )


def test_the_command_writes_folders_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "subject-clips", "--out", str(tmp_path), "--clips", "2", "--held-out", "1"]
    assert main(command) == 0
    clip = read_clip(tmp_path / "tiny-owl" / "clips" / "02.wav")
    assert clip.sample_rate == 32_000 and clip.duration_s == pytest.approx(5.12)
    assert (tmp_path / "giant-dog" / "held-out" / "01.wav").is_file()
    assert main(command) == 2 and "01.wav" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    assert main([*command[:-1], "0"]) == 2
