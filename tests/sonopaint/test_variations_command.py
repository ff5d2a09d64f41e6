"""`sonopaint variations` from the command line, its files and its page; other programs as back-ends."""

from __future__ import annotations

import json
import shlex
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sonoconvert.curves.measure import measure
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonopaint.cli import main
from sonopaint.tasks.settings import PaintSettings
from sonopaint.variations.backends import Choice, open_variator
from sonopaint.variations.command import CommandVariator
from sonopaint.variations.deliver import finished, safe_stem
from sonopaint.variations.mel import EnvelopeVariator, MelVariator, SubjectVariator
from sonopaint.variations.pieces import PieceVariator, piece
from sonopaint.variations.protocol import Ask

# A program that plays the reference faster or slower, by its seed.
PROGRAM = """
import sys
import numpy, soundfile
reference, out, seed, kind = sys.argv[1:5]
if kind == "fail": sys.exit("out of memory")
if kind == "hang": import time; time.sleep(60)
if kind == "nothing": sys.exit()
wave, rate = soundfile.read(reference, always_2d=True)
at = numpy.arange(0, len(wave) - 1, 0.8 + 0.05 * int(seed))
soundfile.write(out, numpy.stack([numpy.interp(at, numpy.arange(len(wave)), c) for c in wave.T], 1), rate)
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> str:
    program = tmp_path_factory.mktemp("program") / "program.py"
    program.write_text(PROGRAM)
    return (
        f"{shlex.quote(sys.executable)} {shlex.quote(str(program))} {{reference}} {{out}} {{seed}} {{class}}"
    )


@pytest.fixture(scope="module")
def knock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    time = torch.arange(16_000) / 32_000
    wave = torch.sin(2 * torch.pi * (400 - 300 * time) * time) + 0.3 * torch.randn(16_000)
    path = tmp_path_factory.mktemp("sound") / "knock.wav"
    both = torch.stack([wave, 0.5 * wave]) * torch.exp(-time / 0.05) * 0.4
    write_clip(Clip(torch.nn.functional.pad(both, (800, 0)), 32_000), path)
    return path


def run(*arguments: str | Path) -> int:
    return main(["variations", *map(str, arguments), "--quiet"])


def test_a_soundbank_by_another_program(
    knock: Path, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "knocks"
    options = ["--command", command, "--count", "3", "--seed", "1", "-o", folder, "--zip", tmp_path / "k.zip"]
    assert run(knock, "Knock on wood!", *options, "--bits", "24") == 0
    names = [f"knock_on_wood_{number:02d}.wav" for number in (1, 2, 3)]
    assert capsys.readouterr().out.split()[:3] == [str(folder / name) for name in names]
    assert {path.name for path in folder.iterdir()} == {
        *names, "reference.wav", "variations.json", "index.html", "sheet.png",
    }  # fmt: skip
    facts = json.loads((folder / "variations.json").read_text())
    reference = read_clip(knock)
    for one in facts["variations"]:
        clip = read_clip(folder / one["file"])
        assert clip.subtype == "PCM_24" and clip.waveform.shape == reference.waveform.shape
        assert one["length_s"] == 0 and one["onset_ms"] == 0 and abs(one["loudness_lu"]) < 0.1
        assert clip.settings["figures"]["likeness"] == one["likeness"] < 1
    assert facts["figures"]["diversity"] > 0 and facts["made_by"]["command"] == command
    page = (folder / "index.html").read_text()
    assert all(name in page for name in names) and "http" not in page
    with zipfile.ZipFile(tmp_path / "k.zip") as file:
        assert file.namelist() == [*names, "variations.json"]

    gone = facts["variations"][0]["seed"]
    assert run("--again", folder, "--reject", str(gone)) == 0
    later = json.loads((folder / "variations.json").read_text())["variations"]
    seeds = {one["seed"] for one in later}
    assert len(seeds) == 3 and gone not in seeds
    assert seeds > {one["seed"] for one in facts["variations"]} - {gone}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--count", "0"], "--count must be a whole number from 1 to 200, not 0"),
        (["--count", "500"], "not 500"),
        (["--strength", "0"], "--strength is 0, which would change nothing"),
        (["--keep", "tempo"], "--keep knows"),
        (["--backend", "magic"], "There is no --backend 'magic'"),
        (["--bits", "8"], "--bits must be 16 or 24"),
        (["--start", "9"], "can't be read from 9 s"),
        (["--model", "no-such-model", "--backend", "vary"], "There is no model"),
        (["--again", "nowhere", "--reject", "1"], "nowhere is no soundbank"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], said: str, knock: Path, command: str, tmp_path: Path, capsys: Any
) -> None:
    own = [] if "--backend" in arguments else ["--command", command]
    assert run(knock, "knock", *own, "--count", "1", "--seed", "1", "-o", tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and "\n" not in error


@pytest.mark.parametrize(
    ("kind", "said"),
    [("fail", "out of memory"), ("hang", "did not end within"), ("nothing", "ended without writing 0.wav")],
)
def test_programs_that_fail_or_hang(kind: str, said: str, knock: Path, command: str) -> None:
    variator = CommandVariator(command, timeout_s=3.0 if kind == "hang" else 60.0)
    with pytest.raises(SonopaintError, match=said):
        list(variator.candidates(read_clip(knock), Ask(kind), [0]))


@pytest.mark.parametrize(
    "line", ["play {reference}", "play {out}", "play {out} {seed} {tempo}", "'play {out}"]
)
def test_command_lines_that_cannot_work(line: str) -> None:
    with pytest.raises(SonopaintError, match="command"):
        CommandVariator(line)


def test_a_masked_variation_leaves_the_rest_alone(tiny: Any, make_clip: Callable[..., Clip]) -> None:
    reference = make_clip(1.0, 32_000)
    (one,) = PieceVariator(tiny).candidates(reference, Ask("a dog barking", strength=1.0), [4])
    ((start, end),) = one.changed or ()
    assert 0.2 < end - start < 0.7
    kept = torch.ones(reference.num_samples, dtype=torch.bool)
    kept[round(start * 32_000) : round(end * 32_000) + 1] = False
    assert torch.equal(one.clip.waveform[:, kept], reference.waveform[:, kept])
    assert not torch.equal(one.clip.waveform, reference.waveform)
    lengths = [end - start for start, end in (piece(4.0, seed) for seed in range(40))]
    assert min(lengths) >= 0.29 and max(lengths) <= 1.01 and len({piece(4.0, seed) for seed in range(9)}) == 9


def test_a_subject_is_painted_from_words(tiny: Any, make_clip: Callable[..., Clip]) -> None:
    reference = make_clip(0.4, 32_000)
    variator = SubjectVariator(tiny)
    one, two = variator.candidates(reference, Ask("a dog barking"), [1, 2])
    assert not torch.equal(one.clip.waveform, two.clip.waveform)
    assert isinstance(MelVariator(tiny).describe()["model"], str)
    with pytest.raises(SonopaintError, match="choose one of vary, masked, healed, one-step, command"):
        open_variator(Choice("magic"))


def test_an_envelope_is_all_that_a_variation_knows_of_the_reference(tiny: Any) -> None:
    """Another sound with the same loudness curve gives the same; the loudness runs as the reference's."""
    time = torch.arange(32_000 * 2) / 32_000
    course = 10 ** (-1.5 * (time - 0.7).abs())
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0)) * course * 0.1
    variator = EnvelopeVariator(tiny, PaintSettings(steps=2))
    clips = [
        next(variator.candidates(Clip(wave[None], 32_000), Ask("rain", strength=0.5), [1]))
        for wave in (noise, -noise)
    ]
    assert torch.equal(clips[0].clip.waveform, clips[1].clip.waveform)
    assert clips[0].settings["guidance_scale"] == 5 and clips[0].settings["curves_exact"] == ["loudness"]
    asked, made = (
        measure(clip, ("loudness",), 20.0).values["loudness"][:36]
        for clip in (Clip(noise[None], 32_000), clips[0].clip)
    )
    assert np.corrcoef(asked, made)[0, 1] > 0.95


def test_files_are_trimmed_faded_and_go_round() -> None:
    time = torch.arange(32_000) / 32_000
    clip = Clip((torch.sin(2 * torch.pi * 200.3 * time) * (time < 0.5))[None], 32_000)
    trimmed = finished(clip, trim=True)
    assert trimmed.duration_s == pytest.approx(0.505, abs=0.002)
    steady = Clip(0.5 * torch.sin(2 * torch.pi * 200.3 * time)[None] + 0.1, 32_000)
    looped = finished(steady, loop=True)
    assert looped.num_samples == 32_000 - 3200
    step = (looped.waveform[0, 0] - looped.waveform[0, -1]).abs()
    assert step < 0.03 < (steady.waveform[0, 0] - steady.waveform[0, -1]).abs() + 0.03
    assert safe_stem("Knock on wood!") == "knock_on_wood" and safe_stem("鼓") == "variation"
