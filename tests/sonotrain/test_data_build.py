"""Datasets from folders and tables: what a person gets, what is refused, what survives a stop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from sonoconvert.conversion.convert import encode
from sonoconvert.errors import Cancelled, SonopaintError
from sonoconvert.files.clip import read_clip
from sonoconvert.pictures.format import PRESETS, get_format
from sonoconvert.pictures.picture import load_picture
from sonotrain.cli import main
from sonotrain.data.build import build_dataset
from sonotrain.data.clips import window_starts
from sonotrain.data.dataset import load_dataset, set_captions
from sonotrain.data.options import DatasetOptions
from sonotrain.data.split import assign

FMT = get_format("sonopaint-mini")
RATE = 16_000
Write = Callable[..., Path]


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    return folder


@pytest.fixture
def write(sounds: Path) -> Write:
    """`write("dog/a.wav", seconds=1)` puts noise that no other file has into the folder of sounds."""
    numbers = iter(range(10_000))

    def make(
        name: str, seconds: float = 1.0, *, samples: Any = None, rate: int = RATE, text: Any = None
    ) -> Path:
        path = sounds / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if samples is None:
            rng = np.random.default_rng(next(numbers))
            samples = 0.3 * np.clip(rng.standard_normal(int(seconds * rate)), -3, 3)
        soundfile.write(path, samples, rate)
        if text is not None:
            beside = path.with_suffix(".txt")
            beside.write_bytes(text) if isinstance(text, bytes) else beside.write_text(text, "utf-8")
        return path

    return make


def skipped(out: Path) -> dict[str, str]:
    lines = (out / "skipped.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["source"]: f"{line['kind']}: {line['reason']}" for line in map(json.loads, lines)}


def lines_of(out: Path) -> dict[str, dict[str, Any]]:
    """All lines of the metadata by source (and start, from the second clip on), with their split."""
    found = {}
    for path in out.glob("*/metadata.jsonl"):
        for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            name = line["source"] + (f"@{line['start_s']:g}" if line["start_s"] else "")
            found[name] = line | {"split": path.parent.name}
    return found


def files(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".build" not in path.parts and path.name != "report.html"
    }


def test_a_folder_becomes_pictures_sounds_and_captions(write: Write, sounds: Path, tmp_path: Path) -> None:
    write("dog/bark.wav", 1.0, text="a dog barking\nwoof")
    write("dog/growl.flac", 7.0)
    write("Church_Bell/ding.wav", 6.0, rate=44_100)
    data = build_dataset(sounds, tmp_path / "out", DatasetOptions(trigger="zorb", test=0.0))
    assert data.trigger == "zorb" and data.format == FMT and data.labels() == ["Church_Bell", "dog"]
    every = {e.source: e for examples in data.splits.values() for e in examples}
    assert every["dog/bark.wav"].text == "zorb, a dog barking"
    assert every["dog/bark.wav"].more_texts == ("zorb, woof",)
    assert every["Church_Bell/ding.wav"].text == "zorb, church bell"
    short = every["dog/bark.wav"]
    assert short.columns == pytest.approx(FMT.columns(1.0), abs=1)
    picture, clip = load_picture(short.picture), read_clip(short.audio)
    assert picture.pixels.shape == (FMT.n_mels, FMT.width, 3) and picture.format == FMT
    assert clip.sample_rate == FMT.sample_rate and clip.num_samples == FMT.width * FMT.hop_length
    assert clip.num_channels == 1 and float(clip.waveform.abs().max()) == pytest.approx(1, abs=1e-3)
    assert float(clip.waveform[:, int(1.01 * FMT.sample_rate) :].abs().max()) < 1e-4  # padding
    # The picture is that of the sound beside it.
    assert torch.allclose(encode(clip, FMT).levels(), picture.levels(), atol=2 / 255)
    assert len(data.splits["validation"]) >= 1
    about = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
    assert sum(about["splits"].values()) == len(every) + 1  # growl gives two clips


def test_windows_cover_long_recordings(write: Write, sounds: Path, tmp_path: Path) -> None:
    write("long.wav", 13.0)
    write("other.wav", 1.0)
    build_dataset(sounds, tmp_path / "out", DatasetOptions(test=0))
    found = lines_of(tmp_path / "out")
    length = FMT.seconds(FMT.width)
    starts = [line["start_s"] for name, line in found.items() if name.startswith("long.wav")]
    assert sorted(starts) == pytest.approx([0, length, 13 - length], abs=1e-3)
    assert len({line["split"] for name, line in found.items() if name.startswith("long.wav")}) == 1


@pytest.mark.parametrize(
    ("seconds", "options", "starts"),
    [
        (4.0, {}, [0]),
        (10.0, {}, [0]),
        (12.0, {}, [0]),
        (13.0, {}, [0, 3]),
        (20.0, {"overlap": 0.5}, [0, 5, 10]),
        (100.0, {"windows": "first"}, [0]),
        (100.0, {"max_windows": 3}, [0, 40, 90]),
    ],
)
def test_where_windows_begin(seconds: float, options: dict[str, Any], starts: list[float]) -> None:
    assert window_starts(seconds, 10.0, DatasetOptions(**options)) == pytest.approx(starts, abs=10)
    found = window_starts(seconds, 10.0, DatasetOptions(**options))
    assert len(found) == len(starts) and all(0 <= s and (s + 10 <= seconds + 1e-6 or s == 0) for s in found)


def test_bad_files_are_left_out_and_listed(write: Write, sounds: Path, tmp_path: Path) -> None:
    for number in range(8):
        write(f"good{number}.wav")
    (sounds / "empty.wav").write_bytes(b"")
    (sounds / "text.mp3").write_text("this is no sound", "utf-8")
    write("one.wav", samples=np.array([0.5]))
    write("silent.wav", samples=np.zeros(RATE))
    write("nan.wav", samples=np.full(RATE, np.nan), rate=RATE)
    soundfile.write(sounds / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    write("clipped.wav", samples=np.sign(np.sin(np.arange(RATE) / 30)))
    (sounds / "copy.wav").write_bytes((sounds / "good1.wav").read_bytes())
    (sounds / "._good0.wav").write_bytes(b"macOS")
    out = tmp_path / "out"
    data = build_dataset(sounds, out, DatasetOptions(max_unreadable=0.3))
    assert sum(map(len, data.splits.values())) == 8
    found = skipped(out)
    assert set(found) == {
        "empty.wav",
        "text.mp3",
        "one.wav",
        "silent.wav",
        "nan.wav",
        "clipped.wav",
        "good1.wav",
    }
    for name, words in {
        "empty.wav": "unreadable: it is empty",
        "text.mp3": "unreadable: it can't be read",
        "one.wav": "short: it is 0.06 ms long",
        "silent.wav": "silent: is silent",
        "nan.wav": "unreadable: it has 16000 NaN",
        "clipped.wav": "clipped: is clipped in",
        "good1.wav": "duplicate: is the same sound as copy.wav",
    }.items():
        assert found[name].startswith(words), found[name]
    with pytest.raises(SonopaintError, match=r"2 of 15 sounds .* can't be read, the first is empty.wav"):
        build_dataset(sounds, tmp_path / "strict", DatasetOptions(max_unreadable=0.1))


def test_folders_without_anything_useful_are_refused(write: Write, sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(SonopaintError, match="holds no sounds"):
        build_dataset(sounds, out)
    (sounds / "song.m4a").write_bytes(b"x")
    with pytest.raises(SonopaintError, match="song.m4a .*can't be read as a sound"):
        build_dataset(sounds, out)
    with pytest.raises(SonopaintError, match="There is no folder or file"):
        build_dataset(tmp_path / "nowhere", out)
    with pytest.raises(SonopaintError, match="is a single file"):
        build_dataset(sounds / "song.m4a", out)
    write("silent.wav", samples=np.zeros(RATE))
    (sounds / "song.m4a").unlink()
    with pytest.raises(SonopaintError, match="No clip is left to train on \\(1 silent\\)"):
        build_dataset(sounds, out)
    assert not any(out.glob("*/*.png"))


def test_one_clip_is_enough_to_train_on(write: Write, sounds: Path, tmp_path: Path) -> None:
    write("only.wav")
    data = build_dataset(sounds, tmp_path / "out", DatasetOptions(validation=0.4, test=0.4))
    assert [len(data.splits[s]) for s in ("train", "validation", "test")] == [1, 0, 0]


def test_validation_is_found_even_where_its_clips_are_duplicates(
    write: Write, sounds: Path, tmp_path: Path
) -> None:
    names = ["a", "b", "c", "d"]
    seed = next(s for s in range(50) if assign(names, 0.1, 0, s)["d"] == "validation")
    for name in names[:3]:
        write(f"{name}.wav")
    (sounds / "d.wav").write_bytes((sounds / "a.wav").read_bytes())
    options = DatasetOptions(seed=seed, test=0)
    first = build_dataset(sounds, tmp_path / "out", options)
    assert [len(first.splits[s]) for s in ("train", "validation")] == [2, 1]
    made: list[str] = []
    again = build_dataset(sounds, tmp_path / "out", options, lambda done, total, what: made.append(what))
    assert again == first and not any(what.endswith(".wav") for what in made)


def test_links_that_lead_round_end(write: Write, sounds: Path, tmp_path: Path) -> None:
    write("a/x.wav")
    write("y.wav")
    (sounds / "a" / "loop").symlink_to(sounds)
    (sounds / "gone.wav").symlink_to(tmp_path / "nothing.wav")
    data = build_dataset(sounds, tmp_path / "out", DatasetOptions(max_unreadable=0.5))
    assert sum(map(len, data.splits.values())) == 2


def test_other_encodings_are_read_and_said(
    write: Write, sounds: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write("a.wav", text="ein Käfer".encode("utf-16"))
    write("b.wav", text="ein Käfer".encode("latin-1"))
    write("c.wav", text="dog " * 100)
    build_dataset(sounds, tmp_path / "out")
    found = lines_of(tmp_path / "out")
    assert found["a.wav"]["text"] == found["b.wav"]["text"] == "ein Käfer"
    assert "1 caption file was in UTF-16" in caplog.text and "Windows-1252" in caplog.text
    assert "longer than the 77 tokens" in caplog.text


def test_it_goes_on_where_it_was_stopped(write: Write, sounds: Path, tmp_path: Path) -> None:
    for number in range(8):
        write(f"{number}.wav", 1 + number / 4)
    seen: list[str] = []

    def stop(done: int, total: int, what: str) -> None:
        seen.append(what)
        if done == 4:
            raise Cancelled

    out, whole = tmp_path / "out", tmp_path / "whole"
    with pytest.raises(Cancelled):
        build_dataset(sounds, out, progress=stop)
    with pytest.raises(SonopaintError, match="is not a dataset"):
        load_dataset(out)
    # Killed while writing: half a line, a file that is missing, one that was not renamed any more.
    with (out / ".build" / "clips.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"name": "half')
    next(out.glob("*/*.png")).unlink()
    next(out.glob("*/*.flac")).with_name(".sonopaint-a50r_8ek.flac").touch()
    made: list[str] = []
    build_dataset(sounds, out, progress=lambda done, total, what: made.append(what))
    assert sum(what.endswith(".wav") for what in made) == 5  # four were done, one of them was damaged
    build_dataset(sounds, whole)
    assert files(out) == files(whole)


def test_made_again_only_new_sounds_are_made_and_nothing_moves(
    write: Write, sounds: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for number in range(12):
        write(f"{number}.wav")
    (sounds / "12.wav").write_bytes((sounds / "3.wav").read_bytes())  # a duplicate
    build_dataset(sounds, out)
    before = lines_of(out)
    write("aaa.wav")
    write("zzz.wav")
    write("5.wav", 2.0)  # replaced by another sound
    (sounds / "7.wav").unlink()
    made: list[str] = []
    build_dataset(sounds, out, progress=lambda done, total, what: made.append(what))
    after = lines_of(out)
    assert {what for what in made if what.endswith(".wav")} == {"aaa.wav", "zzz.wav", "5.wav"}
    assert set(after) == set(before) - {"7.wav"} | {"aaa.wav", "zzz.wav"}
    assert all(after[name]["split"] == before[name]["split"] for name in set(after) & set(before))
    stems = {line["file_name"] for line in after.values()}
    assert {path.name for path in out.glob("*/*.png")} == stems


def test_edited_captions_survive(write: Write, sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write("dog/a.wav", text="beside the sound")
    write("dog/b.wav")
    data = build_dataset(sounds, out, DatasetOptions(validation=0, test=0))
    name = next(e.picture.name for e in data.train if e.source == "dog/a.wav")
    set_captions(out, {f"train/{name}": "edited by hand"})
    build_dataset(sounds, out, DatasetOptions(validation=0, test=0, trigger="zorb"))
    found = lines_of(out)
    assert found["dog/a.wav"]["text"] == "edited by hand"
    assert found["dog/b.wav"]["text"] == "zorb, dog"
    assert (sounds / "dog" / "a.txt").read_text("utf-8") == "beside the sound"


def test_other_options_need_force(write: Write, sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write("a.wav", 12.0)
    write("b.wav")
    build_dataset(sounds, out)
    with pytest.raises(SonopaintError, match="overlap was 0.0, now 0.5.* with force, or choose another out"):
        build_dataset(sounds, out, DatasetOptions(overlap=0.5))
    with pytest.raises(SonopaintError, match="format was sonopaint-mini, now riffusion-v1"):
        build_dataset(sounds, out, DatasetOptions(format="riffusion-v1"))
    assert load_dataset(out).format == FMT
    build_dataset(sounds, out, DatasetOptions(overlap=0.5), force=True)
    assert len([name for name in lines_of(out) if name.startswith("a.wav")]) == 4


def test_foreign_folders_are_never_touched(write: Write, sounds: Path, tmp_path: Path) -> None:
    write("a.wav")
    mine = tmp_path / "mine"
    (mine / "train").mkdir(parents=True)
    (mine / "train" / "thesis.doc").write_text("years of work", "utf-8")
    for force in (False, True):
        with pytest.raises(SonopaintError, match="is not empty and holds no dataset"):
            build_dataset(sounds, mine, force=force)
    assert (mine / "train" / "thesis.doc").read_text("utf-8") == "years of work"
    with pytest.raises(SonopaintError, match="is a file"):
        build_dataset(sounds, mine / "train" / "thesis.doc")
    # A dataset inside the folder of sounds is not taken for sounds.
    build_dataset(sounds, sounds / "made")
    build_dataset(sounds, sounds / "made")
    assert set(lines_of(sounds / "made")) == {"a.wav"}
    with pytest.raises(SonopaintError, match="is a finished dataset"):
        build_dataset(sounds / "made", tmp_path / "again")


def test_two_builds_at_once_are_refused(write: Write, sounds: Path, tmp_path: Path) -> None:
    write("a.wav")
    refused = []

    def meanwhile(done: int, total: int, what: str) -> None:
        if what == "a.wav":
            with pytest.raises(SonopaintError, match="Another process makes the dataset") as error:
                build_dataset(sounds, tmp_path / "out")
            refused.append(error)

    build_dataset(sounds, tmp_path / "out", progress=meanwhile)
    assert refused


def test_processes_make_the_same_as_one(write: Write, sounds: Path, tmp_path: Path) -> None:
    for number in range(33):
        write(f"{number}.wav", 0.2)
    one = build_dataset(sounds, tmp_path / "one", workers=1)
    two = build_dataset(sounds, tmp_path / "two", workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert [e.text for e in one.train] == [e.text for e in two.train]


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"sonopaint-mini"}))
def test_every_format_has_its_exact_width(write: Write, sounds: Path, tmp_path: Path, preset: str) -> None:
    write("a.wav", 3.0)
    data = build_dataset(sounds, tmp_path / "out", DatasetOptions(format=preset))
    picture, clip = load_picture(data.train[0].picture), read_clip(data.train[0].audio)
    assert picture.columns == data.format.width
    assert data.train[0].columns == pytest.approx(data.format.columns(3.0), abs=1)
    assert clip.num_samples == data.format.width * data.format.hop_length
    assert clip.num_channels == data.format.num_channels


def test_a_very_long_recording_is_read_in_windows(sounds: Path, tmp_path: Path) -> None:
    """Three hours, 8 kHz: only what is looked at is read."""
    import resource

    with soundfile.SoundFile(sounds / "long.flac", "w", 8000, 1) as file:
        minute = 0.2 * np.random.default_rng(1).standard_normal(60 * 8000).clip(-3, 3).astype(np.float32)
        for number in range(180):
            file.write(np.roll(minute, 77_777 * number))  # each minute begins elsewhere
    soundfile.write(sounds / "b.wav", 0.2 * np.random.default_rng(2).standard_normal(8000), 8000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data = build_dataset(sounds, tmp_path / "out", DatasetOptions(max_windows=6, test=0))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    starts = sorted(e.start_s for examples in data.splits.values() for e in examples if e.source != "b.wav")
    assert len(starts) == 6 and starts[-1] > 10_700
    assert grown < 200_000, f"{grown} KiB for a file of 345 MB as floats"


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(
    write: Write, sounds: Path, tmp_path: Path, workers: str
) -> None:
    for number in range(40):
        write(f"{number % 4}/{number}.wav", 0.5 + number / 10)
    command = [sys.executable, "-m", "sonotrain", "dataset", str(sounds), "--workers", workers, "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    out = tmp_path / "killed"
    rng = np.random.default_rng(int(workers))
    kills = 0
    for _ in range(6):
        running = subprocess.Popen([*command, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while running.poll() is None and not (out / ".build").is_dir():
            time.sleep(0.05)
        try:
            running.wait(rng.uniform(0.2, 5))
        except subprocess.TimeoutExpired:
            running.kill()
            kills += 1
        running.wait()
    done = subprocess.run([*command, str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert kills and files(out) == files(tmp_path / "whole")
    assert not list(out.rglob(".*.png")) + list(out.rglob(".*.flac")), "half-written files stayed"


def test_the_command_line(write: Write, sounds: Path, tmp_path: Path, capsys: Any) -> None:
    write("dog/a.wav")
    write("dog/b.wav")
    write("cat/c.wav", samples=np.zeros(100))
    out = str(tmp_path / "out")
    assert main(["dataset", str(sounds), "--out", out, "--test", "0", "--only", "DOG"]) == 0
    said = capsys.readouterr().out
    assert "1 train, 1 validation clips of sonopaint-mini" in said
    assert main(["dataset", str(sounds), "--out", out, "--overlap", "0.3"]) == 2
    assert "--overlap was 0.0, now 0.3" in capsys.readouterr().err
    assert main(["dataset", str(sounds), "--out", out, "--only", "bird"]) == 2
    assert "there are: cat, dog" in capsys.readouterr().err


def test_full_disk_is_one_sentence(
    write: Write, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.wav")
    write("b.wav")
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        if str(target).endswith(".flac"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(SonopaintError, match="No space left on device"):
        build_dataset(sounds, tmp_path / "out")
    monkeypatch.undo()
    data = build_dataset(sounds, tmp_path / "out")
    assert len(data.train) == 1
