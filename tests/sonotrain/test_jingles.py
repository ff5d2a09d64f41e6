"""PVT datasets, and jingle models from training to file."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sonoconvert.curves.midi import Note
from sonoconvert.errors import SonopaintError
from sonopaint.models.jingles.controls import HIGHEST, LOWEST
from sonopaint.models.jingles.file import read_jingle
from sonopaint.samplers.edm import EdmSettings
from sonotrain.data.pvt import build as pvt
from sonotrain.data.pvt.build import PvtDataset, PvtOptions, build
from sonotrain.data.pvt.instruments import INSTRUMENTS, render
from sonotrain.data.pvt.melodies import GAP_S, Melodies, curves_of, monophonic, swayed
from sonotrain.data.pvt.soundfont import SoundFont
from sonotrain.evaluation.jingles.play import play
from sonotrain.trainers.jingles.train import JingleTrainer
from sonotrain.training.loop import Budget
from sonotrain.training.run import train

SMALL: dict[str, Any] = {
    "width": 8, "multipliers": (1, 2), "control_channels": 8, "batch": 4, "warmup": 2,
    "checkpoint_minutes": 1e-6, "preview_minutes": 1000.0, "frames": 8,
}  # fmt: skip
MADE = PvtOptions(clips=15, seconds=1.5, spaces=("latents", "codes", "cqt"), classes=8, seed=3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pvt")
    assert build(folder, MADE) == 15
    return folder


def test_generated_melodies_are_monophonic_within_two_octaves_and_sway() -> None:
    velocities = []
    for seed in range(40):
        notes = Melodies().draw(5.0, np.random.default_rng(seed))
        assert all(a.end_s <= b.start_s for a, b in zip(notes, notes[1:], strict=False))
        assert all(LOWEST <= n.number <= HIGHEST and 0.1 < n.velocity <= 1 for n in notes)
        assert notes[-1].end_s <= 5.0
        velocities.append([n.velocity for n in notes])
    assert max(max(v) - min(v) for v in velocities) > 0.6


def test_velocities_lie_on_one_sine() -> None:
    notes = [Note(t, t + 0.05, 60, 1.0) for t in np.arange(0, 8, 0.05)]
    v = np.array([n.velocity for n in swayed(notes, 8.0, np.random.default_rng(5))])
    v = v - v.mean()
    # A sine's second difference is itself, scaled: v[k+1] + v[k−1] = 2 cos(ω) v[k] (+ what its mean leaves).
    design = np.stack([v[1:-1], np.ones(len(v) - 2)], 1)
    solved, rest, *_ = np.linalg.lstsq(design, v[2:] + v[:-2], rcond=None)
    hertz = np.arccos(solved[0] / 2) / (2 * np.pi * 0.05)
    assert float(rest[0]) < 1e-20 and 1 / 64 <= hertz <= 1


def test_midi_lines_keep_the_highest_note_and_move_by_octaves() -> None:
    chord = [Note(0, 1, 60, 0.5), Note(0.001, 1, 67, 0.5), Note(0.5, 2, 30, 0.5), Note(3, 4, 100, 0.5)]
    line = monophonic(chord)
    assert [n.number for n in line] == [60, 54, 64]  # 67 came later than 60 did; 30 and 100 move
    assert line[0].end_s == pytest.approx(0.5 - GAP_S)
    together = monophonic([Note(0, 1, 60, 0.5), Note(0, 1, 67, 0.5)])
    assert [n.number for n in together] == [67]


@pytest.mark.parametrize("name", list(INSTRUMENTS))
def test_instruments_play_the_notes_and_grow_louder_with_velocity(name: str) -> None:
    notes = [Note(0.1, 0.7, 60, 0.25), Note(1.0, 1.6, 69, 1.0)]
    sound = render(name, notes, 2.0, np.random.default_rng(0)).numpy()
    assert sound.shape == (64_000,) and np.abs(sound).max() < 1
    soft, loud = sound[8000:20_000], sound[36_000:48_000]
    assert 20 * np.log10(loud.std() / soft.std()) > 9
    assert np.abs(sound[:3000]).max() < 1e-4  # nothing before the first note
    for piece, hertz in ((soft, 261.6), (loud, 440.0)):
        spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece)), 1 << 16))
        harmonics = [spectrum[round(hertz * k * 65536 / 32000) - 6 :][:13].max() for k in (1, 2, 3)]
        between = [spectrum[round(hertz * k * 65536 / 32000) - 6 :][:13].max() for k in (1.5, 2.5)]
        assert min(harmonics) > 4 * max(between)


def test_curves_of_notes_tell_silence_from_the_note_c() -> None:
    pitch, velocity = curves_of([Note(0.16, 0.32, 60, 0.5)], 0.48)
    assert len(pitch) == 30 and (pitch[:10] == 0).all() and (velocity[20:] == 0).all()
    assert pitch[10:20] == pytest.approx(261.63, abs=0.01) and (velocity[10:20] == 0.5).all()


def test_a_dataset_holds_every_space_and_what_is_held_out_as_sound(dataset: Path) -> None:
    shapes = {"latents": (64, 12), "codes": (16, 12), "cqt": (2, 216, 361)}
    for space, shape in shapes.items():
        data = PvtDataset(dataset, space)
        assert data.data([0, 7]).shape == (2, *shape)
        assert len(data.learnt) == 12 and data.held == [4, 9, 14]
    sound = data.audio([9])
    assert sound.shape == (1, 48_000) and sound.abs().max() > 0.02
    # The stored sound is what the curves say: silent where no note plays, up to releases.
    pitch, velocity, kinds = data.curves([9], 12 * 8, 62.5)
    assert pitch.shape == (1, 96) and kinds.sum(1).eq(1).all() and ((velocity > 0) == (pitch > 0)).all()
    codes = PvtDataset(dataset, "codes")
    latents, quantiser = PvtDataset(dataset, "latents").data([0, 1]), codes.quantiser()
    assert quantiser is not None and torch.equal(quantiser.encode(latents), codes.data([0, 1]))
    error = (quantiser.decode(codes.data([0, 1])) - latents).square().mean()
    assert error < 0.5 * latents.var()


def test_a_dataset_goes_on_and_is_never_mixed(dataset: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(pvt, "SHARD", 10)
    options = PvtOptions(clips=10, seconds=1.0, spaces=("latents",))
    assert build(tmp_path, options) == 10
    first = (tmp_path / "shard-00000.safetensors").read_bytes()
    more = PvtOptions(clips=20, seconds=1.0, spaces=("latents",))
    assert build(tmp_path, more) == 10 and build(tmp_path, more) == 0
    assert (tmp_path / "shard-00000.safetensors").read_bytes() == first
    (tmp_path / "shard-00001.safetensors").write_bytes(b"broken")
    assert build(tmp_path, more) == 10
    with pytest.raises(SonopaintError, match="made with seed 0, not 1"):
        build(tmp_path, PvtOptions(clips=20, seconds=1.0, spaces=("latents",), seed=1))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"spaces": ("mel",)}, "no space 'mel'"),
        ({"spaces": ()}, "no space"),
        ({"instruments": ("kazoo",)}, "no instrument 'kazoo'"),
        ({"clips": 3}, "10 or more"),
        ({"spaces": ("encodec",)}, "needs EnCodec's weights"),
        ({"midi": "EMPTY"}, "no MIDI file"),
    ],
)
def test_wrong_datasets_are_told(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    given = {k: str(tmp_path) if v == "EMPTY" else v for k, v in given.items()}
    with pytest.raises(SonopaintError, match=said):
        build(tmp_path / "out", PvtOptions(**{"clips": 10, "seconds": 1.0, **given}))


@pytest.mark.parametrize(
    "given",
    [
        {}, {"formalism": "ddpm", "facts": True, "features": ("velocity", "chroma", "octave")},
        {"space": "codes", "formalism": "discdpm", "up_multipliers": (4, 2)},
        {"space": "cqt", "patch": 8, "frames": 64, "batch": 2},
    ],
    ids=["edm", "ddpm", "discdpm", "cqt"],
)  # fmt: skip
def test_every_formalism_trains_goes_on_exactly_and_becomes_a_file(
    dataset: Path, tmp_path: Path, given: dict[str, Any]
) -> None:
    given = SMALL | {"data": str(dataset)} | given
    assert train(JingleTrainer, tmp_path / "whole", given, Budget(steps=4), device="cpu")
    assert train(JingleTrainer, tmp_path / "parts", given, Budget(steps=2), device="cpu")
    assert train(JingleTrainer, tmp_path / "parts", {}, Budget(steps=4), device="cpu", resume=True)
    files = [tmp_path / name / f"{name}.safetensors" for name in ("whole", "parts")]
    first, second = (load_file(path) for path in files)
    assert first.keys() == second.keys()
    jingle = read_jingle(files[0])
    assert (
        "4" in jingle.metadata["sonopaint.training"]
        and str(dataset) not in jingle.metadata["sonopaint.training"]
    )
    shape = jingle.network.config["channels"], 8  # type: ignore[index]
    if "codes" == jingle.space:
        shape = (16, 8)
    elif "cqt" == jingle.space:
        shape = (2, 216, 16)
    curves = torch.full((2, jingle.controls.size, shape[-1]), -1.0)
    from dataclasses import replace

    few = jingle.formalism if jingle.formalism.name == "edm" else replace(jingle.formalism, steps=3)
    made = few.sample(jingle.network, (2, *shape), curves, generator=torch.Generator().manual_seed(0))
    assert made.shape == (2, *shape) and torch.isfinite(jingle.data(made).float()).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"formalism": "discdpm"}, "does not go with latents"),
        ({"space": "codes"}, "does not go with codes"),
        ({"frames": 99}, "but the clips of"),
        ({"features": ("loudness",)}, "no feature 'loudness'"),
        ({"dropout": 0.95}, "chances"),
        ({"up_multipliers": (1,)}, "as many"),
        ({"space": "encodec"}, "has no encodec"),
    ],
)
def test_wrong_options_are_told(dataset: Path, tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(SonopaintError, match=said):
        train(
            JingleTrainer, tmp_path / "run", SMALL | {"data": str(dataset)} | given, Budget(steps=1),
            device="cpu",
        )  # fmt: skip


def test_most_features_are_said_and_some_are_not(dataset: Path, tmp_path: Path) -> None:
    """30 % of each, independently; what is not said is −1 all over it."""
    from sonotrain.training.run import Alone, Run
    from sonotrain.training.run_folder import RunFolder

    given = SMALL | {"data": str(dataset), "span_dropout": 0.0}
    with RunFolder(tmp_path / "run", resume=False) as folder:
        trainer = Run(folder, Alone(), budget=Budget(steps=1)).prepare(JingleTrainer, given)
    clips = trainer.data.learnt * 40  # type: ignore[attr-defined]
    _, curves, _ = trainer.batch(clips, torch.Generator().manual_seed(0))  # type: ignore[attr-defined]
    sizes = [rows * 8 for rows in trainer.controls.rows.values()]  # type: ignore[attr-defined]
    free = torch.stack([part.eq(-1).all(1).all(1) for part in curves.split(sizes, 1)], 1).float()
    assert free.mean(0) == pytest.approx([0.3] * 3, abs=0.07)
    both = (free[:, 0] * free[:, 1]).mean()
    assert float(both) == pytest.approx(0.09, abs=0.04)


class FakeSynth:
    """What pyfluidsynth's Synth does, as a log: (samples so far, event)."""

    def __init__(self, gain: float, samplerate: float) -> None:
        self.done, self.log, self.sounding = 0, [], 0  # type: ignore[var-annotated]

    def sfload(self, path: str) -> int:
        return 1

    def system_reset(self) -> None:
        self.done, self.log = 0, []

    def program_select(self, channel: int, font: int, bank: int, program: int) -> None:
        self.log.append(("program", program))

    def noteon(self, channel: int, number: int, velocity: int) -> None:
        self.sounding = velocity
        self.log.append((self.done, number, velocity))

    def noteoff(self, channel: int, number: int) -> None:
        self.sounding = 0
        self.log.append((self.done, number, 0))

    def get_samples(self, count: int) -> np.ndarray:
        self.done += count
        return np.full(2 * count, 100 * self.sounding, np.int16)

    def delete(self) -> None:
        pass


def test_a_soundfont_plays_the_notes_at_their_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("fluidsynth")
    module.Synth = FakeSynth  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fluidsynth", module)
    (tmp_path / "a.sf2").write_bytes(b"")
    font = SoundFont(tmp_path / "a.sf2")
    sound = font.render("violin", [Note(0.5, 1.0, 60, 0.5), Note(1.0, 1.25, 72, 1.0)], 2.0)
    # A note that ends where the next begins is let go first.
    assert font.synth.log == [
        ("program", 40), (16_000, 60, 64), (32_000, 60, 0), (32_000, 72, 127), (40_000, 72, 0)
    ]  # fmt: skip
    assert sound.shape == (64_000,) and sound[:16_000].eq(0).all() and sound[40_000:].eq(0).all()
    assert sound[20_000] == pytest.approx(6400 / 32768) and sound[33_000] == pytest.approx(12_700 / 32768)
    with pytest.raises(SonopaintError, match="no instrument 'kazoo'"):
        font.render("kazoo", [], 1.0)


def test_without_fluidsynth_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    with pytest.raises(SonopaintError, match="pyfluidsynth"):
        SoundFont("a.sf2")


def test_encodec_latents_and_codes_go_through_a_dataset_and_a_training(tmp_path: Path) -> None:
    """With a tiny codec of random weights: formats and shapes, not sound."""
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    config = EncodecConfig(
        num_filters=2, hidden_size=8, codebook_dim=8, codebook_size=16, upsampling_ratios=[8, 5, 4, 2],
        num_lstm_layers=1, target_bandwidths=[1.5, 3.0, 6.0, 12.0, 24.0],
    )  # fmt: skip
    EncodecModel(config).save_pretrained(tmp_path / "codec")
    spaces = ("encodec", "encodec-codes")
    options = PvtOptions(clips=10, seconds=1.0, spaces=spaces, codec=str(tmp_path / "codec"))
    assert build(tmp_path / "pvt", options) == 10
    latents = PvtDataset(tmp_path / "pvt", "encodec").data([0])
    codes = PvtDataset(tmp_path / "pvt", "encodec-codes").data([0])
    assert latents.shape == (1, 8, 75) and codes.shape[-1] == 75 and int(codes.max()) < 16
    for space, formalism in zip(spaces, ("edm", "discdpm"), strict=True):
        given = SMALL | {"data": str(tmp_path / "pvt"), "space": space, "formalism": formalism}
        assert train(JingleTrainer, tmp_path / space, given, Budget(steps=1), device="cpu")
        jingle = read_jingle(tmp_path / space / f"{space}.safetensors")
        played = play(jingle, PvtDataset(tmp_path / "pvt", space), [4], settings=EdmSettings(steps=2))
        assert played.clips[0].num_samples == 24_000 and played.clips[0].sample_rate == 24_000
