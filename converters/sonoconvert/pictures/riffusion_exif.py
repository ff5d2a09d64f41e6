"""Riffusion v1's EXIF tags: written into pictures that can be said in them, and read from its own."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from PIL import Image

from sonoconvert.errors import SonopaintError
from sonoconvert.pictures.format import PRESETS, SpectrogramFormat

# riffusion/spectrogram_params.py. Its samples are 16-bit integers, ours are in [−1, 1]: MAX_VALUE =
# peak · 32768.
SAMPLE_RATE = 11000
STEREO = 11005
TRIPLE_RESOLUTION = 11007
STEP_MS = 11010
WINDOW_MS = 11020
PADDED_MS = 11030
NUM_FREQUENCIES = 11040
MIN_FREQUENCY = 11050
MAX_FREQUENCY = 11060
POWER = 11070
MAX_VALUE = 11080


def to_exif(fmt: SpectrogramFormat, peak: float | list[float] | None) -> Image.Exif | None:
    """Riffusion's tags, if the format can be said in them (whole milliseconds, power curve, HTK)."""
    times = [1000 * size / fmt.sample_rate for size in (fmt.hop_length, fmt.win_length, fmt.n_fft)]
    whole = (
        all(time == int(time) for time in times)
        and fmt.f_min == int(fmt.f_min)
        and fmt.f_max == int(fmt.f_max)
    )
    if not (
        whole and fmt.inverted and fmt.curve == "power" and fmt.mel_scale == "htk" and fmt.mel_norm is None
    ):
        return None
    exif = Image.Exif()
    exif[SAMPLE_RATE] = fmt.sample_rate
    # Green and blue of a "mid-side" picture are left and right, as in Riffusion's stereo.
    exif[STEREO] = int(fmt.num_channels == 2)
    exif[TRIPLE_RESOLUTION] = int(fmt.channels == "rgb")
    exif[STEP_MS], exif[WINDOW_MS], exif[PADDED_MS] = (int(time) for time in times)
    exif[NUM_FREQUENCIES] = fmt.n_mels
    exif[MIN_FREQUENCY] = int(fmt.f_min)
    exif[MAX_FREQUENCY] = int(fmt.f_max)
    exif[POWER] = float(fmt.exponent)
    if peak is not None:
        exif[MAX_VALUE] = float((max(peak) if isinstance(peak, list) else peak) * 32768)
    return exif


def from_exif(tags: dict[int, Any], height: int, name: str) -> SpectrogramFormat:
    """A Riffusion picture's format; a preset itself where the tags agree with it.

    Args:
        height: of the picture in pixels: a "triple resolution" picture's number of frequencies may be told
            in pixels or in bands, of which it has three for each pixel.
        name: of the picture, for errors.

    Raises:
        SonopaintError: tags that make no sense.
    """
    try:
        rate = int(tags[SAMPLE_RATE])

        # int(): as Riffusion rounds.
        def samples(tag: int, default: int) -> int:
            return int(float(tags.get(tag) or default) / 1000.0 * rate)

        frequencies = int(tags.get(NUM_FREQUENCIES) or 512)
        channels = "stereo" if tags.get(STEREO) else "mono"
        if tags.get(TRIPLE_RESOLUTION):
            channels = "rgb"
            if frequencies == height or frequencies % 3:
                frequencies *= 3
        fmt = dataclasses.replace(
            PRESETS["riffusion-v1"],
            sample_rate=rate,
            hop_length=samples(STEP_MS, 10),
            win_length=samples(WINDOW_MS, 100) // 2 * 2,
            n_fft=samples(PADDED_MS, 400) // 2 * 2,
            n_mels=frequencies,
            f_min=float(tags.get(MIN_FREQUENCY) or 0),
            f_max=float(tags.get(MAX_FREQUENCY) or 10_000),
            exponent=float(tags.get(POWER) or 0.25),
            channels=channels,
        )
    except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise SonopaintError(f"{name} has Riffusion EXIF tags that make no sense ({error}).") from error
    for preset in PRESETS.values():
        if dataclasses.replace(fmt, name=preset.name) == preset:
            return preset
    return dataclasses.replace(fmt, name="riffusion-exif")


def peak_of(tags: dict[int, Any]) -> float | None:
    """The magnitude of level 1, from MAX_VALUE; None where it is missing or nonsense."""
    try:
        value = float(tags[MAX_VALUE]) / 32768
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return value if math.isfinite(value) and value > 0 else None
