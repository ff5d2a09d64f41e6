"""Notes as text, curves as channels, and jingles from a tiny model with random weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sonoconvert.checkpoints.files import read_tensors, write_tensors
from sonoconvert.curves.curves import Curves
from sonoconvert.curves.measure import measure
from sonoconvert.curves.midi import Note
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.representations.cqt import CqtFormat
from sonopaint import cli
from sonopaint.jingles.make import make_jingles
from sonopaint.jingles.notes import curves_of_notes, followed, parse_notes
from sonopaint.models.jingles.controls import Controls
from sonopaint.models.jingles.file import Jingle, read_jingle, shipped_jingle, write_jingle
from sonopaint.models.jingles.formalisms import Edm
from sonopaint.models.jingles.network import JingleUNet
from sonopaint.models.jingles.spaces import Scaling, open_space
from sonopaint.samplers.edm import EdmSettings

NAMES = ("piano", "violin")
QUICK = EdmSettings(steps=3)


@pytest.fixture(scope="module")
def jingle() -> Jingle:
    """Random weights, eight frames a window."""
    torch.manual_seed(0)
    controls = Controls.at(("velocity", "pitch", "instruments"), NAMES, 7.8125)
    network = JingleUNet(1, 64, 8, (1, 2), controls=controls.size, control_channels=8)
    nn.init.normal_(network.head.weight, std=0.1)  # type: ignore[arg-type]
    scaling = Scaling(torch.zeros(1, 64, 1), torch.full((1, 64, 1), 0.8))
    return Jingle(network.eval(), Edm(), controls, "latents", 8, scaling)


@pytest.fixture
def model(jingle: Jingle, tmp_path: Path) -> Path:
    write_jingle(tmp_path / "tiny.safetensors", jingle, {"sonopaint.training": "{}"})
    return tmp_path / "tiny.safetensors"


# --- notes ------------------------------------------------------------------------------------------------


def test_notes_are_read_with_lengths_rests_and_velocities() -> None:
    notes = parse_notes("C4:0.5 e4 - Bb3:1:0.9 | F#4,5".replace(",5", ":0,25"))
    assert [(n.number, n.start_s, n.velocity) for n in notes] == [
        (60, 0.0, 0.7), (64, 0.5, 0.7), (58, 1.5, 0.9), (66, 2.5, 0.9)
    ]  # fmt: skip
    assert notes[0].end_s == pytest.approx(0.48) and notes[3].end_s == pytest.approx(2.73)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("C4 X4", "'X4' is no note"), ("C4:abc", "is no note"), ("", "no notes"), ("- -", "no notes"),
        ("C4:0", "must last"), ("C4:1:2", "at most 1"), ("C4:1:1:1", "is no note"),
        ("C4:100 C4:100", "120 s are the most"), ("C4:1e999", "is no note"),
    ],
)  # fmt: skip
def test_wrong_notes_are_named(text: str, said: str) -> None:
    with pytest.raises(SonopaintError, match=said):
        parse_notes(text)


def test_notes_out_of_range_move_by_octaves_and_chords_become_a_line() -> None:
    curves = curves_of_notes([Note(0, 1, 96, 0.5), Note(0.5, 2, 30, 0.8)], "violin")
    assert "2 notes outside" in curves.notes[0]
    pitch, velocity = curves.values["pitch"], curves.values["velocity"]
    assert pitch[5] == pytest.approx(523.25, abs=0.01) and pitch[60] == pytest.approx(185.0, abs=0.1)
    assert pitch[30] == 0 and velocity[30] == 0  # a gap, though the first was held
    assert velocity[5] == pytest.approx(0.5) and (curves.values["kind:violin"] == 1).all()


def test_a_hum_becomes_pitch_in_range_and_velocity_out_of_its_loudness() -> None:
    pitch = np.array([0, 110, 110, math.nan, 880], np.float32)
    loudness = np.array([-80, -30, -20, -5, -5], np.float32)
    made = followed(Curves(62.5, {"pitch": pitch, "loudness": loudness}))
    assert made.values["pitch"] == pytest.approx([0, 220, 220, math.nan, 440], nan_ok=True, rel=1e-4)
    velocity = made.values["velocity"]
    assert velocity[0] == 0 and velocity[4] == 1 and 0.1 < velocity[1] < velocity[2] < 1
    with pytest.raises(SonopaintError, match="no pitch"):
        followed(Curves(62.5, {"pitch": np.zeros(5, np.float32)}))
    with pytest.raises(SonopaintError, match="neither pitch"):
        followed(Curves(62.5, {"brightness": np.full(5, 500, np.float32)}))


# --- channels ---------------------------------------------------------------------------------------------


def test_features_are_the_document_s_where_asked_and_tell_silence_from_c_where_not() -> None:
    hertz = torch.tensor([[0.0, 261.6256, 493.8833, math.nan]])
    velocity, kinds = torch.tensor([[0.0, 0.5, 1.0, 0.5]]), torch.ones(1, 1, 4)
    theirs = Controls(("velocity", "chroma", "instruments"), ("piano",), 4.0)
    made = theirs.tensor(hertz, velocity, kinds)[0]
    assert made[1].tolist() == pytest.approx([0, 0, 1, -1], abs=1e-4)  # silence and C are both 0
    ours = Controls(("pitch",), ("piano",), 4.0)
    roll = ours.tensor(hertz, velocity, kinds)[0]
    assert roll.shape == (25, 4) and roll[:, 0].eq(0).all() and roll[:, 3].eq(-1).all()
    assert roll[12, 1] == pytest.approx(1, abs=1e-3) and roll[23, 2] == pytest.approx(1, abs=1e-3)
    between = ours.tensor(torch.tensor([[440 * 2 ** (-8.5 / 12)]]), velocity[:, :1], kinds[..., :1])[0, :, 0]
    assert between.sum() == pytest.approx(1, abs=1e-3) and between[12] == pytest.approx(0.5, abs=1e-3)


def test_folding_keeps_when_things_happen() -> None:
    controls = Controls(("velocity",), ("piano",), 7.8125, 8)
    steps = torch.arange(16.0)[None] / 16
    made = controls.tensor(torch.zeros(1, 16), steps, torch.ones(1, 1, 16))
    assert made.shape == (1, 8, 2) and made[0, :, 1].tolist() == steps[0, 8:].tolist()


def test_curves_without_a_feature_leave_it_free_and_other_instruments_are_off() -> None:
    controls = Controls.at(("velocity", "pitch", "instruments"), NAMES, 62.5)
    made = controls.of(Curves(62.5, {"kind:violin": np.ones(5, np.float32)}), 5)[0]
    assert made[:26].eq(-1).all() and made[26].eq(0).all() and made[27].eq(1).all()
    with pytest.raises(SonopaintError, match="no instrument 'tuba'"):
        controls.of(Curves(62.5, {"kind:tuba": np.ones(5, np.float32)}), 5)


# --- spaces -----------------------------------------------------------------------------------------------


def test_latents_keep_level_and_length_and_sound_like_the_source() -> None:
    time = torch.arange(48_000) / 32_000
    tone = 0.2 * torch.sin(2 * torch.pi * 440 * time) * (time > 0.5)
    space = open_space("latents")
    latents = space.encode(Clip(tone[None], 32_000))
    assert latents.shape == space.shape(48_000) == (64, 12)
    back = space.decode(latents, 48_000)
    assert back.num_samples == 48_000
    # Against the source's own level: quiet before, within 3 dB while it sounds.
    loud, quiet = (float(back.waveform[0, a:b].std()) for a, b in ((24_000, 40_000), (1000, 11_000)))
    assert abs(20 * math.log10(loud / float(tone[24_000:40_000].std()))) < 3
    assert quiet < loud / 30
    half = space.decode(space.encode(Clip(tone[None] / 4, 32_000)), 48_000)
    assert float(half.waveform[0, 24_000:40_000].std()) == pytest.approx(loud / 4, rel=0.35)


def test_cqt_with_even_magnitudes_comes_back_as_the_transform_itself_does() -> None:
    wave = torch.from_numpy(np.random.default_rng(0).standard_normal(12_000)).float()[None] * 0.1
    clip, space, plain = Clip(wave, 24_000), open_space("cqt"), CqtFormat()
    back = space.decode(space.encode(clip), 12_000)
    assert torch.allclose(back.waveform, plain.decode(plain.encode(clip), 12_000).waveform, atol=1e-5)
    power = plain.encode(clip).square().sum(0)
    assert torch.allclose(space.encode(clip).square().sum(0), power.sqrt(), rtol=1e-3, atol=1e-6)


# --- jingles ----------------------------------------------------------------------------------------------


def test_jingles_last_as_long_as_their_curves_and_hang_on_their_own_seed(
    jingle: Jingle, phase_search_only: None
) -> None:
    curves = curves_of_notes(parse_notes("C4:0.5 E4 - G4"), "piano", 1.0)
    made = make_jingles(jingle, curves, [1, 2], settings=QUICK)
    again = make_jingles(jingle, curves, [2], settings=QUICK)
    assert [clip.num_samples for clip in made] == [32_256] * 2  # 63 values of 16 ms
    assert not torch.equal(made[0].waveform, made[1].waveform)
    assert max(float(clip.waveform.abs().max()) for clip in made) < 0.971
    # Up to rounding: a batch of two adds in another order.
    assert (made[1].waveform - again[0].waveform).norm() < 0.02 * again[0].waveform.norm()
    assert made[0].settings["seed"] == 1 and made[0].settings["curves"]["rate"] == 62.5


def test_long_jingles_go_in_windows(jingle: Jingle) -> None:
    """Windows of eight frames; what is far away changes nothing."""
    one, other = "C4:3", "C4:2 C5:1"
    clips = [
        make_jingles(jingle, curves_of_notes(parse_notes(t), "piano", 3.0), [5], settings=QUICK)[0]
        for t in (one, other)
    ]
    assert clips[0].num_samples == 188 * 512  # 3 s, in steps of 16 ms
    assert not torch.equal(clips[0].waveform[:, 64_000:], clips[1].waveform[:, 64_000:])


def test_files_come_back_and_damaged_ones_are_told(model: Path, jingle: Jingle, tmp_path: Path) -> None:
    read = read_jingle(model)
    assert read.controls == jingle.controls and read.frames == 8 and read.space == "latents"
    for name, tensor in read.network.state_dict().items():
        assert torch.allclose(tensor, jingle.network.state_dict()[name], atol=1e-3)
    tensors, text = read_tensors(model), read.metadata["sonopaint.jingle"]
    for number, (change, said) in enumerate(
        (
            ({"network": read.network.config | {"width": 1 << 30}}, "header is damaged"),  # type: ignore[operator]
            ({"network": read.network.config | {"width": 16}}, "own description"),  # type: ignore[operator]
            ({"formalism": {"name": "gan"}}, "no formalism 'gan'"),
            ({"controls": {}}, "header is damaged"),
        )
    ):
        path = tmp_path / f"{number}.safetensors"
        write_tensors(path, tensors, {"sonopaint.jingle": json.dumps(json.loads(text) | change)})
        with pytest.raises(SonopaintError, match=said):
            read_jingle(path)
    write_tensors(tmp_path / "other.safetensors", tensors, {})
    with pytest.raises(SonopaintError, match="no jingle model"):
        read_jingle(tmp_path / "other.safetensors")


def test_the_command_line_plays_text_csv_and_sounds(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = ["--model", str(model), "--steps", "2", "--quiet", "--seed", "3"]
    out = tmp_path / "out.wav"
    assert cli.main(["jingle", "C4:0.25 - E2", "--count", "2", "-o", str(out), *shared]) == 0
    assert "moved by octaves" in capsys.readouterr().err
    assert read_clip(tmp_path / "out-2.wav").settings["seed"] == 4
    table = tmp_path / "hand.csv"
    table.write_text("time,pitch,velocity\n0,220,0.3\n0.5,440,0.9\n1,440,0.9\n")
    assert (
        cli.main(["jingle", str(table), "--instrument", "violin", "-o", str(tmp_path / "b.wav"), *shared])
        == 0
    )
    assert "kind:violin" in read_clip(tmp_path / "b.wav").settings["curves"]["values"]
    hum = 0.3 * torch.sin(2 * torch.pi * 300 * torch.arange(16_000) / 16_000)
    write_clip(Clip(hum[None], 16_000), tmp_path / "hum.wav")
    given = [
        "jingle",
        str(tmp_path / "hum.wav"),
        "--free",
        "velocity",
        "-o",
        str(tmp_path / "c.wav"),
        *shared,
    ]
    assert cli.main(given) == 0
    made = read_clip(tmp_path / "c.wav").settings["curves"]["values"]
    assert "velocity" not in made and np.nanmedian(made["pitch"]) == pytest.approx(300, rel=0.01)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "Say what to play"), (["C4", "--count", "0"], "--count must be"), (["what"], "is no note"),
        (["C4", "--instrument", "kazoo"], "no instrument 'kazoo'"), (["C4", "--free", "all"], "--free takes"),
        (["C4", "--steps", "0"], "at least one level"), (["C4", "--seconds", "1000"], "from 0.1 to 120"),
    ],
)  # fmt: skip
def test_wrong_asks_are_told(
    given: list[str], said: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["jingle", *given, "--model", str(model), "-o", str(tmp_path / "x.wav"), "--quiet"]
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err


def test_the_shipped_model_plays_the_notes_and_rests_between() -> None:
    notes = parse_notes("E4:0.8:0.8 -:0.6 A4:0.8:0.8")
    clip = make_jingles(shipped_jingle(), curves_of_notes(notes, "violin", 2.4), [3])[0]
    heard = measure(clip, ("pitch", "loudness"))
    pitch, loudness = heard.values["pitch"], heard.values["loudness"]
    for first, last, hertz in ((8, 44, 329.6), (96, 132, 440.0)):
        found = pitch[first:last]
        assert (found > 0).mean() > 0.7
        assert abs(1200 * np.log2(np.median(found[found > 0]) / hertz)) < 80
    assert np.median(loudness[8:44]) - np.median(loudness[66:82]) > 20
