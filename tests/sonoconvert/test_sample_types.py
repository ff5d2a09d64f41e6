"""Every type of samples in every container: what was not edited goes back as the file's own numbers."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sonoconvert.edits.canvas import extend_canvas, inpaint_canvas, loop_canvas
from sonoconvert.edits.edit import put_back
from sonoconvert.edits.region import Box, Region
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.files.native import Opened
from sonoconvert.files.samples import INTEGER_BITS, holding
from sonoconvert.phase.search import PhaseSearch

RATE = 8000
READABLE = sorted(
    (container, subtype)
    for container in soundfile.available_formats()
    for subtype in soundfile.available_subtypes(container)
    # RAW says nothing of itself; SDS and SD2 need files beside them or a rate of their own.
    if container not in ("RAW", "SD2", "SDS", "WVE", "HTK", "XI")
)
# Types whose samples are integers, however they are coded.
FLOATS = {"FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"}
SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)


def numbers(path: Path, subtype: str) -> np.ndarray:
    """The samples as float64, each exactly: by libsndfile, without us."""
    kind = "float64" if subtype == "DOUBLE" else "float32" if subtype in FLOATS else "int32"
    with Opened(path) as file:
        samples = file.read(file.frames, dtype=kind, always_2d=True)
    return samples / 2.0**31 if kind == "int32" else samples.astype(np.float64)


def written(path: Path, container: str, subtype: str, channels: int, seed: int) -> Path | None:
    """A file of noise with every bit used; None where libsndfile can't write the pair."""
    rng = np.random.default_rng(seed)
    rate = 48_000 if subtype == "OPUS" else RATE
    sound = rng.uniform(-0.9, 0.9, (2000, channels))
    try:
        if subtype == "DOUBLE" or subtype in FLOATS:
            soundfile.write(path, sound, rate, format=container, subtype=subtype)
        else:
            integers = np.round(sound * 2.0**31).astype(np.int32)
            soundfile.write(path, integers, rate, format=container, subtype=subtype)
    except (soundfile.LibsndfileError, ValueError):
        return None
    return path


@pytest.mark.parametrize(("container", "subtype"), READABLE)
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_untouched_samples_are_the_files_own(
    tmp_path: Path, container: str, subtype: str, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = written(tmp_path / f"in.{container.lower()}", container, subtype, 1, 0)
    if source is None:
        pytest.skip(f"libsndfile writes no {subtype} into {container}")
    true = numbers(source, subtype)
    clip = read_clip(source)
    with caplog.at_level(logging.WARNING):
        write_clip(clip, tmp_path / f"out{suffix}")
    with soundfile.SoundFile(tmp_path / f"out{suffix}") as file:
        chosen = file.subtype
    got = numbers(tmp_path / f"out{suffix}", chosen)
    assert got.shape == true.shape
    if suffix == ".wav":
        np.testing.assert_array_equal(got, true)
        return
    wide = subtype in FLOATS or subtype in ("PCM_32", "ALAC_32")
    if wide:  # the named exception: FLAC has at most 24 bits here
        assert chosen == "PCM_24" and "can't hold all" in caplog.text
        np.testing.assert_allclose(got, np.clip(true, -1, 1 - 2**-23), rtol=0, atol=2**-24 + 1e-12)
    else:
        np.testing.assert_array_equal(got, true)
        assert "can't hold" not in caplog.text


@SAME_FOLDER
@given(data=st.data())
def test_random_edits_change_nothing_outside(tmp_path: Path, data: st.DataObject) -> None:
    container, subtype = data.draw(st.sampled_from(READABLE))
    # libsndfile itself doesn't read back what it wrote of three channels in PAF's blocks of 24 bits
    most = 2 if (container, subtype) == ("PAF", "PCM_24") else 3
    channels = data.draw(st.integers(1, most))
    source = written(tmp_path / "in.bin", container, subtype, channels, data.draw(st.integers(0, 99)))
    if source is None:
        return
    true = numbers(source, subtype)
    clip = read_clip(source)
    edited = clip.waveform.clone()
    outside = np.ones(clip.num_samples, bool)
    for _ in range(data.draw(st.integers(0, 4))):
        first = data.draw(st.integers(0, clip.num_samples - 1))
        stop = data.draw(st.integers(first, clip.num_samples))
        edited[:, first:stop] += data.draw(st.floats(-1, 1, width=32))
        outside[first:stop] = False
    write_clip(replace(clip, waveform=edited), tmp_path / "out.wav", force=True)
    with soundfile.SoundFile(tmp_path / "out.wav") as file:
        chosen = file.subtype
    got = numbers(tmp_path / "out.wav", chosen)
    np.testing.assert_array_equal(got[outside], true[outside])
    # Inside there is what was painted, as near as the type allows.
    step = max(2.0 ** (1 - INTEGER_BITS.get(chosen, 20)), 2.0**-23)  # a float32 is painted
    limited = np.clip(edited.T.double().numpy(), -1, 1) if chosen in INTEGER_BITS else edited.T.numpy()
    if chosen not in ("ULAW", "ALAW"):
        np.testing.assert_allclose(got[~outside], limited[~outside], rtol=0, atol=step)


WIDE = [("PCM_32", "int32"), ("DOUBLE", "float64")]


@pytest.mark.parametrize(("subtype", "kind"), WIDE)
@pytest.mark.parametrize("task", ["inpaint", "extend", "loop"])
def test_painting_keeps_wide_samples_outside_the_region(
    tmp_path: Path, subtype: str, kind: str, task: str
) -> None:
    rng = np.random.default_rng(3)
    t = np.arange(32_000 * 2) / 32_000
    sound = 0.4 * np.sin(2 * np.pi * 330 * t) + 0.01 * rng.normal(size=len(t))
    soundfile.write(tmp_path / "in.wav", sound, 32_000, subtype=subtype)
    true, _ = soundfile.read(tmp_path / "in.wav", dtype=kind)
    clip = read_clip(tmp_path / "in.wav")
    if task == "inpaint":
        canvas = inpaint_canvas(clip, Region((Box(0.8, 1.2),), feather_s=0.05), "sonopaint-mini")
        kept = [slice(0, round(0.75 * 32_000)), slice(round(1.25 * 32_000), None)]
        shift = 0
    elif task == "extend":
        canvas = extend_canvas(clip, 0.5, 0.5, "sonopaint-mini")
        kept, shift = [slice(0, len(t))], 16_000
    else:
        canvas = loop_canvas(clip, "sonopaint-mini", seam_s=0.5)
        kept, shift = [slice(16_000, 48_000)], 0
    painted = replace(canvas.picture, pixels=np.roll(canvas.picture.pixels, 5, axis=0))
    write_clip(put_back(canvas, painted, PhaseSearch(2)), tmp_path / "out.wav")
    got, _ = soundfile.read(tmp_path / "out.wav", dtype=kind)
    assert soundfile.info(tmp_path / "out.wav").subtype == subtype
    for part in kept:
        moved = slice(part.start + shift, None if part.stop is None else part.stop + shift)
        np.testing.assert_array_equal(got[moved], true[part])
    assert not np.array_equal(got[: len(true)], true)


@pytest.mark.parametrize(
    ("container", "own", "chosen", "holds"),
    [
        ("WAV", None, "PCM_16", True),
        ("OGG", None, "VORBIS", True),
        ("OGG", "PCM_16", "VORBIS", False),
        ("WAV", "MS_ADPCM", "PCM_16", True),
        ("WAV", "GSM610", "PCM_16", True),
        ("WAV", "ULAW", "ULAW", True),
        ("FLAC", "ULAW", "PCM_16", True),
        ("WAV", "PCM_S8", "PCM_U8", True),
        ("FLAC", "PCM_U8", "PCM_S8", True),
        ("WAV", "ALAC_20", "PCM_24", True),
        ("WAV", "ALAC_24", "PCM_24", True),
        ("WAV", "PCM_32", "PCM_32", True),
        ("FLAC", "PCM_32", "PCM_24", False),
        ("WAV", "DOUBLE", "DOUBLE", True),
        ("WAV", "MPEG_LAYER_III", "FLOAT", True),
        ("WAV", "AAC", "FLOAT", True),
        ("FLAC", "FLOAT", "PCM_24", False),
    ],
)
def test_the_next_wider_type(container: str, own: str | None, chosen: str, holds: bool) -> None:
    assert holding(container, own) == (chosen, holds)


def test_what_changes_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    adpcm = read_clip(written(tmp_path / "a.wav", "WAV", "MS_ADPCM", 1, 0) or tmp_path)
    write_clip(adpcm, tmp_path / "b.wav")
    assert "b.wav is written as PCM_16: coding it as MS_ADPCM anew would change every sample" in caplog.text
    caplog.clear()
    write_clip(adpcm, tmp_path / "b.ogg")
    assert "b.ogg is coded with Vorbis" in caplog.text
    caplog.clear()
    write_clip(adpcm, tmp_path / "c.wav", subtype="PCM_24")  # asked for: nothing to say
    write_clip(Clip(adpcm.waveform, 8000), tmp_path / "d.ogg")  # made here
    assert not caplog.text


def test_samples_of_a_float32_are_not_kept_twice(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.arange(100, dtype=np.int32) << 16, 8000, subtype="PCM_32")
    assert read_clip(tmp_path / "a.wav").exact is None
    soundfile.write(tmp_path / "b.wav", np.full(100, 0.1), 8000, subtype="DOUBLE")
    clip = read_clip(tmp_path / "b.wav")
    assert clip.exact is not None and clip.mono().exact is not None
    assert replace(clip, waveform=clip.waveform[:, :50]).exact is None  # cut: no longer side by side
    assert torch.equal(clip.waveform, torch.full((1, 100), 0.1))
