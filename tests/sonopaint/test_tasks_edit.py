"""vary, inpaint, extend and closing loops: what was not painted does not change, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sonoconvert.edits.canvas import inpaint_canvas
from sonoconvert.edits.region import Box, Region, parse_region
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonopaint.painters.diffusers_painter import DiffusersPainter
from sonopaint.painters.latents import decode_latents, encode_image
from sonopaint.tasks import PaintSettings, extend, inpaint, loop, vary

QUICK = PaintSettings("a train horn", seed=3, steps=2, iterations=2)
MakeClip = Callable[..., Clip]


def changed_samples(before: Clip, after: Clip) -> np.ndarray:
    return np.flatnonzero((before.waveform != after.waveform).any(dim=0).numpy())


@pytest.mark.parametrize(
    ("rate", "channels", "suffix", "subtype"),
    [
        (44_100, 1, ".wav", "PCM_16"),
        (48_000, 2, ".flac", "PCM_24"),
        (22_050, 2, ".wav", "FLOAT"),
        (8_000, 1, ".wav", "PCM_16"),
        (96_000, 3, ".wav", "PCM_24"),
    ],
)
@pytest.mark.parametrize("region", ["1.0:1.6", "1.0:1.6,200:3000"])
def test_inpaint_keeps_everything_else(
    tiny: Any,
    make_clip: MakeClip,
    tmp_path: Path,
    rate: int,
    channels: int,
    suffix: str,
    subtype: str,
    region: str,
) -> None:
    """Through files, as people do it: read, inpaint, write, read again."""
    path = tmp_path / f"in{suffix}"
    write_clip(make_clip(2.5, rate, channels), path, subtype=subtype)
    source = read_clip(path)
    feather = 0.05
    (result,) = inpaint(tiny, source, Region((parse_region(region),), feather_s=feather), QUICK)
    out = tmp_path / f"out{suffix}"
    write_clip(result.clip, out)
    written = read_clip(out)
    assert written.sample_rate == rate and written.waveform.shape == source.waveform.shape
    assert written.settings["task"] == "inpaint" and written.settings["regions"] == [
        str(parse_region(region))
    ]
    changed = changed_samples(source, written)
    assert changed.min() >= round((1.0 - feather) * rate) and changed.max() < round((1.6 + feather) * rate)
    inside = slice(round(1.1 * rate), round(1.5 * rate))
    difference = (source.waveform - written.waveform)[:, inside]
    assert float(difference.square().mean().sqrt()) > 1e-3


def test_a_recording_keeps_its_words(tiny: Any, speech: Callable[[str], Path]) -> None:
    source = read_clip(speech("One recording, of which one word is painted over."))
    (result,) = inpaint(tiny, source, Region((Box(0.8, 1.2),), feather_s=0.02), QUICK)
    changed = changed_samples(source, result.clip)
    rate = source.sample_rate
    assert 0 < changed.size and changed.min() >= round(0.78 * rate) and changed.max() < round(1.22 * rate)
    (longer,) = extend(tiny, source, 0.5, 0.25, QUICK)
    left, right = round(0.5 * rate), round(0.25 * rate)
    assert longer.clip.num_samples == source.num_samples + left + right
    assert torch.equal(longer.clip.waveform[:, left:-right], source.waveform)
    assert float(longer.clip.waveform[:, :left].abs().max()) > 1e-3


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 1), (32_000, 2), (11_025, 2)])
@pytest.mark.parametrize(("left", "right"), [(0.7, 0.0), (0.0, 1.3337), (0.5, 0.5)])
def test_extend_grows_exactly(
    tiny: Any, make_clip: MakeClip, rate: int, channels: int, left: float, right: float
) -> None:
    source = make_clip(1.5, rate, channels)
    (result,) = extend(tiny, source, left, right, QUICK)
    first = round(left * rate)
    assert result.clip.num_samples == source.num_samples + first + round(right * rate)
    assert torch.equal(result.clip.waveform[:, first : first + source.num_samples], source.waveform)
    new = torch.cat(
        [result.clip.waveform[:, :first], result.clip.waveform[:, first + source.num_samples :]], 1
    )
    assert float(new.square().mean().sqrt()) > 1e-3
    assert {"left": left, "right": right}.items() <= result.settings.items()


def test_each_side_has_its_own_prompt(tiny: Any, make_clip: MakeClip) -> None:
    source = make_clip(2.0, 32_000)
    rate, count = 32_000, source.num_samples

    def sides(**prompts: str) -> tuple[torch.Tensor, torch.Tensor]:
        clip = extend(tiny, source, 1.0, 1.0, QUICK, **prompts)[0].clip
        assert torch.equal(clip.waveform[:, rate : rate + count], source.waveform)
        return clip.waveform[:, :rate], clip.waveform[:, rate + count :]

    first = sides(left_prompt="a siren", right_prompt="rain")
    second = sides(left_prompt="a siren", right_prompt="footsteps")
    assert torch.equal(first[0], second[0]) and not torch.equal(first[1], second[1])


def test_vary_keeps_rate_channels_and_length(tiny: Any, make_clip: MakeClip) -> None:
    source = make_clip(1.5, 44_100, 2)
    (result,) = vary(tiny, source, replace(QUICK, strength=0.5))
    assert result.clip.waveform.shape == source.waveform.shape and result.clip.sample_rate == 44_100
    assert {"task": "vary", "strength": 0.5, "fill": "original"}.items() <= result.settings.items()
    assert changed_samples(source, result.clip).size > 0.9 * source.num_samples


def test_variations_follow_their_strength(tiny: Any, make_clip: MakeClip) -> None:
    """Hardly any strength gives what the VAE makes of the source; the more, the further from it."""
    whole = Region(inverted=True, feather_s=0.0)
    canvas = inpaint_canvas(make_clip(2.048, 32_000), whole, tiny.format, kind="vary")
    image = torch.from_numpy(canvas.picture.pixels).permute(2, 0, 1)[None] / 127.5 - 1
    through = decode_latents(tiny, encode_image(tiny, image))[0].mean(dim=0)
    expected = ((through + 1) * 127.5).clamp(0, 255).numpy()
    distances = []
    for strength in (0.002, 0.1, 1.0):
        settings = replace(QUICK, strength=strength, steps=10, guidance_scale=1.0, sampler="euler")
        painted = DiffusersPainter(tiny).paint(canvas, "", settings).pixels[..., 0]
        distances.append(float(np.abs(painted - expected).mean()))
    assert distances[0] < distances[1] < distances[2]


def test_closing_a_loop_changes_the_seam_only(tiny: Any, make_clip: MakeClip) -> None:
    source = make_clip(3.0, 44_100, 2)
    (result,) = loop(tiny, source, QUICK, seam_s=0.5)
    changed = changed_samples(source, result.clip)
    rate, count = 44_100, source.num_samples
    distance = np.minimum(changed, count - changed)  # from the place where the end meets the start
    assert changed.size and distance.max() <= round(0.32 * rate)
    assert {0, count - 1} <= set(changed.tolist())
    for arguments in ({"seconds": 2.0}, {"seam_s": -1.0}):
        with pytest.raises(SonopaintError):
            loop(tiny, source, QUICK, **arguments)
    with pytest.raises(SonopaintError):
        loop(tiny, None, QUICK, seam_s=0.5)


def test_pixels_outside_the_mask_are_the_sources(tiny: Any, make_clip: MakeClip) -> None:
    canvas = inpaint_canvas(make_clip(9.0, 32_000), Region((Box(2.0, 3.0, 300.0, 5000.0),)), tiny.format)
    painted = DiffusersPainter(tiny).paint(canvas, "rain", QUICK)
    mask = canvas.mask[::-1] > 0
    assert (painted.pixels[~mask] == canvas.picture.pixels[~mask]).all()
    assert (painted.pixels[mask] != canvas.picture.pixels[mask]).mean() > 0.5
    assert (painted.peak, painted.num_samples) == (canvas.picture.peak, canvas.picture.num_samples)


def test_noise_forgets_what_was_there(tiny: Any, make_clip: MakeClip) -> None:
    """With fill "noise" what is under a full-height region has no influence on what is painted there."""
    quiet = make_clip(6.0, 32_000)
    loud = replace(quiet, waveform=quiet.waveform.clone())
    loud.waveform[:, 2 * 32_000 + 4096 : 4 * 32_000 - 4096] *= 0.1
    region = Region((Box(2.0, 4.0),))
    painter = DiffusersPainter(tiny)
    canvases = [inpaint_canvas(clip, region, tiny.format) for clip in (quiet, loud)]
    same, other = (painter.paint(c, "", replace(QUICK, fill="noise")).pixels for c in canvases)
    columns = slice(135, 240)
    assert np.abs(same[:, columns].astype(int) - other[:, columns]).mean() < 0.5
    same, other = (painter.paint(c, "", replace(QUICK, strength=0.3)).pixels for c in canvases)
    assert np.abs(same[:, columns].astype(int) - other[:, columns]).mean() > 0.5


def test_batch_of_edits_and_bad_clips(tiny: Any, make_clip: MakeClip) -> None:
    source, region = make_clip(1.0, 16_000), Region((Box(0.3, 0.6),))
    pair = inpaint(tiny, source, region, QUICK, batch=2)
    single = inpaint(tiny, source, region, replace(QUICK, seed=4))[0]
    assert torch.equal(pair[1].clip.waveform, single.clip.waveform)
    assert not torch.equal(pair[0].clip.waveform, pair[1].clip.waveform)
    one_sample = Clip(torch.zeros(1, 1), 44_100)
    not_a_number = replace(source, waveform=torch.full((1, 16_000), torch.nan))
    for clip in (one_sample, not_a_number):
        with pytest.raises(SonopaintError):
            inpaint(tiny, clip, Region(inverted=True), QUICK)
    for empty in (Region(), Region((Box(7.0, 8.0),))):
        with pytest.raises(SonopaintError):
            inpaint(tiny, source, empty, QUICK)
    with pytest.raises(SonopaintError):
        extend(tiny, source, 0.0, 0.0, QUICK)


def test_silence_can_be_painted_on(tiny: Any) -> None:
    silence = Clip(torch.zeros(2, 44_100), 44_100)
    (result,) = inpaint(tiny, silence, Region((Box(0.4, 0.6),)), QUICK)
    changed = changed_samples(silence, result.clip)
    assert changed.size and changed.min() >= round(0.35 * 44_100) and changed.max() < round(0.65 * 44_100)
