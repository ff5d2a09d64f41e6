"""One protocol for every representation: a sound becomes a tensor and comes back, length and level kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.pictures.format import get_format
from sonoconvert.representations.cqt import CqtFormat
from sonoconvert.representations.mel_picture import MelPicture
from sonoconvert.representations.mel_pyramid import MULTI_SCALE
from sonoconvert.representations.protocol import Representation, from_header
from sonopaint.models.codec import CodecLatents, load_codec


@pytest.fixture(scope="module")
def codecs(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, CodecLatents]:
    """Tiny random EnCodecs, as of 24 kHz, and as of 48 kHz, which normalises loudness."""
    from transformers import EncodecConfig, EncodecModel

    made = {}
    for normalising in (False, True):
        folder: Path = tmp_path_factory.mktemp("codec")
        torch.manual_seed(0)
        other = {"sampling_rate": 48_000, "audio_channels": 2, "normalize": True} if normalising else {}
        EncodecModel(EncodecConfig(num_filters=2, hidden_size=16, **other)).save_pretrained(folder)
        made[normalising] = CodecLatents(load_codec(folder))
    return made


# Name → (how to make it of the codecs, tolerance of the level in dB; None: random weights have no level).
ALL: dict[str, tuple[Callable[[dict[bool, CodecLatents]], Representation], float | None]] = {
    **{
        f"picture {name}": (lambda _, name=name: MelPicture(get_format(name)), 1.5)
        for name in ("sonopaint-mini", "riffusion-v1", "sonopaint-mini-stereo", "sonopaint-mini-mid-side")
    },
    "cqt": (lambda _: CqtFormat(), 0.1),
    **{f"log mel {scale.bands}": (lambda _, scale=scale: scale, 1.5) for scale in MULTI_SCALE},
    "codec 24 kHz": (lambda codecs: codecs[False], None),
    "codec 48 kHz": (lambda codecs: codecs[True], None),
}


def music(seconds: float, rate: int, channels: int) -> Clip:
    """Decaying notes between 300 Hz and 5 kHz: in every representation's band."""
    t = torch.arange(round(seconds * rate)) / rate
    wave = torch.zeros(channels, len(t))
    for channel in range(channels):
        for index, hz in enumerate((330.0, 554.0, 880.0, 1320.0, 2217.0, 4435.0)):
            begun = (t - 0.1 * index).clamp(min=0)
            loud = 0.1 * (begun > 0) * torch.exp(-3 * begun) * (1 - torch.exp(-200 * begun))
            wave[channel] += loud / (1 + channel) * torch.sin(2 * math.pi * hz * t)
    return Clip(wave, rate)


def decibels(waveform: torch.Tensor) -> float:
    return 10 * math.log10(float(waveform.square().mean()))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("rate", "channels", "seconds"), [(44_100, 2, 0.6), (16_000, 1, 0.477)])
def test_a_sound_comes_back_with_its_length_and_level(
    codecs: dict[bool, CodecLatents], name: str, rate: int, channels: int, seconds: float
) -> None:
    make, tolerance = ALL[name]
    representation, clip = make(codecs), music(seconds, rate, channels)
    assert isinstance(representation, Representation)
    samples = clip.resampled(representation.sample_rate).num_samples

    tensor = representation.encode(clip)
    assert tensor.dtype == torch.float32 and torch.isfinite(tensor).all()
    assert tuple(tensor.shape) == representation.shape(samples)
    assert tensor.shape[-1] / representation.frame_rate == pytest.approx(
        seconds, abs=1.01 / representation.frame_rate
    )

    made = representation.decode(tensor, samples)
    assert (made.sample_rate, made.num_samples) == (representation.sample_rate, samples)
    by_itself = representation.decode(tensor)
    assert by_itself.duration_s == pytest.approx(seconds, abs=1.01 / representation.frame_rate)

    soft = Clip(clip.waveform * 0.1, rate)
    encoded = representation.encode(soft)
    for sound, decoded in ((clip, made), (soft, representation.decode(encoded, samples))):
        again = decoded.waveform
        if tolerance is not None:
            assert decibels(again) == pytest.approx(
                decibels(sound.resampled(representation.sample_rate).mono().waveform)
                if again.shape[0] == 1
                else decibels(sound.resampled(representation.sample_rate).waveform),
                abs=tolerance,
            )
    # A louder sound has larger cells.
    assert float((encoded - tensor).abs().max()) > 1e-4


@pytest.mark.parametrize("name", [name for name, (_, level) in ALL.items() if level is not None])
def test_a_header_makes_the_representation_again(codecs: dict[bool, CodecLatents], name: str) -> None:
    representation = ALL[name][0](codecs)
    again = from_header(json.loads(json.dumps(representation.header())))
    assert again.header() == representation.header()
    clip = music(0.3, 44_100, 1)
    torch.testing.assert_close(again.encode(clip), representation.encode(clip))


def test_headers_that_are_of_nothing_known(codecs: dict[bool, CodecLatents]) -> None:
    header = json.loads(json.dumps(codecs[True].header()))
    assert (header["kind"], header["sampling_rate"], header["normalize"]) == ("codec-latents", 48_000, True)
    with pytest.raises(SonopaintError, match="'codec-latents'"):
        from_header(header)
    with pytest.raises(SonopaintError, match="damaged"):
        from_header({"kind": "cqt", "bins": 7})
    with pytest.raises(SonopaintError, match="samples of sonopaint-mini"):
        MelPicture(get_format("sonopaint-mini")).decode(torch.zeros(1, 128, 9), 100)
