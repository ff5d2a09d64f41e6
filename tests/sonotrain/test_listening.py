"""Listening tests: what the page holds and hides, and what votes come to."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from sonoconvert.edits.loudness import lufs
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import read_clip
from sonotrain.cli import main
from sonotrain.evaluation.listening.build import ListenOptions, build_test
from sonotrain.evaluation.listening.score import as_markdown, interval, score_files
from sonotrain.evaluation.variation.requirements import SHIPPED, read_matrix

METHODS = {"secretive": 5, "sloppy": 2}  # method: what listeners will give it


def tone(path: Path, hertz: float, loud: float, rate: int = 32_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(0.3 * rate)) / rate
    soundfile.write(path, loud * np.sin(6.283 * hertz * time) * np.exp(-4 * time), rate)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two references and three variations of each by two methods, of several rates and levels."""
    folder = tmp_path_factory.mktemp("bench")
    for index, name in enumerate(("dog-1", "door-1")):
        tone(folder / "references" / f"{name}.wav", 300 + 500 * index, 0.5)
        for place, method in enumerate(METHODS):
            for number in range(3):
                file = folder / "made" / method / name / f"{number}.wav"
                tone(file, 310 + 500 * index + 7 * number, 0.02 * 4**number, 22_050 if place else 44_100)
    return folder


@pytest.fixture(scope="module")
def built(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], Path]:
    """(the page, its key, the key's path)."""
    out = tmp_path_factory.mktemp("listening")
    page, key = build_test(folder, ListenOptions(variations=2, out=str(out)))
    return page.read_text(encoding="utf-8"), json.loads(key.read_text()), key


def shown(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="test" type="application/json">(.*?)</script>', page)
    assert found
    return json.loads(found[1])


def test_the_page_names_no_method_and_needs_no_other_place(built: Any) -> None:
    page, key, _ = built
    test, page = shown(page), re.sub(r"base64,[\w+/=]+", "", page)
    assert not any(word in page for word in (*METHODS, "dog-1", "anchor", "made/", "wav"))
    assert "http" not in page and "src=" not in page
    assert {one["id"] for one in test["trials"]} == set(key["trials"])
    assert all(set(one) == {"id", "reference", "sound", "practice"} for one in test["trials"])
    kinds = [trial["kind"] for trial in key["trials"].values()]
    count = {kind: kinds.count(kind) for kind in kinds}
    assert count == {"variation": 8, "reference": 2, "anchor": 2, "practice": 1}
    per = [(t["method"], t["reference"]) for t in key["trials"].values() if t["kind"] == "variation"]
    assert all(per.count(one) == 2 for one in per) and len(set(per)) == 4
    anchors = [trial for trial in key["trials"].values() if trial["kind"] == "anchor"]
    assert all(Path(trial["file"]).stem != trial["reference"] for trial in anchors)


def test_all_sounds_have_one_rate_and_one_level_and_none_is_clipped(built: Any) -> None:
    test = shown(built[0])
    levels = []
    for uri in [*test["references"], *(one["sound"] for one in test["trials"])]:
        data = base64.b64decode(uri.removeprefix("data:audio/flac;base64,"))
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        assert rate == 16_000 and np.abs(samples).max() < 10 ** (-0.9 / 20)
        levels.append(lufs(torch.from_numpy(samples.T.copy()), rate))
    assert max(levels) - min(levels) < 0.1


def test_a_seed_gives_the_same_test_and_an_old_one_is_not_overwritten(folder: Path, built: Any) -> None:
    out = built[2].parent
    before = (out / "listening-test.html").read_bytes()
    with pytest.raises(SonopaintError, match="has a test already"):
        build_test(folder, ListenOptions(variations=2, out=str(out)))
    build_test(folder, ListenOptions(variations=2, out=str(out), force=True))
    assert (out / "listening-test.html").read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "references").rename(folder / "other"), "has no references/"),
        (lambda folder: (folder / "made").rename(folder / "other"), "has no made/METHOD"),
        (
            lambda folder: (folder / "made" / "sloppy" / "dog-1").rename(folder / "x"),
            "no variations of dog-1",
        ),
        (lambda folder: (folder / "references" / "dog-1.wav").write_bytes(b"RIFF"), "dog-1.wav"),
    ],
)
def test_what_is_missing_is_said(folder: Path, tmp_path: Path, spoil: Any, said: str) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "bench")
    spoil(tmp_path / "bench")
    with pytest.raises(SonopaintError, match=said):
        build_test(tmp_path / "bench", ListenOptions(out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


# -- scoring


def votes(key: dict[str, Any], listener: str, *, shift: int = 0, deaf: bool = False) -> list[dict[str, Any]]:
    """What somebody answers who hears everything, `shift` kinder to variations; or nothing at all."""
    rows = []
    for position, (id, trial) in enumerate(key["trials"].items()):
        rating = {"reference": 5, "anchor": 1, "practice": 3}.get(trial["kind"])
        if rating is None:
            rating = min(5, METHODS[trial["method"]] + shift)
        words = "duller|noisy" if trial["method"] == "sloppy" else ""
        row = {"test": key["test"], "listener": listener, "name": listener.upper(), "position": position}
        row |= {"trial": id, "practice": 0, "rating": 3 if deaf else rating, "words": words}
        rows.append(row)
    return rows


def write(path: Path, rows: list[dict[str, Any]], delimiter: str = ",", encoding: str = "utf-8") -> Path:
    with open(path, "w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_known_answers_come_out(built: Any, tmp_path: Path) -> None:
    _, key, place = built
    files = [
        write(tmp_path / "a.csv", votes(key, "pa")),
        write(tmp_path / "b.csv", votes(key, "pb", shift=1)),
    ]
    files.append(write(tmp_path / "c.csv", votes(key, "pc"), ";", "utf-8-sig"))  # as a spreadsheet saves it
    result = score_files(files, place)
    methods = result["methods"]
    assert methods["secretive"]["mean"] == 5 and methods["secretive"]["half"] == 0
    # means of three listeners: 2, 3, 2; t(0.975, 2) = 4.3027
    assert methods["sloppy"]["mean"] == pytest.approx(7 / 3)
    assert methods["sloppy"]["half"] == pytest.approx(4.3027 * np.std([2, 3, 2], ddof=1) / 3**0.5, abs=1e-3)
    assert methods["sloppy"]["votes"] == 12 and methods["sloppy"]["listeners"] == 3
    assert methods["sloppy"]["words"] == {"duller": 12, "noisy": 12}
    assert result["hidden"]["reference"]["mean"] == 5 and result["hidden"]["anchor"]["mean"] == 1
    assert result["references"]["dog-1"] == {"secretive": 5, "sloppy": pytest.approx(7 / 3)}
    assert result["said"] == []
    assert "| sloppy | 2.33 ± 1.43 | 12 | duller (12), noisy (12) |" in as_markdown(result)


def test_who_hears_nothing_is_flagged_and_left_out(built: Any, tmp_path: Path) -> None:
    _, key, place = built
    good = write(tmp_path / "a.csv", votes(key, "pa"))
    deaf = write(tmp_path / "b.csv", votes(key, "pb", deaf=True))
    result = score_files([good, deaf], place)
    assert result["counted"] == 1 and result["methods"]["secretive"]["mean"] == 5
    assert "PB (pb) is left out: the reference itself got 3.0 (at least 4 is needed)." in result["said"]
    assert score_files([good, deaf], place, everybody=True)["methods"]["secretive"]["mean"] == 4
    fond = [row | {"rating": 5} for row in votes(key, "pc")]
    result = score_files([good, write(tmp_path / "c.csv", fond)], place)
    assert any("another thing got 5.0" in text for text in result["said"])
    with pytest.raises(SonopaintError, match="No vote is left"):
        score_files([deaf], place)


def test_double_votes_other_tests_and_bad_files_cost_a_sentence_each(built: Any, tmp_path: Path) -> None:
    _, key, place = built
    rows = votes(key, "pa")
    good = write(tmp_path / "good.csv", rows)
    again = write(tmp_path / "again.csv", rows)
    changed = write(tmp_path / "changed.csv", [rows[1] | {"rating": 1 + rows[1]["rating"] % 5}])
    foreign = write(tmp_path / "foreign.csv", [row | {"test": "sother"} for row in votes(key, "pz")])
    odd = [rows[0] | {"rating": value, "listener": "px"} for value in ("6", "3.5", "", "nan", "five")]
    odd.append(rows[0] | {"trial": "t99999z", "listener": "px"})
    wrong = write(tmp_path / "wrong.csv", odd)
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "noise.csv").write_bytes(bytes(range(256)) * 4)
    files = [
        good,
        again,
        changed,
        foreign,
        wrong,
        *(tmp_path / f"{n}.csv" for n in ("empty", "other", "noise")),
    ]
    result = score_files([*files, tmp_path / "missing.csv"], place)
    alone = score_files([good], place)
    assert result["methods"] == alone["methods"] and result["counted"] == 1
    said = "\n".join(result["said"])
    count = len(rows)
    for text in (
        f"again.csv: {count} rows seen before, counted once.",
        "changed.csv: 1 row that vote differently again; the first counts.",
        f"foreign.csv: {count} rows of another test, not counted.",
        "wrong.csv: 5 rows with a rating that is none of 1 to 5, not counted.",
        "wrong.csv: 1 row without a trial or listener of this test, not counted.",
        "empty.csv is passed over",
        "other.csv is passed over: it has no column test",
        "noise.csv is passed over",
        "missing.csv is passed over",
    ):
        assert text in said, text


def test_an_interval_is_students_t() -> None:
    assert interval([3.0]) is None
    assert interval([2.0, 4.0]) == pytest.approx(12.706 * 2**0.5 / 2**0.5, abs=1e-2)


def test_both_commands_run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ["listen", "build", str(folder), "--out", str(tmp_path), "--variations", "1"]
    assert main(told) == 0 and "listening-test.html is the test" in capsys.readouterr().out
    assert main(told) == 2 and "--out" in capsys.readouterr().err
    key = json.loads((tmp_path / "key.json").read_text())
    file = write(tmp_path / "a.csv", votes(key, "pa"))
    matrix = tmp_path / "requirements.toml"
    matrix.write_text(
        SHIPPED.read_text(encoding="utf-8") + '\n[measured."sloppy"]\nkind = "vary"\n', encoding="utf-8"
    )
    told = ["listen", "score", str(file), "--key", str(tmp_path / "key.json")]
    assert main([*told, "--matrix", str(matrix)]) == 0
    assert read_matrix(matrix)["measured"]["sloppy"] == {"kind": "vary", "smos": METHODS["sloppy"]}
    assert "| secretive | 5.00 |" in capsys.readouterr().out
    assert read_clip(folder / "references" / "dog-1.wav").sample_rate == 32_000
    assert json.loads((tmp_path / "scores.json").read_text())["counted"] == 1
