"""The command line: files, folders, globs, exit codes, and that nothing is written on failure."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sonoconvert.cli import main
from sonoconvert.edits.region import Box, Region
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.files.info import describe
from sonoconvert.pictures.picture import load_picture
from sonoconvert.pictures.plot import plot_spectrogram


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    t = torch.arange(16_000) / 32_000
    for name, hz in (("a", 300), ("sub/b", 900)):
        path = folder / f"{name}.wav"
        write_clip(Clip(0.3 * torch.sin(2 * torch.pi * hz * t)[None], 32_000, {"prompt": name}), path)
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_there_and_back(sounds: Path, tmp_path: Path) -> None:
    picture, sound = tmp_path / "a.png", tmp_path / "a.flac"
    assert main(["to-picture", str(sounds / "a.wav"), "-o", str(picture)]) == 0
    assert load_picture(picture).settings == {"prompt": "a"}
    arguments = ["to-sound", str(picture), "-o", str(sound), "--type", "flac", "--iterations", "4"]
    assert main(arguments) == 0
    clip = read_clip(sound)
    assert (clip.num_samples, clip.sample_rate, clip.settings) == (16_000, 32_000, {"prompt": "a"})
    # Mini's bands are 34 Hz apart there.
    assert int(torch.fft.rfft(clip.waveform[0]).abs().argmax()) * 2 == pytest.approx(300, abs=20)


def test_folders_keep_their_structure(sounds: Path, tmp_path: Path) -> None:
    assert main(["to-picture", str(sounds), "-o", str(tmp_path / "out")]) == 0
    assert files(tmp_path / "out") == ["a.png", "sub/b.png"]


def test_globs_and_writing_beside(sounds: Path) -> None:
    assert main(["to-picture", str(sounds / "**" / "*.wav")]) == 0
    assert files(sounds) == ["a.png", "a.wav", "sub/b.png", "sub/b.wav"]


def test_partial_failure_is_1_and_says_which(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (sounds / "bad.wav").write_bytes(b"nonsense")
    assert main(["to-picture", str(sounds), "-o", str(tmp_path / "out")]) == 1
    assert files(tmp_path / "out") == ["a.png", "sub/b.png"]
    errors = capsys.readouterr().err
    assert "bad.wav can't be read" in errors and "2 of 3" in errors


@pytest.mark.parametrize("content", [b"", b"nonsense", b"RIFF\x10\0\0\0WAVEfmt "])
def test_bad_input_is_2_and_writes_nothing(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.wav").write_bytes(content)
    assert main(["to-picture", str(tmp_path / "x.wav"), "-o", str(tmp_path / "out" / "x.png")]) == 2
    assert files(tmp_path) == ["x.wav"]
    assert capsys.readouterr().err.count("\n") == 1


def test_missing_inputs_and_empty_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("none.wav", "*.wav", "empty"):
        assert main(["to-picture", str(tmp_path / name)]) == 2


def test_nothing_is_overwritten_without_force(sounds: Path) -> None:
    (sounds / "a.png").write_text("precious")
    assert main(["to-picture", str(sounds / "a.wav")]) == 2
    assert (sounds / "a.png").read_text() == "precious"
    assert main(["to-picture", str(sounds / "a.wav"), "--force"]) == 0


def test_colliding_targets_are_refused(sounds: Path, tmp_path: Path) -> None:
    write_clip(read_clip(sounds / "a.wav"), sounds / "a.flac")
    assert main(["to-picture", str(sounds), "-o", str(tmp_path / "out")]) == 2
    assert main(["to-picture", str(sounds), "-o", str(tmp_path / "out.png")]) == 2
    assert not (tmp_path / "out").exists()


def test_split_start_and_duration(sounds: Path, tmp_path: Path) -> None:
    source = str(sounds / "a.wav")
    assert main(["to-picture", source, "-o", str(tmp_path / "s"), "--split", "0.2"]) == 0
    assert files(tmp_path / "s") == ["a-0001.png", "a-0002.png", "a-0003.png"]
    assert main(["to-picture", source, "-o", str(tmp_path / "s"), "--split", "0.2"]) == 2
    arguments = ["to-picture", source, "-o", str(tmp_path / "p.png"), "--start", "0.1", "--duration", "0.2"]
    assert main(arguments) == 0
    assert load_picture(tmp_path / "p.png").num_samples == 6400
    for wrong in (
        ["--split", "0"],
        ["--split", "nan"],
        ["--start", "9"],
        ["--start", "nan"],
        ["--duration", "-1"],
    ):
        assert main(["to-picture", source, "-o", str(tmp_path / "q.png"), *wrong]) == 2


def test_three_hours_are_refused_or_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 8000, 1) as file:
        for _ in range(180):
            file.write(np.zeros(60 * 8000, np.int16))
    began = time.process_time()
    assert main(["to-picture", str(path), "--format", "riffusion-v1"]) == 2
    assert "--split" in capsys.readouterr().err
    assert time.process_time() - began < 2
    assert files(tmp_path) == ["long.flac"]
    assert main(["to-picture", str(path), "--start", "10790", "--duration", "1"]) == 0


def test_a_foreign_picture_asks_for_its_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    Image.new("RGB", (16, 128)).save(tmp_path / "x.png")
    assert main(["to-sound", str(tmp_path / "x.png")]) == 2
    assert "riffusion-v1" in capsys.readouterr().err
    assert main(["to-sound", str(tmp_path / "x.png"), "--format", "sonopaint-mini", "--loop"]) == 0
    assert read_clip(tmp_path / "x.wav").num_samples == 16 * 512


@pytest.mark.slow
def test_workers_give_the_same(sounds: Path, tmp_path: Path) -> None:
    assert main(["to-picture", str(sounds), "-o", str(tmp_path / "one")]) == 0
    assert main(["to-picture", str(sounds), "-o", str(tmp_path / "two"), "--workers", "2"]) == 0
    for name in files(tmp_path / "one"):
        one, two = (load_picture(tmp_path / folder / name) for folder in ("one", "two"))
        np.testing.assert_array_equal(one.pixels, two.pixels)


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, sonoconvert.cli as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit as e: assert e.code == 0\n"
        "assert not {'torch', 'numpy', 'PIL', 'soundfile'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "to-picture" in result.stdout


def test_python_dash_m() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "sonoconvert", "info", "none.wav"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2 and "none.wav" in result.stderr


def test_info_on_sounds_and_pictures(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["to-picture", str(sounds / "a.wav"), "-o", str(tmp_path / "a.png"), "--format", "riffusion-v1"])
    assert main(["info", str(sounds / "a.wav"), str(tmp_path / "a.png")]) == 0
    said = capsys.readouterr().out
    assert "32000 Hz, mono, 0.500 s" in said and "riffusion-v1" in said and 'prompt: "a"' in said


def safetensors(path: Path, tensors: dict[str, list[int]], metadata: dict[str, str], cut: int = 0) -> Path:
    header: dict[str, object] = {"__metadata__": metadata}
    offset = 0
    for name, shape in tensors.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    path.write_bytes((struct.pack("<Q", len(text)) + text + bytes(offset))[: -cut or None])
    return path


def test_info_on_safetensors(tmp_path: Path) -> None:
    lora = {
        "lora_unet_x.lora_down.weight": [8, 4],
        "lora_unet_x.lora_up.weight": [4, 8],
        "lora_unet_x.alpha": [],
    }
    said = describe(safetensors(tmp_path / "l.safetensors", lora, {"ss_base": "v1"}))
    assert "LoRA in kohya format, rank 8" in said and "ss_base: v1" in said and "alpha" not in said
    key = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    assert "Stable Diffusion 1.x" in describe(safetensors(tmp_path / "c.safetensors", {key: [4, 768]}, {}))
    assert "not SD 1.5" in describe(safetensors(tmp_path / "d.safetensors", {key: [4, 1024]}, {}))


def test_info_refuses_what_lies(tmp_path: Path) -> None:
    cut = safetensors(tmp_path / "cut.safetensors", {"a": [4, 4]}, {}, cut=3)
    (tmp_path / "short.safetensors").write_bytes(b"\x01")
    (tmp_path / "huge.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    (tmp_path / "list.safetensors").write_bytes(struct.pack("<Q", 2) + b"[]")
    (tmp_path / "model.ckpt").write_bytes(b"\x80\x04")
    for path in (
        cut,
        *(tmp_path / f"{n}.safetensors" for n in ("short", "huge", "list")),
        tmp_path / "model.ckpt",
    ):
        assert main(["info", str(path)]) == 2


def test_plot_has_axes_and_outlines(sounds: Path, tmp_path: Path) -> None:
    clip = read_clip(sounds / "a.wav")
    plain = plot_spectrogram(clip, size=(400, 200), path=tmp_path / "x.png")
    dark = plot_spectrogram(clip, size=(400, 200), dark=True)
    assert plain.size == dark.size == (400, 200) and (tmp_path / "x.png").exists()
    body = np.asarray(plain)[10:170, 46:330].astype(int).sum(axis=2)
    # The 300 Hz tone is the brightest row, low in the picture.
    assert body.mean(axis=1).argmax() > 100
    assert np.asarray(plain)[0, 0].tolist() == [255, 255, 255] and np.asarray(dark)[0, 0].max() < 50
    # On the right the colours from loud to quiet.
    scale = np.asarray(plain)[10:170, 346].astype(int).sum(axis=1)
    assert (np.diff(scale) <= 0).all() and scale[0] > 500 > 50 > scale[-1]

    stroke = np.zeros((10, 10))
    stroke[2:4, 6:9] = 1
    for region in (Region((Box(0.1, 0.3, 200, 2000),)), Region(brush=stroke)):
        marked = plot_spectrogram(clip, size=(400, 200), dark=True, region=region)
        white = (np.asarray(marked)[10:170, 46:330] == 255).all(axis=2)
        rows, columns = np.nonzero(white)
        # A frame: it is white along its edges, not inside.
        assert white[rows.min(), columns.min() + 2 : columns.max() - 2].all()
        assert not white[rows.min() + 8 : rows.max() - 8, columns.min() + 8 : columns.max() - 8].any()
