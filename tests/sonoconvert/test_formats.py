"""Channel layouts, 16 bits, absolute level: every format goes there and back within a stated tolerance."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sonoconvert.conversion.convert import decode, encode
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.phase.search import PhaseSearch
from sonoconvert.pictures import png16
from sonoconvert.pictures.format import CHANNELS, PRESETS, SpectrogramFormat, get_format
from sonoconvert.pictures.picture import Picture, load_picture, save_picture
from sonoconvert.pictures.spectrogram import mel_magnitude

MINI = PRESETS["sonopaint-mini"]
RIFFUSION = PRESETS["riffusion-v1"]


def decibels(value: torch.Tensor | float) -> float:
    return 20 * float(np.log10(float(value) + 1e-12))


def rms(waveform: torch.Tensor) -> torch.Tensor:
    return waveform.square().mean(dim=-1).sqrt()


def scene(rate: int, seconds: float = 1.0) -> torch.Tensor:
    """[2, T]: a tone on the left, a beating tone on the right, hits in the middle."""
    t = torch.arange(int(rate * seconds)) / rate
    noise = torch.randn(len(t), generator=torch.Generator().manual_seed(0))
    left = 0.3 * torch.sin(2 * torch.pi * 440 * t) * torch.exp(-t)
    right = 0.2 * torch.sin(2 * torch.pi * 1500 * t) * (1 + torch.sin(2 * torch.pi * 4 * t)) / 2
    middle = 0.2 * noise * torch.exp(-20 * (t % 0.5))
    return torch.stack([left + middle, right + middle])


def mel_error(made: torch.Tensor, true: torch.Tensor, fmt: SpectrogramFormat) -> float:
    a, b = mel_magnitude(true, fmt), mel_magnitude(made, fmt)
    return float(torch.linalg.norm(b - a) / torch.linalg.norm(a))


# --- names ------------------------------------------------------------------------------------------------


def test_every_layout_of_a_preset_has_a_name() -> None:
    for channels in CHANNELS[1:]:
        fmt = get_format(f"perkins-10s-{channels}")
        assert (fmt.name, fmt.channels) == (f"perkins-10s-{channels}", channels)
        assert fmt.with_channels("mono") == PRESETS["perkins-10s"]
        assert fmt.rows == 512
    assert get_format("riffusion-v1-rgb") == PRESETS["riffusion-v1-rgb"]
    assert get_format("riffusion-v1-rgb").with_channels("stereo") == PRESETS["riffusion-v1-stereo"]
    with pytest.raises(SonopaintError, match="-mid-side"):
        get_format("riffusion-v1-quad")
    with pytest.raises(SonopaintError, match="riffusion-v1-stereo-rgb"):
        get_format("riffusion-v1-stereo-rgb")


def test_rgb_needs_three_bands_for_a_row() -> None:
    with pytest.raises(SonopaintError, match="multiple of 3"):
        SpectrogramFormat.from_dict(MINI.to_dict() | {"channels": "rgb"})


# --- there and back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", CHANNELS)
def test_every_layout_round_trips_through_a_file(tmp_path: Path, channels: str, depth: int) -> None:
    """Levels of all channels within 1.5 dB; the mel picture of the result within 20 % of the source's."""
    fmt = MINI.with_channels(channels)
    wave = scene(fmt.sample_rate)
    drawn = encode(Clip(wave, fmt.sample_rate, {"prompt": "x"}), fmt, depth=depth)
    save_picture(drawn, tmp_path / "x.png")
    loaded = load_picture(tmp_path / "x.png")
    assert (loaded.format, loaded.depth, loaded.peak, loaded.damage) == (fmt, depth, drawn.peak, ())
    assert loaded.settings == {"prompt": "x"}
    np.testing.assert_array_equal(loaded.pixels, drawn.pixels)
    assert loaded.pixels.shape == (128, 63, 3)
    true = wave if fmt.num_channels == 2 else wave.mean(dim=0, keepdim=True)
    made = decode(loaded).waveform
    assert made.shape == true.shape
    for one, other in zip(rms(made), rms(true), strict=True):
        assert abs(decibels(one) - decibels(other)) < 1.5
    assert mel_error(made, true, fmt.with_channels("mono")) < 0.2


@pytest.mark.parametrize("name", sorted({fmt.with_channels("mono").name for fmt in PRESETS.values()}))
@pytest.mark.parametrize("level", [1.0, 10 ** (-60 / 20)])
def test_absolute_level_comes_back(name: str, level: float) -> None:
    """Noise with a peak at full scale or at −60 dBFS: within 1 dB of its RMS inside the format's band."""
    fmt = PRESETS[name]
    noise = torch.randn(1, fmt.sample_rate // 2, generator=torch.Generator().manual_seed(0))
    spectrum = torch.fft.rfft(noise)
    hz = torch.linspace(0, fmt.sample_rate / 2, spectrum.shape[-1])
    spectrum[:, (hz < 1.2 * fmt.f_min + 60) | (hz > 0.95 * fmt.f_max)] = 0
    wave = torch.fft.irfft(spectrum, n=noise.shape[-1])
    wave = wave * (level / wave.abs().max())
    made = decode(encode(Clip(wave, fmt.sample_rate), fmt)).waveform
    assert abs(decibels(rms(made)) - decibels(rms(wave))) < 1.0


def test_two_parts_of_one_sound_keep_their_difference() -> None:
    """A part is not normalised to itself: what was 40 dB softer comes back 40 dB softer."""
    wave = scene(32_000, 0.5).mean(dim=0, keepdim=True)
    loud, soft = (decode(encode(Clip(wave * gain, 32_000), MINI)).waveform for gain in (1.0, 0.01))
    assert decibels(rms(loud)) - decibels(rms(soft)) == pytest.approx(40, abs=0.2)


# --- mid-side ---------------------------------------------------------------------------------------------


def test_red_of_mid_side_is_the_mono_picture_and_green_and_blue_are_riffusions_stereo() -> None:
    wave = scene(44_100, 0.5)
    drawn = encode(Clip(wave, 44_100), "riffusion-v1-mid-side")
    stereo = encode(Clip(wave, 44_100), "riffusion-v1-stereo")
    np.testing.assert_array_equal(drawn.pixels[:, :, 1:], stereo.pixels[:, :, 1:])
    # The mono picture, but relative to the peak of left and right.
    mono = encode(Clip(wave, 44_100).mono(), RIFFUSION)
    assert isinstance(mono.peak, float) and isinstance(drawn.peak, float)
    expected = mono.levels()[0] * (mono.peak / drawn.peak) ** 0.25
    assert float((drawn.levels()[0] - expected).abs().max()) < 1.5 / 255


@pytest.mark.parametrize(("learned", "side_db"), [(False, -18), (True, -17)])
def test_what_a_mono_checkpoint_paints_is_sound_in_the_middle(learned: bool, side_db: float) -> None:
    """Grey, give or take the few steps by which a VAE's three channels differ: ±2 are a side of −17.6 dB.

    The iterations without the learned decoder smooth some of them away.
    """
    search = PhaseSearch(learned=learned)
    mono = encode(Clip(scene(32_000).mean(dim=0, keepdim=True), 32_000), MINI)
    for wobble in (0, 2):
        noise = np.random.default_rng(0).integers(-wobble, wobble + 1, mono.pixels.shape)
        pixels = np.clip(mono.pixels.astype(int) + noise, 0, 255).astype(np.uint8)
        drawn = Picture(pixels, MINI.with_channels("mid-side"), mono.peak, mono.num_samples)
        made = decode(drawn, search).waveform
        middle, side = made.mean(dim=0), (made[0] - made[1]) / 2
        assert decibels(rms(side)) - decibels(rms(middle)) < (-120 if wobble == 0 else side_db)
        expected = decode(mono, search).waveform[0]
        assert abs(decibels(rms(middle)) - decibels(rms(expected))) < 0.5


@pytest.mark.parametrize("gains", [(1.0, 0.0), (0.0, 1.0), (1.0, 0.25), (1.0, -1.0), (0.6, -0.8)])
def test_mid_side_keeps_places_and_antiphase(gains: tuple[float, float]) -> None:
    """One sound at different places: level of each channel, of the middle and of the side within 1.5 dB."""
    sound = scene(32_000).mean(dim=0)
    wave = torch.stack([gains[0] * sound, gains[1] * sound])
    made = decode(encode(Clip(wave, 32_000), MINI.with_channels("mid-side"))).waveform
    for weights in ((1, 0), (0, 1), (0.5, 0.5), (0.5, -0.5)):
        true, got = (rms(weights[0] * w[0] + weights[1] * w[1]) for w in (wave, made))
        if decibels(true) > -60:
            assert abs(decibels(got) - decibels(true)) < 1.5, (weights, gains)
        else:
            assert decibels(got) < decibels(rms(wave).max()) - 25, (weights, gains)


# --- rgb --------------------------------------------------------------------------------------------------


def test_rgb_pixels_hold_three_neighbouring_bands() -> None:
    fmt = MINI.with_channels("rgb")
    assert (fmt.n_mels, fmt.rows, fmt.num_planes) == (384, 128, 1)
    levels = torch.zeros(1, 384, 2)
    levels[0, :4, 0] = torch.tensor([1.0, 0.8, 0.6, 0.4])
    pixels = Picture.from_levels(levels, fmt).pixels
    assert pixels[-1, 0].tolist() == [255, 204, 153] and pixels[-2, 0].tolist() == [102, 0, 0]
    again = Picture(pixels, fmt).levels()
    torch.testing.assert_close(again, levels, atol=1e-6, rtol=0)


@pytest.mark.parametrize("frequencies", [512, 1536])
def test_riffusion_triple_resolution_is_read(tmp_path: Path, frequencies: int) -> None:
    exif = Image.Exif()
    tags = {11000: 44_100, 11007: 1, 11010: 10, 11020: 100, 11030: 400, 11040: frequencies, 11060: 10_000}
    for tag, value in tags.items():
        exif[tag] = value
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (512, 8, 3), dtype=np.uint8)).save(tmp_path / "x.png", exif=exif)
    picture = load_picture(tmp_path / "x.png")
    assert (picture.format.channels, picture.format.n_mels, picture.format.rows) == ("rgb", 1536, 512)
    assert picture.levels().shape == (1, 1536, 8)


def test_rgb_separates_what_a_grey_picture_blurs() -> None:
    """Two tones two thirds of a band apart: one hump in a grey picture, two in a coloured one."""
    fmt = MINI.with_channels("rgb")
    t = torch.arange(32_000) / 32_000
    low, high = fmt.hz(300), fmt.hz(302)
    wave = 0.2 * (torch.sin(2 * torch.pi * low * t) + torch.sin(2 * torch.pi * high * t))[None]
    column = encode(Clip(wave, 32_000), fmt).levels()[0, :, 30]
    assert column[301] < column[300] and column[301] < column[302]
    grey = encode(Clip(wave, 32_000), MINI).levels()[0, :, 30]
    humps = [k for k in range(98, 104) if grey[k] > grey[k - 1] and grey[k] >= grey[k + 1]]
    assert len(humps) == 1


# --- 16 bits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", [MINI, RIFFUSION], ids=["rounded", "floored"])
def test_every_value_of_16_bits_survives_decoding_and_drawing(fmt: SpectrogramFormat) -> None:
    columns = (1 << 16) // fmt.rows
    values = np.arange(1 << 16, dtype=np.uint16).reshape(fmt.rows, columns, 1).repeat(3, axis=2)
    again = Picture.from_levels(Picture(values, fmt).levels(), fmt, depth=16)
    np.testing.assert_array_equal(again.pixels, values)


def test_16_bits_keep_levels_that_8_bits_round() -> None:
    wave = scene(32_000).mean(dim=0, keepdim=True)
    true = mel_magnitude(wave, MINI)[0]
    peak = float(true.max())
    wanted = (1 + 20 * torch.log10((true / peak).clamp_min(1e-9)) / 80).clamp(0, 1)
    errors = {
        depth: float((encode(Clip(wave, 32_000), MINI, depth=depth).levels()[0] - wanted).abs().max())
        for depth in (8, 16)
    }
    assert errors[8] < 0.51 / 255 and errors[16] < 0.51 / 65_535 + 1e-6


def test_16_bit_files_are_valid_pngs_for_others(tmp_path: Path) -> None:
    clip = Clip(scene(44_100, 0.2), 44_100)
    save_picture(encode(clip, "riffusion-v1-mid-side", depth=16), tmp_path / "c.png", other_text={"a": "ö"})
    save_picture(encode(clip, "riffusion-v1", depth=16), tmp_path / "m.png")
    with Image.open(tmp_path / "c.png") as image:
        image.load()
        assert (image.mode, image.text["a"]) == ("RGB", "ö")
        assert image.getexif()[11005] == 1
        upper = load_picture(tmp_path / "c.png").pixels >> 8
        np.testing.assert_array_equal(np.asarray(image), upper)
    with Image.open(tmp_path / "m.png") as image:
        assert image.mode.startswith("I")
        assert image.getexif()[11000] == 44_100


def test_16_bit_pngs_of_others_are_read_whatever_their_filters(tmp_path: Path) -> None:
    """All five filters of the specification, § 9.2, written by hand."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 1 << 16, (128, 5, 3), dtype=np.uint16)
    plain = pixels.astype(">u2").view(np.uint8).reshape(128, -1).astype(int)
    body = b""
    for y, row in enumerate(plain):
        up = plain[y - 1] if y else np.zeros_like(row)
        left, corner = (np.concatenate([np.zeros(6, int), line[:-6]]) for line in (row, up))
        estimate = left + up - corner
        distance = np.stack([abs(estimate - left), abs(estimate - up), abs(estimate - corner)])
        paeth = np.stack([left, up, corner])[distance.argmin(axis=0), np.arange(len(row))]
        predicted = [0 * row, left, up, (left + up) // 2, paeth][y % 5]
        body += bytes([y % 5]) + ((row - predicted) % 256).astype(np.uint8).tobytes()

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", 5, 128, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b"")]
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    loaded = load_picture(tmp_path / "x.png", format=MINI.with_channels("mid-side"))
    np.testing.assert_array_equal(loaded.pixels, pixels)


def test_16_bit_rows_are_filtered_to_shrink(tmp_path: Path) -> None:
    drawn = encode(Clip(scene(32_000), 32_000), MINI.with_channels("mid-side"), depth=16)
    png16.write(tmp_path / "x.png", drawn.pixels)
    assert (tmp_path / "x.png").stat().st_size < 0.95 * drawn.pixels.nbytes


def test_bad_depth() -> None:
    with pytest.raises(SonopaintError, match="8 or 16"):
        encode(Clip(torch.zeros(1, 3200), 32_000), MINI, depth=12)
