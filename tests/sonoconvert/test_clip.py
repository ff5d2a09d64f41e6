"""Reading and writing sound files: bit-exactness, tags, hostile files."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sonoconvert.errors import SonopaintError
from sonoconvert.files import clip as clip_module
from sonoconvert.files.clip import Clip, iter_clips, read_clip, sound_header, write_clip

SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


def noise(channels: int = 1, samples: int = 4000, rate: int = 32_000, seed: int = 0) -> Clip:
    generator = torch.Generator().manual_seed(seed)
    return Clip((torch.rand(channels, samples, generator=generator) - 0.5), rate)


def int16_file(path: Path, samples: np.ndarray, rate: int = 44_100) -> Path:
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


@SAME_FOLDER
@given(
    samples=hnp.arrays(
        np.int16, st.tuples(st.integers(1, 300), st.integers(1, 6)), elements=st.integers(-32768, 32767)
    ),
    suffix=st.sampled_from([".wav", ".flac"]),
)
def test_16_bit_files_come_back_bit_for_bit(tmp_path: Path, samples: np.ndarray, suffix: str) -> None:
    source = int16_file(tmp_path / f"in{suffix}", samples)
    clip = read_clip(source)
    assert clip.subtype == "PCM_16"
    write_clip(clip, tmp_path / f"out{suffix}", force=True)
    result, _ = soundfile.read(tmp_path / f"out{suffix}", dtype="int16", always_2d=True)
    np.testing.assert_array_equal(result, samples)


@pytest.mark.parametrize(
    ("suffix", "subtype", "bits"),
    [(".wav", "PCM_24", 24), (".flac", "PCM_24", 24), (".wav", "PCM_U8", 8), (".wav", "FLOAT", None)],
)
def test_other_widths_come_back_exactly(tmp_path: Path, suffix: str, subtype: str, bits: int | None) -> None:
    wave = noise(2).waveform
    if bits:
        wave = torch.round(wave * 2 ** (bits - 1)) / 2 ** (bits - 1)
    write_clip(Clip(wave, 48_000), tmp_path / f"a{suffix}", subtype=subtype)
    once = read_clip(tmp_path / f"a{suffix}")
    assert torch.equal(once.waveform, wave) and once.subtype == subtype
    write_clip(once, tmp_path / f"b{suffix}")
    assert torch.equal(read_clip(tmp_path / f"b{suffix}").waveform, wave)


def test_full_scale_is_clipped_not_wrapped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_clip(Clip(torch.tensor([[2.0, -2.0, 1.0, -1.0]]), 8000), tmp_path / "x.wav")
    samples, _ = soundfile.read(tmp_path / "x.wav", dtype="int16")
    assert samples.tolist() == [32767, -32768, 32767, -32768]
    assert "clipped" in caplog.text


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
@pytest.mark.parametrize("prompt", ["", "a dog barks", '犬が吠える — “Ünïcode” 🐕\n\\ "x"', "é" * 10_000])
def test_settings_survive_every_format(tmp_path: Path, suffix: str, prompt: str) -> None:
    settings_ = {"prompt": prompt, "seed": 3, "regions": [[0.5, 1.0]]}
    write_clip(Clip(noise(samples=3001).waveform, 44_100, settings_), tmp_path / f"x{suffix}")
    clip = read_clip(tmp_path / f"x{suffix}")
    assert clip.settings == settings_ == sound_header(tmp_path / f"x{suffix}").settings
    assert clip.num_samples == 3001


def test_an_odd_sized_wav_keeps_its_tag_and_other_programs_read_it(tmp_path: Path) -> None:
    clip = Clip(torch.zeros(1, 3), 8000, {"prompt": "x"}, "PCM_U8")
    write_clip(clip, tmp_path / "x.wav")
    assert read_clip(tmp_path / "x.wav").settings == {"prompt": "x"}
    size = struct.unpack("<I", (tmp_path / "x.wav").read_bytes()[4:8])[0]
    assert size == (tmp_path / "x.wav").stat().st_size - 8
    with soundfile.SoundFile(tmp_path / "x.wav") as file:
        assert '"prompt"' in file.comment


def test_foreign_comments_are_not_settings(tmp_path: Path) -> None:
    for comment in ("Recorded in Rome", "{broken", "[1, 2]", "{" * 5000):
        with soundfile.SoundFile(tmp_path / "x.flac", "w", 8000, 1) as file:
            file.comment = comment
            file.write(np.zeros(10))
        assert read_clip(tmp_path / "x.flac").settings == {}


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_rates_and_channels(tmp_path: Path, rate: int, channels: int) -> None:
    write_clip(noise(channels, 2000, rate), tmp_path / "x.wav")
    clip = read_clip(tmp_path / "x.wav")
    assert (clip.sample_rate, clip.num_channels, clip.num_samples) == (rate, channels, 2000)
    assert clip.resampled(32_000).num_samples == round(2000 * 32_000 / rate)
    assert clip.mono().waveform.shape == (1, 2000)


def test_mp3_is_read(tmp_path: Path) -> None:
    if "MP3" not in soundfile.available_formats():
        pytest.skip("this libsndfile has no MP3")
    t = np.arange(44_100) / 44_100
    soundfile.write(tmp_path / "x.mp3", 0.5 * np.sin(2 * np.pi * 440 * t), 44_100)
    clip = read_clip(tmp_path / "x.mp3")
    spectrum = torch.fft.rfft(clip.waveform[0, 4000:36_000]).abs()
    assert int(spectrum.argmax()) * 44_100 / 32_000 == pytest.approx(440, abs=2)


def test_parts_of_a_file(tmp_path: Path) -> None:
    clip = noise(2, 9000, 1000)
    write_clip(clip, tmp_path / "x.wav", subtype="FLOAT")
    part = read_clip(tmp_path / "x.wav", start_s=2, duration_s=3)
    assert torch.equal(part.waveform, clip.waveform[:, 2000:5000])
    assert read_clip(tmp_path / "x.wav", start_s=8, duration_s=30).num_samples == 1000
    windows = list(iter_clips(tmp_path / "x.wav", 4))
    assert [window.num_samples for window in windows] == [4000, 4000, 1000]
    assert torch.equal(torch.cat([window.waveform for window in windows], 1), clip.waveform)
    for start, duration in ((9, None), (-1, None), (0, 0), (float("nan"), None), (0, float("inf"))):
        with pytest.raises(SonopaintError):
            read_clip(tmp_path / "x.wav", start_s=start, duration_s=duration)


def test_too_long_for_memory_names_the_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(noise(samples=5000), tmp_path / "x.wav")
    monkeypatch.setattr(clip_module, "MAX_SAMPLES", 4000)
    with pytest.raises(SonopaintError, match="cut out the part.*--start and --duration"):
        read_clip(tmp_path / "x.wav")
    assert read_clip(tmp_path / "x.wav", duration_s=0.1).num_samples == 3200
    assert sum(window.num_samples for window in iter_clips(tmp_path / "x.wav", 1000)) == 5000


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"not a sound at all", b"\x89PNG\r\n\x1a\n" + bytes(50), b"fLaC" + bytes(60)]
)
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".raw"])
def test_files_that_are_not_sounds(tmp_path: Path, content: bytes, suffix: str) -> None:
    (tmp_path / f"x{suffix}").write_bytes(content)
    with pytest.raises(SonopaintError, match=f"x{suffix}"):
        read_clip(tmp_path / f"x{suffix}")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(SonopaintError, match=str(path)):
            read_clip(path)


def test_a_header_without_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(0), 8000)
    with pytest.raises(SonopaintError, match="no samples"):
        read_clip(tmp_path / "x.wav")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_is_refused_both_ways(tmp_path: Path, bad: float) -> None:
    samples = np.zeros(100, np.float32)
    samples[50] = bad
    soundfile.write(tmp_path / "x.wav", samples, 8000, subtype="FLOAT")
    with pytest.raises(SonopaintError, match="NaN or infinite"):
        read_clip(tmp_path / "x.wav")
    with pytest.raises(SonopaintError, match="NaN or infinite"):
        write_clip(Clip(torch.from_numpy(samples)[None], 8000), tmp_path / "y.wav")
    assert not (tmp_path / "y.wav").exists()


def test_mislabelled_files_are_read_by_their_content(tmp_path: Path) -> None:
    clip = noise()
    write_clip(clip, tmp_path / "x.flac")
    (tmp_path / "x.flac").rename(tmp_path / "x.wav")
    assert read_clip(tmp_path / "x.wav").num_samples == clip.num_samples


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_truncated_files_give_what_is_there_or_one_error(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = tmp_path / f"whole{suffix}"
    write_clip(noise(1, 60_000), whole)
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    for share in (0.5, 0.9):
        caplog.clear()
        cut.write_bytes(data[: int(len(data) * share)])
        with caplog.at_level(logging.WARNING):
            try:
                clip = read_clip(cut)
            except SonopaintError:
                continue
        assert 0 < clip.num_samples < 60_000
        # An Ogg stream does not say how long it should have been.
        assert suffix == ".ogg" or "cut off" in caplog.text


@SAME_FOLDER
@given(data=st.data())
def test_damaged_files_never_crash(tmp_path: Path, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from([".wav", ".flac", ".ogg"]))
    write_clip(Clip(noise(1, 500).waveform, 8000, {"prompt": "x"}), tmp_path / f"a{suffix}", force=True)
    content = bytearray((tmp_path / f"a{suffix}").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / f"b{suffix}").write_bytes(content)
    try:
        clip = read_clip(tmp_path / f"b{suffix}")
    except SonopaintError:
        return
    assert clip.num_samples > 0


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    target = tmp_path / "x.wav"
    target.write_text("precious")
    with pytest.raises(SonopaintError, match="already exists.*use force"):
        write_clip(noise(), target)
    assert target.read_text() == "precious"
    write_clip(noise(), target, force=True)
    assert read_clip(target).num_samples == 4000
    assert [path.name for path in tmp_path.iterdir()] == ["x.wav"]


@pytest.mark.parametrize("name", ["x.aac", "x", "x.txt"])
def test_unknown_suffixes(tmp_path: Path, name: str) -> None:
    with pytest.raises(SonopaintError, match=r"\.wav, \.flac, \.ogg or \.mp3"):
        write_clip(noise(), tmp_path / name)


def test_mp3_keeps_length_pitch_and_settings(tmp_path: Path) -> None:
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(48_001) / 32_000)[None] / 2
    write_clip(Clip(tone, 32_000, {"prompt": "a bell, tür", "seed": 3}), tmp_path / "x.mp3")
    clip = read_clip(tmp_path / "x.mp3")
    assert (clip.num_samples, clip.sample_rate, clip.settings["prompt"]) == (48_001, 32_000, "a bell, tür")
    middle = slice(2000, 46_000)
    assert (clip.waveform[:, middle] - tone[:, middle]).abs().max() < 0.02
    with pytest.raises(SonopaintError, match="MP3.*96000 Hz.*try .wav"):
        write_clip(noise(rate=96_000), tmp_path / "y.mp3")


def test_impossible_combinations_write_nothing(tmp_path: Path) -> None:
    for clip, name, subtype in (
        (noise(), "x.flac", "FLOAT"),
        (noise(9), "x.flac", None),
        (noise(rate=700_000), "x.flac", None),
    ):
        with pytest.raises(SonopaintError):
            write_clip(clip, tmp_path / name, subtype=subtype)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(0, 5), (1, 0), (5,), (1, 1, 5)])
def test_clips_have_samples(shape: tuple[int, ...]) -> None:
    with pytest.raises(SonopaintError, match="channels, samples"):
        Clip(torch.zeros(shape), 8000)
