"""Transforms, pictures and phase: numbers against independent formulas, round trips, loops."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sonoconvert.conversion.convert import decode, encode, mix_to
from sonoconvert.defaults import ITERATIONS, QUALITIES
from sonoconvert.errors import Cancelled, SonopaintError
from sonoconvert.files.clip import Clip, read_clip
from sonoconvert.phase import search as phase
from sonoconvert.phase.inversion import mel_to_linear
from sonoconvert.phase.search import PhaseSearch
from sonoconvert.pictures import picture as picture_module
from sonoconvert.pictures.format import PRESETS
from sonoconvert.pictures.picture import Picture, load_picture, save_picture
from sonoconvert.pictures.spectrogram import (
    from_levels,
    istft,
    levels,
    mel_magnitude,
    stft,
    to_levels,
)

MINI = PRESETS["sonopaint-mini"]
RIFFUSION = PRESETS["riffusion-v1"]
FIXTURES = Path(__file__).parent.parent / "fixtures"


def tones(rate: int, seconds: float = 1.0, channels: int = 1) -> Clip:
    """A few decaying partials and a noisy hit: tonal, transient and quiet parts."""
    t = np.arange(int(rate * seconds)) / rate
    noise = np.random.default_rng(0).standard_normal(len(t))
    rows = []
    for channel in range(channels):
        sound = sum(np.sin(2 * np.pi * 220 * k * t) / k for k in range(1, 7)) * np.exp(-3 * t)
        sound = sound + 0.5 * noise * np.exp(-40 * np.abs(t - 0.5 * seconds))
        rows.append(0.25 / (channel + 1) * sound)
    return Clip(torch.tensor(np.array(rows), dtype=torch.float32), rate, {"prompt": "töne"})


# --- transforms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_fft", "win", "hop"), [(512, 512, 128), (1024, 512, 100), (4410, 4410, 861)])
def test_stft_agrees_with_torch_and_inverts(n_fft: int, win: int, hop: int) -> None:
    wave = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(0))
    ours = stft(wave, n_fft, win, hop)
    theirs = torch.stft(wave, n_fft, hop, win, torch.hann_window(win), return_complex=True)
    torch.testing.assert_close(ours.abs(), theirs.abs(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(istft(ours, n_fft, win, hop, length=20_000), wave, atol=1e-4, rtol=0)


def test_circular_stft_commutes_with_rolling_and_inverts() -> None:
    wave = torch.randn(1, 128 * 40, generator=torch.Generator().manual_seed(0))
    spectrum = stft(wave, 512, 512, 128, circular=True)
    assert spectrum.shape == (1, 257, 40)
    rolled = stft(wave.roll(-5 * 128, -1), 512, 512, 128, circular=True)
    torch.testing.assert_close(rolled, spectrum.roll(-5, -1))
    torch.testing.assert_close(istft(spectrum, 512, 512, 128, circular=True), wave, atol=1e-5, rtol=0)
    with pytest.raises(SonopaintError, match="hops"):
        stft(wave[:, :-1], 512, 512, 128, circular=True)


def test_circular_works_when_the_loop_is_shorter_than_the_window() -> None:
    wave = torch.randn(1, 256, generator=torch.Generator().manual_seed(0))
    spectrum = stft(wave, 1024, 1024, 128, circular=True)
    torch.testing.assert_close(istft(spectrum, 1024, 1024, 128, circular=True), wave, atol=1e-4, rtol=0)


@pytest.mark.parametrize("samples", [1, 2, 511, 1024, 1025])
def test_short_clips_have_frames(samples: int) -> None:
    assert stft(torch.randn(samples), 2048, 2048, 512).shape == (1025, 1 + samples // 512)
    assert mel_magnitude(torch.randn(1, samples), MINI).shape == (1, 128, MINI.frames(samples))


def test_mel_magnitude_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = torch.randn(1, 40_000, generator=torch.Generator().manual_seed(0))
    whole = mel_magnitude(wave, MINI)
    monkeypatch.setattr("sonoconvert.pictures.spectrogram._BLOCK_FRAMES", 7)
    monkeypatch.setattr("sonoconvert.pictures.spectrogram._CACHED_SAMPLES", 3 * MINI.n_fft)
    torch.testing.assert_close(mel_magnitude(wave, MINI), whole)


@pytest.mark.parametrize("name", ["riffusion-v1", "sonopaint-mini"])
def test_levels_invert_to_magnitudes(name: str) -> None:
    fmt = PRESETS[name]
    mel = torch.rand(3, fmt.n_mels, 5, generator=torch.Generator().manual_seed(0)) * 7 + 0.1
    values, peak = to_levels(mel, fmt)
    assert peak.shape == (3,) and float(values.max()) == 1.0
    torch.testing.assert_close(from_levels(values, fmt, peak), mel, rtol=1e-4, atol=1e-5)


def test_magnitudes_have_a_gradient_and_are_the_same_with_it() -> None:
    wave = tones(MINI.sample_rate).waveform
    known = wave.clone().requires_grad_()
    mel = mel_magnitude(known, MINI)
    torch.testing.assert_close(mel.detach(), mel_magnitude(wave, MINI), atol=1e-5, rtol=1e-5)
    mel.sum().backward()
    assert known.grad is not None and known.grad.isfinite().all() and known.grad.abs().max() > 0


def test_decibel_levels_are_linear_in_decibels() -> None:
    mel = 10 ** (torch.tensor([0.0, -20.0, -40.0, -80.0, -100.0]) / 20)
    values, _ = to_levels(mel[None, :, None], MINI)
    torch.testing.assert_close(values[0, :, 0], torch.tensor([1, 0.75, 0.5, 0, 0]), atol=1e-6, rtol=0)


def test_training_levels_are_padded_cropped_and_normalised() -> None:
    wave = torch.randn(3, 163_840, generator=torch.Generator().manual_seed(0))
    wave[1] *= 0.01
    wave[2] = 0
    result = levels(wave, MINI)
    assert result.shape == (3, 128, 320) and result.dtype == torch.float32
    assert float(result[0].max()) == float(result[1].max()) == 1.0
    assert not result[2].any()
    short = levels(wave[:1, :51_200], MINI)
    assert short.shape == (1, 128, 320) and not short[..., 100:].any()


@pytest.mark.parametrize("name", ["riffusion-v1", "sonopaint-mini"])
def test_mel_inversion_explains_the_mel_picture(name: str) -> None:
    fmt = PRESETS[name]
    clip = tones(fmt.sample_rate, 0.5)
    mel = mel_magnitude(clip.waveform, fmt)
    linear = mel_to_linear(mel, fmt)
    assert linear.shape == (1, fmt.win_length // 2 + 1, mel.shape[-1])
    assert float(linear.min()) >= 0
    true = stft(clip.waveform, fmt.win_length, fmt.win_length, fmt.hop_length).abs()[..., : mel.shape[-1]]
    used = int(fmt.f_max * fmt.win_length / fmt.sample_rate)
    error = torch.linalg.norm(linear[:, :used] - true[:, :used]) / torch.linalg.norm(true[:, :used])
    assert float(error) < (0.1 if fmt.n_mels == 512 else 0.45)


# --- Riffusion's pictures, against an independent formula --------------------------------------------------


# Hop in samples, lowest and highest frequency. Perkins (2023) takes Riffusion's code and changes these.
CHANGED = {"riffusion-v1": (441, 0, 10_000), "perkins-10s": (861, 20, 20_000)}


def riffusion_grey(wave: torch.Tensor, hop: int, low: float, high: float) -> np.ndarray:
    """riffusion/spectrogram_converter.py and image_util.py: float [512, frames], lowest row first."""
    import librosa

    window = torch.hann_window(4410)  # 100 ms in an FFT of 400 ms
    spectrum = torch.stft(wave, 17_640, hop, 4410, window, return_complex=True)
    basis = librosa.filters.mel(
        sr=44_100, n_fft=17_640, n_mels=512, fmin=low, fmax=high, htk=True, norm=None, dtype=np.float64
    )
    mel = basis @ spectrum[0].abs().double().numpy()
    return 255 - 255 * (mel / mel.max()) ** 0.25


@pytest.mark.parametrize("name", sorted(CHANGED))
def test_pixels_follow_riffusions_formula(name: str) -> None:
    clip = tones(44_100, 0.6)
    ours = encode(clip, name).pixels
    exact = riffusion_grey(clip.waveform, *CHANGED[name])[:, : ours.shape[1]]
    assert ours.shape == (512, {"riffusion-v1": 60, "perkins-10s": 31}[name], 3)
    assert (ours[:, :, :1] == ours).all()
    difference = ours[::-1, :, 0].astype(int) - exact.astype(np.uint8)
    # Equal but where float32 rounding lands on the other side of a step.
    assert np.abs(difference).max() <= 1 and (difference != 0).mean() < 1e-3


def test_ten_seconds_of_a_recording_are_the_thesis_picture() -> None:
    speech = read_clip(FIXTURES / "speech.flac").mono().resampled(44_100).waveform
    wave = speech.repeat(1, 6)[:, : 10 * 44_100]
    wave = wave / wave.abs().max()
    exact = riffusion_grey(wave, *CHANGED["perkins-10s"])
    ours = encode(Clip(wave, 44_100), "perkins-10s").pixels[::-1, :, 0]
    assert exact.shape == ours.shape == (512, 513)  # the surplus column is cropped: 512 × 512
    assert np.abs(ours.astype(int) - exact.astype(np.uint8)).max() <= 1


def test_a_tone_painted_by_riffusions_formula_comes_back(tmp_path: Path) -> None:
    """At its pitch and level, from a bare PNG that is explained by format and peak: 1234 Hz at −12 dBFS."""
    wave = 0.25 * torch.sin(2 * np.pi * 1234 * torch.arange(88_200) / 44_100)[None]
    grey = riffusion_grey(wave, *CHANGED["perkins-10s"])[::-1].astype(np.uint8)
    assert grey.shape == (512, 103) and grey[:, 50].argmin() == round(
        511 - PRESETS["perkins-10s"].mel_row(1234)
    )
    Image.fromarray(grey).convert("RGB").save(tmp_path / "tone.png")
    drawn = load_picture(tmp_path / "tone.png", format="perkins-10s")
    peak = float(mel_magnitude(wave, drawn.format).max())
    made = decode(dataclasses.replace(drawn, peak=peak)).waveform[0, 22_050:66_150]
    spectrum = torch.fft.rfft(made * torch.hann_window(len(made))).abs()
    assert int(spectrum.argmax()) == pytest.approx(1234, abs=1)  # bins of 1 Hz
    assert 20 * np.log10(float(made.square().mean().sqrt()) / (0.25 / 2**0.5)) == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize(("level", "grey"), [(0.0, 255), (1.0, 0), (0.5, 127), (0.001, 254), (0.25, 191)])
def test_riffusion_grey_values(level: float, grey: int) -> None:
    drawn = Picture.from_levels(torch.full((1, 512, 1), level), RIFFUSION)
    assert (drawn.pixels == grey).all()


def test_every_grey_value_survives_decoding_and_drawing() -> None:
    for fmt in (RIFFUSION, PRESETS["perkins-10s-db"]):
        column = np.arange(512).astype(np.uint8)[:, None, None].repeat(3, axis=2)
        drawn = Picture(column, fmt)
        again = Picture.from_levels(drawn.levels(), fmt)
        np.testing.assert_array_equal(again.pixels, column)


def test_low_frequencies_are_at_the_bottom_and_stereo_is_green_and_blue() -> None:
    fmt = PRESETS["riffusion-v1-stereo"]
    t = torch.arange(22_050) / 44_100
    wave = torch.stack([torch.sin(2 * np.pi * 100 * t), torch.sin(2 * np.pi * 8000 * t)]) * 0.5
    pixels = encode(Clip(wave, 44_100), fmt).pixels
    assert not pixels[:, :, 0].any()
    darkest = pixels[:, 25, :].argmin(axis=0)
    assert darkest[1] == pytest.approx(511 - fmt.mel_row(100), abs=1.5)
    assert darkest[2] == pytest.approx(511 - fmt.mel_row(8000), abs=1.5)


def test_riffusion_exif_is_written_and_read(tmp_path: Path) -> None:
    clip = tones(44_100, 0.3)
    drawn = encode(clip, RIFFUSION)
    save_picture(drawn, tmp_path / "a.png")
    tags = dict(Image.open(tmp_path / "a.png").getexif())
    assert {tag: tags[tag] for tag in (11000, 11010, 11020, 11030, 11040, 11050, 11060)} == {
        11000: 44_100,
        11010: 10,
        11020: 100,
        11030: 400,
        11040: 512,
        11050: 0,
        11060: 10_000,
    }
    # As Riffusion saves it: EXIF only.
    bare = Image.fromarray(drawn.pixels)
    bare.save(tmp_path / "b.png", exif=Image.open(tmp_path / "a.png").getexif())
    loaded = load_picture(tmp_path / "b.png")
    assert loaded.format == RIFFUSION
    assert loaded.peak == pytest.approx(drawn.peak, rel=1e-6)
    np.testing.assert_array_equal(loaded.pixels, drawn.pixels)


def test_riffusion_exif_of_other_parameters(tmp_path: Path) -> None:
    exif = Image.Exif()
    for tag, value in {
        11000: 48_000,
        11005: 1,
        11010: 10,
        11020: 100,
        11030: 400,
        11040: 512,
        11060: 20_000,
    }.items():
        exif[tag] = value
    exif[11070] = 0.25
    Image.new("RGB", (20, 512)).save(tmp_path / "x.png", exif=exif)
    fmt = load_picture(tmp_path / "x.png").format
    assert (fmt.sample_rate, fmt.hop_length, fmt.f_max, fmt.channels) == (48_000, 480, 20_000, "stereo")


# --- round trips -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_round_trip_through_a_file(tmp_path: Path, name: str) -> None:
    fmt = PRESETS[name]
    clip = tones(fmt.sample_rate, 1.0, fmt.num_channels)
    drawn = encode(clip, fmt)
    save_picture(drawn, tmp_path / "x.png", other_text={"parameters": "a dög\nSteps: 20"})
    loaded = load_picture(tmp_path / "x.png")
    assert (loaded.format, loaded.peak, loaded.num_samples) == (fmt, drawn.peak, clip.num_samples)
    assert loaded.settings == clip.settings
    np.testing.assert_array_equal(loaded.pixels, drawn.pixels)
    assert Image.open(tmp_path / "x.png").text["parameters"] == "a dög\nSteps: 20"

    result = decode(loaded)
    assert result.waveform.shape == clip.waveform.shape and result.sample_rate == fmt.sample_rate
    # Absolute level of each channel within 1 dB, and the picture of the result like the picture decoded.
    level = 20 * torch.log10(result.waveform.square().mean(1) / clip.waveform.square().mean(1)) / 2
    assert float(level.abs().max()) < 1.0
    mel, again = (mel_magnitude(c.waveform, fmt) for c in (clip, result))
    error = torch.linalg.norm(again - mel) / torch.linalg.norm(mel)
    assert float(error) < (0.2 if fmt.n_mels == 512 else 0.25)


def test_decode_is_deterministic_under_the_seed() -> None:
    drawn = encode(tones(32_000, 0.4), MINI)
    first = decode(drawn, PhaseSearch(seed=1)).waveform
    assert torch.equal(first, decode(drawn, PhaseSearch(seed=1)).waveform)
    assert not torch.equal(first, decode(drawn, PhaseSearch(seed=2)).waveform)


def test_unknown_peak_is_normalised() -> None:
    drawn = encode(tones(32_000, 0.3), MINI)
    result = decode(Picture(drawn.pixels, MINI))
    assert float(result.waveform.abs().max()) == pytest.approx(10 ** (-1 / 20), rel=1e-4)
    assert result.num_samples == drawn.columns * 512


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_silence_stays_silent(name: str) -> None:
    fmt = PRESETS[name]
    drawn = encode(Clip(torch.zeros(1, fmt.sample_rate // 4), fmt.sample_rate), fmt)
    assert drawn.peak == 0 and not drawn.levels().any()
    assert not decode(drawn).waveform.any()
    assert not decode(Picture(drawn.pixels, fmt)).waveform.any()


def test_one_sample() -> None:
    for fmt in PRESETS.values():
        result = decode(encode(Clip(torch.full((1, 1), 0.5), fmt.sample_rate), fmt))
        assert result.num_samples == 1 and torch.isfinite(result.waveform).all()


@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (2, 192_000), (6, 48_000), (3, 11_025)])
def test_any_rate_and_channel_count(channels: int, rate: int) -> None:
    clip = tones(rate, 0.25, channels)
    for name in ("sonopaint-mini", "riffusion-v1-stereo"):
        fmt = PRESETS[name]
        result = decode(encode(clip, fmt), PhaseSearch(2))
        assert result.num_channels == fmt.num_channels
        assert result.duration_s == pytest.approx(clip.duration_s, abs=2 / fmt.sample_rate)


def test_six_channels_are_mixed_down_by_the_standard() -> None:
    wave = torch.eye(6)
    mixed = mix_to(Clip(wave, 48_000), 2).waveform
    root = 0.5**0.5
    torch.testing.assert_close(mixed, torch.tensor([[1, 0, root, 0, root, 0], [0, 1, root, 0, 0, root]]))


@pytest.mark.parametrize("name", ["sonopaint-mini", "riffusion-v1"])
def test_circular_decoding_loops(name: str) -> None:
    fmt = PRESETS[name]
    columns = 40
    total = columns * fmt.hop_length
    t = torch.arange(total) / total
    # A whole number of periods: the true loop has no seam.
    wave = 0.4 * torch.sin(2 * np.pi * 300 * t)[None] * (1.2 + torch.cos(2 * np.pi * t))
    clip = Clip(wave, fmt.sample_rate)
    loop = decode(encode(clip, fmt, circular=True), circular=True).waveform[0]
    assert loop.shape == (total,)
    step = (loop - loop.roll(1)).abs()
    assert float(step[0]) < 1.5 * float(step.max())
    # The seam is no place of its own: twice around has no broad-band click.
    twice = torch.cat([loop, loop])
    around = twice[total - 512 : total + 512] * torch.hann_window(1024)
    inside = twice[total // 2 - 512 : total // 2 + 512] * torch.hann_window(1024)
    high = [torch.fft.rfft(part).abs()[300:].square().sum() for part in (around, inside)]
    assert float(high[0]) < 10 * float(high[1]) + 1e-4


# --- long pictures, stopping --------------------------------------------------------------------------


def test_long_pictures_are_decoded_in_blocks_without_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = tones(32_000, 3.0)
    drawn = encode(clip, MINI)
    mel = mel_magnitude(clip.waveform, MINI)
    whole = decode(drawn).waveform
    monkeypatch.setattr(phase, "_BLOCK_COLUMNS", 50)
    blocks = decode(drawn).waveform
    assert blocks.shape == whole.shape
    errors = [
        float(torch.linalg.norm(mel_magnitude(w, MINI) - mel) / torch.linalg.norm(mel))
        for w in (whole, blocks)
    ]
    assert errors[1] < errors[0] + 0.03


@pytest.mark.parametrize("circular", [False, True])
def test_decoding_tells_how_far_it_is_and_stops_between_iterations(
    circular: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phase, "_BLOCK_COLUMNS", 50)
    drawn = encode(tones(32_000, 2.0), MINI)
    shares: list[float] = []
    told = decode(drawn, PhaseSearch(20), circular=circular, progress=shares.append)
    assert torch.equal(told.waveform, decode(drawn, PhaseSearch(20), circular=circular).waveform)
    assert shares == sorted(shares) and shares[0] == 0 and 0.7 < shares[-1] < 1
    assert len(shares) >= 5 * (1 if circular else 3)

    def stop(share: float) -> None:
        stopped.append(share)
        if share > 0.3:
            raise Cancelled

    stopped: list[float] = []
    with pytest.raises(Cancelled):
        decode(drawn, PhaseSearch(20), circular=circular, progress=stop)
    assert stopped == shares[: len(stopped)] and stopped[-1] < 0.6


def test_a_search_has_a_name_and_no_negative_iterations() -> None:
    assert PhaseSearch() == PhaseSearch(ITERATIONS, 0, True) and PhaseSearch().quality is not None
    assert PhaseSearch.of("best", seed=3, learned=False) == PhaseSearch(QUALITIES["best"], 3, False)
    assert PhaseSearch(17).quality is None
    with pytest.raises(SonopaintError, match="-1"):
        PhaseSearch(-1)
    with pytest.raises(SonopaintError, match="'finest'.*best"):
        PhaseSearch.of("finest")


# --- pictures that are not as they should be ---------------------------------------------------------------


def write_png(path: Path, size: tuple[int, int] = (8, 128), **text: str) -> Path:
    info = PngInfo()
    for key, value in text.items():
        info.add_text(key.replace("_", "."), value)
    Image.new("RGB", size, (9, 9, 9)).save(path, pnginfo=info)
    return path


def test_pictures_without_chunks_need_a_format(tmp_path: Path) -> None:
    path = write_png(tmp_path / "x.png")
    with pytest.raises(SonopaintError, match="choose a format: riffusion-v1.*sonopaint-mini"):
        load_picture(path)
    assert load_picture(path, format="sonopaint-mini").columns == 8
    with pytest.raises(SonopaintError, match="128.*512"):
        load_picture(path, format="riffusion-v1")


@pytest.mark.parametrize(
    "chunks",
    [
        {"sonopaint_format": "{"},
        {"sonopaint_format": "[]"},
        {"sonopaint_format": "{}"},
        {"sonopaint_format": json.dumps(MINI.to_dict()), "sonopaint_picture": '{"peak": "loud"}'},
        {"sonopaint_format": json.dumps(MINI.to_dict()), "sonopaint_picture": '{"peak": NaN}'},
        {"sonopaint_format": json.dumps(MINI.to_dict()), "sonopaint_picture": '{"num_samples": -4}'},
        {"sonopaint_format": json.dumps(MINI.to_dict()), "sonopaint_picture": '{"num_samples": 99999}'},
        {"sonopaint_format": json.dumps(MINI.to_dict()), "sonopaint_settings": "7"},
    ],
)
def test_damaged_chunks_are_one_error(tmp_path: Path, chunks: dict[str, str]) -> None:
    with pytest.raises(SonopaintError):
        load_picture(write_png(tmp_path / "x.png", **chunks))


def test_bombs_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_png(tmp_path / "x.png", (400, 128))
    monkeypatch.setattr(picture_module, "MAX_PIXELS", 1000)
    with pytest.raises(SonopaintError, match="million"):
        load_picture(path, format="sonopaint-mini")
    # A header that claims a billion pixels in a file of 200 bytes.
    data = bytearray(path.read_bytes())
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(SonopaintError):
        load_picture(path, format="sonopaint-mini")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(20), b"text"])
def test_files_that_are_not_pictures(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(SonopaintError, match="x.png"):
        load_picture(tmp_path / "x.png", format="sonopaint-mini")


def test_truncated_picture(tmp_path: Path) -> None:
    save_picture(encode(tones(32_000, 0.5), MINI), tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(SonopaintError):
        load_picture(tmp_path / "x.png", format="sonopaint-mini")


def test_jpeg_is_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.fromarray(encode(tones(32_000, 0.5), MINI).pixels).save(tmp_path / "x.jpg", quality=90)
    assert load_picture(tmp_path / "x.jpg", format="sonopaint-mini").columns == 32
    assert "JPEG" in caplog.text


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16", "1"])
def test_other_pixel_modes(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (6, 128)).save(tmp_path / "x.png")
    assert load_picture(tmp_path / "x.png", format="sonopaint-mini").pixels.shape == (128, 6, 3)


def test_pictures_are_not_overwritten(tmp_path: Path) -> None:
    drawn = encode(tones(32_000, 0.1), MINI)
    save_picture(drawn, tmp_path / "x.png")
    with pytest.raises(SonopaintError, match="use force to replace"):
        save_picture(drawn, tmp_path / "x.png")
    with pytest.raises(SonopaintError, match=r"\.png"):
        save_picture(drawn, tmp_path / "x.jpg")


def test_an_endless_clip_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sonoconvert.conversion.convert.MAX_PIXELS", 128 * 10)
    with pytest.raises(SonopaintError, match="--split"):
        encode(tones(32_000, 1.0), MINI)
