"""The bridge's training: damages, loss, resuming, a file that heals; and something like speech."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from sonoconvert.errors import SonopaintError
from sonopaint.models.bridge import BINS, HOP, WINDOW, channels, read, reference_of
from sonopaint.samplers.bridge import estimate
from sonotrain.data.speech import speech
from sonotrain.trainers.bridge.damage import damaged
from sonotrain.trainers.bridge.train import BridgeTrainer, bridge_loss, export_bridge, wanted
from sonotrain.training.loop import Budget
from sonotrain.training.run import train

RATE = 16_000
SMALL: dict[str, Any] = {
    "batch": 2, "frames": 16, "widths": (8, 8, 8), "blocks": 1, "warmup": 2,
    "checkpoint_minutes": 1e-6, "preview_minutes": 1000.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for number in range(3):
        soundfile.write(path / f"{number}.wav", 0.1 * rng.standard_normal(2 * RATE), RATE)
    return path


def test_damage_leaves_known_cells_and_hides_the_others() -> None:
    rng = np.random.default_rng(0)
    sound = speech(95 * HOP, RATE, rng) + 0.01 * rng.standard_normal(95 * HOP)
    shapes = set()
    for _ in range(12):
        one = damaged(sound, RATE, rng)
        assert torch.equal(one.guess[~one.unknown], one.whole[~one.unknown])
        assert not torch.equal(one.guess[one.unknown], one.whole[one.unknown])
        assert 0 < one.unknown.float().mean() < 0.9
        frames, bins = one.unknown.any(1), one.unknown.any(0)
        shapes.add((bool(frames.all()), bool(bins.all())))
    assert shapes >= {(True, False), (False, True)}  # cut-offs, and gaps


def test_the_loss_is_nothing_for_who_knows_and_one_for_who_says_nothing_of_gaussians() -> None:
    generator = torch.Generator().manual_seed(0)
    damaged_, unknown = torch.zeros(2, 3, 40, 64), torch.ones(2, 40, 64, dtype=torch.bool)
    spread = torch.tensor([0.3, 0.9, 0.9])[:, None, None]
    whole = spread * torch.randn(2, 3, 40, 64, generator=generator)
    t = torch.ones(2)
    true = wanted(damaged_, damaged_, whole, t)
    assert torch.allclose(estimate(damaged_, damaged_, t, spread)[0], damaged_)
    assert bridge_loss(true, true, whole, unknown).abs().max() == 0
    assert torch.allclose(bridge_loss(torch.zeros_like(true), true, whole, unknown), torch.ones(2), atol=0.05)
    unknown[:, :20] = False
    worse = true.clone()
    worse[:, :, :20] += 100  # what is known does not count
    assert bridge_loss(worse, true, whole, unknown).abs().max() == 0


def test_a_run_goes_on_exactly_and_becomes_a_file(folder: Path, tmp_path: Path) -> None:
    given = SMALL | {"data": str(folder)}
    assert train(BridgeTrainer, tmp_path / "whole", given, Budget(steps=4), device="cpu")
    assert train(BridgeTrainer, tmp_path / "parts", given, Budget(steps=2), device="cpu")
    assert train(BridgeTrainer, tmp_path / "parts", {}, Budget(steps=4), device="cpu", resume=True)
    files = [export_bridge(tmp_path / name, tmp_path / f"{name}-out") for name in ("whole", "parts")]
    first, second = (read(path) for path in files)
    for name, tensor in first.networks[0].state_dict().items():
        assert torch.isfinite(tensor).all() and tensor.shape == second.networks[0].state_dict()[name].shape
    assert "a folder of sounds" in first.metadata["sonopaint.training"]
    assert str(folder) not in first.metadata["sonopaint.training"]


def test_two_experts_learn_in_turns(folder: Path, tmp_path: Path) -> None:
    given = SMALL | {"data": str(folder), "experts": 2}
    assert train(BridgeTrainer, tmp_path / "run", given, Budget(steps=2), device="cpu")
    assert len(read(export_bridge(tmp_path / "run", tmp_path / "out")).networks) == 2


def test_wrong_options_are_told(folder: Path, tmp_path: Path) -> None:
    for wrong, said in (
        ({"frames": 20}, "multiple of 8"),
        ({"widths": (8, 8)}, "three numbers"),
        ({"clips": 3, "data": ""}, "above 16"),
        ({"data": str(tmp_path)}, "holds no sound"),
    ):
        with pytest.raises(SonopaintError, match=said):
            train(
                BridgeTrainer, tmp_path / "run", SMALL | {"data": str(folder)} | wrong, Budget(steps=1),
                device="cpu",
            )  # fmt: skip


def test_speech_has_a_pitch_formants_and_pauses() -> None:
    sound = speech(4 * RATE, RATE, np.random.default_rng(2))
    power = np.square(sound.reshape(-1, RATE // 50)).mean(1)
    level = 10 * np.log10(power / power.max() + 1e-9)
    assert np.std(np.maximum(level, -60)) > 8  # syllables
    loudest = int(power.argmax()) * RATE // 50
    piece = sound[max(loudest - 400, 0) :][:1200]
    alike = np.correlate(piece, piece, "full")[len(piece) :] / (piece @ piece)
    assert alike[RATE // 400 : RATE // 60].max() > 0.3  # a period
    spectrum = channels(
        torch.stft(torch.from_numpy(sound).float(), WINDOW, HOP, window=torch.hann_window(WINDOW),
                   return_complex=True).T[None],
        torch.ones(1),
    )  # fmt: skip
    assert (
        spectrum.shape[-1] == BINS
        and float(reference_of(spectrum[:, 0].to(torch.cfloat), spectrum[:, 0] > 0)) > 0
    )
