"""The decoder's training: its sounds, its losses, resuming exactly, and the way to weights that decode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.phase import vocoder
from sonoconvert.phase.search import reconstruct
from sonoconvert.phase.vocoder_network import VocoderNetwork
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.picture import Picture
from sonoconvert.pictures.spectrogram import mel_magnitude, stft, to_levels
from sonotrain.cli import main
from sonotrain.data.waveforms import SECONDS, waveforms
from sonotrain.trainers.vocoder.crops import at_working_rate, quantised
from sonotrain.trainers.vocoder.losses import (
    cell_losses,
    distances,
    steps,
    stft_loss,
    waveform_of,
    waveform_of_steps,
)
from sonotrain.trainers.vocoder.train import VocoderTrainer
from sonotrain.training.loop import Budget
from sonotrain.training.muon import orthogonal
from sonotrain.training.run import Alone, Run, train
from sonotrain.training.run_folder import RunFolder

SMOKE: dict[str, Any] = {
    "format": "sonopaint-mini", "clips": 4, "batch": 1, "crop": 16, "width": 8, "deep": 8, "blocks": 1,
    "warmup": 2, "checkpoint_minutes": 1e-6,
}  # fmt: skip


def prepared(folder: Path, **more: Any) -> VocoderTrainer:
    """A trainer ready for its first step."""
    with RunFolder(folder) as opened:
        trainer = Run(opened, Alone()).prepare(VocoderTrainer, SMOKE | more)
    assert isinstance(trainer, VocoderTrainer)
    return trainer


def true_output(spectrum: torch.Tensor, fmt) -> torch.Tensor:  # type: ignore[no-untyped-def]
    """What a perfect network would say of complex [B, frames, bins]."""
    advance, across = steps(spectrum, fmt)
    advance = torch.nn.functional.pad(advance, (0, 0, 0, 1))
    across = torch.nn.functional.pad(across, (0, 1))
    parts = [
        torch.log10(spectrum.abs().clamp_min(1e-5)),
        advance.real,
        advance.imag,
        across.real,
        across.imag,
    ]
    return torch.stack(parts, dim=1)


def test_sounds_depend_on_the_seed_alone_and_are_all_there() -> None:
    sounds = waveforms(4, 16000, 3)
    assert sounds.shape == (4, int(SECONDS * 16000)) and sounds.dtype == torch.int16
    assert (sounds.abs().amax(dim=1) > 30000).all()
    assert torch.equal(sounds, waveforms(4, 16000, 3))
    assert not torch.equal(sounds, waveforms(4, 16000, 4))


def test_the_true_spectrum_has_no_loss_and_a_wrong_one_has() -> None:
    fmt = at_working_rate(get_format("sonopaint-mini"))
    sound = torch.randn(2, 16000, generator=torch.Generator().manual_seed(0)) * 0.01
    spectrum = stft(sound, fmt.win_length, fmt.win_length, fmt.hop_length).transpose(-1, -2)
    right = true_output(spectrum, fmt)
    for name, value in cell_losses(right, spectrum, fmt).items():
        assert float(value) < 1e-3, name
    wrong = right.clone()
    wrong[:, 0] += 0.1
    wrong[:, 1:] *= -1
    losses = cell_losses(wrong, spectrum, fmt)
    assert 1.5 < float(losses["log"]) < 2.1  # 0.1 in log10 is 2 dB
    assert float(losses["advance"]) == pytest.approx(4, abs=0.1)
    assert float(losses["across"]) == pytest.approx(4, abs=0.1)


def test_one_true_step_from_the_truth_is_the_truth() -> None:
    fmt = at_working_rate(get_format("riffusion-v1"))
    sound = torch.randn(1, 20 * fmt.hop_length, generator=torch.Generator().manual_seed(0))
    spectrum = stft(sound, fmt.win_length, fmt.win_length, fmt.hop_length).transpose(-1, -2)
    made = waveform_of_steps(true_output(spectrum, fmt), spectrum, fmt)
    assert float(stft_loss(made, waveform_of(spectrum, fmt))) < 1e-2
    other = waveform_of_steps(true_output(spectrum.flip(1), fmt), spectrum, fmt)
    assert float(stft_loss(other, waveform_of(spectrum, fmt))) > 0.5


def test_quantising_is_what_a_picture_does() -> None:
    fmt = get_format("riffusion-v1")
    mel = mel_magnitude(torch.randn(1, 44100, generator=torch.Generator().manual_seed(1)), fmt)
    levels, peak = to_levels(mel, fmt)
    picture = Picture.from_levels(levels, fmt, float(peak), 44100, {})
    again, _ = to_levels(quantised(mel, fmt, peak), fmt, peak)
    assert torch.allclose(again, picture.levels(), atol=1e-4)


def test_distances_are_none_for_the_same_and_known_for_silence() -> None:
    sound = torch.randn(20000, generator=torch.Generator().manual_seed(2))
    assert distances(sound, sound, 20000) == (0.0, 0.0)
    convergence, _ = distances(sound, 0 * sound, 20000)
    assert convergence == pytest.approx(1.0)
    assert distances(sound, 0.5 * sound, 20000)[1] == pytest.approx(6.02, abs=0.1)


def test_orthogonal_keeps_directions_and_evens_their_sizes() -> None:
    matrix = torch.randn(12, 40, generator=torch.Generator().manual_seed(0))
    for made in (orthogonal(matrix), orthogonal(matrix.T).T):
        sizes = torch.linalg.svdvals(made)
        assert 0.6 < float(sizes.min()) and float(sizes.max()) < 1.3
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        assert float((left.T @ made @ right.T).diagonal().min()) > 0.6


def test_the_waveforms_losses_train_too(tmp_path: Path, few_sounds: None) -> None:
    trainer = prepared(tmp_path, waveform_from=1, adversarial_weight=0.1)
    assert "stft" not in trainer.step(0)
    values = trainer.step(1)
    assert {"stft", "fooled", "critic"} <= values.keys()
    assert all(bool(torch.isfinite(value).all()) for value in values.values())


@pytest.mark.parametrize("name", ["riffusion-v1", "perkins-10s"])
def test_every_format_trains(name: str, tmp_path: Path, few_sounds: None) -> None:
    trainer = prepared(tmp_path, format=name)
    first = trainer.step(0)
    assert 0.5 < first["advance"].item() < 1.5  # an untrained network has no opinion: 1


def test_training_learns_the_phases_steps(tmp_path: Path, few_sounds: None) -> None:
    """In seconds, from no opinion (1.0) to something of the truth."""
    trainer = prepared(tmp_path, width=16, deep=16)
    values = [trainer.step(number)["advance"].item() for number in range(40)]
    assert sum(values[-5:]) / 5 < 0.8 < 0.9 < values[0]


def test_it_learns_from_what_a_models_vae_makes_of_sounds(tmp_path: Path, few_sounds: None) -> None:
    """The crops are those pictures beside the true sounds; they are made once for a run."""
    trainer = prepared(tmp_path, model="weights/mini", model_clips=2, crop=32, patch_frames=4, batch=2)
    blurred = trainer.crops.blurred
    assert blurred is not None and blurred["levels"].shape == (2, 128, 320)
    logs, spectrum = trainer.crops._blurred(blurred, 2, 32, torch.Generator().manual_seed(1))
    edge = trainer.network.edge
    assert logs.shape == (2, 2, 32 + 2 * edge, 1025) and spectrum.shape == (2, 32, 1025)
    # The bands' mean of the picture, and the true spectrum beneath: as loud in the same places.
    heard = torch.log10(spectrum.abs().clamp_min(1e-5)).mean(-1).flatten()
    shown = logs[:, 0, edge:-edge].mean(-1).flatten()
    assert float(torch.corrcoef(torch.stack([heard, shown]))[0, 1]) > 0.8
    kept = (tmp_path / "blurred.safetensors").stat().st_mtime_ns
    prepared(tmp_path, model="weights/mini", model_clips=2, crop=32, patch_frames=4, batch=2)
    assert (tmp_path / "blurred.safetensors").stat().st_mtime_ns == kept


def test_from_the_command_line_to_weights_that_decode(
    tmp_path: Path, few_sounds: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = tmp_path / "run", tmp_path / "models" / "vocoder"
    options = "--format sonopaint-mini --clips 4 --batch 1 --crop 16 --width 8 --deep 8 --blocks 1".split()
    assert main(["vocoder", "train", "--out", str(run), "--steps", "2", "--device", "cpu", *options]) == 0
    assert main(["vocoder", "export", "--run", str(run), "--out", str(out)]) == 0
    assert "sonopaint-mini.safetensors" in capsys.readouterr().out
    assert main(["vocoder", "export", "--run", str(run), "--out", str(out)]) == 2
    assert "already exists" in capsys.readouterr().err
    monkeypatch.setenv("SONOPAINT_MODELS", str(tmp_path / "models"))
    fmt = get_format("sonopaint-mini")
    decoder = vocoder.load(fmt)
    assert decoder is not None
    facts = json.loads(decoder.metadata["sonopaint.training"])
    assert facts["result"]["steps"] == 2 and facts["options"]["format"] == "sonopaint-mini"
    mel = mel_magnitude(torch.randn(1, 8192), fmt)
    assert reconstruct(mel, fmt, vocoder=decoder, length=8000).shape == (1, 8000)


def test_all_formats_at_once_and_going_on(tmp_path: Path, few_sounds: None) -> None:
    words = ["vocoder", "all", "--preset", "smoke", "--out", str(tmp_path), "--device", "cpu"]
    assert main(words) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    made = {path.stem for path in before if path.parent.name == "weights"}
    assert made == {"riffusion-v1", "sonopaint-mini-fast", "perkins-10s"}
    assert main(words) == 0  # everything is there: nothing is made again
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}


@pytest.mark.slow
def test_workers_make_the_same_sounds() -> None:
    assert torch.equal(waveforms(138, 4000, 1)[136:], waveforms(138, 4000, 1, workers=2)[136:])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crop": 10}, "crop must be"),
        ({"crop": 20, "patch_frames": 4}, "multiple of 8"),
        ({"patch_frames": 0}, "from 1 to 16, not 0"),
        ({"patch_bins": 17}, "from 1 to 16, not 17"),
        ({"model": "weights/mini", "format": "riffusion-v1"}, "paints sonopaint-mini"),
        ({"clips": 5}, "clips must be"),
        ({"format": "riffusion-v1-stereo"}, "train riffusion-v1"),
        ({"format": "nothing"}, "no spectrogram format"),
    ],
)
def test_impossible_options_are_refused(tmp_path: Path, change: dict, words: str) -> None:
    with pytest.raises(SonopaintError, match=words):
        train(VocoderTrainer, tmp_path, SMOKE | {"clips": 20} | change, Budget(steps=1), device="cpu")


def test_a_decoders_file_is_where_another_begins(tmp_path: Path) -> None:
    before = VocoderNetwork(8, 8, 1)
    vocoder.write(tmp_path / "a.safetensors", before, get_format("riffusion-v1"))
    begun = prepared(tmp_path / "run", clips=13, start_from=str(tmp_path / "a.safetensors"))
    for name, value in begun.network.state_dict().items():
        assert torch.allclose(value, before.state_dict()[name], atol=1e-3), name
