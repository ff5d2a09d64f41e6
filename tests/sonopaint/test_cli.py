"""The sonopaint command: exit codes, files, sentences; painting itself is tested with the tasks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sonoconvert.defaults import FEATHER_S
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.pictures.picture import load_picture
from sonopaint.cli import _ProgressLine, main
from sonopaint.cli_options import parser_of
from sonopaint.paths import default_name, output_paths
from sonopaint.tasks.settings import CLIPS, EXTEND_S, SD_DEFAULTS, VARY_STRENGTH, PaintSettings

QUICK = ["--steps", "1", "--iterations", "1", "--quiet"]


@pytest.fixture
def sonopaint(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a command in an empty folder, with the tiny model loaded already."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SONOPAINT_OUTPUTS", raising=False)
    monkeypatch.setattr("sonopaint.cli._load", lambda args: tiny)
    return lambda *arguments: main([str(argument) for argument in arguments])


@pytest.fixture
def recording(make_clip: Callable[..., Clip], tmp_path: Path) -> Path:
    path = tmp_path / "in.wav"
    write_clip(make_clip(1.5, 22_050, 2), path)
    return path


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    """One sentence was said on stderr, with these words in it, and nothing on stdout."""
    out, err = capsys.readouterr()
    assert not out and len(err.strip().splitlines()) == 1 and err.startswith("sonopaint: ")
    for word in words:
        assert word in err


def test_defaults_are_those_of_every_door() -> None:
    def default(command: str, name: str, *words: str) -> Any:
        return getattr(parser_of(command).parse_intermixed_args(["in.wav", *words]), name)

    assert default("vary", "strength") == VARY_STRENGTH and default("inpaint", "strength") is None
    assert default("inpaint", "feather") == FEATHER_S
    assert default("interpolate", "clips", "rain") == CLIPS
    assert PaintSettings().strength == 1
    assert PaintSettings().resolved({}).to_dict() == PaintSettings(**SD_DEFAULTS).to_dict()
    assert PaintSettings().resolved({"steps": 4}).guidance_scale == SD_DEFAULTS["guidance_scale"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["generate", "x", "--cfg", "101"], "--cfg must be from 0 to 100, not 101."),
        (["generate", "x", "--steps", "0"], "--steps must be a whole number from 1 to 1000, not 0."),
        (["generate", "x", "--sampler", "magic"], "There is no --sampler 'magic'"),
        (["generate", "x", "--negative", "a" * 10_001], "--negative has 10,001 characters"),
        (["generate", "a" * 10_001], "PROMPT has 10,001 characters"),
        (["generate", "x", "--seconds", "nan"], "--seconds must be a number, not nan."),
        (["generate", "x", "--count", "101"], "--batch must be a whole number from 1 to 100, not 101."),
        (["inpaint", "in.wav", "x", "--region", "0:1", "--feather", "-1"], "--feather must be 0 s or more"),
        (["extend", "in.wav", "x", "--left", "-1"], "--left must be 0 s or more, not -1.0."),
        (["loop", "x", "--clip", "in.wav", "--seam", "0"], "--seam must be longer than 0 s, not 0.0 s."),
        (["loop", "x", "--seam", "1"], "give --seam only together with a sound."),
        (["interpolate", "a", "b", "--clips", "1"], "--clips must be a whole number from 2 to 100, not 1."),
    ],
)
def test_errors_name_the_options(
    sonopaint: Callable[..., int],
    recording: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    assert sonopaint(*arguments, "--quiet", "-o", "out.wav") == 2
    refused(capsys, says)


def test_extend_adds_after_the_sound_where_nobody_says(
    sonopaint: Callable[..., int], recording: Path, tmp_path: Path
) -> None:
    assert sonopaint("extend", recording, "rain", "-o", "after.wav", *QUICK) == 0
    assert sonopaint("extend", recording, "rain", "--left", 0.5, "-o", "before.wav", *QUICK) == 0
    source = read_clip(recording)
    after, before = read_clip(tmp_path / "after.wav"), read_clip(tmp_path / "before.wav")
    assert after.duration_s == pytest.approx(1.5 + EXTEND_S, abs=1e-4)
    assert torch.equal(after.waveform[:, : source.num_samples], source.waveform)
    assert before.duration_s == pytest.approx(2.0, abs=1e-4)


def test_generate_writes_a_sound_and_its_picture(
    sonopaint: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("generate", "a dog barking", "--seed", 1, "--seconds", 0.5, "--picture", *QUICK)
    assert sonopaint(*arguments, "-o", "bark.wav") == 0
    assert capsys.readouterr().out.split() == ["bark.wav", "bark.png"]
    clip, picture = read_clip(tmp_path / "bark.wav"), load_picture(tmp_path / "bark.png")
    assert clip.num_samples == 16_000 and clip.settings["prompt"] == "a dog barking"
    assert picture.settings == clip.settings
    # The same seed, and the settings that the file carries, give the same samples.
    assert sonopaint("generate", "--like", "bark.wav", "-o", "again.flac", "--quiet") == 0
    assert torch.equal(read_clip("again.flac").waveform, clip.waveform)


def test_a_picture_for_which_the_disk_has_no_room_leaves_the_sound(
    sonopaint: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sonoconvert.pictures import picture as pictures

    resource = pytest.importorskip("resource")  # POSIX
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    save = pictures.save_picture

    def on_a_full_disk(*arguments: Any, **options: Any) -> Path:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        try:
            return save(*arguments, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    monkeypatch.setattr(pictures, "save_picture", on_a_full_disk)
    code = sonopaint("generate", "x", "--picture", "--seconds", 0.5, "-o", "bark.wav", *QUICK)
    said = capsys.readouterr().err
    assert code == 2 and "bark.png" in said and "Traceback" not in said
    assert read_clip(tmp_path / "bark.wav").num_samples == 16_000
    assert not [path for path in tmp_path.iterdir() if "bark" in path.name and path.suffix != ".wav"]
    assert not list(tmp_path.glob(".sonopaint-*"))


def test_batches_are_numbered_and_names_made_up(sonopaint: Callable[..., int], tmp_path: Path) -> None:
    assert sonopaint("generate", "rain", "--seconds", 0.2, "--batch", 2, "-o", "out.ogg", *QUICK) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out-1.ogg", "out-2.ogg"]
    assert sonopaint("generate", "Heavy rain!", "--seed", 7, "--seconds", 0.2, *QUICK) == 0
    assert (tmp_path / "outputs" / "heavy-rain-7.wav").is_file()
    assert sonopaint("generate", "", "--seed", 8, "--seconds", 0.2, *QUICK) == 0
    assert (tmp_path / "outputs" / "generate-8.wav").is_file()


def test_edits_from_the_command_line(sonopaint: Callable[..., int], recording: Path, tmp_path: Path) -> None:
    source = read_clip(recording)
    region = ("--region", "0.5:0.7,200:4000", "--region", "0.9:1.0")
    assert sonopaint("inpaint", recording, *region, "a train horn", "-o", "out.wav", *QUICK) == 0
    out = read_clip("out.wav")
    same = (out.waveform == source.waveform).all(dim=0)
    assert same[: round(0.44 * 22_050)].all() and same[round(1.06 * 22_050) :].all() and not same.all()
    assert out.settings["prompt"] == "a train horn"

    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[:, 12:18] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert sonopaint("inpaint", recording, "rain", "--mask", "mask.png", "-o", "masked.wav", *QUICK) == 0
    assert not torch.equal(read_clip("masked.wav").waveform, source.waveform)

    sides = ("--left", 0.25, "--right", 0.5)
    assert sonopaint("extend", recording, *sides, "a train horn", "-o", "longer.wav", *QUICK) == 0
    longer = read_clip("longer.wav").waveform
    left = round(0.25 * 22_050)
    assert longer.shape[1] == source.num_samples + left + round(0.5 * 22_050)
    assert torch.equal(longer[:, left : left + source.num_samples], source.waveform)

    assert sonopaint("vary", recording, "-o", "varied.wav", *QUICK) == 0
    assert read_clip("varied.wav").settings["strength"] == 0.5
    assert sonopaint("loop", "--clip", recording, "--seam", 0.4, "-o", "closed.wav", *QUICK) == 0
    assert read_clip("closed.wav").waveform.shape == source.waveform.shape
    assert sonopaint("loop", "rain", "--seconds", 1.024, "-o", "loop.wav", *QUICK) == 0
    assert read_clip("loop.wav").num_samples == 32_768


def test_interpolate_writes_the_clips_and_the_whole(sonopaint: Callable[..., int], tmp_path: Path) -> None:
    arguments = ("rain", "a siren", "--clips", 2, "--seconds", 0.5, "--seed", 1, "-o", "way.wav")
    assert sonopaint("interpolate", *arguments, *QUICK) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["way-1.wav", "way-2.wav", "way.wav"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate"], ["prompt"]),
        (["generate", "x", "--steps", "0"], ["steps", "0"]),
        (["generate", "x", "--steps", "many"], ["many"]),
        (["generate", "x", "--seconds", "-1"], ["-1"]),
        (["generate", "x", "--sampler", "magic"], ["magic", "euler"]),
        (["generate", "x", "--batch", "0"], ["batch", "0"]),
        (["generate", "x" * 10_001], ["10,000"]),
        (["generate", "x", "-o", "out.aac"], ["out.aac", ".wav"]),
        (["generate", "x", "--unknown"], ["--unknown"]),
        (["generate", "--like", "in.wav"], ["settings"]),
        (["vary", "missing.wav"], ["missing.wav"]),
        (["vary", "in.wav", "--strength", "2"], ["strength", "2"]),
        (["inpaint", "in.wav", "x"], ["--region"]),
        (["inpaint", "in.wav", "x", "--region", "1-2"], ["1-2"]),
        (["inpaint", "in.wav", "x", "--region", "9:10"], ["9:10", "1.5"]),
        (["inpaint", "in.wav", "x", "--mask", "missing.png"], ["missing.png"]),
        (["inpaint", "in.wav", "x", "--region", "0:1", "--feather", "-1"], ["feather"]),
        (["extend", "in.wav", "x", "--left", "0"], ["0"]),
        (["loop", "x", "--clip", "in.wav", "--seconds", "2"], ["seconds"]),
        (["interpolate", "a", "b", "--clips", "1"], ["1"]),
        (["interpolate", "a"], ["to"]),
        (["repaint", "x"], ["repaint", "inpaint"]),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(
    sonopaint: Callable[..., int],
    recording: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: list[str],
) -> None:
    painting = ["--quiet"] if arguments[0] != "repaint" else []
    assert sonopaint(*arguments, *painting) == 2
    refused(capsys, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


def test_existing_files_are_refused_before_the_work(
    sonopaint: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "out.png").write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr("sonopaint.cli._load", lambda args: pytest.fail("the model was loaded"))
        assert sonopaint("generate", "x", "--picture", "-o", "out.wav", *QUICK) == 2
        refused(capsys, "out.png", "--force")
        (tmp_path / "file").touch()
        assert sonopaint("generate", "x", "-o", "file/out.wav", *QUICK) == 2
    assert (tmp_path / "out.png").read_text() == "mine"
    assert sonopaint("generate", "x", "--picture", "--seconds", 0.2, "-o", "out.wav", "--force", *QUICK) == 0
    assert load_picture(tmp_path / "out.png").settings["prompt"] == "x"


def test_models_and_devices_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.safetensors").write_bytes(b"\x10")
    monkeypatch.setattr("sonopaint.models.folders.shipped_folder", lambda: tmp_path / "weights")
    cases = [("mini", "shipped"), ("none.safetensors", "none"), ("bad.safetensors", "bad")]
    for model, word in cases:
        assert main(["generate", "x", "--model", model, "--quiet"]) == 2
        refused(capsys, word)
    assert main(["generate", "x", "--model", "none", "--device", "abacus", "--quiet"]) == 2
    refused(capsys, "abacus")
    assert not (tmp_path / "outputs").exists()


def test_models_lists_what_is_there(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SONOPAINT_MODELS", str(tiny_folder.parent))
    assert main(["models"]) == 0
    assert any("tiny" in line and "sonopaint-mini" in line for line in capsys.readouterr().out.splitlines())


def test_help_is_quick_and_complete(repository: Path) -> None:
    """No command's help loads torch."""
    code = (
        "import sys; from sonopaint.cli import main; assert main(['--help']) == 0\n"
        "try:\n    main(['generate', '--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert not {'torch', 'numpy', 'diffusers'} & set(sys.modules)"
    )
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repository)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begin < 20  # 0.1 s on an idle machine
    for command in ("generate", "vary", "inpaint", "extend", "loop", "interpolate", "models"):
        assert command in done.stdout and parser_of(command).description
    assert main([]) == 2


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_ctrl_c_leaves_no_half_file(tiny_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sonopaint", "generate", "rain", "--model", str(tiny_folder)]
    command += ["--steps", "900", "--device", "cpu", "-o", "out.wav"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # Shells let what runs in the background ignore Ctrl-C; these tests may run there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Painting"):
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130 and "Traceback" not in rest and "Stopped" in rest
    assert not list(tmp_path.iterdir())


def test_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_name("A dog, barking: (loud:1.3)!", "generate", 3) == "a-dog-barking-loud-1-3-3.wav"
    assert default_name("...", "vary", 3) == "vary-3.wav"
    assert len(default_name("x" * 500, "vary", 3)) < 70
    assert default_name("Zug fährt 🚂 ab", "generate", 0) == "zug-fährt-ab-0.wav"
    monkeypatch.setenv("SONOPAINT_OUTPUTS", str(tmp_path / "mine"))
    assert output_paths(None, "a.wav", 1) == [tmp_path / "mine" / "a.wav"]
    assert output_paths(tmp_path, "a.wav", 2) == [tmp_path / "a-1.wav", tmp_path / "a-2.wav"]


def test_progress_tells_the_time_that_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    progress = _ProgressLine(quiet=False)
    for step in range(5):
        progress(step, 4, "Painting")
    progress.end()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Painting:   0%" and "left" in lines[1] and lines[-1] == "Painting: 100%"
    assert len(lines) == 5
