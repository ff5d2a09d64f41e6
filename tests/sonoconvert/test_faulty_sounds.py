"""Sound files that are not what their headers say: all that is there is read, and what is lost is said."""

from __future__ import annotations

import itertools
import logging
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sonoconvert.cli import main
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import iter_clips, read_clip, sound_header
from sonoconvert.files.native import Native

RATE = 16_000
SPEECH = Path(__file__).parent.parent / "fixtures" / "speech.flac"


def tone(samples: int = 4800, rate: int = RATE) -> np.ndarray:
    return np.round(12_000 * np.sin(2 * np.pi * 440 * np.arange(samples) / rate)).astype(np.int16)


def as_int16(path: Path) -> np.ndarray:
    return (read_clip(path).waveform[0].double() * 32768).numpy().astype(np.int64)


def check_all_ways(path: Path, frames: int) -> None:
    """Header, whole, windows and a part from the middle agree."""
    whole = read_clip(path).waveform
    assert sound_header(path).frames == whole.shape[1] == frames
    windows = torch.cat([clip.waveform for clip in iter_clips(path, 0.05)], dim=1)
    torch.testing.assert_close(windows, whole, rtol=0, atol=1e-6)
    rate = sound_header(path).sample_rate
    part = read_clip(path, start_s=(frames // 2) / rate).waveform
    torch.testing.assert_close(part, whole[:, frames // 2 :], rtol=0, atol=1e-6)


def flac(path: Path, samples: np.ndarray, *, total: int | None = None) -> Path:
    """A FLAC, whose header may be made to say another number of samples."""
    soundfile.write(path, samples, RATE)
    data = bytearray(path.read_bytes())
    if total is not None:
        field = int.from_bytes(data[18:26], "big") >> 36 << 36 | total
        data[18:26] = field.to_bytes(8, "big")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("total", [0, 100, 4096, 6000, 20_000, 10**9, 2**36 - 1])
def test_a_flac_is_as_long_as_its_sound_whatever_its_header_says(tmp_path: Path, total: int) -> None:
    samples = tone(9500)
    path = flac(tmp_path / "x.flac", samples, total=total)
    np.testing.assert_array_equal(as_int16(path), samples)
    check_all_ways(path, 9500)


def test_a_dataset_is_planned_from_what_is_there(tmp_path: Path) -> None:
    from sonotrain.data.build import build_dataset
    from sonotrain.data.options import DatasetOptions

    (tmp_path / "in").mkdir()
    for number, total in enumerate([0, 2**36 - 1, 20_000, 10**9, 100]):
        sound = np.random.default_rng(number).integers(-9000, 9000, 20_000).astype(np.int16)
        flac(tmp_path / "in" / f"{number}.flac", sound, total=total)
    data = build_dataset(tmp_path / "in", tmp_path / "out", DatasetOptions(validation=0, test=0))
    assert len(data.train) == 5
    assert main(["to-picture", str(tmp_path / "in" / "0.flac"), "-o", str(tmp_path / "x.png")]) == 0


def test_nothing_is_searched_for_behind_the_end_of_a_whole_flac(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each search reads the file from its beginning: it took longer than reading the sound."""
    path, sought, go_to = flac(tmp_path / "x.flac", tone(9500)), [], Native._go_to

    def counted(self: Native, start: int, **how: bool) -> bool:
        sought.append(start)
        return go_to(self, start, **how)

    monkeypatch.setattr(Native, "_go_to", counted)
    assert len(as_int16(path)) == 9500
    assert len(sought) < 8 and max(sought) <= 9500


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.99])
def test_a_cut_flac_gives_every_whole_block(
    tmp_path: Path, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    data, true = SPEECH.read_bytes(), soundfile.read(SPEECH, dtype="int16")[0]
    path = tmp_path / "cut.flac"
    path.write_bytes(data[: int(len(data) * share)])
    with caplog.at_level(logging.WARNING):
        got = as_int16(path)
    assert len(got) >= 4096 and len(got) % 4096 == 0  # the encoder's block
    np.testing.assert_array_equal(got, true[: len(got)])
    assert f"{len(got)} of {len(true)} samples are there" in caplog.text
    check_all_ways(path, len(got))


@pytest.mark.parametrize("where", [0.25, 0.5, 0.75])
def test_a_broken_block_of_a_flac_becomes_silence_and_nothing_moves(
    tmp_path: Path, where: float, caplog: pytest.LogCaptureFixture
) -> None:
    data, true = bytearray(SPEECH.read_bytes()), soundfile.read(SPEECH, dtype="int16")[0]
    place = int(len(data) * where)
    data[place : place + 200] = bytes(200)
    (tmp_path / "x.flac").write_bytes(data)
    with caplog.at_level(logging.WARNING):
        got = as_int16(tmp_path / "x.flac")
    wrong = np.flatnonzero(got != true)
    assert len(got) == len(true) and 0 < len(wrong) <= 2 * 4096
    assert not got[wrong[0] // 4096 * 4096 : wrong[-1]].any()
    assert "damaged at" in caplog.text


def concatenated(path: Path, parts: list[bytes]) -> Path:
    path.write_bytes(b"".join(parts))
    return path


def encoded(folder: Path, samples: np.ndarray, container: str, subtype: str, rate: int = RATE) -> bytes:
    path = folder / "part.tmp"
    soundfile.write(path, samples, rate, format=container, subtype=subtype)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("suffix", "container", "subtype"),
    [
        (".ogg", "OGG", "VORBIS"),
        (".opus", "OGG", "OPUS"),
        (".flac", "FLAC", "PCM_16"),
        (".mp3", "MP3", "MPEG_LAYER_III"),
    ],
)
def test_chained_streams_are_read_to_the_last(
    tmp_path: Path, suffix: str, container: str, subtype: str
) -> None:
    loud, soft = (
        encoded(tmp_path, tone(8000), container, subtype),
        encoded(tmp_path, tone(6000) // 4, container, subtype),
    )
    one = read_clip(concatenated(tmp_path / f"one{suffix}", [loud])).waveform
    two = read_clip(concatenated(tmp_path / f"two{suffix}", [soft])).waveform
    path = concatenated(tmp_path / f"x{suffix}", [loud, soft, loud])
    whole = read_clip(path).waveform
    extra = whole.shape[1] - 2 * one.shape[1] - two.shape[1]
    assert 0 <= extra <= (2400 * 2 if container == "MP3" else 0)  # MP3s carry their encoder's delay along
    torch.testing.assert_close(whole[:, : one.shape[1] - 1200], one[:, :-1200], rtol=0, atol=1e-4)
    if container != "MP3":
        torch.testing.assert_close(whole, torch.cat([one, two, one], dim=1), rtol=0, atol=1e-6)
    check_all_ways(path, whole.shape[1])


def test_a_chain_of_other_rates_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = [encoded(tmp_path, tone(), "OGG", "VORBIS"), encoded(tmp_path, tone(), "OGG", "VORBIS", 8000)]
    path = concatenated(tmp_path / "x.ogg", parts)
    with caplog.at_level(logging.WARNING):
        assert read_clip(path).num_samples == 4800
    assert "1 of the 2 streams" in caplog.text


def test_a_cut_ogg_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(0).normal(0, 3000, 60_000).astype(np.int16)
    data = encoded(tmp_path, noise, "OGG", "VORBIS")
    (tmp_path / "x.ogg").write_bytes(data[: len(data) * 2 // 3])
    with caplog.at_level(logging.WARNING):
        assert 10_000 < read_clip(tmp_path / "x.ogg").num_samples < 60_000
    assert "its end is missing" in caplog.text


# MP3 ----------------------------------------------------------------------------------------------------


def mp3(folder: Path, seconds: float = 3.0) -> tuple[bytes, int]:
    """A VBR file whose first frames are far smaller than the later ones, and where its Xing header lies."""
    rng = np.random.default_rng(2)
    loud = rng.normal(0, 4000, round(22_050 * seconds)) * np.linspace(0, 1, round(22_050 * seconds)) ** 4
    soundfile.write(
        folder / "m.mp3",
        loud.astype(np.int16),
        22_050,
        format="MP3",
        bitrate_mode="VARIABLE",
        compression_level=0.5,
    )
    data = (folder / "m.mp3").read_bytes()
    return data, max(data.find(b"Xing"), data.find(b"Info"))


def test_a_vbr_mp3_without_a_count_is_read_to_its_end(tmp_path: Path) -> None:
    data, at = mp3(tmp_path)
    whole = read_clip(tmp_path / "m.mp3")
    second = data.index(data[at - 13 : at - 11], at)  # the sync word of the first frame of sound
    bare = tmp_path / "bare.mp3"
    bare.write_bytes(data[second:])
    with soundfile.SoundFile(bare) as believed:
        assert believed.frames != sound_header(bare).frames
    clip = read_clip(bare)
    # The encoder's delay (at most two frames) is not known any more.
    assert 0 <= clip.num_samples - whole.num_samples <= 2 * 1152
    delay = next(
        shift
        for shift in range(2 * 1152)
        if torch.allclose(
            clip.waveform[:, 20_000 + shift : 21_000 + shift], whole.waveform[:, 20_000:21_000], atol=1e-4
        )
    )
    got = clip.waveform[:, delay + 3000 : delay + 60_000]
    torch.testing.assert_close(got, whole.waveform[:, 3000:60_000], rtol=0, atol=1e-3)
    check_all_ways(bare, clip.num_samples)


@pytest.mark.parametrize("told", [0, 5, 100_000, 2**32 - 1])
def test_a_wrong_count_in_an_mp3_is_not_believed(tmp_path: Path, told: int) -> None:
    data, at = mp3(tmp_path)
    whole = read_clip(tmp_path / "m.mp3")
    path = tmp_path / "x.mp3"
    path.write_bytes(data[: at + 8] + struct.pack(">I", told) + data[at + 12 :])
    clip = read_clip(path)
    torch.testing.assert_close(clip.waveform, whole.waveform, rtol=0, atol=1e-6)
    check_all_ways(path, whole.num_samples)


def test_an_mp3_with_a_hole_is_read_behind_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data, _ = mp3(tmp_path)
    whole = read_clip(tmp_path / "m.mp3").num_samples
    hole = bytearray(data)
    hole[len(data) // 2 : len(data) // 2 + 600] = bytes(600)
    (tmp_path / "x.mp3").write_bytes(hole)
    with caplog.at_level(logging.WARNING):
        got = read_clip(tmp_path / "x.mp3").num_samples
    assert whole - 8 * 576 <= got < whole
    assert "frames are damaged" in caplog.text


def test_a_cut_mp3_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data, _ = mp3(tmp_path)
    (tmp_path / "x.mp3").write_bytes(data[: len(data) // 2])
    with caplog.at_level(logging.WARNING):
        read_clip(tmp_path / "x.mp3")
    assert "frames are there" in caplog.text


# WAV ----------------------------------------------------------------------------------------------------


def wav(
    path: Path,
    sound: bytes,
    *,
    bits: int = 16,
    align: int = 2,
    size: int | None = None,
    extensible: bool = False,
    channels: int = 1,
    after: bytes = b"",
) -> Path:
    """A WAV whose header says what the test wants."""
    told = len(sound) if size is None else size
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else 1, channels, RATE, RATE * align, align, bits)
    if extensible:
        form += struct.pack("<HHIHIHHQ", 22, bits, 4, 1, 0, 0x10, 0x8000, 0x719B3800AA00)[:24]
        form = form[:24] + bytes.fromhex("0100000000001000800000aa00389b71")
    body = (
        b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", told) + sound + after
    )
    riff = (len(body) if size is None else size + len(body) - len(sound)) & 0xFFFFFFFF
    path.write_bytes(b"RIFF" + struct.pack("<I", riff) + body)
    return path


def laid(samples: np.ndarray, width: int, shift: int) -> bytes:
    """Integers shifted up by `shift` bits, in `width` bytes each."""
    return b"".join((int(value) << shift).to_bytes(width, "little", signed=True) for value in samples)


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("bits", "width", "shift"),
    [
        (24, 4, 16),  # padded below
        (24, 4, 8),  # padded above, as arecord writes
        (20, 4, 16),
        (16, 4, 16),
        (16, 4, 0),
        (16, 3, 8),
        (24, 3, 8),  # ordinary
        (16, 2, 0),
    ],
)
def test_samples_padded_to_wider_bytes(
    tmp_path: Path, bits: int, width: int, shift: int, channels: int, extensible: bool
) -> None:
    samples = np.repeat(tone(2000), channels)
    path = wav(
        tmp_path / "x.wav",
        laid(samples, width, shift),
        bits=bits,
        align=width * channels,
        channels=channels,
        extensible=extensible,
    )
    got = read_clip(path)
    np.testing.assert_array_equal(got.waveform[-1].double() * 32768, samples[::channels])
    check_all_ways(path, 2000)


@pytest.mark.parametrize(("bits", "align"), [(16, 4), (16, 1), (16, 3), (16, 0), (24, 4), (24, 2), (24, 6)])
def test_packed_samples_with_a_wrong_block_align(tmp_path: Path, bits: int, align: int) -> None:
    noise = np.random.default_rng(0).integers(-30_000, 30_000, 3000)
    path = wav(tmp_path / "x.wav", laid(noise, bits // 8, bits - 16), bits=bits, align=align)
    np.testing.assert_array_equal(as_int16(path), noise)


def test_samples_in_more_bytes_than_anything_reads_are_refused(tmp_path: Path) -> None:
    path = wav(tmp_path / "x.wav", laid(tone(), 6, 32), bits=16, align=6)
    with pytest.raises(SonopaintError, match="16-bit samples in 6 bytes each.*save it as"):
        read_clip(path)


def test_more_channels_than_a_block_can_hold_are_refused(tmp_path: Path) -> None:
    path = wav(tmp_path / "x.wav", tone().tobytes(), channels=33_000)
    with pytest.raises(SonopaintError):
        read_clip(path)


@pytest.mark.parametrize("size", [0, 36, 2000])
def test_a_recorder_that_crashed(tmp_path: Path, size: int, caplog: pytest.LogCaptureFixture) -> None:
    path = wav(tmp_path / "x.wav", tone().tobytes(), size=size)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(as_int16(path), tone())
    assert f"promises {size} bytes" in caplog.text
    check_all_ways(path, 4800)


def test_a_chunk_after_the_sound_is_no_sound(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = wav(tmp_path / "x.wav", tone(100).tobytes(), after=b"LIST\x04\x00\x00\x00INFO")
    assert read_clip(path).num_samples == 100 and not caplog.text
    empty = wav(tmp_path / "y.wav", b"", after=b"LIST\x04\x00\x00\x00INFO")
    with pytest.raises(SonopaintError, match="no samples"):
        read_clip(empty)


@pytest.mark.parametrize(
    "size",
    [
        0x80000000,
        0x7FFFFFFF,
        0x7FFFF000,
        0x7FFFFFDB,
        0xFFFFFFFF,
        0xFFFFFFFE,
        0xFFFFFFDB,
        0xFFFFF000,
        0x80000024,
    ],
)
def test_sizes_that_mean_a_stream_are_no_loss(
    tmp_path: Path, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = wav(tmp_path / "x.wav", tone().tobytes(), size=size)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(as_int16(path), tone())
    assert not caplog.text


CUT = ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "VOC", "SVX", "AVR", "MPC2K", "MAT4", "WVE"]


@pytest.mark.parametrize("container", CUT)
def test_what_is_lost_of_a_cut_file_is_said(
    tmp_path: Path, container: str, caplog: pytest.LogCaptureFixture
) -> None:
    if container == "CAF":
        pytest.importorskip("av")  # libsndfile refuses it
    path = tmp_path / f"x.{container.lower()}"
    subtype = "ALAW" if container == "WVE" else "PCM_16"
    rate = 8000 if container == "WVE" else RATE
    soundfile.write(path, tone(9000), rate, format=container, subtype=subtype)
    assert read_clip(path).num_samples == 9000 and not caplog.text
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        assert 2000 < read_clip(path).num_samples < 9000
    assert "cut off" in caplog.text and "missing" in caplog.text or "are there" in caplog.text


@pytest.mark.parametrize("subtype", ["GSM610", "G721_32", "NMS_ADPCM_16", "IMA_ADPCM", "MS_ADPCM", "ULAW"])
def test_codecs_that_cannot_be_sought(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, tone(8000, 8000), 8000, subtype=subtype)
    with soundfile.SoundFile(path) as file:
        told = file.frames
    clip = read_clip(path)
    true, got = torch.from_numpy(tone(8000, 8000)[1000:7000] / 32768), clip.waveform[0, 1000:7000]
    assert float((true - got).square().mean().sqrt() / true.square().mean().sqrt()) < 0.25
    check_all_ways(path, told)


@pytest.mark.parametrize("rate", [1, 50, 4_000_000_000])
def test_absurd_rates_are_refused(tmp_path: Path, rate: int) -> None:
    path = wav(tmp_path / "x.wav", tone().tobytes())
    data = bytearray(path.read_bytes())
    data[24:28] = struct.pack("<I", rate)
    path.write_bytes(data)
    with pytest.raises(SonopaintError, match=f"{rate}|can't be read"):
        read_clip(path)


# Folders ------------------------------------------------------------------------------------------------

WRITERS: dict[str, Callable[[Path], None]] = {
    suffix: lambda path, c=container, s=subtype: soundfile.write(path, tone(), RATE, format=c, subtype=s)
    for suffix, container, subtype in [
        (".wav", "WAV", "PCM_16"),
        (".aifc", "AIFF", "PCM_16"),
        (".aif", "AIFF", "PCM_16"),
        (".voc", "VOC", "PCM_16"),
        (".au", "AU", "PCM_16"),
        (".snd", "AU", "PCM_16"),
        (".mp2", "MP3", "MPEG_LAYER_III"),
        (".rf64", "RF64", "PCM_16"),
        (".FLAC", "FLAC", "PCM_16"),
    ]
}


def test_a_folder_of_many_suffixes_is_converted_whole(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, (suffix, write) in enumerate(WRITERS.items()):
        write(folder / f"{number}{suffix}")
    assert main(["to-picture", str(folder), "-o", str(tmp_path / "out")]) == 0
    assert sorted(p.stem for p in (tmp_path / "out").iterdir()) == [str(n) for n in range(len(WRITERS))]


def test_all_doors_know_the_same_suffixes() -> None:
    from sonoconvert.files.suffixes import SOUNDS
    from sonotrain.data import recordings
    from sonotrain.evaluation import sets

    assert recordings.SOUNDS is SOUNDS and sets.SUFFIXES is SOUNDS
    assert {".mp2", ".aifc", ".voc", ".m4a", ".webm", ".mp4"} <= SOUNDS


def test_a_sound_under_another_suffix_is_read_or_named(tmp_path: Path) -> None:
    for suffix, container in itertools.product([".mp3", ".wav"], ["FLAC", "OGG", "WAV"]):
        soundfile.write(tmp_path / f"x{suffix}", tone(), RATE, format=container)
        assert abs(read_clip(tmp_path / f"x{suffix}").num_samples - 4800) <= 1
