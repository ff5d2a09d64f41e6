"""Long sounds as parts that belong together: the cuts can be neither seen nor heard."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sonoconvert.cli import main
from sonoconvert.conversion import parts
from sonoconvert.conversion.convert import decode, encode
from sonoconvert.conversion.parts import decode_parts, encode_parts, read_index
from sonoconvert.errors import Cancelled, SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.pictures.format import get_format
from sonoconvert.pictures.picture import load_picture
from sonoconvert.pictures.spectrogram import from_levels, mel_magnitude


def melody(rate: int, seconds: float, channels: int = 1) -> torch.Tensor:
    t = torch.arange(int(rate * seconds)) / rate
    rows = []
    for channel in range(channels):
        note = 220 * 2 ** (torch.floor(t * 4) % 7 / 7 + channel)
        rows.append(0.25 * torch.sin(2 * torch.pi * torch.cumsum(note, 0) / rate) * (1 - (4 * t) % 1) ** 0.5)
    return torch.stack(rows)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    write_clip(Clip(melody(32_000, 4.0), 32_000, {"prompt": "song"}), tmp_path / "song.wav", subtype="FLOAT")
    return tmp_path / "song.wav"


@pytest.mark.parametrize(
    ("name", "rate", "channels", "samples", "part_s"),
    [
        ("sonopaint-mini", 32_000, 1, 96_017, 0.7),
        ("sonopaint-mini-mid-side", 44_100, 2, 100_000, 0.5),
        ("riffusion-v1", 44_100, 1, 88_500, 1.0),
        ("sonopaint-mini", 8_000, 1, 100, 1.0),
        ("sonopaint-mini", 32_000, 1, 512 * 40, 0.32),
        ("sonopaint-mini", 32_000, 1, 512 * 40 + 1, 0.32),
    ],
)
def test_parts_are_cut_from_the_picture_of_the_whole(
    tmp_path: Path, name: str, rate: int, channels: int, samples: int, part_s: float
) -> None:
    """Magnitudes within a step of 16 bits, at the cuts as elsewhere."""
    noise = torch.randn(channels, samples, generator=torch.Generator().manual_seed(0)) * 0.1
    write_clip(Clip(noise, rate), tmp_path / "x.wav", subtype="FLOAT")
    index = read_index(encode_parts(tmp_path / "x.wav", tmp_path / "x.png", name, part_s, depth=16)[-1])
    whole = encode(Clip(noise, rate), name, depth=16)
    assert (index.num_samples, index.columns) == (whole.num_samples, whole.columns)
    pictures = [index.picture(number) for number in range(len(index.files))]
    made = torch.cat([from_levels(p.levels(), index.format, p.peak) for p in pictures], dim=-1)  # type: ignore[arg-type]
    true = from_levels(whole.levels(), index.format, whole.peak)  # type: ignore[arg-type]
    assert float((made - true).abs().max() / true.max()) < 3e-4


@pytest.mark.parametrize("channels", [1, 2])
def test_parts_become_one_sound_without_seams(
    tmp_path: Path, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The joined sound is as near to the source's picture as one that was decoded whole, cuts or no cuts."""
    monkeypatch.setattr(parts, "_BLOCK_COLUMNS", 80)
    fmt = get_format("sonopaint-mini" if channels == 1 else "sonopaint-mini-mid-side")
    wave = melody(32_000, 4.0, channels)
    write_clip(Clip(wave, 32_000, {"prompt": "song"}), tmp_path / "x.wav", subtype="FLOAT")
    index = encode_parts(tmp_path / "x.wav", tmp_path / "x.png", fmt, 0.5)[-1]
    decode_parts(index, tmp_path / "y.wav", subtype="FLOAT")
    made = read_clip(tmp_path / "y.wav")
    assert made.waveform.shape == wave.shape and made.settings == {"prompt": "song"}
    whole = decode(encode(Clip(wave, 32_000), fmt)).waveform
    mels = [mel_magnitude(w, fmt) for w in (wave, made.waveform, whole)]
    errors = [float(torch.linalg.norm(m - mels[0]) / torch.linalg.norm(mels[0])) for m in mels[1:]]
    assert errors[0] < errors[1] + 0.02


def test_there_is_no_click_at_any_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A steady tone stays free of high frequencies: −60 dB at every moment, and as steady at the cuts."""
    monkeypatch.setattr(parts, "_BLOCK_COLUMNS", 80)
    t = torch.arange(4 * 32_000) / 32_000
    wave = 0.3 * torch.sin(2 * torch.pi * 440 * t)[None]
    write_clip(Clip(wave, 32_000), tmp_path / "x.wav", subtype="FLOAT")
    index = encode_parts(tmp_path / "x.wav", tmp_path / "x.png", "sonopaint-mini", 0.5)[-1]
    decode_parts(index, tmp_path / "y.wav", subtype="FLOAT")
    made = read_clip(tmp_path / "y.wav").waveform[0, 8000:-8000]
    spectrum = torch.stft(made, 2048, 256, window=torch.hann_window(2048), return_complex=True).abs().square()
    high, all_of_it = spectrum[200:, 8:-8].sum(dim=0), spectrum[:, 8:-8].sum(dim=0)
    assert float((high / all_of_it).max()) < 1e-6
    assert float(all_of_it.max() / all_of_it.min()) < 1.5


def test_a_quiet_part_has_all_greys_and_its_level(tmp_path: Path) -> None:
    wave = melody(32_000, 2.0)
    wave[:, 32_000:] *= 0.003
    write_clip(Clip(wave, 32_000), tmp_path / "x.wav", subtype="FLOAT")
    *pictures, index = encode_parts(tmp_path / "x.wav", tmp_path / "x.png", "sonopaint-mini", 1.0)
    assert int(load_picture(pictures[1]).pixels.max()) == 255
    decode_parts(index, tmp_path / "y.wav", subtype="FLOAT")
    made = read_clip(tmp_path / "y.wav").waveform
    level = [float(w[:, 40_000:].square().mean().sqrt()) for w in (wave, made)]
    assert abs(20 * np.log10(level[1] / level[0])) < 1.0


def test_parts_that_a_host_stripped_are_known_from_the_index(song: Path) -> None:
    from PIL import Image

    *pictures, index = encode_parts(song, song.with_suffix(".png"), "sonopaint-mini", 1.0)
    peak = load_picture(pictures[2]).peak
    Image.fromarray(load_picture(pictures[2]).pixels).save(pictures[2])
    assert read_index(index).picture(2).peak == peak
    decode_parts(index, song.with_name("y.wav"))
    pictures[3].unlink()
    with pytest.raises(SonopaintError, match="song-0004.png of song.parts.json is missing"):
        decode_parts(index, song.with_name("z.wav"))
    Image.new("RGB", (20, 128)).save(pictures[3])
    with pytest.raises(SonopaintError, match="20 columns.*its index wants"):
        decode_parts(index, song.with_name("z.wav"))
    assert not song.with_name("z.wav").exists()


def test_on_the_command_line(song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["to-picture", str(song), "-o", str(out), "--parts", "1.5"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "song-0001.png", "song-0002.png", "song-0003.png", "song.parts.json",
    ]  # fmt: skip
    assert main(["to-picture", str(song), "-o", str(out), "--parts", "1.5"]) == 2
    assert main(["to-sound", str(out), "-o", str(tmp_path / "back")]) == 0
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["song.wav"]
    assert read_clip(tmp_path / "back" / "song.wav").num_samples == 128_000
    for wrong in ("0", "nan", "-1", "0.001", "1e9"):
        assert main(["to-picture", str(song), "-o", str(tmp_path / "no"), "--parts", wrong]) == 2
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"format": {}},
        {"num_samples": 0},
        {"num_samples": 10},
        {"first_columns": [0, 94, 30]},
        {"first_columns": [1, 94, 188]},
        {"files": ["../../etc/passwd", "b", "c"]},
        {"files": ["a", "b"]},
        {"peaks": "loud"},
        {"settings": 7},
    ],
)
def test_damaged_indexes_are_one_error(song: Path, change: dict[str, object]) -> None:
    index = encode_parts(song, song.with_suffix(".png"), "sonopaint-mini", 1.5)[-1]
    content = json.loads(index.read_text(encoding="utf-8")) | change
    index.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SonopaintError):
        read_index(index)
    for text in ("", "[]", "{", "7"):
        index.write_text(text, encoding="utf-8")
        with pytest.raises(SonopaintError, match="not an index"):
            read_index(index)


def test_a_stop_leaves_no_index_and_no_half_file(song: Path) -> None:
    def stop(share: float) -> None:
        if share > 0.4:
            raise Cancelled

    with pytest.raises(Cancelled):
        encode_parts(song, song.with_suffix(".png"), "sonopaint-mini", 0.5, progress=stop)
    assert not song.with_name("song.parts.json").exists()
    index = encode_parts(song, song.with_suffix(".png"), "sonopaint-mini", 0.5, force=True)[-1]
    with pytest.raises(Cancelled):
        decode_parts(index, song.with_name("y.wav"), progress=stop)
    assert not song.with_name("y.wav").exists() and not list(song.parent.glob(".*"))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """Twice as long, no more than a tenth more memory, there and back."""
    peaks = []
    for minutes in (4, 8):
        with soundfile.SoundFile(tmp_path / f"{minutes}.wav", "w", 32_000, 1) as file:
            for second in range(minutes * 60):
                file.write((melody(32_000, 1.0)[0] * (1 + second % 3) / 3).numpy())
        code = (
            "import resource, sys\n"
            "from sonoconvert.cli import main\n"
            f"folder = {str(tmp_path)!r}\n"
            f"assert main(['to-picture', folder + '/{minutes}.wav', '--parts', '20']) == 0\n"
            f"assert main(['to-sound', folder + '/{minutes}.parts.json', '-o', folder + '/back{minutes}.wav',"
            " '--iterations', '2']) == 0\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] < 1.1 * peaks[0]
