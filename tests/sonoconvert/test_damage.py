"""Pictures that chat programs, galleries and editors changed: read as well as possible, and said so."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sonoconvert.conversion.convert import decode, encode
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.files.info import describe
from sonoconvert.pictures.format import PRESETS
from sonoconvert.pictures.picture import Picture, load_picture, picture_from_image, save_picture
from sonoconvert.pictures.spectrogram import mel_magnitude

MINI = PRESETS["sonopaint-mini"]


def sound(seconds: float = 1.0) -> torch.Tensor:
    t = torch.arange(int(32_000 * seconds)) / 32_000
    sweep = torch.sin(2 * torch.pi * (400 * t + 600 * t * t))
    return (0.3 * sweep * torch.exp(-5 * (t % 0.33)))[None]


@pytest.fixture(scope="module")
def drawn() -> Picture:
    return encode(Clip(sound(), 32_000), MINI)


def with_text(picture: Picture, image: Image.Image, path: Path) -> Path:
    """Save an image with the picture's own chunks."""
    save_picture(picture, path.with_name("whole.png"), force=True)
    info = PngInfo()
    with Image.open(path.with_name("whole.png")) as whole:
        for key, value in whole.text.items():
            info.add_text(key, value)
    image.save(path, pnginfo=info)
    return path


@pytest.mark.parametrize(("factor", "tolerance"), [(2.0, 0.25), (0.75, 0.35), (0.5, 0.45)])
@pytest.mark.parametrize("stripped", [False, True])
def test_scaled_pictures_are_brought_back(
    tmp_path: Path, drawn: Picture, factor: float, tolerance: float, stripped: bool
) -> None:
    """Within 25 % (doubled) to 45 % (halved) of the mel picture, and of the right length."""
    size = (round(drawn.columns * factor), round(128 * factor))
    image = Image.fromarray(drawn.pixels).resize(size, Image.Resampling.LANCZOS)
    if stripped:
        image.save(tmp_path / "x.png")
    else:
        with_text(drawn, image, tmp_path / "x.png")
    loaded = load_picture(tmp_path / "x.png", format="sonopaint-mini")
    assert any("was scaled to" in note for note in loaded.damage)
    assert abs(loaded.columns - drawn.columns) <= 1
    peak = drawn.peak if stripped else loaded.peak
    made = decode(Picture(loaded.pixels, MINI, peak)).waveform[:, : sound().shape[1]]
    true, got = mel_magnitude(sound(), MINI), mel_magnitude(made, MINI)
    columns = min(true.shape[-1], got.shape[-1])
    error = torch.linalg.norm(got[..., :columns] - true[..., :columns]) / torch.linalg.norm(true)
    assert float(error) < tolerance


def test_cropped_in_time_keeps_what_is_left(tmp_path: Path, drawn: Picture) -> None:
    path = with_text(drawn, Image.fromarray(drawn.pixels[:, :40]), tmp_path / "x.png")
    loaded = load_picture(path)
    assert "cropped from 63 to 40 columns" in loaded.damage[0]
    assert (loaded.columns, loaded.peak, loaded.num_samples) == (40, drawn.peak, None)
    np.testing.assert_array_equal(loaded.pixels, drawn.pixels[:, :40])


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p[:90],  # the lowest rows are gone
        lambda p: p[::2],  # squeezed in one direction
        lambda p: p[::8, ::8],  # too small
        lambda p: np.rot90(p),  # turned
        lambda p: np.concatenate([p] * 12),
    ],
)
def test_what_cannot_be_right_is_refused(tmp_path: Path, drawn: Picture, change: object) -> None:
    assert callable(change)
    image = Image.fromarray(np.ascontiguousarray(change(drawn.pixels)))
    with pytest.raises(SonopaintError, match="scaled or cropped.*original picture"):
        load_picture(with_text(drawn, image, tmp_path / "x.png"))


def test_without_metadata_a_height_of_another_format_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (512, 512), (9, 9, 9)).save(tmp_path / "x.png")
    with pytest.raises(SonopaintError, match=r"128 rows.*riffusion-v1"):
        load_picture(tmp_path / "x.png", format="sonopaint-mini")
    # 512 columns of a 512-row format with rows missing were cropped, not scaled.
    Image.new("RGB", (512, 400), (9, 9, 9)).save(tmp_path / "y.png")
    with pytest.raises(SonopaintError, match="512 × 400"):
        load_picture(tmp_path / "y.png", format="riffusion-v1")
    # A model's own size, scaled with rounding.
    Image.new("RGB", (383, 384), (9, 9, 9)).save(tmp_path / "z.png")
    assert load_picture(tmp_path / "z.png", format="riffusion-v1").columns == 512


def test_jpeg_keeps_the_sound_recognisable(tmp_path: Path, drawn: Picture) -> None:
    Image.fromarray(drawn.pixels).save(tmp_path / "x.jpg", quality=75)
    loaded = load_picture(tmp_path / "x.jpg", format="sonopaint-mini")
    assert "is a JPEG" in loaded.damage[0]
    assert float((loaded.levels() - drawn.levels()).abs().mean()) < 0.02


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_are_undone(tmp_path: Path, drawn: Picture, orientation: int) -> None:
    from PIL import ImageOps

    upright = Image.fromarray(drawn.pixels)
    exif = Image.Exif()
    exif[274] = orientation
    # What must be stored so that a viewer that obeys the tag shows it upright.
    inverse = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    before = Image.fromarray(drawn.pixels)
    before.getexif()[274] = inverse
    stored = ImageOps.exif_transpose(before)
    assert stored is not None
    stored.save(tmp_path / "x.png", exif=exif)
    loaded = load_picture(tmp_path / "x.png", format="sonopaint-mini")
    np.testing.assert_array_equal(loaded.pixels, np.asarray(upright))
    assert bool(loaded.damage) == (orientation != 1)


@pytest.mark.parametrize(
    ("mode", "suffix", "note"),
    [
        ("L", "png", ""),
        ("P", "png", ""),
        ("RGBA", "png", ""),
        ("LA", "png", ""),
        ("I;16", "png", ""),
        ("1", "png", "black and white"),
        ("CMYK", "jpg", "CMYK"),
        ("RGB", "webp", "WebP"),
        ("RGB", "bmp", ""),
    ],
)
def test_pixel_modes(tmp_path: Path, drawn: Picture, mode: str, suffix: str, note: str) -> None:
    grey = np.ascontiguousarray(drawn.pixels[:, :, 0])
    image = Image.fromarray(grey.astype(np.uint16) * 257 if mode == "I;16" else grey)
    if mode == "P":
        image = image.quantize(256)
    elif mode != "I;16":
        image = image.convert("RGB").convert(mode)
    image.save(tmp_path / f"x.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    loaded = load_picture(tmp_path / f"x.{suffix}", format="sonopaint-mini")
    assert note in " ".join(loaded.damage) and bool(loaded.damage) == bool(note)
    difference = (loaded.levels() - drawn.levels()).abs()
    limit = {"1": 0.6, "CMYK": 0.05}.get(mode, 1e-6)
    assert float(difference.mean()) < limit


def test_a_palette_of_few_colours_is_reported(tmp_path: Path, drawn: Picture) -> None:
    Image.fromarray(drawn.pixels).quantize(16).save(tmp_path / "x.png")
    assert "only 16 colours" in load_picture(tmp_path / "x.png", format="sonopaint-mini").damage[0]


def test_transparency_and_colours_are_reported(tmp_path: Path, drawn: Picture) -> None:
    rgba = np.dstack([drawn.pixels, np.full(drawn.pixels.shape[:2], 128, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert "transparent" in load_picture(tmp_path / "a.png", format="sonopaint-mini").damage[0]
    plot = drawn.pixels.copy()
    plot[:, :, 2] = 255 - plot[:, :, 2]
    Image.fromarray(plot).save(tmp_path / "b.png")
    assert "is coloured" in load_picture(tmp_path / "b.png", format="sonopaint-mini").damage[0]
    stereo = encode(Clip(sound().repeat(2, 1), 32_000), MINI.with_channels("stereo"))
    Image.fromarray(stereo.pixels).convert("L").save(tmp_path / "c.png")
    loaded = load_picture(tmp_path / "c.png", format=stereo.format)
    assert "lost its colours" in loaded.damage[0]


def test_info_reports_damage(tmp_path: Path, drawn: Picture) -> None:
    image = Image.fromarray(drawn.pixels).resize((126, 256))
    said = describe(with_text(drawn, image, tmp_path / "x.png"))
    assert "damage: was scaled to 126 × 256 pixels" in said
    save_picture(drawn, tmp_path / "y.png")
    assert "damage:" not in describe(tmp_path / "y.png")


@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from(["png", "jpeg"]))
def test_any_size_is_read_or_one_sentence(width: int, height: int, kind: str) -> None:
    stream = io.BytesIO()
    Image.new("L", (width, height), 100).save(stream, kind)
    stream.seek(0)
    with Image.open(stream) as image:
        try:
            loaded = picture_from_image(image, format="sonopaint-mini", name="x")
        except SonopaintError as error:
            assert str(error).startswith("x is") and str(error).endswith(".")
            return
    assert loaded.pixels.shape[0] == 128
    assert (height == 128) or any("was scaled" in note for note in loaded.damage)


def chunk(name: bytes, content: bytes) -> bytes:
    end = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + end


def png_of_16_bits(path: Path, samples: np.ndarray, colour_type: int) -> Path:
    """A PNG of uint16 [rows, columns, samples], without any filter."""
    rows, columns, _ = samples.shape
    lines = samples.astype(">u2").reshape(rows, -1).view(np.uint8)
    packed = zlib.compress(np.pad(lines, ((0, 0), (1, 0))).tobytes())
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 16, colour_type, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize(("colour_type", "planes"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("alpha", [65535, 255])
def test_every_kind_of_16_bit_png_is_read_as_16_bits(
    tmp_path: Path, rng: np.random.Generator, colour_type: int, planes: int, alpha: int
) -> None:
    samples = rng.integers(0, 65536, (128, 9, planes), dtype=np.uint16)
    if planes in (2, 4):
        samples[:, :, -1] = alpha
    loaded = load_picture(png_of_16_bits(tmp_path / "x.png", samples, colour_type), format="sonopaint-mini")
    shown = samples[:, :, :1].repeat(3, axis=2) if planes < 3 else samples[:, :, :3]
    assert loaded.depth == 16
    np.testing.assert_array_equal(loaded.pixels, shown)
    assert any("transparent" in note for note in loaded.damage) == (planes in (2, 4) and alpha < 65535)


def test_a_picture_that_was_made_longer_lasts_longer(tmp_path: Path, drawn: Picture) -> None:
    """Outpainting programs keep the chunks of the picture that they began with."""
    wide = np.concatenate([drawn.pixels, drawn.pixels[:, :70]], axis=1)
    path = with_text(drawn, Image.fromarray(wide), tmp_path / "x.png")
    loaded = load_picture(path)
    np.testing.assert_array_equal(loaded.pixels, wide)
    assert loaded.duration_s == loaded.format.seconds(wide.shape[1])
    assert "somebody made it longer" in loaded.damage[0]


DAMAGED_EXIF = [
    b"",
    b"MM",
    b"MM\x00\x2a\x00\x00\x00\x08",
    b"MM\x00\x2a\x00\x00\x00\x08\x00\x09" + b"\x01\x12\x00\x03\x00\x00",
    b"II\x2a\x00\xff\xff\xff\xff",
    b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00",
    b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x05\x00\x00\x00\x01\x00\x00\xff\xff",
    b"MM\x00\x2b\x00\x08\x00\x00\x00",
    b"nonsense",
]


@pytest.mark.parametrize("content", DAMAGED_EXIF)
def test_damaged_exif_costs_nothing_but_itself(tmp_path: Path, drawn: Picture, content: bytes) -> None:
    save_picture(drawn, tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    at = data.index(b"IDAT") - 4
    (tmp_path / "x.png").write_bytes(data[:at] + chunk(b"eXIf", content) + data[at:])
    loaded = load_picture(tmp_path / "x.png")
    np.testing.assert_array_equal(loaded.pixels, drawn.pixels)
    assert loaded.format == drawn.format


def test_a_damaged_picture_does_not_end_a_batch(tmp_path: Path, drawn: Picture, capsys: Any) -> None:
    """Chunks that Pillow itself stumbles over, in the middle of a folder."""
    from sonoconvert.cli import main

    save_picture(drawn, tmp_path / "a.png")
    save_picture(drawn, tmp_path / "c.png")
    data = (tmp_path / "a.png").read_bytes()
    at = data.index(b"IDAT") - 4
    odd = {"b1": (b"tRNS", b"\0"), "b2": (b"gAMA", b"\0"), "b3": (b"pHYs", b""), "b4": (b"eXIf", b"MM")}
    for name, content in odd.items():
        (tmp_path / f"{name}.png").write_bytes(data[:at] + chunk(*content) + data[at:])
    sources = [str(path) for path in sorted(tmp_path.glob("*.png"))]
    status = main(["to-sound", *sources, "-o", str(tmp_path / "out")])
    made = {path.stem for path in (tmp_path / "out").glob("*.wav")}
    assert {"a", "c", "b4"} <= made
    said = capsys.readouterr().err
    for name in {"b1", "b2", "b3"} - made:
        assert f"{name}.png is" in said and status != 0
    assert f"{len(made)} of 6 files converted" in said
