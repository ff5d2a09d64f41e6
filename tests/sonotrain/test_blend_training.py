"""Labelled sounds as they are read and kept, and the stages of the auto-encoder's training."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, write_clip
from sonopaint.models.blend.file import BlendModel, read_blend, write_blend
from sonopaint.models.blend.pyramid import LEVELS, fine_mel, to_bytes
from sonopaint.models.jingles.spaces import open_space
from sonotrain.data.corpus import build_corpus, shard_seed, sounds
from sonotrain.data.scales.kept import HELD, Kept, Wanted, make
from sonotrain.data.scales.readers import CorpusReader, NoteReader, NSynthReader, SlakhReader, TuneReader
from sonotrain.files.json_files import read_json, write_json
from sonotrain.trainers.blend import BlendTrainer
from sonotrain.training.loop import Budget
from sonotrain.training.run import Alone, Run, train
from sonotrain.training.run_folder import RunFolder

SMALL: dict[str, Any] = {
    "corpus": "", "notes": 20, "seconds": 1.1, "frames": 8, "batch": 4, "width": 8, "code": 4,
    "multipliers": (1, 1, 1, 1), "bottleneck": 4, "encoder": 2, "warmup": 2, "preview_minutes": 1000.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    make(folder, Wanted(corpus="", notes=20, seconds=1.1))
    return folder


# --- sounds -------------------------------------------------------------------------------------------------


def test_notes_and_tunes_say_what_they_play() -> None:
    reader = NoteReader(4, 2.0, seed=3)
    one, again = reader.sound(2), reader.sound(2)
    assert torch.equal(one.clip.waveform, again.clip.waveform) and one.kind == "trumpet"
    (note,) = one.notes
    spectrum = torch.fft.rfft(one.clip.waveform[0])[: 32_000 // 4].abs()
    partials = [
        float(spectrum[round(note.hertz * k * 2) - 6 : round(note.hertz * k * 2) + 7].max()) for k in (1, 2)
    ]
    between = float(spectrum[round(note.hertz * 1.5 * 2) - 6 : round(note.hertz * 1.5 * 2) + 7].max())
    assert min(partials) > 5 * between
    assert len(TuneReader(1, 4.0).sound(0).notes) > 2


def test_corpus_sounds_are_the_corpus_s_own(tmp_path: Path) -> None:
    build_corpus(tmp_path, 3, 7, workers=1, content="singles")
    reader = CorpusReader(tmp_path, 2)
    batch = sounds(3, shard_seed(7, 0, 0), "singles")
    assert len(reader) == 2 and reader.sound(1).kind == batch.kinds[1][0]
    assert torch.equal(reader.sound(1).clip.waveform[0], batch.waveforms[1])


def test_a_folder_of_nsynth_is_read(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    told = {}
    for number, pitch in enumerate((60, 64, 67)):
        name = f"guitar_acoustic_{number:03d}-{pitch:03d}-075"
        write_clip(Clip(torch.rand(1, 16_000) - 0.5, 16_000), tmp_path / "audio" / f"{name}.wav")
        told[name] = {"pitch": pitch, "velocity": 75, "instrument_family_str": "guitar"}
    (tmp_path / "examples.json").write_text(json.dumps(told), encoding="utf-8")
    reader = NSynthReader(tmp_path, 2)
    assert len(reader) == 2
    one = reader.sound(1)
    assert one.kind == "guitar" and one.notes[0].number == 64 and one.clip.sample_rate == 16_000
    with pytest.raises(SonopaintError, match="is no folder of NSynth"):
        NSynthReader(tmp_path / "audio", 2)


def midi(notes: list[tuple[int, int, int]]) -> bytes:
    """Notes of (start, end, number) in beats of half a second."""
    events = sorted((t, kind, n) for a, b, n in notes for t, kind, n in ((a, 0x90, n), (b, 0x80, n)))
    body, now = b"", 0
    for time, kind, number in events:
        body += bytes([time - now, kind, number, 80])
        now = time
    body += b"\x00\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 1) + b"MTrk" + struct.pack(">I", len(body)) + body


def test_a_folder_of_slakh_is_read(tmp_path: Path) -> None:
    track = tmp_path / "Track00001"
    for name in ("stems", "MIDI"):
        (track / name).mkdir(parents=True)
    stems = ["S00: {inst_class: Guitar, is_drum: false}", "S01: {inst_class: Drums, is_drum: true}"]
    (track / "metadata.yaml").write_text("stems:\n  " + "\n  ".join(stems) + "\n", encoding="utf-8")
    for name in ("S00", "S01"):
        write_clip(Clip(torch.rand(1, 32_000) - 0.5, 8_000), track / "stems" / f"{name}.wav")
        (track / "MIDI" / f"{name}.mid").write_bytes(midi([(0, 1, 60), (6, 8, 65)]))
    reader = SlakhReader(tmp_path, 9, 1.0)
    assert len(reader) == 2  # the first and the last second of four; nothing is played between
    one = reader.sound(1)
    assert one.kind == "Guitar" and one.clip.num_samples == 8_000
    assert [(n.start_s, n.end_s, n.number) for n in one.notes] == [(0.0, 1.0, 65)]
    with pytest.raises(SonopaintError, match="holds no track of Slakh"):
        SlakhReader(track / "MIDI", 9, 1.0)


def test_what_is_kept_is_what_a_model_hears(kept: Path) -> None:
    data = Kept(kept)
    assert len(data.labels) == 20 and data.held == [HELD - 1, 2 * HELD - 1] and data.frames == 9
    sound = NoteReader(20, 1.1).sound(9)
    clip = data.audio(9)
    assert float(clip.waveform.abs().max()) == pytest.approx(0.97, abs=1e-3)
    again = Clip(sound.clip.waveform * 0.97 / sound.clip.waveform.abs().max(), 32_000)
    assert torch.allclose(data.latents[9].float(), open_space("latents").encode(again), atol=2e-3)
    heard = to_bytes(fine_mel(again, 9 * 0.128)).int()
    assert int((data.mel[9].int() - heard).abs().max()) <= 1
    rows = data.roll[9].nonzero()[:, 0].unique().tolist()
    assert rows == [data.labels[9].pitch] == [sound.notes[0].number]


def test_a_folder_of_other_sounds_is_refused(kept: Path) -> None:
    with pytest.raises(SonopaintError, match="made with notes 20, not 30"):
        make(kept, Wanted(corpus="", notes=30, seconds=1.1))
    with pytest.raises(SonopaintError, match="20 sounds or more"):
        make(kept.parent / "few", Wanted(corpus="", notes=3))
    config = read_json(kept / "data.json")
    write_json(kept / "data.json", {k: v for k, v in config.items() if k != "tunes"})  # of an earlier version
    assert len(make(kept, Wanted(corpus="", notes=20, seconds=1.1)).labels) == 20


# --- training -----------------------------------------------------------------------------------------------


def prepared(kept: Path, out: Path, **more: Any) -> BlendTrainer:
    with RunFolder(out) as folder:
        trainer = Run(folder, Alone(), budget=Budget(steps=9)).prepare(
            BlendTrainer, SMALL | {"cache": str(kept)} | more
        )
    assert isinstance(trainer, BlendTrainer)
    return trainer


def weights_of(trainer: BlendTrainer) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in trainer.network.named_parameters()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Which of the encoders, and the denoiser."""
    names = {name for name in before if not torch.equal(before[name], after[name])}
    return {name.split(".")[1] if name.startswith("encoders") else "denoiser" for name in names}


def test_a_stage_trains_its_own_encoder_with_those_before_it_frozen(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = prepared(kept, tmp_path)
    torch.nn.init.normal_(trainer.network.denoiser.head.weight, std=0.1)
    learnt = []
    for used in (0.0, 0.31, 0.61):
        monkeypatch.setattr(Run, "used", used)
        before = weights_of(trainer)
        for number in range(3):
            trainer.step(number)
        learnt.append(changed(before, weights_of(trainer)))
    assert learnt == [{name, "denoiser"} for name in LEVELS]
    rates = [trainer.schedule(used, 50) for used in (0.2, 0.5, 0.6, 0.8, 1.0)]
    assert rates[:3] == pytest.approx([1, 1, 1]) and rates[4] == pytest.approx(0.02) and 0.4 < rates[3] < 0.6


def test_levels_are_left_out_as_often_as_is_said(kept: Path, tmp_path: Path) -> None:
    trainer = prepared(kept, tmp_path)
    told = trainer.told(40_000, torch.Generator().manual_seed(0))
    assert (~told).float().mean(0).tolist() == pytest.approx([0.14] * 3, abs=0.01)
    assert float((~told).all(1).float().mean()) == pytest.approx(0.05, abs=0.005)
    # and it counts: the loss of a sound that is told nothing is that of one without codes
    torch.nn.init.normal_(trainer.network.denoiser.head.weight, std=0.1)
    data, mel = trainer.batch([0, 1], torch.Generator().manual_seed(0))

    def losses(told: list[list[int]], heard: Tensor = mel) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return trainer.losses(data, heard, torch.tensor(told).bool(), LEVELS, generator)

    nothing = losses([[1, 1, 1], [0, 0, 0]])
    other = losses([[1, 1, 1], [0, 0, 0]], torch.zeros_like(mel))
    assert nothing[0] != other[0] and nothing[1] == other[1]
    assert losses([[1, 1, 0], [0, 1, 1]])[0] != nothing[0]


@pytest.mark.parametrize("variant", ["laplacian", "pyramid"])
def test_a_model_goes_on_or_lends_its_denoiser_to_another_variant(
    variant: str, kept: Path, tmp_path: Path
) -> None:
    first = prepared(kept, tmp_path / "a", variant="pyramid")
    for weight in first.network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    write_blend(tmp_path / "first.safetensors", BlendModel(first.network, "latents", 8, first.scaling))
    second = prepared(kept, tmp_path / "b", variant=variant, start=str(tmp_path / "first.safetensors"))
    same = {k for k, v in weights_of(second).items() if torch.allclose(v, weights_of(first)[k], atol=2e-3)}
    encoders = {name for name in weights_of(first) if name.startswith("encoders")}
    assert same >= weights_of(first).keys() - encoders
    assert (same >= encoders) == (variant == "pyramid")
    with pytest.raises(SonopaintError, match="has other sizes"):
        prepared(kept, tmp_path / "c", width=16, start=str(tmp_path / "first.safetensors"))


@pytest.mark.parametrize("variant", ["hdae", "dae"])
def test_baselines_are_trained_in_one_stage(variant: str, kept: Path, tmp_path: Path) -> None:
    given = SMALL | {"cache": str(kept), "variant": variant, "name": variant}
    assert train(BlendTrainer, tmp_path / "run", given, Budget(steps=3), device="cpu")
    result = read_json(tmp_path / "run/blend.json")
    assert {"held", "blind", "parameters"} <= result.keys()
    model = read_blend(tmp_path / "run" / result["file"])
    assert model.network.variant == variant and model.frames == 8
    facts = json.loads(model.metadata["sonopaint.training"])
    assert facts["sounds"] == {"notes": 20} and facts["steps"] == 3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"shares": (1.0, 1.0)}, "shares must be three numbers"),
        ({"dropout": 0.01}, "dropout is a chance"),
        ({"frames": 12}, "frames must be a multiple of 8, not 12"),
        ({"multipliers": (1, 2)}, "multipliers must be four"),
        ({"width": 0}, "must be 1 or more"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(more: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(SonopaintError, match=said):
        train(BlendTrainer, tmp_path / "run", SMALL | more, Budget(steps=1), device="cpu")


def test_a_run_of_minutes_goes_through_all_stages(
    kept: Path, tmp_path: Path, whole: Callable[[str], Path]
) -> None:
    from sonotrain.training.run_folder import read_log

    levels = [line["levels"] for line in read_log(whole("blend")) if "levels" in line]
    assert levels[0] == 1.0 and np.all(np.diff(levels) >= 0)
