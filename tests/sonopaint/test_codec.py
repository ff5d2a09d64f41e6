"""Codec latents with a tiny random EnCodec: shapes, both representations, files, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonopaint.models.codec import Codec, Encoded, load_codec, load_encoded, save_encoded

RATIOS = [8, 5, 4, 2]


def make(folder: Path, **changes: object) -> Path:
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    config = EncodecConfig(num_filters=2, hidden_size=16, codebook_size=64, **changes)
    EncodecModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("codec"))


@pytest.fixture(scope="module")
def codec(folder: Path) -> Codec:
    return load_codec(folder)


def clip(seconds: float = 1.0, rate: int = 24_000, channels: int = 1) -> Clip:
    t = torch.arange(round(rate * seconds)) / rate
    wave = torch.stack([0.2 * torch.sin(2 * torch.pi * 300 * (1 + k) * t) for k in range(channels)])
    return Clip(wave, rate, {"prompt": "x"})


def test_continuous_latents_have_75_frames_a_second(codec: Codec) -> None:
    encoded = codec.latents(clip(8.0))
    assert encoded.values.shape == (16, 600) and not encoded.discrete
    assert (codec.sample_rate, codec.frame_rate, codec.features) == (24_000, 75.0, 16)
    result = codec.decode(encoded)
    assert result.waveform.shape == (1, 192_000) and result.settings == {"prompt": "x"}
    assert torch.isfinite(result.waveform).all()


def test_codes_are_the_networks_own(codec: Codec) -> None:
    """The same as transformers' encode() and decode() of the whole model."""
    given = clip(0.5)
    widths = {width: codec.codes(given, width).values.shape[0] for width in codec.bandwidths}
    assert sorted(widths.values()) == list(widths.values()) and len(set(widths.values())) == len(widths)
    width = codec.bandwidths[2]
    encoded = codec.codes(given, width)
    assert encoded.discrete and encoded.values.dtype == torch.int64
    with torch.no_grad():
        theirs = codec.network.encode(given.waveform[None], bandwidth=width)
        sound = codec.network.decode(theirs.audio_codes, theirs.audio_scales)[0]
    assert torch.equal(theirs.audio_codes[0, 0], encoded.values)
    torch.testing.assert_close(codec.decode(encoded).waveform, sound[0, :, :12_000])


def test_the_latents_of_codes_are_near_the_continuous_ones(codec: Codec) -> None:
    """Decoding the continuous latents is the network without its quantiser, bit for bit."""
    given = clip(0.3)
    with torch.no_grad():
        direct = codec.network.decoder(codec.network.encoder(given.waveform[None]))[0]
    assert torch.equal(codec.decode(codec.latents(given)).waveform, direct[:, :7200])


def test_clips_of_other_rates_and_channels(codec: Codec) -> None:
    encoded = codec.latents(clip(0.5, 44_100, 2))
    assert encoded.num_samples == 12_000
    assert codec.decode(encoded).duration_s == pytest.approx(0.5)


def test_a_normalising_stereo_codec_keeps_the_level(tmp_path: Path) -> None:
    codec = load_codec(make(tmp_path, sampling_rate=48_000, audio_channels=2, normalize=True))
    loud, soft = clip(0.2, 48_000, 2), clip(0.2, 48_000, 2)
    soft = Clip(soft.waveform * 0.01, 48_000)
    a, b = codec.latents(loud), codec.latents(soft)
    torch.testing.assert_close(a.values, b.values, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(
        codec.decode(b).waveform, codec.decode(a).waveform * 0.01, atol=1e-6, rtol=1e-2
    )


@pytest.mark.parametrize("kind", ["latents", "codes"])
def test_files_come_back_exactly(codec: Codec, tmp_path: Path, kind: str) -> None:
    encoded = codec.latents(clip()) if kind == "latents" else codec.codes(clip(), codec.bandwidths[-1])
    save_encoded(encoded, tmp_path / "x.safetensors")
    loaded = load_encoded(tmp_path / "x.safetensors")
    assert torch.equal(loaded.values, encoded.values) and loaded.discrete == encoded.discrete
    assert (loaded.num_samples, loaded.scale, loaded.settings) == (24_000, None, {"prompt": "x"})
    with pytest.raises(SonopaintError, match="use force to replace"):
        save_encoded(encoded, tmp_path / "x.safetensors")


def test_values_of_another_codec_are_refused(codec: Codec) -> None:
    with pytest.raises(SonopaintError, match="15 features.*16"):
        codec.decode(Encoded(torch.zeros(15, 4), 100))
    for wrong in (torch.full((2, 4), 64), torch.full((2, 4), -1)):
        with pytest.raises(SonopaintError, match=r"0…63"):
            codec.decode(Encoded(wrong, 100))
    with pytest.raises(SonopaintError, match="bandwidth of 5 kbps"):
        codec.codes(clip(), 5.0)
    with pytest.raises(SonopaintError, match="at least one sample"):
        Encoded(torch.zeros(16, 0), 100)


def test_folders_that_are_no_codec(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SonopaintError, match="not a codec"):
        load_codec(tmp_path / "none")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(SonopaintError, match="pickle"):
        load_codec(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(SonopaintError, match="'clip', not EnCodec"):
        load_codec(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(SonopaintError, match="damaged"):
        load_codec(tmp_path)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(SonopaintError, match="lacks .* tensors|can't be loaded"):
        load_codec(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(SonopaintError):
        load_codec(tmp_path)
    with pytest.raises(SonopaintError, match="codec latents"):
        load_encoded(tmp_path / "model.safetensors")
