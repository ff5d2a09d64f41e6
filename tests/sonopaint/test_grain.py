"""Grain: noise that a VAE has blurred is as rough as before, and tones and silence stay what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sonoconvert.edits.region import Box, Region
from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.spectrogram import levels
from sonopaint.models.grain import (
    LENGTH,
    GrainNetwork,
    grain_beside,
    grained,
    load_grain,
    roughness,
    save_grain,
    texture,
    with_grain,
)
from sonopaint.tasks import PaintSettings, generate, inpaint

FORMAT = get_format("sonopaint-mini")
MINI = Path(__file__).resolve().parents[2] / "weights/mini"


@pytest.fixture(scope="module")
def shipped() -> GrainNetwork:
    found = grain_beside(MINI, FORMAT)
    assert found is not None
    return found


def always(step: float) -> GrainNetwork:
    """One that finds the same step due everywhere."""
    network = GrainNetwork(FORMAT, 4).eval().requires_grad_(False)
    for value in network.parameters():
        value.zero_()
    network.last.bias.fill_(float(np.log(step + 1e-3)) + 4)  # type: ignore[union-attr]
    return network


def pictures(waves: torch.Tensor) -> torch.Tensor:
    return levels(waves, FORMAT)[..., :320]


def test_its_texture_is_that_of_noise_in_the_format() -> None:
    drawn = texture(FORMAT)
    assert drawn.shape == (128, LENGTH) and torch.isfinite(drawn).all()
    assert torch.allclose(drawn.diff(dim=1).abs().mean(1), torch.ones(128), atol=1e-5)
    assert abs(float(drawn.mean())) < 1e-5 and float(drawn.median()) > 0.02  # the logarithm of power: skewed
    rough = torch.full((1, 128, 40), 0.5)
    whole = with_grain(always(0.05), torch.full((1, 128, 2000), 0.5))
    part = with_grain(always(0.05), rough, 1500)
    assert torch.allclose(whole[..., 1510:1530], part[..., 10:30], atol=1e-4)  # the same at the same second


def test_blurred_noise_is_as_rough_as_it_was(shipped: GrainNetwork) -> None:
    noise = torch.randn(3, 170_000, generator=torch.Generator().manual_seed(1)) * 0.1
    true = pictures(noise)
    blurred = F.avg_pool2d(true[:, None], 5, 1, 2, count_include_pad=False)[:, 0]
    grainy = with_grain(shipped, blurred)
    middle = slice(20, 300)
    rough = [float(roughness(one)[..., middle].mean()) for one in (true, blurred, grainy)]
    before, after = rough[1] / rough[0], rough[2] / rough[0]
    assert before < 0.4 and 0.7 < after < 1.3
    assert abs(float((grainy - blurred).mean())) < 0.01  # no louder


def test_silence_stays_silent_and_tones_stay_tones(shipped: GrainNetwork) -> None:
    assert with_grain(shipped, torch.zeros(1, 128, 320)).max() < 0.02
    time = torch.arange(170_000) / 32_000
    tones = sum(torch.sin(2 * torch.pi * 330 * k * time) / k for k in range(1, 9))
    true = pictures(0.1 * tones[None])
    loud = true > 0.7
    changed = (with_grain(shipped, true) - true).abs()[loud]
    assert float(changed.mean()) < 0.015  # 1.2 dB


def test_pixels_keep_their_place_and_their_channels() -> None:
    pixels = np.full((128, 64, 3), 100, np.float32)
    pixels[:8] = 0  # the highest rows
    made = grained(always(0.0), pixels)
    assert np.allclose(made, pixels, atol=1e-3)
    made = grained(always(0.05), pixels)
    assert made.shape == pixels.shape and np.abs(made - pixels)[20:].mean() > 3
    assert not np.allclose(made[..., 0], made[..., 1])  # as two channels of noise differ


def test_painters_put_it_back_where_they_paint(
    tiny: Any, make_clip: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PaintSettings("rain", steps=1, seed=4)
    plain = generate(tiny, settings)[0].picture.pixels
    clip, region = make_clip(6.0, 32_000), Region((Box(2.0, 3.0),))
    monkeypatch.setattr(type(tiny), "grain", always(0.06))
    first, second = (generate(tiny, settings)[0].picture.pixels for _ in range(2))
    assert np.array_equal(first, second) and np.abs(first.astype(float) - plain).mean() > 2
    painted = inpaint(tiny, clip, region, settings)[0].clip.waveform
    assert torch.equal(painted[:, : 32_000 * 3 // 2], clip.waveform[:, : 32_000 * 3 // 2])


def test_it_comes_back_from_its_file_and_others_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = GrainNetwork(FORMAT, 4)
    save_grain(made, tmp_path / "grain.safetensors", {})
    back = grain_beside(tmp_path, FORMAT)
    assert back is not None and back.format == FORMAT
    some = torch.rand(1, 128, 64)
    assert torch.allclose(made(some), back(some), atol=0.02)
    assert grain_beside(tmp_path / "none.safetensors", FORMAT) is None
    assert grain_beside(tmp_path, get_format("riffusion-v1")) is None  # of a LoRA for another format
    assert grain_beside(tmp_path, FORMAT.with_channels("stereo")) is not None
    assert grain_beside(tmp_path, FORMAT.with_channels("rgb")) is None
    with pytest.raises(SonopaintError, match="holds no grain"):
        load_grain(MINI / "vae.safetensors")
