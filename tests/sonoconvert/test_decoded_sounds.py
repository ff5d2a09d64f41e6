"""What phones and browsers record (M4A, MP4, WebM …): through PyAV, the FFmpeg program, or a sentence."""

from __future__ import annotations

import fractions
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sonoconvert.cli import main
from sonoconvert.errors import SonopaintError
from sonoconvert.files import decoder
from sonoconvert.files.clip import iter_clips, read_clip, sound_header, write_clip

av = pytest.importorskip("av")

RATE = 48_000
NUMBERS: dict[str, tuple[Any, float]] = {
    "fltp": (np.float32, 1.0),
    "flt": (np.float32, 1.0),
    "s16": (np.int16, 2.0**15),
    "s16p": (np.int16, 2.0**15),
    "s32": (np.int32, 2.0**31),
    "s32p": (np.int32, 2.0**31),
}


def chirp(seconds: float = 3.0, channels: int = 1, rate: int = RATE) -> np.ndarray:
    """A sweep with clicks, so that a shift of one sample shows: float32 [channels, samples]."""
    t = np.arange(round(seconds * rate) + 777) / rate
    sound = 0.3 * np.sin(2 * np.pi * (200 * t + 300 * t * t)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))
    return np.stack([np.roll(sound, 50 * channel) for channel in range(channels)]).astype(np.float32)


def encode(path: Path, codec: str, form: str, sound: np.ndarray, rate: int = RATE) -> Path:
    """Write a sound with PyAV; integers as they are, floats scaled to the codec's numbers."""
    layout = "mono" if len(sound) == 1 else "stereo"
    kind, scale = NUMBERS[form]
    numbers = sound if sound.dtype == kind else (sound * scale).astype(kind)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        stream.format = form
        for first in range(0, numbers.shape[1], 1000):
            part = numbers[:, first : first + 1000]
            part = part if form.endswith("p") else part.T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format=form, layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, first, fractions.Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def shift_of(got: np.ndarray, true: np.ndarray) -> int:
    """By how many samples `got` is late."""
    size = 1 << 17
    product = np.fft.rfft(got[: size // 2], size) * np.conj(np.fft.rfft(true[: size // 2], size))
    place = int(np.argmax(np.fft.irfft(product)))
    return place if place < size // 2 else place - size


LOSSY = [
    ("x.m4a", "aac", "fltp"),
    ("x.mp4", "aac", "fltp"),
    ("x.webm", "libopus", "flt"),
    ("x.opus", "libopus", "flt"),
    ("x.mka", "libopus", "flt"),
    ("x.mp3", "libmp3lame", "fltp"),
]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("name", "codec", "form"), LOSSY)
def test_lossy_recordings_begin_and_end_where_they_did(
    tmp_path: Path, name: str, codec: str, form: str, channels: int
) -> None:
    true = chirp(channels=channels)
    path = encode(tmp_path / name, codec, form, true)
    clip = read_clip(path)
    assert (clip.sample_rate, clip.num_channels) == (RATE, channels)
    assert abs(clip.num_samples - true.shape[1]) <= RATE // 1000
    for got, channel in zip(clip.waveform.numpy(), true, strict=True):
        assert abs(shift_of(got, channel)) <= RATE // 1000
        inner = slice(2000, true.shape[1] - 4000)
        error = np.sqrt(np.mean((got[inner] - channel[inner]) ** 2) / np.mean(channel[inner] ** 2))
        assert error < 0.15  # the codecs' own
    assert sound_header(path).frames == clip.num_samples


LOSSLESS = [
    ("x.m4a", "alac", "s16p", 16),
    ("x.m4a", "alac", "s32p", 24),
    ("x.mka", "flac", "s16", 16),
    ("x.flac", "flac", "s32", 24),
    ("x.mkv", "pcm_s32le", "s32", 32),
    ("x.mka", "pcm_f32le", "flt", 0),
    ("x.caf", "alac", "s32p", 24),
]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("name", "codec", "form", "bits"), LOSSLESS)
def test_lossless_recordings_are_sample_exact_and_go_back_in_their_type(
    tmp_path: Path, name: str, codec: str, form: str, bits: int, channels: int
) -> None:
    rng = np.random.default_rng(1)
    kind, _ = NUMBERS[form]
    if bits:
        width = np.iinfo(kind).bits
        numbers = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (channels, 30_000)) << (width - bits)
        numbers = numbers.astype(kind)
        true = numbers / 2.0 ** (width - 1)
    else:
        numbers = true = rng.normal(size=(channels, 30_000)).astype(np.float32)
    clip = read_clip(encode(tmp_path / name, codec, form, numbers))
    assert torch.equal(clip.waveform, torch.from_numpy(true).float())
    write_clip(clip, tmp_path / "back.wav")
    import soundfile

    back, _ = soundfile.read(tmp_path / "back.wav", dtype="int32" if bits else "float32", always_2d=True)
    np.testing.assert_array_equal(back.T / (2.0**31 if bits else 1), true)
    assert clip.subtype == (f"PCM_{bits}" if bits else "FLOAT")


@pytest.mark.parametrize(("name", "codec", "form"), [*LOSSY, ("y.m4a", "alac", "s16p")])
def test_parts_are_those_of_the_whole(tmp_path: Path, name: str, codec: str, form: str) -> None:
    path = encode(tmp_path / name, codec, form, chirp(25.0))
    whole = read_clip(path)
    # Opus and AAC reach a state of their own after a second, near but not the same.
    tolerance = 0 if codec == "alac" else 1e-3
    for start, seconds in [(0.0, 0.5), (0.2, 0.5), (11.03, 2.0), (24.5, 10.0), (7.0, None)]:
        part = read_clip(path, start_s=start, duration_s=seconds).waveform
        first = round(start * whole.sample_rate)
        torch.testing.assert_close(
            part, whole.waveform[:, first : first + part.shape[1]], rtol=0, atol=tolerance
        )
    windows = torch.cat([clip.waveform for clip in iter_clips(path, 3.3)], dim=1)
    torch.testing.assert_close(windows, whole.waveform, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_an_hour_is_read_in_bounded_memory(tmp_path: Path) -> None:
    rate = 16_000
    path = encode(tmp_path / "x.m4a", "aac", "fltp", np.tile(chirp(60.0, rate=rate), (1, 60)), rate)
    code = (
        "import resource, sys\nfrom sonoconvert.files.clip import iter_clips, read_clip, sound_header\n"
        "read_clip(sys.argv[1], duration_s=1.0)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "read_clip(sys.argv[1], start_s=3000.0, duration_s=5.0)\n"
        "assert sum(clip.num_samples for clip in iter_clips(sys.argv[1], 10.0)) > 3600 * 16000\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert int(answer.stdout) < 50_000  # kB; the samples are 230 MB


def test_the_command_line_takes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    encode(tmp_path / "in" / "phone.m4a", "aac", "fltp", chirp(1.0))
    encode(tmp_path / "in" / "browser.webm", "libopus", "flt", chirp(1.0))
    assert main(["to-picture", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0
    assert main(["info", str(tmp_path / "in" / "phone.m4a")]) == 0
    assert "a sound (MOV, AAC), 48000 Hz, mono, 1.016 s" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["browser.png", "phone.png"]


def test_a_sound_under_a_wrong_suffix_is_read(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.m4a", "aac", "fltp", chirp(1.0)).rename(tmp_path / "x.mp3")
    assert abs(read_clip(path).num_samples - RATE - 777) < RATE // 1000


@pytest.mark.parametrize("name", ["x.m4a", "x.webm", "x.mka"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_cut_recordings_give_what_is_there_or_a_sentence(
    tmp_path: Path, name: str, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    codec, form = ("aac", "fltp") if name == "x.m4a" else ("libopus", "flt")
    data = encode(tmp_path / name, codec, form, chirp(4.0)).read_bytes()
    whole = read_clip(tmp_path / name).num_samples
    (tmp_path / f"cut-{name}").write_bytes(data[: int(len(data) * share)])
    try:
        assert 0 < read_clip(tmp_path / f"cut-{name}").num_samples < whole
    except SonopaintError as error:
        assert "damaged" in str(error)


def test_damage_inside_becomes_silence_and_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray(encode(tmp_path / "x.m4a", "alac", "s16p", chirp(3.0)).read_bytes())
    whole = read_clip(tmp_path / "x.m4a").waveform
    place = len(data) // 2
    data[place : place + 3000] = bytes([255]) * 3000
    (tmp_path / "y.m4a").write_bytes(data)
    with caplog.at_level(logging.WARNING):
        got = read_clip(tmp_path / "y.m4a").waveform
    assert got.shape == whole.shape and "became silence" in caplog.text
    assert torch.equal(got[:, :40_000], whole[:, :40_000]) and torch.equal(
        got[:, -40_000:], whole[:, -40_000:]
    )


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static'></MPD>",
        b"\x89PNG\r\n\x1a\n" + bytes(300),
        b"GIF89a" + bytes(300),
        bytes(5000),
        b"[Script Info]\n",
    ],
)
@pytest.mark.parametrize("suffix", [".m4a", ".wav", ".m3u8", ".mp4"])
def test_playlists_and_pictures_are_no_sounds(
    tmp_path: Path, content: bytes, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    looked_up: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: looked_up.append(address))
    (tmp_path / f"x{suffix}").write_bytes(content)
    with pytest.raises(SonopaintError, match=f"x{suffix}"):
        read_clip(tmp_path / f"x{suffix}")
    assert not looked_up


def test_a_film_without_sound(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(SonopaintError, match=r"x\.mp4 has no sound track"):
        read_clip(tmp_path / "x.mp4")


WITHOUT = [
    (b"\x00\x00\x00\x20ftypM4A \x00\x00", "M4A"),
    (b"\x00\x00\x00\x20ftypisom\x00\x00", "MP4"),
    (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", "WebM"),
    (b"\xff\xf1\x50\x80", "AAC"),
    (b"#!AMR\n", "AMR"),
    (b"0&\xb2u\x8ef\xcf\x11", "WMA"),
]


@pytest.fixture
def no_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)


@pytest.mark.parametrize(("content", "what"), WITHOUT)
def test_without_a_decoder_one_sentence_says_what_it_is_and_what_helps(
    tmp_path: Path, content: bytes, what: str, no_pyav: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    path = tmp_path / "song.mp3"
    path.write_bytes(content + bytes(3000))
    with pytest.raises(SonopaintError, match=f"song.mp3 is {what}.*needs a decoder: .*pip install av.*WAV"):
        read_clip(path)


def test_the_ffmpeg_program_serves_where_pyav_is_missing(
    tmp_path: Path, no_pyav: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a stand-in that writes what FFmpeg would; the options are those that keep it at home."""
    import soundfile

    true = chirp(1.0)
    soundfile.write(tmp_path / "made.w64", true.T, RATE, subtype="FLOAT", format="W64")
    program = tmp_path / "ffmpeg"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/said\nfor last; do :; done\ncp {tmp_path}/made.w64 "$last"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    path = tmp_path / "a film, -y.mp4"
    path.write_bytes(b"\x00\x00\x00\x20ftypisom" + bytes(100))
    clip = read_clip(path)
    assert torch.equal(clip.waveform, torch.from_numpy(true)) and clip.subtype == "FLOAT"
    part = read_clip(path, start_s=0.25, duration_s=0.5)
    assert torch.equal(part.waveform, clip.waveform[:, 12_000:36_000])
    said = (tmp_path / "said").read_text()
    assert "-protocol_whitelist file" in said and "-format_whitelist mov," in said and "hls" not in said
    program.write_text("#!/bin/sh\necho 'x: Invalid data found' >&2\nexit 1\n")
    with pytest.raises(SonopaintError, match="FFmpeg can't read it either .Invalid data found"):
        read_clip(path)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no FFmpeg program on this machine")
@pytest.mark.parametrize(("name", "codec", "form"), LOSSY[:3])
def test_the_real_ffmpeg_program(
    tmp_path: Path, name: str, codec: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / name, codec, form, chirp())
    by_pyav = read_clip(path).waveform
    monkeypatch.setitem(sys.modules, "av", None)
    by_program = read_clip(path).waveform
    assert abs(by_program.shape[1] - by_pyav.shape[1]) <= RATE // 1000
    count = min(by_program.shape[1], by_pyav.shape[1])
    torch.testing.assert_close(by_program[:, :count], by_pyav[:, :count], rtol=0, atol=1e-3)


def test_what_is_decoded_is_remembered_only_while_the_file_stays(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.m4a", "aac", "fltp", chirp(1.0))
    assert sound_header(path).frames < 1.1 * RATE
    encode(path, "aac", "fltp", chirp(2.0))
    assert sound_header(path).frames > 1.9 * RATE
    assert decoder._facts.cache_info().maxsize is not None
