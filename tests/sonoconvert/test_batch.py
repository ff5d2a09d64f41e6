"""Many files: manifest, resume, shards, workers that die, a cluster, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from sonoconvert.cli import main
from sonoconvert.conversion import batch
from sonoconvert.conversion.jobs import Job, Outcome
from sonoconvert.files.clip import Clip, write_clip


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    for index in range(5):
        t = torch.arange(3200) / 32_000
        wave = 0.3 * torch.sin(2 * torch.pi * 200 * (index + 1) * t)[None]
        write_clip(Clip(wave, 32_000), folder / f"s{index}.wav")
    (folder / "s2.wav").write_bytes(b"nonsense")
    return folder


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pngs(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.rglob("*.png"))


def test_the_manifest_tells_each_file(sounds: Path, tmp_path: Path) -> None:
    command = [
        "to-picture",
        str(sounds),
        "-o",
        str(tmp_path / "out"),
        "--manifest",
        str(tmp_path / "m.jsonl"),
    ]
    assert main(command) == 1
    told = entries(tmp_path / "m.jsonl")
    assert [entry["status"] for entry in told] == ["done", "done", "failed", "done", "done"]
    assert told[0]["source"] == str(sounds / "s0.wav") and told[0]["outputs"] == [
        str(tmp_path / "out" / "s0.png")
    ]
    assert told[0]["bytes"] == (sounds / "s0.wav").stat().st_size
    assert "can't be read as a sound" in told[2]["error"] and told[2]["outputs"] == []


def test_resume_does_only_what_is_left(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["to-picture", str(sounds), "-o", str(out), "--resume"]
    assert main(command) == 1
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    # Again: only the broken one is tried. A line that a crash cut off does not matter.
    with (out / "manifest.jsonl").open("a") as file:
        file.write('{"source": "/half')
    capsys.readouterr()
    assert main(command) == 1
    assert "0 of 1 files converted, 4 were done before, 1 failed." in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.png")} == before
    # It was repaired, one picture was lost, and one source changed.
    t = torch.arange(3200) / 32_000
    clip = Clip(0.1 * torch.sin(2 * torch.pi * 500 * t)[None], 32_000)
    write_clip(clip, sounds / "s2.wav", force=True)
    (out / "s0.png").unlink()
    write_clip(Clip(clip.waveform[:, :1600], 32_000), sounds / "s4.wav", force=True)
    assert main(command) == 0
    assert "3 of 3 files converted, 2 were done before." in capsys.readouterr().err
    changed = {path.stem for path in out.glob("*.png") if before.get(path) != path.stat().st_mtime_ns}
    assert changed == {"s0", "s2", "s4"}
    # Other options make other pictures.
    assert main([*command, "--format", "riffusion-v1"]) == 0
    assert "5 of 5" in capsys.readouterr().err


def test_resume_never_replaces_what_it_did_not_make(sounds: Path, tmp_path: Path) -> None:
    """A finished file without a record (a run that was killed) counts as done; strangers' files stay."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "s0.png").write_text("precious")
    main(["to-picture", str(sounds), "-o", str(tmp_path / "out"), "--resume"])
    assert (tmp_path / "out" / "s0.png").read_text() == "precious"
    assert pngs(tmp_path / "out") == ["s0", "s1", "s3", "s4"]


def test_resume_needs_a_place_for_its_list(sounds: Path) -> None:
    assert main(["to-picture", str(sounds), "--resume"]) == 2


def test_shards_share_the_files_between_them(sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for index in (1, 2, 3):
        command = ["to-picture", str(sounds), "-o", str(out), "--resume", "--shard", f"{index}/3"]
        assert main(command) == (2 if index == 3 else 0)  # the third has only the broken one
    assert pngs(out) == ["s0", "s1", "s3", "s4"]
    assert sorted(path.name for path in out.glob("*.jsonl")) == [
        f"manifest-{index}-of-3.jsonl" for index in (1, 2, 3)
    ]
    # What all of them did is known to a run without shards.
    (sounds / "s2.wav").unlink()
    assert main(["to-picture", str(sounds), "-o", str(out), "--resume"]) == 0
    assert not (out / "manifest.jsonl").exists()


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_bad_shards(sounds: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["to-picture", str(sounds), "--shard", text])
    assert "I/N" in capsys.readouterr().err


def test_a_bug_in_one_file_does_not_stop_the_others(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sonoconvert.conversion import jobs

    honest = jobs.convert

    def fails(job: Job, share: object) -> list[Path]:
        if job.source.stem == "s1":
            raise RuntimeError("tensor of size 0")
        return honest(job)

    monkeypatch.setattr(jobs, "convert", fails)
    assert main(["to-picture", str(sounds), "-o", str(tmp_path / "out")]) == 1
    assert pngs(tmp_path / "out") == ["s0", "s3", "s4"]
    assert "error in Sonopaint (tensor of size 0)" in capsys.readouterr().err


def die_on_s3(job: Job) -> Outcome:
    if job.source.stem == "s3":
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(job, [job.source.stem])


@pytest.mark.slow
def test_a_worker_that_dies_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the system ends a process that takes too much memory."""
    # Spawned workers find this module by its name.
    monkeypatch.setattr(die_on_s3, "__module__", "test_batch")
    monkeypatch.setitem(sys.modules, "test_batch", sys.modules[__name__])
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(batch, "_attempt_in_worker", die_on_s3)
    import argparse

    jobs = [Job(Path(f"s{index}"), Path(f"s{index}.png"), argparse.Namespace()) for index in range(8)]
    outcomes = {outcome.job.source.stem: outcome for outcome in batch.run(jobs, 2)}
    assert sorted(outcomes) == [f"s{index}" for index in range(8)]
    failed = [stem for stem, outcome in outcomes.items() if outcome.error]
    assert failed == ["s3"] and "ended its worker" in str(outcomes["s3"].error)


@pytest.mark.slow
def test_two_dask_workers_do_the_same(sounds: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    code = "import sys; from sonoconvert.cli import main; sys.exit(main(sys.argv[1:]))"
    out = tmp_path / "out"
    command = ["to-picture", str(sounds), "-o", str(out), "--resume", "--cluster", "local", "--workers", "2"]
    # LocalCluster starts its workers by importing the main module, which here is pytest's.
    script = tmp_path / "run.py"
    script.write_text(f"if __name__ == '__main__':\n    {code}\n")
    result = subprocess.run([sys.executable, str(script), *command], capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    assert pngs(out) == ["s0", "s1", "s3", "s4"]
    assert sorted(entry["status"] for entry in entries(out / "manifest.jsonl")) == ["done"] * 4 + ["failed"]


def test_a_scheduler_that_is_not_there(sounds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed")
    assert main(["to-picture", str(sounds), "--cluster", "nonsense://x"]) == 2
    assert "no Dask scheduler" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_leaves_nothing_half_done(tmp_path: Path, workers: str) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    noise = torch.randn(1, 32_000 * 4, generator=torch.Generator().manual_seed(0)) * 0.1
    for index in range(60):
        write_clip(Clip(noise, 32_000), folder / f"s{index:02d}.wav")
    command = [sys.executable, "-m", "sonoconvert", "to-picture", str(folder), "-o", str(out), "--resume"]
    options = ["--workers", workers, "--format", "riffusion-v1"]
    process = subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for _ in range(600):
        if (out / "manifest.jsonl").exists():
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "stopped after" in said and "Traceback" not in said
    done = len(list(out.glob("*.png")))
    assert 0 < done < 60
    assert not list(out.glob(".*")), "temporary files are left"
    assert subprocess.run([*command, *options], capture_output=True).returncode == 0
    assert len(list(out.glob("*.png"))) == 60


# Names and ends --------------------------------------------------------------------------------------------


def odd_names(folder: Path) -> list[Path]:
    """Sounds beside whose names stand ones that are no UTF-8, and ones as long as the system allows."""
    clip = Clip(0.3 * torch.sin(torch.arange(32_000) / 20)[None], 32_000)
    folder.mkdir(parents=True)
    paths = [folder / "a.wav", folder / os.fsdecode(b"caf\xe9.wav"), folder / f"{'n' * 247}.wav"]
    paths.append(folder / f"{'é' * 125}.wav")
    for number, path in enumerate(paths):
        write_clip(Clip(clip.waveform * (0.9 - 0.2 * number), 32_000), folder / "new.wav")
        os.rename(folder / "new.wav", path)
    return paths


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such names")
def test_odd_names_stop_no_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths, out = odd_names(tmp_path / "in"), tmp_path / "out"
    command = ["to-picture", str(tmp_path / "in"), "-o", str(out), "--resume"]
    assert main(command) == 0
    assert {p.stem for p in out.glob("*.png")} == {path.stem for path in paths}
    told = entries(out / "manifest.jsonl")
    assert {entry["source"] for entry in told} == {str(path) for path in paths}
    capsys.readouterr()
    assert main(command) == 0 and "4 were done before" in capsys.readouterr().err
    assert main(["info", *map(str, paths)]) == 0
    # An index has a longer name than its sound: those for which there is no room are named, the others done.
    assert main(["to-picture", str(tmp_path / "in"), "-o", str(tmp_path / "parts"), "--parts", "0.5"]) == 1
    said = capsys.readouterr().err
    assert said.count("too long") == 2 and "2 of 4 files converted, 2 failed." in said


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such names")
def test_odd_names_are_printed_by_the_real_program(tmp_path: Path) -> None:
    paths = odd_names(tmp_path / os.fsdecode(b"in\xff"))
    command = [sys.executable, "-m", "sonoconvert", "info", *map(os.fsencode, paths)]
    answer = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count(b": a sound (WAV") == 4 and b"caf\\udce9.wav" in answer.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such names")
def test_a_dataset_takes_odd_names(tmp_path: Path) -> None:
    from sonotrain.data.build import build_dataset
    from sonotrain.data.options import DatasetOptions

    odd_names(tmp_path / os.fsdecode(b"in\xff"))
    options = DatasetOptions(validation=0, test=0, duplicates="keep")
    data = build_dataset(tmp_path / os.fsdecode(b"in\xff"), tmp_path / "out", options)
    assert len(data.train) == 4
    lines = entries(tmp_path / "out" / "train" / "metadata.jsonl")
    assert "caf\\udce9.wav" in {line["source"] for line in lines}
    assert len(build_dataset(tmp_path / os.fsdecode(b"in\xff"), tmp_path / "out", options).train) == 4


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(stat.parent.name))
        except (OSError, ValueError):
            continue
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_and_no_half_file_outlives_a_killed_batch(tmp_path: Path, number: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for index in range(12):
        wave = torch.rand(1, 44_100 * 20, generator=generator) - 0.5
        write_clip(Clip(wave, 44_100), tmp_path / "in" / f"{index}.wav")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sonoconvert", "to-picture", str(tmp_path / "in"), "-o", str(out)]
    process = subprocess.Popen([*command, "--workers", "2"], stderr=subprocess.PIPE)
    until = time.monotonic() + 120
    while not list(out.glob("[0-9]*.png")) and time.monotonic() < until:
        time.sleep(0.05)
    workers = children(process.pid)
    assert len(workers) >= 2
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (143 if number == signal.SIGTERM else -9)
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, workers)) and b"Traceback" not in said
    assert not list(out.glob(".*"))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("after_s", [0.0, 0.7])
def test_ctrl_c_while_workers_start_says_no_traceback(tmp_path: Path, after_s: float) -> None:
    for index in range(200):
        write_clip(Clip(torch.zeros(1, 4000), 32_000), tmp_path / "in" / f"{index}.wav")
    command = [sys.executable, "-m", "sonoconvert", "to-picture", str(tmp_path / "in")]
    command += ["-o", str(tmp_path / "out"), "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    until = time.monotonic() + 120
    while len(children(process.pid)) < 2 and time.monotonic() < until:  # a tracker and the first worker
        time.sleep(0.005)
    workers = children(process.pid)
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and b"Traceback" not in said, said
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, workers)) and not list((tmp_path / "out").glob(".*"))
