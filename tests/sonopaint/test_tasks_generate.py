"""generate, loop (new) and interpolate: lengths, levels, determinism, cancelling."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonoconvert.errors import Cancelled, SonopaintError
from sonopaint.painters.diffusers_painter import DiffusersPainter
from sonopaint.painters.protocol import Painter
from sonopaint.samplers import SAMPLERS
from sonopaint.tasks import PaintSettings, generate, interpolate, loop
from sonopaint.tasks.generation import blank_canvas
from sonopaint.tasks.looping import _resampled_round, _stretched_round
from sonopaint.tasks.progress import Part

QUICK = PaintSettings("a train horn", seed=5, steps=2, iterations=2)
RATE = 32_000


def test_a_clip_is_as_long_and_loud_as_promised(tiny: Any) -> None:
    (result,) = generate(tiny, QUICK)
    assert result.clip.sample_rate == RATE and result.clip.waveform.shape == (1, 163_840)
    assert float(result.clip.waveform.abs().max()) == pytest.approx(10 ** (-1 / 20), abs=1e-4)
    assert result.picture.pixels.shape == (128, 320, 3)
    assert (result.picture.pixels[..., 0] == result.picture.pixels[..., 2]).all()
    assert result.clip.settings == result.picture.settings == result.settings
    assert json.loads(json.dumps(result.settings)) == result.settings
    expected = {"task": "generate", "prompt": "a train horn", "seed": 5, "steps": 2, "guidance_scale": 3.0}
    assert expected.items() <= result.settings.items()
    assert {"sampler", "strength", "model", "model_hash", "loras", "version"} <= result.settings.keys()


def test_same_seed_same_samples_and_batch_item_equals_single_run(tiny: Any) -> None:
    pair = generate(tiny, QUICK, seconds=1.0, batch=2)
    single = generate(tiny, replace(QUICK, seed=6), seconds=1.0)[0]
    assert torch.equal(pair[1].clip.waveform, single.clip.waveform)
    assert pair[1].settings == single.settings
    assert not torch.equal(pair[0].clip.waveform, pair[1].clip.waveform)
    again = generate(tiny, PaintSettings.from_dict(single.settings), seconds=single.settings["seconds"])[0]
    assert torch.equal(again.clip.waveform, single.clip.waveform)


@pytest.mark.parametrize(
    "change", [{"prompt": "footsteps"}, {"negative_prompt": "rain"}, {"guidance_scale": 9}]
)
def test_settings_matter(tiny: Any, change: dict[str, Any]) -> None:
    one, other = (
        generate(tiny, QUICK, seconds=0.5)[0],
        generate(tiny, replace(QUICK, **change), seconds=0.5)[0],
    )
    assert not np.array_equal(one.picture.pixels, other.picture.pixels)


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"one_step"}))
def test_every_sampler_paints(tiny: Any, sampler: str) -> None:
    result = generate(tiny, replace(QUICK, sampler=sampler), seconds=0.5)[0]
    assert result.settings["sampler"] == sampler and result.picture.pixels.std() > 0


@pytest.mark.parametrize("seconds", [0.1, 1.2345, 11.0])
def test_any_length(tiny: Any, seconds: float) -> None:
    result = generate(tiny, QUICK, seconds=seconds)[0]
    assert result.clip.num_samples == round(seconds * RATE)
    assert result.picture.columns == -(-round(seconds * RATE) // 512)


def test_a_long_sound_has_no_seams_between_its_windows(tiny: Any) -> None:
    """Neighbouring columns differ no more where windows meet than inside of them."""
    picture = generate(tiny, QUICK, seconds=12.0)[0].picture
    steps = np.abs(np.diff(picture.pixels[..., 0].astype(float), axis=1)).mean(axis=0)
    assert steps.max() < 2.5 * np.median(steps)


def test_cancel_stops_at_once(tiny: Any) -> None:
    seen: list[tuple[int, int, str]] = []

    def stop(step: int, total: int, message: str) -> None:
        seen.append((step, total, message))
        if step >= 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        generate(tiny, replace(QUICK, steps=50), progress=stop)
    assert seen[-1][0] == 1 and seen[-1][1] == 51


def test_progress_rises_to_the_end(tiny: Any) -> None:
    shares: list[float] = []
    generate(tiny, QUICK, seconds=0.5, batch=2, progress=lambda a, b, _: shares.append(a / b))
    assert shares[0] == 0 and shares[-1] == 1 and sorted(shares) == shares
    Part(None, 0, 1)(1, 2, "nobody looks")


@pytest.mark.parametrize("prompt", ["", "rain " * 2000])
def test_prompts_of_no_and_of_ten_thousand_characters(tiny: Any, prompt: str) -> None:
    result = generate(tiny, replace(QUICK, prompt=prompt, steps=1), seconds=0.5)[0]
    assert result.settings["prompt"] == prompt and torch.isfinite(result.clip.waveform).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": "x" * 10_001},
        {"prompt": None},
        {"steps": 0},
        {"steps": 2.5},
        {"steps": True},
        {"seed": -1},
        {"strength": 0.0},
        {"strength": float("nan")},
        {"guidance_scale": "high"},
        {"guidance_scale": 1e9},
        {"fill": "grey"},
        {"sampler": 3},
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(SonopaintError):
        PaintSettings.from_dict(wrong)


def test_requests_that_make_no_sense(tiny: Any) -> None:
    for arguments in ({"seconds": 0.0}, {"seconds": 1e9}, {"seconds": float("nan")}, {"batch": 0}):
        with pytest.raises(SonopaintError):
            generate(tiny, QUICK, **arguments)
    with pytest.raises(SonopaintError, match="sampler"):
        generate(tiny, replace(QUICK, sampler="magic"))
    with pytest.raises(SonopaintError):
        interpolate(tiny, QUICK, QUICK, 1)


@given(
    st.builds(
        PaintSettings,
        prompt=st.text(max_size=50),
        negative_prompt=st.text(max_size=50),
        steps=st.none() | st.integers(1, 1000),
        guidance_scale=st.none() | st.floats(0, 100),
        seed=st.integers(0, 2**53 - 1),
        strength=st.floats(0.01, 1),
        fill=st.sampled_from(["noise", "original"]),
    )
)
def test_settings_survive_json(settings: PaintSettings) -> None:
    assert PaintSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_a_new_loop_joins_its_end_to_its_start(tiny: Any) -> None:
    """The step across the ends is no larger than the steps inside, in the picture and in the samples."""
    result = loop(tiny, None, replace(QUICK, iterations=8), seconds=2.0)[0]
    assert result.clip.num_samples == 2 * RATE and result.picture.columns == 125
    wave = result.clip.waveform[0].numpy()
    assert abs(wave[0] - wave[-1]) <= np.abs(np.diff(wave)).max()
    pixels = result.picture.pixels[..., 0].astype(float)
    steps = np.abs(np.diff(pixels, axis=1)).mean(axis=0)
    assert np.abs(pixels[:, 0] - pixels[:, -1]).mean() < 2 * steps.mean()


def test_a_loop_longer_than_the_model_wraps_its_windows(tiny: Any) -> None:
    result = loop(tiny, None, QUICK, seconds=7.0)[0]
    pixels = result.picture.pixels[..., 0].astype(float)
    steps = np.abs(np.diff(pixels, axis=1)).mean(axis=0)
    assert result.clip.num_samples == 7 * RATE
    assert np.abs(pixels[:, 0] - pixels[:, -1]).mean() < 2.5 * np.median(steps)


def test_loops_are_stretched_and_resampled_round() -> None:
    from sonoconvert.files.clip import Clip

    wave = np.sin(2 * np.pi * 3 * np.arange(3200) / 3200).astype(np.float32)
    out = _resampled_round(Clip(torch.from_numpy(wave)[None], RATE), 3100).waveform[0].numpy()
    np.testing.assert_allclose(out, np.sin(2 * np.pi * 3 * np.arange(3100) / 3100), atol=1e-4)
    columns = (100 + 90 * np.sin(2 * np.pi * np.arange(128) / 128)).astype(np.uint8)
    pixels = np.repeat(np.tile(columns, (4, 1))[..., None], 3, axis=2)
    assert _stretched_round(pixels, 128) is pixels
    stretched = _stretched_round(pixels, 120)[0, :, 0]
    np.testing.assert_allclose(stretched, 100 + 90 * np.sin(2 * np.pi * np.arange(120) / 120), atol=1.6)


def test_interpolation_goes_from_a_to_b(tiny: Any) -> None:
    other = replace(QUICK, prompt="footsteps", seed=9)
    results = interpolate(tiny, QUICK, other, 3, seconds=1.0)
    assert len(results) == 4 and [r.settings["position"] for r in results] == [0.0, 0.5, 1.0, "all"]
    ends = generate(tiny, QUICK, seconds=1.0) + generate(tiny, other, seconds=1.0)
    for result, end in zip((results[0], results[2]), ends, strict=True):
        difference = np.abs(result.picture.pixels.astype(int) - end.picture.pixels.astype(int))
        assert difference.max() <= 1  # embeddings were encoded in another batch
    joined = results[3]
    overlap = results[0].picture.format.columns(0.25)
    assert joined.picture.columns == 3 * 63 - 2 * overlap
    np.testing.assert_array_equal(joined.picture.pixels[:, :40], results[0].picture.pixels[:, :40])
    assert joined.clip.num_samples == joined.picture.columns * 512


def test_painter_protocol(tiny: Any) -> None:
    painter = DiffusersPainter(tiny)
    assert isinstance(painter, Painter)
    (through_painter,) = generate(painter, QUICK, seconds=0.5)
    assert torch.equal(through_painter.clip.waveform, generate(tiny, QUICK, seconds=0.5)[0].clip.waveform)
    canvas = blank_canvas(replace(tiny.format, f_max=9000.0), 64, 64 * 512)
    with pytest.raises(SonopaintError, match="format"):
        painter.paint(canvas, "", QUICK)
